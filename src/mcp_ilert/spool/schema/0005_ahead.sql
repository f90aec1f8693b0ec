-- Version 5: what was folded before its turn. Of inbox row `seq` so many `events`, those of `keys` (a msgpack list, in lower
-- case), are in their lanes already, because something critical came for these keys.
CREATE TABLE ahead (
  id INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  events INTEGER NOT NULL,
  keys BLOB NOT NULL
);
