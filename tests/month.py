"""A month of a bridge's life on virtual time, made of one seed: the spool on a file, the dispatcher, an unkind iLert.

What always holds is looked at all along: the law, the pace of each key in every 60 seconds, the order within each
lane, the time that a critical event may wait. At the end the faults stop, everything drains, and each alert stands
at iLert as its last event says.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

from dispatch_world import EPOCH_MS, FakeMetrics, Settings, settings
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.dispatch.breaker import Closed
from mcp_ilert.events import (
    Entry,
    Kind,
    Severity,
)
from mcp_ilert.simulation.clock import JumpClock
from mcp_ilert.simulation.quiet import quiet, repeatable
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.lane import State
from mcp_ilert.spool.port import Retarget, Rules
from mcp_ilert.spool.rank import CRITICAL_RUN
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.view import SpoolView
from month_ilert import MODES, TIMEOUT, Ilert

HOUR, DAY = 3600.0, 86_400.0
KEYS = 60
ALWAYS, AT_TIMES = "default", "ops"
RATES = (50, 30, 120)


class Story(msgspec.Struct):
    """What happened, for the test's message and to see that a month is not a quiet one."""

    seed: int
    events: int = 0
    requests: int = 0
    crashes: int = 0
    stops: int = 0
    reloads: int = 0
    jumps: int = 0
    throttled: int = 0
    faults: set[str] = msgspec.field(default_factory=set)
    watched: int = 0
    """Critical events whose wait was looked at."""
    digests: int = 0
    dead: int = 0


