-- Version 7: messages that said who they are, by a keyed hash of that, oldest first by id; and what was answered to each.
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  name BLOB NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  rejected INTEGER NOT NULL
);
