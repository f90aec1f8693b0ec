-- name: ledger
SELECT accepted, fanned_out, delivered, coalesced, cancelled, digested, dropped_by_route, dropped_by_operator,
       dead, pending, lanes, undigested FROM ledger WHERE id = 1;

-- name: ledger_save
UPDATE ledger SET accepted = ?, fanned_out = ?, delivered = ?, coalesced = ?, cancelled = ?, digested = ?,
       dropped_by_route = ?, dropped_by_operator = ?, dead = ?, pending = ?, lanes = ?, undigested = ?
WHERE id = 1;

-- name: meta
SELECT value FROM meta WHERE name = ?;

-- name: meta_save
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: targets
SELECT id, name, paused, state, turns, lanes FROM target ORDER BY id;

-- name: target_add
INSERT INTO target (name) VALUES (?) RETURNING id;

-- name: target_save
UPDATE target SET paused = ?, state = ?, turns = ?, lanes = ? WHERE id = ?;

-- name: inbox
SELECT seq, entries FROM inbox WHERE seq > ? ORDER BY seq;

-- name: inbox_add
INSERT INTO inbox (seq, events, entries) VALUES (?, ?, ?);

-- By the view of connection.sql.
-- name: append_alone
INSERT INTO append_alone (seq, events, entries, accepted, fanned_out, delivered, coalesced, cancelled, digested,
       dropped_by_route, dropped_by_operator, dead, pending, lanes, undigested)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: inbox_trim
DELETE FROM inbox WHERE seq <= ?;

-- name: inbox_events
SELECT (SELECT coalesce(sum(events), 0) FROM inbox) - (SELECT coalesce(sum(events), 0) FROM ahead);

-- What was folded ahead.
-- name: ahead
SELECT seq, keys FROM ahead WHERE place IS NULL;

-- name: ahead_add
INSERT INTO ahead (seq, events, keys) VALUES (?, ?, ?);

-- name: part_add
INSERT INTO ahead (seq, events, keys, place) VALUES (?, ?, x'90', ?);

-- name: part
SELECT seq, max(place) FROM ahead WHERE place IS NOT NULL;

-- name: ahead_trim
DELETE FROM ahead WHERE seq <= ?;

-- Many lanes are read and written by one statement each, which runs without the interpreter's lock: what is to be
-- written comes as JSON, a list a row, which begins with where the row's body lies in one blob.

-- The lanes of many keys: ids, targets, and the bodies one behind the other.
-- name: find
SELECT json_group_array(lane.id), json_group_array(lane.target), CAST(group_concat(lane.body, '') AS BLOB)
FROM (SELECT young.id FROM json_each(?1) AS wanted JOIN lane_young AS young ON young.hash = wanted.value
      UNION ALL
      SELECT old.id FROM json_each(?1) AS wanted JOIN lane_key AS old ON old.hash = wanted.value) AS found
JOIN lane ON lane.id = found.id;

-- name: last_id
SELECT coalesce(max(id), 0) FROM lane;

-- name: get
SELECT id, target, body FROM lane WHERE id = ?;

-- name: bodies
SELECT lane.id, lane.body FROM json_each(?1) AS wanted CROSS JOIN lane ON lane.id = wanted.value;

-- name: add
INSERT INTO lane (id, hash, target, state, severity, sent, oldest, due, letters, digest, body)
SELECT value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9,
       value ->> 10, value ->> 11, substr(?2, value ->> 0, value ->> 1) FROM json_each(?1);

-- name: add_keys
INSERT INTO lane_young (hash, id) SELECT value ->> 0, value ->> 1 FROM json_each(?1);

-- A part of the hashes moves from the small table to the large one.
-- name: age_keys
INSERT INTO lane_key (hash, id) SELECT hash, id FROM lane_young WHERE hash BETWEEN ? AND ?;

-- name: aged_keys
DELETE FROM lane_young WHERE hash BETWEEN ? AND ?;

-- name: save
UPDATE lane SET state = value ->> 3, severity = value ->> 4, sent = value ->> 5, oldest = value ->> 6,
       due = value ->> 7, letters = value ->> 8, digest = value ->> 9, body = substr(?2, value ->> 0, value ->> 1)
FROM json_each(?1) WHERE lane.id = value ->> 2;

-- name: save_texts
UPDATE lane SET body = substr(?2, value ->> 0, value ->> 1) FROM json_each(?1) WHERE lane.id = value ->> 2;

-- name: remove
DELETE FROM lane WHERE id IN (SELECT value ->> 1 FROM json_each(?));

-- name: remove_young
DELETE FROM lane_young WHERE (hash, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?));

