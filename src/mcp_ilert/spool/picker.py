"""Chooses lanes of one target for its tokens: the rank of rank.py, put to the shelf's indexes."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from mcp_ilert.events import Severity
from mcp_ilert.spool.lane import State
from mcp_ilert.spool.port import Agenda, Want, revivable
from mcp_ilert.spool.rank import GRACE_MS, Pick, Turns, pick
from mcp_ilert.spool.shelf import Shelf, TargetRow

PROMOTE_SLICE = 256
DIVERT_SLICE = 200
NEVER_MS = 1 << 62
PROBE_ORDER = {Severity.CRITICAL: -(1 << 62), **GRACE_MS}


class Candidate(NamedTuple):
    """A ready lane, ordered by when it wants to go."""

    at_ms: int
    id: int
    severity: Severity


class Picker:
    """One choosing for one target at one time. The caller takes each lane before it asks for the next."""

    def __init__(self, shelf: Shelf, target: TargetRow, now_ms: int) -> None:
        self._shelf = shelf
        self._target = target
        self._now_ms = now_ms
        self.turns: Turns = target.turns
        self.diverted = 0
        self.turn = Pick.DEADLINE
        """What the token of the lane chosen last was for."""
        shelf.promote(target.id, now_ms, PROMOTE_SLICE)

    def choose(self, want: Want, divert: Callable[[int], bool]) -> Iterator[int]:
        """The lanes for up to `want.tokens` tokens, at most `want.others` of them not critical.

        A chosen lane that `divert` takes elsewhere costs nothing; so many, and no more, go in one choosing.
        """
        self._promote_those_left_ahead(want.longest_wait_ms)
        tokens, others = want.tokens, want.others
        while tokens > 0 and self.diverted < DIVERT_SLICE:
            critical = self._first({Severity.CRITICAL: 0})
            kind, turns = pick(self.turns, critical_waits=critical is not None, only_critical=others < 1)
            chosen = critical if kind is Pick.CRITICAL else self._other(kind)
            if chosen is None:
                return
            if divert(chosen.id):
                self.diverted += 1
                continue
            tokens -= 1
            others -= chosen.severity is not Severity.CRITICAL
            self.turns, self.turn = turns, kind
            yield chosen.id

    def probe(self, *, dead: bool) -> Iterator[int]:
        """One lane to learn from, each time another: one never sent, else the one tried longest ago.

        So a few events that the target cannot digest do not keep a circuit open.
        """
        shelf, target = self._shelf, self._target.id
        unsent = min(self._candidates(PROBE_ORDER, sent=(False,), newest=False), default=None)
        tried = shelf.tried(target)
        backed_off = shelf.soonest(State.BACKOFF, target, 1)
        died = shelf.soonest(State.DEAD, target, 1) if dead else ()
        if unsent is not None:
            yield unsent.id
        elif tried is not None:
            yield tried
        elif backed_off:
            yield backed_off[0][0]
        elif died and revivable(died[0][1], self._now_ms):
            yield died[0][0]

    def _promote_those_left_ahead(self, longest_wait_ms: int) -> None:
        """Where even the soonest is further off than any wait, the clock has been put back since."""
        shelf, target = self._shelf, self._target.id
        soonest = shelf.soonest(State.BACKOFF, target, 1)
        if soonest and soonest[0][1] > self._now_ms + longest_wait_ms:
            shelf.promote(target, NEVER_MS, PROMOTE_SLICE)

    def _other(self, kind: Pick) -> Candidate | None:
        if kind is Pick.OLDEST:
            return self._first(dict.fromkeys(Severity, 0))
        if kind is Pick.NEWEST:
            newest = self._candidates(dict.fromkeys(Severity, 0), sent=(False,), newest=True)
            return max(newest, default=None) or self._first(GRACE_MS)
        return self._first(GRACE_MS)

    def _first(self, grace_ms: Mapping[Severity, int]) -> Candidate | None:
        """Of the oldest lane of each severity, the one whose age plus grace comes first."""
        return min(self._candidates(grace_ms, sent=(False, True), newest=False), default=None)

    def _candidates(
        self, grace_ms: Mapping[Severity, int], *, sent: tuple[bool, ...], newest: bool
    ) -> Iterator[Candidate]:
        for severity, flag in product(grace_ms, sent):
            found = self._shelf.extreme(State.READY, self._target.id, severity, sent=flag, newest=newest)
            if found is not None:
                yield Candidate(found[1] + grace_ms[severity], found[0], severity)

    def agenda(self) -> Agenda:
        """What is left to do at the target."""
        shelf, target = self._shelf, self._target.id
        due = shelf.soonest(State.BACKOFF, target, 1)
        revive_ms = next((ms for _, ms in shelf.soonest(State.DEAD, target, 1)), None)
        if revive_ms is not None and revivable(revive_ms, self._now_ms):
            revive_ms = min(revive_ms, self._now_ms)
        critical = self._first({Severity.CRITICAL: 0}) is not None
        others = self._first(GRACE_MS) is not None
        return Agenda(
            critical_ready=critical,
            others_ready=others,
            next_due_ms=due[0][1] if due else None,
            next_revive_ms=revive_ms,
            waiting=critical or others or bool(due) or shelf.alive(State.LEASED, target),
        )
