"""Chooses lanes of one target for its tokens: the rank of rank.py, put to the shelf's indexes."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from mcp_ilert.events import Severity
from mcp_ilert.spool.lane import State
from mcp_ilert.spool.port import Agenda, Want
from mcp_ilert.spool.rank import GRACE_MS, Pick, Turns, pick
from mcp_ilert.spool.shelf import Shelf, TargetRow

PROMOTE_SLICE = 256


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
        shelf.promote(target.id, now_ms, PROMOTE_SLICE)

    def choose(self, want: Want) -> Iterator[int]:
        """The lanes for up to `want.tokens` tokens, at most `want.others` of them not critical."""
        others = want.others
        for _ in range(want.tokens):
            critical = self._first({Severity.CRITICAL: 0})
            kind, turns = pick(self.turns, critical_waits=critical is not None, only_critical=others < 1)
            chosen = critical if kind is Pick.CRITICAL else self._other(kind)
            if chosen is None:
                return
            others -= chosen.severity is not Severity.CRITICAL
            self.turns = turns
            yield chosen.id

    def probe(self, *, dead: bool) -> Iterator[int]:
        """One lane to learn from: the next ready one, else the one due soonest, else a dead one."""
        ready = self._first({Severity.CRITICAL: 0}) or self._first(GRACE_MS)
        if ready is not None:
            yield ready.id
            return
        soonest = [i for i, _ in self._shelf.soonest(State.BACKOFF, self._target.id, 1)]
        if not soonest and dead:
            revivable = self._shelf.soonest(State.DEAD, self._target.id, 1)
            soonest = [i for i, due_ms in revivable if due_ms <= self._now_ms]
        yield from soonest

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
        revive = shelf.soonest(State.DEAD, target, 1)
        critical = self._first({Severity.CRITICAL: 0}) is not None
        others = self._first(GRACE_MS) is not None
        return Agenda(
            critical_ready=critical,
            others_ready=others,
            next_due_ms=due[0][1] if due else None,
            next_revive_ms=revive[0][1] if revive else None,
            waiting=critical or others or bool(due) or shelf.alive(State.LEASED, target),
        )
