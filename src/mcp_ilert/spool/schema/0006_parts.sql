-- Version 6: a large slice of the inbox is folded in parts. A row with a `place` has no keys: of the inbox's rows up to
-- `seq` so many `events` more are in their lanes, all whose keys' hashes are not above it.
ALTER TABLE ahead ADD COLUMN place INTEGER;
