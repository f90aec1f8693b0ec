"""A dispatcher on virtual time over a spool in memory, with targets that answer as a test says."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
import trio.testing
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.events import Delivered, Delivery, Entry, Kind, Outcome, Severity
from mcp_ilert.spool import open_memory_spool
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.targets.port import More, at_once, seal

EPOCH_MS = 1_800_000_000_000
OK = Delivered(202)
Answers = Callable[[Delivery], Outcome]


class RateLimit(msgspec.Struct, frozen=True):
    per_minute: int = 50
    burst: int | None = None


class Retries(msgspec.Struct, frozen=True):
    max_attempts: int = 5
    base_interval_seconds: float = 2
    max_interval_seconds: float = 300


class StormSection(msgspec.Struct, frozen=True):
    after_seconds: float = 300
    digest_below: str = "high"


class DeliverySection(msgspec.Struct, frozen=True):
    max_in_flight: int = 8
    storm: StormSection = StormSection()


class Settings(msgspec.Struct, frozen=True):
    rate_limit: RateLimit = RateLimit()
    retries: Retries = Retries()
    delivery: DeliverySection = DeliverySection()


def settings(**values: float | None) -> Settings:
    """Settings with these values, wherever they belong."""
    parts = {
        "rate_limit": RateLimit,
        "retries": Retries,
        "delivery": DeliverySection,
    }
    made = {
        name: part(**{k: v for k, v in values.items() if k in part.__struct_fields__})
        for name, part in parts.items()
    }
    return Settings(**made)


class FakeMetrics:
    """What the dispatcher tells, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.out_success = Counter("out_success", "-", registry=registry)
        self.out_failed = Counter("out_failed", "-", ["reason"], registry=registry)
        self.out_retries = Counter("out_retries", "-", ["reason"], registry=registry)
        self.digest_alerts = Counter("digest_alerts", "-", registry=registry)
        self.processing_latency = Histogram("latency", "-", registry=registry)
        self.rate_limited = Counter("rate_limited", "-", ["target"], registry=registry)
        self.circuit_state = Gauge("circuit", "-", ["target"], registry=registry)
        self.rate_limit_tokens = Gauge("tokens", "-", ["target"], registry=registry)
        self.key_parked = Gauge("parked", "-", ["target"], registry=registry)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


class FakeTarget:
    """Answers each delivery as told, after some seconds; remembers what came, and when."""

    def __init__(
        self,
        name: str = "default",
        seconds: float = 0.0,
        *,
        requests: int = 1,
        key: str = "",
        secret: str = "",
    ) -> None:
        """An attempt takes so many `requests`; `key`: names that of several targets; `secret`: the key itself."""
        self.secret = secret or key or name
        self.name = name
        self.key = key
        self.requests = requests
        self.left: list[float] = []
        """When the further requests left."""
        self.seconds = seconds
        self.answer: Answers = lambda _delivery: OK
        self.came: list[tuple[float, Delivery]] = []
        self.ended: list[str] = []
        self.flying = 0
        self.most_flying = 0
        self.flying_others = 0
        self.most_others = 0
        self.closed = 0

    def script(self, *outcomes: Outcome, then: Outcome = OK) -> None:
        """Answer with these in turn, and with `then` ever after."""
        rest = iter(outcomes)
        self.answer = lambda _delivery: next(rest, then)

    @property
    def credential(self) -> str:
        return self.key or self.name

    def sealed(self, salt: bytes) -> bytes:
        return seal(self.secret, salt)

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:
        self.came.append((trio.current_time(), delivery))
        other = delivery.severity is not Severity.CRITICAL
        self.flying += 1
        self.flying_others += other
        self.most_flying = max(self.most_flying, self.flying)
        self.most_others = max(self.most_others, self.flying_others)
        try:
            for _ in range(self.requests - 1):
                await more()
                self.left.append(trio.current_time())
            await trio.sleep(self.seconds)
            self.ended.append(delivery.key)
            return self.answer(delivery)
        finally:
            self.flying -= 1
            self.flying_others -= other

    async def aclose(self) -> None:
        assert self.flying == 0, "closed under an attempt"
        self.closed += 1

    @property
    def keys(self) -> list[str]:
        return [delivery.key for _, delivery in self.came]

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.came]


class World:
    """A spool, targets, and the dispatcher between them."""

    def __init__(self, targets: Iterable[FakeTarget], chosen: Settings, chance: float) -> None:
        self.targets = {target.name: target for target in targets}
        self.settings = chosen
        self.chance = chance
        self.metrics = FakeMetrics()
        self.skew_ms = 0
        self.spool: WrittenSpool
        self.dispatcher: Dispatcher
        self.numbers = 0

    @property
    def target(self) -> FakeTarget:
        return next(iter(self.targets.values()))

    def now_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(trio.current_time() * 1000)

    def wake(self, targets: frozenset[str]) -> None:
        self.dispatcher.wake(targets)

    def hire(self) -> Dispatcher:
        self.dispatcher = Dispatcher(
            self.spool, self.targets, self.settings, self.metrics, self.now_ms, lambda: self.chance
        )
        return self.dispatcher

    def entry(
        self,
        key: str,
        kind: Kind = Kind.ALERT,
        severity: Severity = Severity.HIGH,
        target: str = "default",
    ) -> Entry:
        self.numbers += 1
        return Entry(self.now_ms(), kind, severity, target, key, f"{key} {self.numbers}".encode())

    def patch(self, **methods: Callable[..., Any]) -> None:
        """Put these in the place of the spool's methods."""
        for name, method in methods.items():
            setattr(self.spool, name, method)

    async def put(self, *keys: str, **values: object) -> None:
        await self.spool.put([self.entry(key, **values) for key in keys])  # type: ignore[arg-type]


@asynccontextmanager
async def idle_world(
    *targets: FakeTarget, chance: float = 0.5, rules: Rules | None = None, **values: float | None
) -> AsyncIterator[World]:
    """A world whose dispatcher does not run yet."""
    world = World(targets or (FakeTarget(),), settings(**values), chance)
    async with open_memory_spool(rules or Rules(), world.wake, world.now_ms) as spool:
        world.spool = spool
        world.hire()
        yield world


@asynccontextmanager
async def world(
    *targets: FakeTarget, chance: float = 0.5, rules: Rules | None = None, **values: float | None
) -> AsyncIterator[World]:
    """A world whose dispatcher runs; nothing waits yet."""
    async with idle_world(*targets, chance=chance, rules=rules, **values) as made, running(made):
        yield made


@asynccontextmanager
async def running(made: World) -> AsyncIterator[None]:
    """Run the world's dispatcher within the block; then stop it at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.dispatcher.run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()
