"""One simulation: the bridge's own mapping, spool and dispatcher between recorded traffic and a model of iLert."""

import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec
import trio

from mcp_ilert import config
from mcp_ilert.config import Settings, TargetSettings
from mcp_ilert.decode.native import DECODE, check
from mcp_ilert.decode.text import check_text, is_sound
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.errors import ConfigError, InvalidEventError, MalformedError
from mcp_ilert.events import Delivery, Entry, Event, Outcome, Severity
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.sandbox import SandboxIlert
from mcp_ilert.service.parts import fields_of, interpreter, rules_of
from mcp_ilert.simulation.clock import JumpClock
from mcp_ilert.simulation.feed import Alarm, feed
from mcp_ilert.simulation.incidents import ModelIncidents, directory_of
from mcp_ilert.simulation.model import ModelTarget
from mcp_ilert.simulation.quiet import quiet, repeatable
from mcp_ilert.simulation.report import Journal, Report
from mcp_ilert.simulation.scenario import Scenario, faults_of, options_of
from mcp_ilert.simulation.traffic import Arrival, read_traffic
from mcp_ilert.spool import open_memory_spool
from mcp_ilert.spool.history import Told
from mcp_ilert.spool.port import Spool, Want

PATIENCE_SECONDS = 86_400.0
STEP_SECONDS = 60.0


class Setup(msgspec.Struct, frozen=True):
    """All that decides a simulation; the same setup gives the same report."""

    settings: Settings
    scenario: Scenario = Scenario()
    patience_seconds: float = PATIENCE_SECONDS
    """How long after the last event what still waits is waited for."""


def simulate(setup: Setup, traffic: Path) -> Report:
    """Run it to its end. Raises ConfigError where the traffic or the scenario is wrong."""
    arrivals = read_traffic(traffic)
    first = next(arrivals, None)
    if first is None:
        raise ConfigError([f"{traffic}: holds no event"])
    clock = JumpClock()
    world = World(setup, first.at_ms, clock)
    with quiet(), repeatable(setup.scenario.seed):
        return trio.run(world.run, chain((first,), arrivals), clock=clock)


class World:
    """The parts of one simulation."""

    def __init__(self, setup: Setup, start_ms: int, clock: JumpClock) -> None:
        self._setup = setup
        self._clock = clock
        self._start_ms = start_ms
        self._mapper = Mapper(setup.settings)
        self._taker = self._mapper.taker(DECODE, is_sound)
        self._journal = Journal()
        self._problem: ConfigError | None = None
        self._core = SandboxIlert(
            options_of(setup.scenario, list(config.targets(setup.settings))),
            directory=directory_of(setup.settings),
        )
        self._core.set_faults(*faults_of(setup.scenario, start_ms), now=start_ms / 1000)

    def _now_ms(self) -> int:
        return self._start_ms + round(self._clock.current_time() * 1000)

    def _now(self) -> float:
        return self._start_ms / 1000 + self._clock.current_time()

    async def run(self, arrivals: Iterator[Arrival]) -> Report:
        """Feed the traffic to the bridge and wait until nothing waits any more."""
        settings, metrics = self._setup.settings, Metrics()
        targets, alarm = self._targets(), Alarm()
        metrics.use_targets(targets)
        rules = msgspec.structs.replace(
            rules_of(settings, self._mapper), history_bytes=0, tell=lambda _payload: Told()
        )
        async with open_memory_spool(rules, alarm, self._now_ms) as spool:
            draw = random.Random(self._setup.scenario.seed).random  # noqa: S311 - repeatable on purpose
            dispatcher = Dispatcher(spool, targets, settings, metrics, self._now_ms, draw, last=True)
            alarm.dispatcher = dispatcher
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dispatcher.run)
                entries = self._entries(arrivals)
                self._journal.unavailable = await feed(entries, spool, alarm, self._clock, self._start_ms)
                traffic_end_ms = self._now_ms()
                await self._settle(spool, list(targets))
                nursery.cancel_scope.cancel()
        for problem in (self._problem, *(target.mistake for target in targets.values())):
            if problem is not None:
                raise problem
        return self._journal.report(spool.counts(), self._start_ms, traffic_end_ms)

    def _targets(self) -> dict[str, ModelTarget | ModelIncidents]:
        return {
            name: self._incidents(name, target) if target.kind == "incident" else self._alerts(name)
            for name, target in config.targets(self._setup.settings).items()
        }

    def _alerts(self, name: str) -> ModelTarget:
        settings = self._setup.settings
        words = fields_of(settings)
        return ModelTarget(
            name,
            self._core,
            self._now,
            self._clock.sleep,
            settings.ilert.timeout_seconds,
            {severity: words[severity.name.lower()] for severity in Severity},
            interpreter(self._mapper),
            self._attempted,
        )

    def _incidents(self, name: str, target: TargetSettings) -> ModelIncidents:
        return ModelIncidents(
            name,
            self._core,
            self._now,
            self._clock.sleep,
            self._setup.settings.ilert.timeout_seconds,
            target.services,
            interpreter(self._mapper),
            self._attempted,
        )

    def _attempted(self, delivery: Delivery, event: Event, outcome: Outcome) -> None:
        self._journal.attempted(delivery, event, outcome, self._now_ms())

    def _entries(self, arrivals: Iterator[Arrival]) -> Iterator[Entry]:
        """What the bridge would make of the traffic; ends where the file is not to be read any more."""
        taker, journal = self._taker, self._journal
        try:
            for arrival in arrivals:
                journal.events += 1
                entry: Entry | None = None
                if taker is not None:
                    entry = taker.take(arrival.payload, len(arrival.payload), arrival.at_ms, None)
                if entry is None:
                    entry = self._entry(arrival)
                if entry is not None:
                    yield entry
        except ConfigError as problem:
            self._problem = problem

    def _entry(self, arrival: Arrival) -> Entry | None:
        """With care, where it was not in order at once."""
        payload = arrival.payload
        try:
            check_text(payload)
            return self._mapper.entry(check(payload), payload, arrival.at_ms)
        except (InvalidEventError, MalformedError) as error:
            self._journal.refuse(arrival.line, error.detail)
            return None

    async def _settle(self, spool: Spool, targets: list[str]) -> None:
        """Wait until nothing waits and nothing is dead, which may come back by itself; within the patience."""
        with trio.move_on_after(self._setup.patience_seconds):
            while await self._waits(spool, targets):  # noqa: ASYNC110 - virtual time costs nothing
                await trio.sleep(STEP_SECONDS)

    async def _waits(self, spool: Spool, targets: list[str]) -> bool:
        """Whether anything is to come, of events or of digests: the lanes of these are ours, and not pending."""
        counts = spool.counts()
        nothing = [Want(target, tokens=0, others=0) for target in targets]
        leased = await spool.lease(nothing, {}, self._now_ms())
        return bool(counts.pending or counts.dead) or any(agenda.waiting for agenda in leased.agenda.values())
