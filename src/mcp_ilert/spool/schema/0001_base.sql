-- The spool, version 1. Times are wall-clock milliseconds since 1970.

-- The terms of the conservation law, in events, and the number of lanes in which something waits alive.
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  accepted INTEGER NOT NULL DEFAULT 0,
  fanned_out INTEGER NOT NULL DEFAULT 0,
  delivered INTEGER NOT NULL DEFAULT 0,
  coalesced INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  digested INTEGER NOT NULL DEFAULT 0,
  dropped_by_route INTEGER NOT NULL DEFAULT 0,
  dropped_by_operator INTEGER NOT NULL DEFAULT 0,
  dead INTEGER NOT NULL DEFAULT 0,
  pending INTEGER NOT NULL DEFAULT 0,
  lanes INTEGER NOT NULL DEFAULT 0
);
INSERT INTO ledger (id) VALUES (1);

CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- What is kept of a target: the operator's pause, the dispatcher's state, the rota of spool/rank.py.
CREATE TABLE target (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  paused INTEGER NOT NULL DEFAULT 0,
  state BLOB NOT NULL DEFAULT x'',
  turns BLOB
);

-- Accepted, not folded yet: a row a commit, append only. `entries` is a msgpack list of Entry.
CREATE TABLE inbox (
  seq INTEGER PRIMARY KEY,
  events INTEGER NOT NULL,
  entries BLOB NOT NULL
);

-- A lane. `hash` is a keyed hash of the lower-cased key (the key itself is in `body`, and is compared);
-- `state` as in spool/lane.py; `due`: idle: when it may be forgotten, backed off: when it is ready,
-- dead: when it may be revived. `body` is the msgpack of a Lane.
CREATE TABLE lane (
  id INTEGER PRIMARY KEY,
  hash INTEGER NOT NULL,
  target INTEGER NOT NULL,
  state INTEGER NOT NULL,
  severity INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  oldest INTEGER NOT NULL,
  due INTEGER NOT NULL,
  letters INTEGER NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX lane_hash ON lane (hash);
-- Ready, backed off and leased lanes in the order of their age within a severity.
CREATE INDEX lane_rank ON lane (state, target, severity, sent, oldest) WHERE state IN (1, 2, 3);
-- What happens by itself at a time.
CREATE INDEX lane_due ON lane (state, target, due) WHERE state IN (0, 2, 4);
-- Ready lanes that have been sent before, the one tried longest ago first: whose turn a probe is.
CREATE INDEX lane_tried ON lane (target, due) WHERE state = 1 AND sent = 1;
