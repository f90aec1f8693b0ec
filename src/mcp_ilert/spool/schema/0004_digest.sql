-- Version 4: digests. `digest` is the id of the lane that stands for this one, or says what else it is to digests
-- (spool/digest.py); 0: nothing. `target.lanes` counts the lanes in which something waits alive or is in flight;
-- `ledger.undigested` the events that left a digest, so that a total can be told beside what is digested now.
ALTER TABLE lane ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lane_digest ON lane (digest, target, severity) WHERE digest != 0;
ALTER TABLE target ADD COLUMN lanes INTEGER NOT NULL DEFAULT 0;
UPDATE target SET lanes = (
  SELECT count(*) FROM lane INDEXED BY lane_rank WHERE lane.state IN (1, 2, 3) AND lane.target = target.id
);
ALTER TABLE ledger ADD COLUMN undigested INTEGER NOT NULL DEFAULT 0;
