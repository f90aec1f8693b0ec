-- Version 3: what happened to each key, oldest first by id. `hash` as in lane; `body` is the msgpack of a Note, which
-- holds the key itself. What all rows cost is counted in meta, `history_bytes`.
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  hash INTEGER NOT NULL,
  at INTEGER NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX history_hash ON history (hash);
