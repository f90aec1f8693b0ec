"""Virtual time: whenever nothing can run, it is the next time at which something wants to, or something arrives.

Trio's own MockClock does the same for tests; it needs two rounds of Trio's loop for it, and this needs none. What
arrives is let in here, in the very moment in which Trio has nothing else to do before: no task has to be woken for it.
"""

import math
from typing import Protocol

from trio.abc import Clock


class Arrivals(Protocol):
    """What comes from outside, in its order."""

    def next_at(self) -> float:
        """When, in seconds of this clock; infinite where nothing comes any more."""

    def let_in(self) -> bool:
        """Let the next one in, now; whether that woke anybody."""


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
        if self.arrivals is not None and self._let_in(self.arrivals, deadline):
            return 0.0
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0.0
        return deadline

    def _let_in(self, arrivals: Arrivals, deadline: float) -> bool:
        """Let in what arrives until the deadline, each at its time; stops where someone wakes."""
        woke = False
        while not woke and (at := arrivals.next_at()) <= deadline and at < math.inf:
            self._now = max(self._now, at)
            woke = arrivals.let_in()
        return woke
