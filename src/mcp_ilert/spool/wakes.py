"""At which targets something became ready, or got a time, that the dispatcher does not know of: it is to be woken.

It comes by itself for what a lease told it, and for what it was woken for.
"""

from collections.abc import Collection, Iterable

import msgspec

from mcp_ilert.events import Severity
from mcp_ilert.spool.lane import State
from mcp_ilert.spool.port import Agenda
from mcp_ilert.spool.shelf import Placement

NOTHING = Agenda()


class Wakes:
    """Those of one spool, by the targets' ids."""

    def __init__(self) -> None:
        self.touched: set[int] = set()
        """Where there is news since `take`."""
        self._known: dict[int, Agenda] = {}
        """What the dispatcher was told of each target, by a lease and since."""

    def load(self, targets: Collection[int]) -> None:
        """Begin anew with these targets, as after a rollback: what it was told may not be so."""
        self.touched.intersection_update(targets)
        self._known = {}

    def take(self) -> Iterable[int]:
        """The targets with news, once."""
        touched, self.touched = self.touched, set()
        return touched

    def told(self, target: int, agenda: Agenda) -> None:
        """A lease tells the dispatcher this."""
        self._known[target] = agenda
        self.touched.discard(target)

    def touch(self, target: int, placement: Placement) -> None:
        """A lane is ready, or has a time at which it will be."""
        known = self._known.get(target, NOTHING)
        now = news(known, placement)
        if now is not known:
            self._known[target] = now
            self.touched.add(target)


def news(known: Agenda, placement: Placement) -> Agenda:
    """What is known of a target with this lane in it; the same where that adds nothing."""
    if placement.state is State.BACKOFF:
        if known.next_due_ms is not None and known.next_due_ms <= placement.due_ms:
            return known
        return msgspec.structs.replace(known, next_due_ms=placement.due_ms)
    if placement.severity is Severity.CRITICAL:
        return known if known.critical_ready else msgspec.structs.replace(known, critical_ready=True)
    return known if known.others_ready else msgspec.structs.replace(known, others_ready=True)
