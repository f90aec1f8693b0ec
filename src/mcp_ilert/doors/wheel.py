"""When to look at each of many connections again, to the eighth of a second. Pure.

What is in the wheel is in it once. Whoever comes out of it says by itself whether its time is over, and goes in again
if it is not: so a deadline that moves on with each request costs nothing at a request.
"""

import heapq
import math
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

TICKS: Final = 8.0
"""In a second."""
T = TypeVar("T", bound=Hashable)


class Wheel(Generic[T]):
    """Times are in seconds of one clock, whichever it is."""

    def __init__(self) -> None:
        self._tick_of: dict[T, int] = {}
        self._at: dict[int, set[T]] = {}
        self._ticks: list[int] = []
        """The keys of `_at`, as a heap."""

    def __len__(self) -> int:
        return len(self._tick_of)

    @property
    def next(self) -> float:
        """When the first is due, or infinity."""
        return self._ticks[0] / TICKS if self._ticks else math.inf

    def by(self, item: T, time: float) -> None:
        """Have the item come out at this time at the latest; where it is due earlier already, that stays."""
        tick = math.ceil(time * TICKS)
        old = self._tick_of.get(item)
        if old is not None:
            if old <= tick:
                return
            self._at[old].discard(item)
        self._tick_of[item] = tick
        there = self._at.get(tick)
        if there is None:
            there = self._at[tick] = set()
            heapq.heappush(self._ticks, tick)
        there.add(item)

    def remove(self, item: T) -> None:
        tick = self._tick_of.pop(item, None)
        if tick is not None:
            self._at[tick].discard(item)

    def due(self, now: float) -> list[T]:
        """Take out what is due."""
        found: list[T] = []
        while self._ticks and self._ticks[0] <= now * TICKS:
            found += self._at.pop(heapq.heappop(self._ticks))
        for item in found:
            del self._tick_of[item]
        return found
