"""Traffic reaches the spool: every event by itself and at its very time, as in the bridge."""

import math
from collections.abc import Iterator, Sequence

import trio

from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Entry
from mcp_ilert.simulation.clock import JumpClock
from mcp_ilert.spool.port import Spool, Wake


class Alarm:
    """Hands the spool's wake-ups on, and knows that there was one."""

    def __init__(self, wake: Wake) -> None:
        self.rang = False
        self._wake = wake

    def __call__(self, targets: frozenset[str]) -> None:
        self.rang = True
        self._wake(targets)


class Feed:
    """The clock's arrivals: puts each entry into a spool in memory, which does so without waiting."""

    def __init__(self, entries: Iterator[Entry], spool: Spool, alarm: Alarm, start_ms: int) -> None:
        self.unavailable = 0
        """Events that the spool did not take."""
        self.over = trio.Event()
        self._entries = entries
        self._spool = spool
        self._alarm = alarm
        self._start_ms = start_ms
        self._ahead()

    def _ahead(self) -> None:
        self._next = next(self._entries, None)
        if self._next is None:
            self.over.set()

    def next_at(self) -> float:
        return math.inf if self._next is None else (self._next.accepted_ms - self._start_ms) / 1000

    def let_in(self) -> bool:
        entry = self._next
        if entry is None:
            raise AssertionError("nothing arrives any more")
        self._alarm.rang = False
        self._put(entry)
        self._ahead()
        return self._alarm.rang or self._next is None

    def _put(self, entry: Entry) -> None:
        self._spool.offer(((entry,),), self._count)

    def _count(self, answers: Sequence[McpIlertError | None]) -> None:
        self.unavailable += len(answers) - answers.count(None)


async def feed(entries: Iterator[Entry], spool: Spool, alarm: Alarm, clock: JumpClock, start_ms: int) -> int:
    """Let everything arrive in its time; returns how many events the spool did not take."""
    arrivals = Feed(entries, spool, alarm, start_ms)
    clock.arrivals = arrivals
    await arrivals.over.wait()
    return arrivals.unavailable
