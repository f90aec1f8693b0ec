-- What each connection of a writer has for itself.

-- An append as one statement, which is a transaction by itself and gives the interpreter's lock back once: a view, and
-- what an insert into it does.
CREATE TEMP VIEW append_alone AS SELECT inbox.*, ledger.* FROM inbox, ledger;

CREATE TEMP TRIGGER append_alone_insert INSTEAD OF INSERT ON append_alone BEGIN
  INSERT INTO inbox (seq, events, entries) VALUES (NEW.seq, NEW.events, NEW.entries);
  UPDATE ledger SET accepted = NEW.accepted, fanned_out = NEW.fanned_out, delivered = NEW.delivered,
    coalesced = NEW.coalesced, cancelled = NEW.cancelled, digested = NEW.digested,
    dropped_by_route = NEW.dropped_by_route, dropped_by_operator = NEW.dropped_by_operator, dead = NEW.dead,
    pending = NEW.pending, lanes = NEW.lanes, undigested = NEW.undigested WHERE id = 1;
END;
