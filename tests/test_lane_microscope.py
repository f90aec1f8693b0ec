"""Every sequence of five events, with every turn that a lane can take in every gap, and a restart right behind it.

The table test (test_lane_table.py) says that each step is the right one; here it is seen what comes of them: iLert is
told a consistent story, and at its end knows what the last event says.
"""

from itertools import combinations, product

import msgspec
import pytest

from mcp_ilert.events import Again, DeadByOutage, DeadByRejection, Decision, Done, Kind, Severity
from mcp_ilert.spool import digest, fate
from mcp_ilert.spool.lane import Lane, State, arrive
from mcp_ilert.spool.sqlite import LANE
from spools import T0, entry

LENGTH = 5
TURNS = (
    "unsent", "in flight", "delivered", "unknown, applied", "unknown, not applied",
    "dead", "dead, applied", "parked", "rejected", "digested",
)  # fmt: skip
ENDS: dict[str, Decision] = {
    "unknown": Again(0, 1, 0, certain=False),
    "dead": DeadByOutage(0, certain=False),
    "parked": Again(T0 + 300_000, 0, 0, certain=True),
    "rejected": DeadByRejection(400, "no"),
}


class Told:
    """A lane, what iLert was told of it, and the count of its events."""

    def __init__(self, *, cancel_resolved: bool) -> None:
        self.lane = Lane("k")
        self.keep = cancel_resolved
        self.open = False
        self.resolved = -1
        """The newest resolve that was sent."""
        self.accepted = self.settled = self.digested = 0
        self.applied = False
        """Whether the request in flight has had its effect, whatever will be answered."""

    def settle(self, made: fate.Settling) -> None:
        self.lane = made.lane
        self.settled += made.delivered + made.coalesced + made.cancelled
        self.law()

    def law(self) -> None:
        lane = self.lane
        digested = self.digested + (len(lane.waiting) if lane.member else 0)
        assert self.accepted == self.settled + digested + lane.pending() + lane.dead_count()

    def arrive(self, letter: str) -> None:
        self.accepted += 1
        new = entry(letter, text=str(self.accepted), severity=Severity.LOW)
        if self.lane.member:
            was = len(self.lane.waiting)
            came = digest.arrive(self.lane, new, T0)
            self.lane = came.lane
            self.settled += came.coalesced
            self.digested += came.digested - ((len(came.lane.waiting) if came.lane.member else 0) - was)
            self.law()
            return
        folded = arrive(self.lane, new, dedupe_ms=0, cancel_resolved=self.keep)
        self.settle(fate.Settling(folded.lane, 0, folded.coalesced, folded.cancelled))

    def lease(self, *, applied: bool) -> bool:
        if self.lane.state(T0 + 400_000) not in (State.READY, State.DEAD):
            return False
        lane = fate.revive(self.lane) if self.lane.dead else self.lane
        self.settle(fate.Settling(fate.take(lane)))
        op = self.lane.flying
        assert op is not None
        number = int(op.payload)
        assert op.kind is Kind.RESOLVE or number > self.resolved, "sent behind its resolve"
        if op.kind is Kind.RESOLVE:
            self.resolved = max(self.resolved, number)
        self.applied = applied
        if applied and op.kind is not Kind.ACCEPT:
            self.open = op.kind is Kind.ALERT
        return True

    def end(self, decision: Decision) -> None:
        self.settle(fate.settle(self.lane, decision, T0, cancel_resolved=self.keep))

    def turn(self, turn: str) -> None:
        """What happens to the lane in this gap; nothing where it cannot."""
        if turn == "digested":
            if digest.eligible(self.lane):
                self.lane = digest.enter(self.lane, 7, T0)
                self.law()
        elif turn == "in flight":
            self.lease(applied=True)
        elif turn == "delivered":
            if self.lease(applied=True):
                self.end(Done())
        elif turn != "unsent":
            name, _, how = turn.partition(", ")
            if self.lease(applied=how == "applied"):
                self.end(ENDS[name])

    def restart(self) -> None:
        """What was committed is what is there; a lane found in flight is in doubt."""
        self.lane = LANE.decode(msgspec.msgpack.encode(self.lane))
        if self.lane.flying is not None:
            self.settle(fate.recover(self.lane, T0, cancel_resolved=self.keep))

    def drain(self) -> None:
        """All goes well from here on."""
        if self.lane.flying is not None:
            self.end(Done() if self.applied else Again(0, 0, 0, certain=True))
        for _ in range(9):
            if not self.lease(applied=True):
                break
            self.end(Done())
        assert self.lane.flying is None
        assert not self.lane.waiting or self.lane.member


def live_through(
    letters: tuple[str, ...], turns: dict[int, str], *, cancel_resolved: bool, restart: bool
) -> None:
    """These events, in the gap behind the n-th the turn that is given for it, and the end."""
    told = Told(cancel_resolved=cancel_resolved)
    for number, letter in enumerate(letters, start=1):
        told.arrive(letter)
        if number in turns:
            told.turn(turns[number])
            if restart:
                told.restart()
    told.drain()
    if not (told.lane.letters or told.lane.member or told.digested):
        meant = [letter for letter in letters if letter != "C"][-1:] == ["A"]
        assert told.open is meant, ("".join(letters), turns, cancel_resolved)


@pytest.mark.parametrize("restart", [False, True], ids=["", "and a restart"])
@pytest.mark.parametrize("turn", TURNS)
def test_whatever_happens_in_whatever_gap_ilert_ends_up_knowing_the_last_event(
    turn: str, *, restart: bool
) -> None:
    for letters, keep in product(product("ACR", repeat=LENGTH), (True, False)):
        for gap in range(1, LENGTH + 1):
            live_through(letters, {gap: turn}, cancel_resolved=keep, restart=restart)


@pytest.mark.parametrize("first", TURNS[1:])
def test_and_so_it_does_where_two_things_happen(first: str) -> None:
    for letters, second in product(product("ACR", repeat=LENGTH - 1), TURNS[1:]):
        for gap, later in combinations(range(1, LENGTH), 2):
            live_through(letters, {gap: first, later: second}, cancel_resolved=True, restart=False)
