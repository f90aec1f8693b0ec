"""Traffic reaches the spool: every event by itself and at its very time, as in the bridge."""

from collections.abc import Callable, Iterator
from typing import Protocol

import trio

from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Entry
from mcp_ilert.simulation.clock import JumpClock


class Woken(Protocol):
    """What the spool wakes."""

    def wake(self, targets: frozenset[str]) -> bool: ...


class Taking(Protocol):
    """A spool that takes an event without waiting: why it does not keep it, if so."""

    def take(self, entry: Entry) -> McpIlertError | None: ...


class Alarm:
    """Hands the spool's wake-ups to the dispatcher, which is made after the spool, and knows whether one was heeded."""

    def __init__(self) -> None:
        self.rang = False
        self.dispatcher: Woken | None = None

    def __call__(self, targets: frozenset[str]) -> None:
        if self.dispatcher is not None:
            self.rang |= self.dispatcher.wake(targets)


class Feed:
    """The clock's arrivals: gives each entry to a spool in memory, at its time."""

    def __init__(self, entries: Iterator[Entry], spool: Taking, alarm: Alarm, start_ms: int) -> None:
        self.unavailable = 0
        """Events that the spool did not take."""
        self.over = trio.Event()
        self._entries = entries
        self._spool = spool
        self._alarm = alarm
        self._start_ms = start_ms
        self._next: Entry | None = None
        self._ahead()

    def _ahead(self) -> bool:
        """Have the next one ready; whether it was the last before it, which somebody waits for."""
        self._next = next(self._entries, None)
        if self._next is None:
            self.over.set()
        return self._next is None

    def let_in(self, until: float, show: Callable[[float], None]) -> bool:
        """Up to the first that wakes the dispatcher; what it would not look at, it need not be woken for."""
        take, alarm, start_ms = self._spool.take, self._alarm, self._start_ms
        alarm.rang = False
        while (entry := self._next) is not None and (at := (entry.accepted_ms - start_ms) / 1000) <= until:
            show(at)
            self.unavailable += take(entry) is not None
            if self._ahead() or alarm.rang:
                return True
        return False


async def feed(entries: Iterator[Entry], spool: Taking, alarm: Alarm, clock: JumpClock, start_ms: int) -> int:
    """Let everything arrive in its time; returns how many events the spool did not take."""
    arrivals = Feed(entries, spool, alarm, start_ms)
    clock.arrivals = arrivals
    await arrivals.over.wait()
    return arrivals.unavailable
