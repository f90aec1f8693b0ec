"""Spools for tests: opened in memory, on a file inline, or on a file with the writer's thread."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp_ilert.events import Decision, Delivery, Done, Entry, Kind, Said, Settlement, Severity
from mcp_ilert.spool import open_memory_spool, open_spool
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.spool import WrittenSpool

KINDS = ("memory", "inline", "thread")
T0 = 1_800_000_000_000
OF = {"A": Kind.ALERT, "C": Kind.ACCEPT, "R": Kind.RESOLVE}


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self, ms: int = T0) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms

    def forward(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class Woken:
    """Remembers the targets at which something became ready."""

    def __init__(self) -> None:
        self.targets: set[str] = set()

    def __call__(self, targets: frozenset[str]) -> None:
        self.targets |= targets


@asynccontextmanager
async def opened(
    kind: str, folder: Path, rules: Rules, clock: Clock, woken: Woken | None = None
) -> AsyncIterator[WrittenSpool]:
    wake = woken or Woken()
    if kind == "memory":
        async with open_memory_spool(rules, wake, clock) as spool:
            yield spool
    else:
        async with open_spool(folder / "spool.db", rules, wake, clock, inline=kind == "inline") as spool:
            yield spool


class World:
    """A spool with a clock, and the shortest words for what is done to it."""

    def __init__(self, spool: WrittenSpool, clock: Clock) -> None:
        self.spool, self.clock = spool, clock

    async def put(self, *entries: Entry) -> None:
        await self.spool.put(entries)

    async def lease(
        self, tokens: int = 1, *, target: str = "default", others: int = 99, **want: Any
    ) -> list[Delivery]:
        leased = await self.spool.lease([Want(target, tokens, others, **want)], {}, self.clock())
        return list(leased.deliveries)

    async def settle(
        self, delivery: Delivery, decision: Decision | None = None, said: Said | None = None
    ) -> None:
        ended = Settlement(delivery.lease, decision or Done(), self.clock(), said or Said(202, "", "c-1"))
        await self.spool.settle([ended], {}, self.clock())

    async def send(
        self, decision: Decision | None = None, said: Said | None = None, *, target: str = "default"
    ) -> Delivery:
        """Send the one thing that goes next."""
        (delivery,) = await self.lease(target=target)
        await self.settle(delivery, decision, said)
        return delivery


def entry(
    kind: str = "A",
    key: str = "evt-1",
    *,
    at: int = T0,
    severity: Severity = Severity.HIGH,
    target: str = "default",
    text: str = "",
) -> Entry:
    return Entry(at, OF[kind], severity, target, key, (text or f"{kind}@{at}").encode())
