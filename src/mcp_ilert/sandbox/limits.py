"""Fixed windows: so many calls a bucket from one full minute to the next, then nothing until the window turns."""

import math


class Windows:
    """Counts calls by bucket. Only the current window is remembered, so memory ends with it."""

    def __init__(self) -> None:
        self._window: tuple[float, int] = (0.0, 0)
        self._taken: dict[tuple[str, str], int] = {}

    def take(self, bucket: tuple[str, str], limit: int | None, now: float, seconds: float) -> bool:
        """Whether this call is within the bucket's limit; counts it if so."""
        if limit is None:
            return True
        self._turn(now, seconds)
        taken = self._taken.get(bucket, 0)
        if taken >= limit:
            return False
        self._taken[bucket] = taken + 1
        return True

    def give_back(self, bucket: tuple[str, str]) -> None:
        """Forget one call of the bucket."""
        if self._taken.get(bucket):
            self._taken[bucket] -= 1

    def _turn(self, now: float, seconds: float) -> None:
        window = (seconds, math.floor(now / seconds))
        if window != self._window:
            self._window = window
            self._taken.clear()


def seconds_left(now: float, seconds: float) -> int:
    """Until the window turns, rounded up to the whole seconds that Retry-After is written in."""
    return max(1, math.ceil(seconds - now % seconds))
