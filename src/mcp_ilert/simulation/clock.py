"""Virtual time: whenever nothing can run, it is the next time at which something wants to, or something arrives.

Trio's own MockClock does the same for tests; it needs two rounds of Trio's loop for it, and this needs none. What
arrives is let in here, in the very moment in which Trio has nothing else to do before: no task has to be woken for it.
"""

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, Protocol

import trio
from trio.abc import Clock


class Arrivals(Protocol):
    """What comes from outside, in its order."""

    def let_in(self, until: float, show: Callable[[float], None]) -> bool:
        """Let in what comes by then, each at its time, which is shown on the clock; ends where that wakes anybody.

        Whether it did. Times are seconds of the clock.
        """


class Alarm(NamedTuple):
    """When somebody wants to be woken; the earlier number first, where two want that at once."""

    at: float
    number: int
    task: trio.lowlevel.Task


class JumpClock(Clock):
    """Starts at 0. Nothing that waits for the world outside (threads, sockets) may run beside it."""

    def __init__(self) -> None:
        self.arrivals: Arrivals | None = None
        self._now = 0.0
        self._alarms: list[Alarm] = []
        self._number = count()

    def start_clock(self) -> None:
        """Nothing runs by itself."""

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks when it has nothing to run: so it is the deadline now, unless what arrives before wakes someone.

        Without a deadline, Trio waits for itself.
        """
        alarm = self._alarms[0].at if self._alarms else math.inf
        if self.arrivals is not None and self.arrivals.let_in(min(deadline, alarm), self._show):
            return 0.0
        if alarm <= deadline and alarm < math.inf:
            self._show(alarm)
            self._ring()
            return 0.0
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0.0
        return deadline

    async def sleep(self, seconds: float) -> None:
        """As trio.sleep, at a fraction of what it costs: nothing is cancelled to wake up."""
        if seconds <= 0:
            await trio.lowlevel.checkpoint()
            return
        alarm = Alarm(self._now + seconds, next(self._number), trio.lowlevel.current_task())
        heapq.heappush(self._alarms, alarm)

        def give_up(_: object) -> trio.lowlevel.Abort:
            self._alarms.remove(alarm)
            heapq.heapify(self._alarms)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    def _ring(self) -> None:
        """Wake those whose time has come, in the order in which they went to sleep."""
        while self._alarms and self._alarms[0].at <= self._now:
            trio.lowlevel.reschedule(heapq.heappop(self._alarms).task)

    def _show(self, at: float) -> None:
        self._now = max(self._now, at)
