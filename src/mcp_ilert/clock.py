"""Time is an argument. Stored times are wall-clock milliseconds since 1970; waits are seconds of Trio's clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

NowMs = Callable[[], int]


def wall_ms() -> int:
    """The wall clock, in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Wall-clock milliseconds as RFC 3339 text in UTC."""
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
