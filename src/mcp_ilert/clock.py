"""Time is an argument. Stored times are wall-clock milliseconds since 1970; waits are seconds of Trio's clock."""

import time
from collections.abc import Callable

NowMs = Callable[[], int]


def wall_ms() -> int:
    """The wall clock, in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000
