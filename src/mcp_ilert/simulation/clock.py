"""Virtual time: whenever nothing can run, it is the next time at which something wants to, or something arrives.

Trio's own MockClock does the same for tests; it needs two rounds of Trio's loop for it, and this needs none. What
arrives is let in here, in the very moment in which Trio has nothing else to do before: no task has to be woken for it.
"""

import math
from collections.abc import Callable
from typing import Protocol

from trio.abc import Clock


class Arrivals(Protocol):
    """What comes from outside, in its order."""

    def let_in(self, until: float, show: Callable[[float], None]) -> bool:
        """Let in what comes by then, each at its time, which is shown on the clock; ends where that wakes anybody.

        Whether it did. Times are seconds of the clock.
        """


class JumpClock(Clock):
    """Starts at 0. Nothing that waits for the world outside (threads, sockets) may run beside it."""

    def __init__(self) -> None:
        self.arrivals: Arrivals | None = None
        self._now = 0.0

    def start_clock(self) -> None:
        """Nothing runs by itself."""

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks when it has nothing to run: so it is the deadline now, unless what arrives before wakes someone.

        Without a deadline, Trio waits for itself.
        """
        if self.arrivals is not None and self.arrivals.let_in(deadline, self._show):
            return 0.0
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0.0
        return deadline

    def _show(self, at: float) -> None:
        self._now = max(self._now, at)
