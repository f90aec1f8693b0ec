"""Virtual time: whenever nothing can run, it is the next time at which something wants to.

Trio's own MockClock does the same for tests; it needs two rounds of Trio's loop for it, and this needs none.
"""

import math

from trio.abc import Clock


class JumpClock(Clock):
    """Starts at 0. Nothing that waits for the world outside (threads, sockets) may run beside it."""

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        """Nothing runs by itself."""

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks when it has nothing to run: so the deadline is now. Without one, Trio waits for itself."""
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0.0
        return deadline
