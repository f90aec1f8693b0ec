"""How many requests may leave for one integration key, and when (spec of the pace: README, "Promises").

Two things decide: the bucket, and what the target's 429s taught us. The bucket is charged when a request leaves,
not when it is planned; a request that is leased but has not left yet holds a reservation. So a slow disk between
the two cannot bunch requests beyond the limit. What is saved is the bucket less its reservations, and a restart
goes on from exactly that: for the time between two lives nothing is refilled, since no clock can be trusted to
tell how long it was.
"""

import math
from bisect import bisect_right

import msgspec

from mcp_ilert._fast.token_bucket import TokenBucket

WINDOW_SECONDS = 60.0
ADDRESS_PER_MINUTE = 690
"""iLert allows one address 700 requests a minute; we stay below."""

_PAUSE_SECONDS = 60.0
_PAUSE_BOUNDS = (1.0, 3600.0)
_SUCCESSES_KEPT = 10_000
_ROUNDING = 1e-6
"""Of a token: so much a sum of refills may lack without a further sleep, too short to move any clock."""


class Rate(msgspec.Struct, frozen=True):
    """What the configuration allows a key: requests a minute, and of these how many at once."""

    per_minute: int
    burst: int


def rate(per_minute: int, burst: int | None = None) -> Rate:
    """The configured rate, with the default burst of a fifth; 1 ≤ burst ≤ per_minute."""
    return Rate(per_minute, max(1, per_minute // 5) if burst is None else burst)


class Learnt(msgspec.Struct, frozen=True):
    """What the 429s of a key taught us. All times are in seconds of the dispatcher's clock."""

    budget: float | None = None
    """Requests a minute as of `since`; None where the configured rate holds."""
    since: float = 0.0
    """When the last 429 came."""
    paused_until: float = 0.0
    paused_from: float = 0.0
    successes: tuple[float, ...] = ()
    """When requests were answered 2xx, of the last 60 s."""


def answered(learnt: Learnt, now: float) -> Learnt:
    """A request of the key was answered 2xx."""
    recent = bisect_right(learnt.successes, now - WINDOW_SECONDS)  # they are in the order of time
    return msgspec.structs.replace(learnt, successes=(*learnt.successes[recent:][-_SUCCESSES_KEPT:], now))


def throttled(
    learnt: Learnt, per_minute: int, retry_after: float | None, sent_at: float, now: float
) -> Learnt:
    """A request of the key that left at `sent_at` was answered 429.

    Requests that had left before the pause began tell nothing new: they lengthen the pause, but do not halve
    the budget again.
    """
    low, high = _PAUSE_BOUNDS
    seconds = _PAUSE_SECONDS if retry_after is None else min(max(retry_after, low), high)
    until = max(learnt.paused_until, now + seconds)
    if learnt.budget is not None and sent_at <= learnt.paused_from:
        return msgspec.structs.replace(
            learnt, budget=budget(learnt, per_minute, now), since=now, paused_until=until
        )
    recent = sum(1 for at in learnt.successes if at > now - WINDOW_SECONDS)
    halved = max(budget(learnt, per_minute, now) / 2, recent, 1.0)
    return msgspec.structs.replace(learnt, budget=halved, since=now, paused_from=now, paused_until=until)


def budget(learnt: Learnt, per_minute: int, now: float) -> float:
    """Requests a minute that the key may take now: each 60 s without a 429 give back a tenth of `per_minute`."""
    if learnt.budget is None:
        return float(per_minute)
    steps = max(0, math.floor((now - learnt.since) / WINDOW_SECONDS))
    return min(float(per_minute), learnt.budget + steps * per_minute / 10)


def limits(rate: Rate, learnt: Learnt, now: float) -> tuple[float, float]:
    """Capacity and refill a second of the key's bucket now.

    A learnt budget only ever lowers them, so that capacity and a minute's refill stay within `per_minute` even
    when the budget changes within that minute.
    """
    refill = max(1, rate.per_minute - rate.burst)
    may = math.floor(budget(learnt, rate.per_minute, now))
    if may >= rate.per_minute:
        return float(rate.burst), refill / WINDOW_SECONDS
    burst = min(rate.burst, max(1, may // 5))
    return float(burst), min(refill, max(1, may - burst)) / WINDOW_SECONDS


class Pace:
    """A bucket with reservations: plan with `reserve`, count with `depart`."""

    def __init__(self, capacity: float, per_second: float, tokens: float | None, now: float) -> None:
        """`tokens` is what `saved` said in the life before; None in the first one: full."""
        self._bucket = TokenBucket(capacity, per_second, capacity if tokens is None else tokens, now)
        self._reserved = 0
        self._queued = 0

    @property
    def per_second(self) -> float:
        """What is refilled."""
        return self._bucket.per_second

    def limit(self, capacity: float, per_second: float, now: float) -> None:
        """Go on with other limits."""
        self._bucket.limit(capacity, per_second, now)

    def lower(self, tokens: float, now: float) -> None:
        """Have at most so many tokens."""
        self._bucket.spend(max(0.0, self.saved(now) - tokens), now)

    def available(self, now: float) -> int:
        """Requests that may be planned now."""
        return max(0, math.floor(self.saved(now) + _ROUNDING))

    def known(self) -> int:
        """Requests that might be planned when it was last asked."""
        return max(0, math.floor(self._bucket.tokens - self._reserved - self._queued + _ROUNDING))

    def wait(self, now: float, requests: int = 1) -> float:
        """Seconds until so many more requests may be planned."""
        return self._bucket.wait(self._reserved + self._queued + requests, now)

    def reserve(self, n: int) -> None:
        """Plan `n` requests; what is saved from here on counts them as spent."""
        self._reserved += n

    def release(self, n: int) -> None:
        """Give back the plan of `n` requests that will not leave."""
        self._reserved -= n

    def depart(self, now: float) -> None:
        """A planned request leaves now."""
        self._reserved -= 1
        self._bucket.spend(1, now)

    def queue(self, n: int) -> None:
        """So many more requests of attempts under way wait for a token, before anything new is planned."""
        self._queued += n

    def lacking(self, now: float) -> float:
        """Seconds until one that is queued may leave."""
        needed = self._reserved + 1
        there = self._bucket.available(now) + _ROUNDING >= needed
        return 0.0 if there else self._bucket.wait(needed, now)

    def saved(self, now: float) -> float:
        """What to write down: the tokens that nothing planned needs."""
        return self._bucket.available(now) - self._reserved - self._queued
