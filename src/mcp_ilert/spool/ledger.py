"""The counts of what became of every event, as they stand in a transaction; they are stored with it."""

from collections.abc import Mapping

import msgspec

from mcp_ilert.events import Counts
from mcp_ilert.spool.lane import Lane
from mcp_ilert.spool.shelf import Shelf
from mcp_ilert.spool.tail import Batch

TERMS = (
    "accepted",
    "fanned_out",
    "delivered",
    "coalesced",
    "cancelled",
    "digested",
    "dropped_by_route",
    "dropped_by_operator",
    "undigested",
)


class Ledger:
    """The terms of the conservation law. Of lanes it counts what follows from their structure."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.terms: dict[str, int] = {}
        """All of them, for those who add many; `count` is for those whose term is a word of theirs."""

    def load(self) -> None:
        """Read what is stored; `inbox` and `members` are known to others."""
        self.terms = msgspec.structs.asdict(self._shelf.ledger())

    def save(self) -> None:
        self._shelf.save_ledger(self.counts())

    def counts(self) -> Counts:
        """The ledger as it stands."""
        return Counts(**self.terms)

    @property
    def occupied(self) -> int:
        """What `Rules.max_pending` bounds: lanes in which something waits or may come to, each event in the inbox."""
        terms: Mapping[str, int] = self.terms
        return terms["lanes"] + terms["members"] + terms["inbox"]

    def accept(self, batch: Batch) -> None:
        """Count what came."""
        self.terms["accepted"] += batch.events
        self.terms["dropped_by_route"] += batch.events - len(batch.kept)
        self.terms["pending"] += len(batch.kept)

    def count(self, term: str, events: int) -> None:
        """Add to one of TERMS."""
        if term not in TERMS:
            raise ValueError(f"{term} is not a term that is counted by hand")
        self.terms[term] += events

    def change(self, before: Lane | None, after: Lane) -> int:
        """Count what a lane's change means; returns by how many more lanes there are in which something waits."""
        if before is not None and _counted_alike(before, after):
            return 0
        terms = self.terms
        pending, dead = after.pending(), after.dead_count()
        waited = died = member = more = 0
        if before is not None:
            waited, died, member = before.pending(), before.dead_count(), before.member
        if pending != waited:
            more = (pending > 0) - (waited > 0)
            terms["pending"] += pending - waited
            terms["lanes"] += more
        terms["members"] += (after.member > 0) - (member > 0)
        terms["dead"] += dead - died
        return more


def _counted_alike(before: Lane, after: Lane) -> bool:
    """Whether a lane's change is surely none to the ledger: most are of texts and times."""
    return (
        len(before.waiting) == len(after.waiting)
        and before.letters is after.letters
        and before.dead is after.dead
        and before.member == after.member
        and not (before.flying or after.flying or before.returning or after.returning)
        and (before.gathers is None) is (after.gathers is None)
    )
