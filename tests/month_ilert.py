"""An unkind iLert for a month's simulation (month.py): what it answers, what it has applied, what it must never see."""

from collections import deque
from typing import TYPE_CHECKING

import trio

from mcp_ilert.events import (
    Delivered,
    Delivery,
    Kind,
    Outcome,
    Refused,
    Rejected,
    Suspect,
    Throttled,
    Unavailable,
)
from mcp_ilert.targets.port import More, at_once, seal

if TYPE_CHECKING:
    from month import Month

TIMEOUT = 10.0
MODES = ("down", "lost", "503", "hang", "refused", "suspect", "slow", "picky")


class Ilert:
    """One integration key: its fixed minutes, its alerts, and what is wrong with it now."""

    def __init__(self, name: str, month: "Month") -> None:
        self.name = name
        self.month = month
        self.mode = "fine"
        self.limit = 50
        self.seconds = 0.2
        """How long an answer takes."""
        self.window = (0, 0)
        self.open: dict[str, bool] = {}
        self.left: deque[float] = deque()
        self.paused_until = 0.0
        self.throttled_at = 0.0
        """What the last 429 asked for, and when it came."""
        self.flying: set[str] = set()
        self.newest: dict[tuple[str, Kind], int] = {}
        self.resolved: dict[str, int] = {}

    @property
    def credential(self) -> str:
        return self.name

    @property
    def requests(self) -> int:
        return 1

    def sealed(self, salt: bytes) -> bytes:
        return seal(self.name, salt)

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:
        """An attempt, judged before it is answered."""
        month, lane = self.month, delivery.key.lower()
        try:
            self._leaves(delivery, lane)
        except AssertionError as broken:  # the dispatcher would take it for an outage
            month.broken = month.broken or broken
        month.story.requests += 1
        month.story.digests += delivery.digest
        self.flying.add(lane)
        try:
            outcome = await self._answer(delivery, lane)
        finally:
            self.flying.discard(lane)
        if not isinstance(outcome, Delivered):
            month.watched.clear()
        if isinstance(outcome, Rejected | Suspect):
            month.spoilt.add(lane)
        return outcome

    async def aclose(self) -> None:
        """Nothing is open."""

    def _leaves(self, delivery: Delivery, lane: str) -> None:
        now, month = trio.current_time(), self.month
        self.left.append(now)
        while self.left[0] <= now - 60:
            self.left.popleft()
        assert len(self.left) <= month.most_per_minute(now), f"pace of {self.name} at {now}"
        leased_before = now == self.throttled_at
        assert leased_before or now >= self.paused_until, (
            f"{self.name} was to pause until {self.paused_until}, and it is {now}"
        )
        assert lane not in self.flying, f"two requests of {lane} in flight at {now}"
        month.arrived(lane, now)
        if not delivery.digest:
            self._in_order(delivery, lane)

    def _in_order(self, delivery: Delivery, lane: str) -> None:
        number = int(delivery.payload)
        if self.month.came_for.get(number) != self.name:
            return  # moved here from a target that is gone, where it was older than what had been sent here
        before = self.newest.get((lane, delivery.kind), 0)
        assert number >= before, f"{lane}: {delivery.kind.name} {number} behind {before}"
        self.newest[lane, delivery.kind] = number
        if delivery.kind is Kind.RESOLVE:
            self.resolved[lane] = max(number, self.resolved.get(lane, 0))
        else:
            assert number > self.resolved.get(lane, 0), f"{lane}: {number} behind its resolve"

    async def _answer(self, delivery: Delivery, lane: str) -> Outcome:
        draw, mode = self.month.draw, self.mode
        await trio.sleep(
            TIMEOUT if mode == "hang" else draw.uniform(3, 8) if mode == "slow" else self.seconds
        )
        if mode == "down":
            return Unavailable("connect error", certain=True)
        if mode in ("lost", "hang"):
            self._apply(delivery, lane, draw.random() < 0.5)
            return Unavailable("timeout", certain=False)
        if mode == "503":
            return Unavailable("answered 503", certain=False, status=503)
        if mode == "refused":
            return Refused(401, "no such key")
        if mode == "suspect":
            return Suspect(403, "<html>")
        if mode == "picky" and not delivery.digest and hash_of(lane) % 7 == 0:
            return Rejected(400, "no")
        if self._over_limit():
            self.month.story.throttled += 1
            seconds = None if draw.random() < 0.5 else draw.uniform(1, 90)
            self.throttled_at = trio.current_time()
            self.paused_until = max(self.paused_until, trio.current_time() + (seconds or 60) - 0.001)
            return Throttled(seconds)
        self._apply(delivery, lane, True)
        return Delivered(202)

    def _over_limit(self) -> bool:
        minute = int(trio.current_time() // 60)
        calls = self.window[1] + 1 if self.window[0] == minute else 1
        self.window = (minute, calls)
        return calls > self.limit

    def _apply(self, delivery: Delivery, lane: str, applied: bool) -> None:
        if applied and delivery.kind is not Kind.ACCEPT:
            self.open[lane] = delivery.kind is Kind.ALERT


def hash_of(text: str) -> int:
    """The same in every process."""
    return sum(text.encode())
