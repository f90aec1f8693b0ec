"""A token bucket: at most `capacity` at once, `per_second` after that.

The caller gives the time, from a clock that does not run backwards. Where it does all the same, nothing is
refilled until it has caught up, so that no token is ever granted twice for the same second.
"""

_NEVER = float("inf")


class TokenBucket:
    """Counts what may go now. `tokens` is what it held at `stamp`; a debt shows as a negative number."""

    def __init__(self, capacity: float, per_second: float, tokens: float, now: float) -> None:
        self.capacity = capacity
        self.per_second = per_second
        self.tokens = min(tokens, capacity)
        self.stamp = now

    def available(self, now: float) -> float:
        """The tokens at `now`, in parts too; never above the capacity."""
        if now > self.stamp:
            self.tokens = min(self.capacity, self.tokens + (now - self.stamp) * self.per_second)
            self.stamp = now
        return self.tokens

    def wait(self, n: float, now: float) -> float:
        """Seconds until `n` tokens are there: 0 if they are, infinite if they never will be."""
        lacking = n - self.available(now)
        if lacking <= 0:
            return 0.0
        if n > self.capacity or self.per_second <= 0:
            return _NEVER
        return lacking / self.per_second + (self.stamp - now)

    def take(self, n: float, now: float) -> float:
        """Take `n` tokens and return 0, or take none and return the seconds to wait for them."""
        seconds = self.wait(n, now)
        if seconds == 0.0:
            self.tokens -= n
        return seconds

    def spend(self, n: float, now: float) -> None:
        """Take `n` tokens whether they are there or not."""
        self.available(now)
        self.tokens -= n

    def limit(self, capacity: float, per_second: float, now: float) -> None:
        """Go on with another capacity and rate; what is there is kept up to the new capacity."""
        self.available(now)
        self.capacity = capacity
        self.per_second = per_second
        self.tokens = min(self.tokens, capacity)
