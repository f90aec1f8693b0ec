-- Version 5: what was folded before its turn. Of inbox row `seq` so many `events`, those of `keys` (a msgpack list, in lower
-- case), are in their lanes already, because something critical came for these keys.
CREATE TABLE ahead (
  id INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  events INTEGER NOT NULL,
  keys BLOB NOT NULL
);

-- Lanes by hash, in place of the index `lane_hash`: new ones in a small table, from which a part of the hashes at a time
-- is moved to the large one. So a new lane does not write a page of its own, however many lanes there are.
CREATE TABLE lane_key (hash INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (hash, id)) WITHOUT ROWID;
CREATE TABLE lane_young (hash INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (hash, id)) WITHOUT ROWID;
INSERT INTO lane_key (hash, id) SELECT hash, id FROM lane INDEXED BY lane_hash ORDER BY hash;
DROP INDEX lane_hash;
