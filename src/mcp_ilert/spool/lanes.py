"""The lanes of a spool within a transaction: whatever changes one stores it here, and all that follows is done at once.

The counts follow from its structure, its place in the indexes from its state and time; and where that is news to the
dispatcher, it is to be woken.
"""

from collections.abc import Iterable

from mcp_ilert.spool import fate, past
from mcp_ilert.spool.chronicle import Chronicle
from mcp_ilert.spool.history import What
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.ledger import Ledger
from mcp_ilert.spool.placement import placement_of
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.shelf import Placement, Row, Shelf
from mcp_ilert.spool.targets import Targets
from mcp_ilert.spool.wakes import Wakes

Changed = tuple[Row | None, int, Lane]
"""A lane as it was stored (None: not yet), its target, and the lane as it is now."""


class LostError(LookupError):
    """What an index or another lane speaks of is not in the spool."""


class Lanes:
    """Lanes on a shelf, and what must agree with them."""

    def __init__(self, shelf: Shelf, rules: Rules) -> None:
        self.shelf = shelf
        self.rules = rules
        """Those of now; a reload replaces them."""
        self.ledger = Ledger(shelf)
        self.targets = Targets(shelf)
        self.history = Chronicle(shelf)
        self.wakes = Wakes()

    def load(self) -> None:
        """Read what is stored, as after a rollback or a reopening."""
        self.ledger.load()
        self.targets.load()
        self.history.load()
        self.wakes.load(self.targets.ids)

    def save(self) -> None:
        """Write the history, the targets' numbers of lanes and the ledger; the last act of each transaction."""
        self.history.flush(self.rules)
        self.targets.save_lanes()
        self.ledger.save()

    def row(self, lane_id: int) -> Row:
        """The lane of this id, which must be there."""
        row = self.shelf.get(lane_id)
        if row is None:
            raise LostError(f"lane {lane_id} is not in the spool")
        return row

    def note(self, row: Row, what: What, now_ms: int) -> None:
        """Write down what happened to a lane."""
        self.history.note(row.lane.key, self.targets.name_of(row.target), now_ms, what)

    def apply(self, row: Row, made: fate.Settling, now_ms: int) -> None:
        """Store what a settlement or a replay made of a lane, and count it."""
        if made.cancelled:
            self.note(row, past.cancelled(row.lane, made.cancelled), now_ms)
        terms = self.ledger.terms
        terms["delivered"] += made.delivered
        terms["coalesced"] += made.coalesced
        terms["cancelled"] += made.cancelled
        self.store(row, row.target, made.lane, now_ms)

    def store(self, row: Row | None, target: int, lane: Lane, now_ms: int) -> None:
        """Store a new or changed lane; pending, dead and lanes follow from its structure."""
        self.store_all([(row, target, lane)], now_ms)

    def store_all(self, changed: Iterable[Changed], now_ms: int) -> None:
        """Store many."""
        adds: list[tuple[int, Lane, Placement]] = []
        saves: list[tuple[Row, Placement]] = []
        removes: list[Row] = []
        for row, target, lane in changed:
            self.targets.lanes[target] += self.ledger.change(row.lane if row is not None else None, lane)
            placement = placement_of(lane, self.rules, now_ms)
            if placement is None:
                removes += [row] if row is not None else []
                continue
            if placement.state in (State.READY, State.BACKOFF):
                self.wakes.touch(target, placement)
            if row is None:
                adds.append((target, lane, placement))
            else:
                saves.append((Row(row.id, target, lane), placement))
        if adds:
            self.shelf.add(adds)
        if saves:
            self.shelf.save(saves)
        if removes:
            self.shelf.remove(removes)

    def begun(self, target: int, placement: Placement) -> None:
        """One lane more waits, there; the caller stores it, and counts its events."""
        self.ledger.terms["lanes"] += 1
        self.targets.lanes[target] += 1
        self.wakes.touch(target, placement)