-- name: remove_old
DELETE FROM lane_key WHERE (hash, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?));

-- The oldest lane of a state, target, severity and `sent`; and the newest.
-- name: oldest
SELECT id, oldest FROM lane INDEXED BY lane_rank
WHERE state = ? AND state IN (1, 2, 3) AND target = ? AND severity = ? AND sent = ? ORDER BY oldest LIMIT 1;

-- name: newest
SELECT id, oldest FROM lane INDEXED BY lane_rank
WHERE state = ? AND state IN (1, 2, 3) AND target = ? AND severity = ? AND sent = ? ORDER BY oldest DESC LIMIT 1;

-- name: any_alive
SELECT 1 FROM lane INDEXED BY lane_rank WHERE state = ? AND state IN (1, 2, 3) AND target = ? LIMIT 1;

-- name: tried
SELECT id FROM lane INDEXED BY lane_tried WHERE state = 1 AND sent = 1 AND target = ? ORDER BY due LIMIT 1;

-- name: soonest
SELECT id, due FROM lane INDEXED BY lane_due
WHERE state = ? AND state IN (0, 2, 4) AND target = ? ORDER BY due LIMIT ?;

-- name: promote
UPDATE lane SET state = 1 WHERE id IN (
  SELECT id FROM lane INDEXED BY lane_due
  WHERE state = 2 AND state IN (0, 2, 4) AND target = ? AND due <= ? ORDER BY due LIMIT ?
) RETURNING id;

-- name: leased
SELECT id FROM lane INDEXED BY lane_rank WHERE state = 3 AND state IN (1, 2, 3) ORDER BY id LIMIT ?;

-- name: dead
SELECT id FROM lane INDEXED BY lane_dead WHERE (letters > 0 OR state = 4) AND id > ? ORDER BY id LIMIT ?;

-- What waits at some targets, alive or dead; nothing else is looked at.
-- name: waiting_at
SELECT lane.id FROM json_each(?1) AS wanted JOIN lane INDEXED BY lane_rank
  ON lane.target = wanted.value AND lane.state IN (1, 2) AND lane.state IN (1, 2, 3)
UNION ALL
SELECT lane.id FROM json_each(?1) AS wanted JOIN lane INDEXED BY lane_due
  ON lane.target = wanted.value AND lane.state = 4 AND lane.state IN (0, 2, 4)
LIMIT ?2 OFFSET ?3;

-- Lanes that a digest could stand for; all with one mark; the digests of a target.
-- name: eligible
SELECT id FROM lane INDEXED BY lane_digest
WHERE digest = ? AND digest != 0 AND target = ? AND severity > ? LIMIT ?;

-- name: marked
SELECT id FROM lane INDEXED BY lane_digest WHERE digest = ? AND digest != 0 LIMIT ?;

-- name: digests
SELECT id FROM lane INDEXED BY lane_digest WHERE digest = ? AND digest != 0 AND target = ? LIMIT ?;

-- name: history_add
INSERT INTO history (hash, at, body)
SELECT value ->> 2, value ->> 3, substr(?2, value ->> 0, value ->> 1) FROM json_each(?1);

-- name: history_oldest
SELECT id, at, length(body) FROM history ORDER BY id LIMIT ?;

-- name: history_cut
DELETE FROM history WHERE id <= ?;

-- name: history
SELECT id, at, body FROM history INDEXED BY history_hash WHERE hash = ? AND id < ? ORDER BY id DESC LIMIT ?;

-- name: message
SELECT accepted, rejected FROM message WHERE name = ?;

-- name: message_add
INSERT INTO message (name, at, accepted, rejected) VALUES (?, ?, ?, ?) RETURNING id;

-- name: message_oldest
SELECT id, at FROM message ORDER BY id LIMIT ?;

-- name: message_cut
DELETE FROM message WHERE id <= ?;

-- What a reader asks.
-- name: lanes
SELECT id, target, body FROM lane WHERE id > ? AND state > 0 ORDER BY id LIMIT ?;

-- Of one state, target and severity, the oldest first, behind a place in that order; whatever the backlog.
-- name: waiting
SELECT id, oldest FROM lane INDEXED BY lane_rank
WHERE state = ?1 AND state IN (1, 2, 3) AND target = ?2 AND severity = ?3 AND sent = ?4 AND (oldest, id) > (?5, ?6)
ORDER BY oldest, id LIMIT ?7;

-- name: recent
SELECT id, at, body FROM history WHERE id < ? ORDER BY id DESC LIMIT ?;

-- name: all_lanes
SELECT id, target, state, body FROM lane WHERE id > ? ORDER BY id LIMIT ?;