class Month:
    """The bridge over its lives, and the world around it."""

    def __init__(self, seed: int, folder: Path, days: float) -> None:
        self.draw = random.Random(seed)
        self.story = Story(seed)
        self.path = folder / f"month-{seed}.db"
        self.days = days
        self.skew_ms = 0
        self.ilerts = {name: Ilert(name, self) for name in (ALWAYS, AT_TIMES)}
        self.present = {ALWAYS, AT_TIMES}
        self.rates = [(0.0, RATES[0])]
        """Since when which `per_minute` is in force."""
        self.digests = seed % 2 == 0
        self.came_for: dict[int, str] = {}
        """The target that the routes gave each event when it came."""
        self.last: dict[str, Kind] = {}
        """Each key's last event."""
        self.spoilt: set[str] = set()
        """Keys that have a rejected letter: how they stand is an operator's affair."""
        self.watched: dict[str, float] = {}
        """Critical events that wait, and when each must have left at the latest."""
        self.metrics = FakeMetrics()
        self.spool: WrittenSpool | None = None
        self.dispatcher: Dispatcher | None = None
        self.life: trio.CancelScope | None = None
        self.storm = False
        self.over = False
        self.broken: AssertionError | None = None
        """The first promise that a request broke."""

    # The bridge ---------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(trio.current_time() * 1000)

    def wake(self, targets: frozenset[str]) -> None:
        if self.dispatcher is not None:
            self.dispatcher.wake(targets)

    def settings(self) -> Settings:
        return settings(per_minute=self.rates[-1][1], max_attempts=4, max_interval_seconds=300)

    def rules(self) -> Rules:
        return Rules(
            route=lambda payload: self.route(int(payload)),
            digest_below=Severity.HIGH if self.digests else Severity.LOW,
            brief=lambda payload: Brief(f"source {int(payload) % 3}", payload.decode()),
            history_bytes=100_000 if self.digests else 0,
        )

    def route(self, number: int) -> str:
        return AT_TIMES if AT_TIMES in self.present and number % 4 == 0 else ALWAYS

    async def live(self) -> None:
        """Life after life, until the month is over."""
        while not self.over:
            async with open_spool(self.path, self.rules(), self.wake, self.now_ms, inline=True) as spool:
                targets = {name: self.ilerts[name] for name in sorted(self.present)}
                self.dispatcher = Dispatcher(
                    spool, targets, self.settings(), self.metrics, self.now_ms, self.draw.random
                )
                await spool.change(Retarget(tuple(targets)), self.now_ms())
                self.spool = spool
                with trio.CancelScope() as self.life:
                    await self.dispatcher.run()
                self.spool = self.dispatcher = None
            self._audit()
            await trio.sleep(self.draw.choice((0.0, 1.0) if self.storm else (0.0, 1.0, 30.0, 600.0)))

    def _audit(self) -> None:
        with SpoolView(self.path, self.now_ms) as view:
            audit = view.audit()
        assert audit.error == 0, audit

    def most_per_minute(self, now: float) -> int:
        """What the configuration of the last 60 seconds allows."""
        ends = [*(since for since, _ in self.rates[1:]), math.inf]
        return max(rate for (_, rate), end in zip(self.rates, ends, strict=True) if end > now - 60)

    # Traffic ------------------------------------------------------------------------------------------------------

    async def traffic(self) -> None:
        """A few events an hour, and now and then a storm."""
        while trio.current_time() < self.days * DAY:
            await trio.sleep(self.draw.expovariate(1 / 3600))
            await self._accept(self.draw.randrange(KEYS))
            if self.draw.random() < 0.012:
                await self._storm()

    async def _storm(self) -> None:
        """Many events in a minute; often the bridge is killed in the middle."""
        self.storm = True
        for ilert in self.ilerts.values():
            ilert.limit = self.draw.choice((8, 20, 50, 1_000))
            ilert.seconds = self.draw.choice((0.2, 2.0, 5.0))
        for _ in range(self.draw.randrange(100, 300)):
            await self._accept(self.draw.randrange(4 * KEYS))
            await trio.sleep(self.draw.expovariate(20))
            if self.draw.random() < 0.004:
                self._kill()
        for _ in range(self.draw.randrange(3)):
            await trio.sleep(self.draw.uniform(0, 60))
            self._kill()
        self.storm = False

    def _kill(self) -> None:
        self.watched.clear()
        if self.life is not None:
            self.story.crashes += 1
            self.life.cancel()

    async def _accept(self, number: int) -> None:
        spool = self.spool
        if spool is None:
            return
        self.story.events += 1
        n = self.story.events
        kind = self.draw.choices(tuple(Kind), (55, 10, 35))[0]
        severity = Severity(1 + number % 4)
        key = f"Key-{number}"
        entry = Entry(self.now_ms(), kind, severity, self.route(n), key, str(n).encode())
        self.came_for[n] = entry.target
        self.watched.pop(key.lower(), None)  # its resolve may cancel it
        if severity is Severity.CRITICAL and kind is Kind.ALERT:
            self._watch(key.lower(), entry.target)
        repeats = 1 + (self.draw.random() < 0.05)
        await spool.put([entry] * repeats)
        self.last[key.lower()] = kind
        if self.broken is not None:
            raise self.broken
        assert spool.counts().error() == 0

    def _watch(self, lane: str, target: str) -> None:
        """Where nothing is in the way of a critical event, it leaves with the next token, or behind one request."""
        dispatcher, spool, now = self.dispatcher, self.spool, trio.current_time()
        track = dispatcher._desk.tracks.get(target) if dispatcher is not None else None
        if spool is None or track is None or track.pace is None or self.watched:
            return
        state, shelf = track.state, spool._store.engine.shelf
        stopped = (
            state.learnt.paused_until > now or state.park.parked or not isinstance(state.breaker, Closed)
        )
        if self.ilerts[target].mode != "fine" or stopped:
            return
        row = next(row for row in shelf.targets() if row.name == target)
        before = any(
            shelf.extreme(where, row.id, Severity.CRITICAL, sent=sent, newest=False)
            for where in (State.READY, State.BACKOFF, State.LEASED)
            for sent in (False, True)
        )
        if before or row.turns.critical_run >= CRITICAL_RUN or lane in shelf.find((lane,)):
            return
        self.story.watched += 1
        self.watched[lane] = now + track.tempo.wait(now) + TIMEOUT + 0.01

    def arrived(self, lane: str, now: float) -> None:
        """A request left: was it in time, and is any that should have left before it?"""
        late = [one for one, until in self.watched.items() if until < now]
        assert not late, f"critical {late} still wait at {now}: {self.watched}"
        self.watched.pop(lane, None)

    # What goes wrong ----------------------------------------------------------------------------------------------

    async def faults(self, ilert: Ilert) -> None:
        while True:
            await trio.sleep(self.draw.expovariate(1 / (8 * HOUR)))
            self.watched.clear()
            ilert.mode = self.draw.choice(MODES)
            self.story.faults.add(ilert.mode)
            await trio.sleep(self.draw.expovariate(1 / HOUR))
            self.watched.clear()
            ilert.mode = "fine"

    async def deaths(self) -> None:
        """Crashes and gentle stops, at any moment."""
        while True:
            await trio.sleep(self.draw.expovariate(1 / (14 * HOUR)))
            if self.dispatcher is None or self.draw.random() < 0.7:
                self._kill()
            else:
                self.watched.clear()
                self.story.stops += 1
                await self.dispatcher.drain(8)

    async def operators(self) -> None:
        """Reloads that change the pace and take a target away or back, and a wall clock that jumps."""
        while True:
            await trio.sleep(self.draw.expovariate(1 / (20 * HOUR)))
            self.watched.clear()
            if self.draw.random() < 0.3:
                self.story.jumps += 1
                self.skew_ms += round(self.draw.uniform(-1, 1) * HOUR * 1000)
                for ilert in self.ilerts.values():  # a restart may take the jump for time that has passed
                    ilert.paused_until = 0.0
                continue
            self.story.reloads += 1
            self.rates.append((trio.current_time(), self.draw.choice(RATES)))
            self.present = {ALWAYS} if self.draw.random() < 0.4 else {ALWAYS, AT_TIMES}
            await self.reload()

    async def reload(self) -> None:
        if self.dispatcher is None or self.spool is None:
            return
        targets = {name: self.ilerts[name] for name in sorted(self.present)}
        self.dispatcher.replace(targets, self.settings())
        await self.spool.change(Retarget(tuple(targets)), self.now_ms())

    # The whole ----------------------------------------------------------------------------------------------------

    async def run(self) -> Story:
        """The month, and then days without faults until nothing waits."""
        async with trio.open_nursery() as around:
            around.start_soon(self.live)
            async with trio.open_nursery() as nursery:
                for ilert in self.ilerts.values():
                    nursery.start_soon(self.faults, ilert)
                nursery.start_soon(self.deaths)
                nursery.start_soon(self.operators)
                await self.traffic()
                nursery.cancel_scope.cancel()
            await self._drain()
            self.over = True
            assert self.dispatcher is not None
            await self.dispatcher.drain(TIMEOUT)
        if self.broken is not None:
            raise self.broken
        self._reckon()
        return self.story

    async def _drain(self) -> None:
        self.watched.clear()
        for ilert in self.ilerts.values():
            ilert.mode, ilert.limit = "fine", 1_000_000
        self.present = set(self.ilerts)
        while self.spool is None:  # noqa: ASYNC110 - virtual time costs nothing
            await trio.sleep(1)
        await self.reload()
        for _ in range(3 * 24 * 60):
            await trio.sleep(60)
            if not self.spool.counts().pending and not self._dead_by_outage():
                return
        raise AssertionError(f"after three days without a fault something still waits: {self.spool.counts()}")

    def _dead_by_outage(self) -> bool:
        with SpoolView(self.path, self.now_ms) as view:
            return any(lane.state == "dead" for lane in view.dead(10_000))

    def _reckon(self) -> None:
        """Each alert stands as its last event says; of lesser ones a digest may have spoken."""
        self.story.dead = len(self.spoilt)
        for lane, kind in self.last.items():
            lesser = self.digests and Severity(1 + int(lane.split("-")[1]) % 4) > Severity.HIGH
            if lane in self.spoilt or lesser or kind is Kind.ACCEPT:
                continue
            stands = any(ilert.open.get(lane, False) for ilert in self.ilerts.values())
            assert stands is (kind is Kind.ALERT), f"{lane} ended {kind.name}"


@contextmanager
def told(seed: int) -> Iterator[None]:
    """Name the seed with whatever goes wrong."""
    try:
        yield
    except BaseException as error:
        error.add_note(
            f"seed {seed}; again: MCP_ILERT_MONTHS={seed} .venv/bin/python -m pytest tests/test_month.py"
        )
        raise


def live_through(seed: int, folder: Path, days: float = 30) -> Story:
    """One month; the same seed gives the same."""
    with told(seed), quiet(), repeatable(seed):
        return trio.run(Month(seed, folder, days).run, clock=JumpClock())
