"""One run of the soak: a bridge that is killed again and again between producers and a faulty iLert.

From time to time there is a *reckoning*: the producers pause; with one integration key refused and one limited to
hardly anything, the lanes of the third must drain all the same; then all is mended, all drains, and each alert key
is looked up at iLert. At the end all is resolved, and no alert but the producers' own may stand open.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

import soak_look as look
import soak_producers
from bridge import Bridge, spawned, write_config
from mcp_ilert.control import ReplayDead, ask
from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Counts
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.spool.view import SpoolView
from oracle import History, Verdict, judge
from soak_ilert import HARDLY, REFUSED, TARGETS, TIMEOUT_SECONDS, UNLIMITED, USUAL, Ilert
from soak_mould import PROGRAM, Mould, open_mould
from soak_producers import BrokenPromiseError, Producers

IN_FLIGHT = 8
GRACE_SECONDS = 8
DRAIN_SECONDS = 240.0
CALM = {"per_minute": 60_000, "burst": 6_000}
TIGHT = {"per_minute": 2_400, "burst": 10}
"""So tight that digests form."""
LIVES_OF_A_PACE = 12


class Plan(msgspec.Struct, frozen=True):
    """How long a run is, and how it goes."""

    seed: int = 1
    kills: int | None = None
    minutes: float | None = None
    life_seconds: tuple[float, float] = (0.1, 1.0)
    reckon_every: int = 100
    """Kills from one reckoning to the next."""
    storm_keys: int = 240
    cold: float = 0.1
    """Of the processes, the share that starts from nothing, as a service would; the others come out of a mould."""


class Run:
    """Everything of one run, and its figures."""

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.dice = random.Random(plan.seed)
        self.folder = folder
        self.spool = folder / "spool.db"
        self.history = History()
        self.ilert = Ilert(self.history, random.Random(self.dice.random()))
        self.producers = Producers(self.history, lambda: self.port)
        self.port = 0
        self.ends: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.mould: Mould
        self.ready: tuple[list[float], list[float]] = ([], [])
        """Seconds from the start to ready, out of the mould and from nothing."""
        self.first_delivery: tuple[list[float], list[float]] = ([], [])
        self.counts = Counts()
        self.verdict = Verdict()
        self.seconds = 0.0
        self._tell = tell
        self._began = self._spawned = time.monotonic()
        self._cold = False

    async def run(self) -> None:
        """Raises BrokenPromiseError, with what is wrong, at the first reckoning that finds it."""
        async with (
            open_sandbox(self.ilert.core) as self.ilert.server,
            open_mould() as self.mould,
            trio.open_nursery() as nursery,
        ):
            self.port = await _free_port()
            nursery.start_soon(self.ilert.watch_itself)
            nursery.start_soon(self.ilert.go_wrong, self.producers)
            self._start_producers(nursery)
            while not self.over():
                await self.some_lives()
                await self.reckon()
            await self.close()
            nursery.cancel_scope.cancel()
        self.seconds = time.monotonic() - self._began

    def _start_producers(self, nursery: trio.Nursery) -> None:
        def dice() -> random.Random:
            return random.Random(self.dice.random())

        for number in range(3):
            nursery.start_soon(soak_producers.urgent, self.producers, dice(), f"main{number}", "default", 40)
        for target in ("limited", "refused"):
            nursery.start_soon(soak_producers.urgent, self.producers, dice(), target, target, 15)
        nursery.start_soon(soak_producers.singles, self.producers, dice())
        nursery.start_soon(soak_producers.storms, self.producers, dice(), self.plan.storm_keys)

    def over(self) -> bool:
        """Whether there were enough kills, or minutes."""
        plan = self.plan
        enough = plan.kills is not None and self.ends["kill"] >= plan.kills
        late = plan.minutes is not None and time.monotonic() - self._began > plan.minutes * 60
        return enough or late

    # Lives ----------------------------------------------------------------------------------------------------

    async def some_lives(self) -> None:
        """Lives up to the next reckoning."""
        goal = self.ends["kill"] + self.plan.reckon_every
        self.producers.may_speak.set()
        while self.ends["kill"] < goal and not self.over():
            tight = self.ilert.life // LIVES_OF_A_PACE % 2 == 0
            self.producers.hasty = not tight
            await self.live(TIGHT if tight else CALM)
            self._tell(
                f"kills {self.ends['kill']}, answered {self.history.fates['answered']:,}, "
                f"at iLert {len(self.history.arrivals):,}, digests {self.ilert.counts['digest ALERT']}"
            )

    async def live(self, pace: dict[str, int]) -> None:
        """One process, from its start to its end."""
        dice = self.dice
        async with self.process(pace) as bridge:
            if dice.random() < 0.15:
                await trio.sleep(dice.uniform(0, 0.6 if self._cold else 0.2))
                await self.kill(bridge, "kill during start")
                return
            await self.until_ready(bridge)
            await trio.sleep(dice.uniform(*self.plan.life_seconds))
            if dice.random() < 0.1:
                await self.replay()
            if dice.random() < 0.9:
                await self.kill(bridge)
            else:
                await self.end(bridge)

    def process(self, pace: dict[str, int]) -> Any:
        """A new process of the bridge, as a context manager."""
        self.ilert.begin_life()
        config = write_config(
            self.folder,
            self.ilert.server.url,
            listen={"port": self.port},
            ilert={
                "webhook_key": "key-default",
                "api_key": f"life-{self.ilert.life}",  # so that iLert sees which process a request is of
                "timeout_seconds": TIMEOUT_SECONDS,
            },
            routes=[
                {"name": name, "match": {"source": name}, "webhook_key": f"key-{name}"}
                for name in TARGETS[1:]
            ],
            rate_limit=pace,
            delivery={
                "max_in_flight": IN_FLIGHT,
                "shutdown_grace_seconds": GRACE_SECONDS,
                "storm": {"after_seconds": 2},
            },
            retries={"base_interval_seconds": 0.05, "max_interval_seconds": 1},
            logging={"level": "info"},
        )
        self._spawned = time.monotonic()
        args = ["serve", "--config", str(config)]
        self._cold = self.dice.random() < self.plan.cold
        return spawned(args, program=[str(PROGRAM)]) if self._cold else self.mould.spawned(args)

    async def until_ready(self, bridge: Bridge) -> None:
        """Ask /readyz until it says so."""
        while bridge.process.returncode is None:
            with suppress(OSError, trio.BrokenResourceError):
                if await _readyz(self.port) == 200:
                    self.ready[self._cold].append(time.monotonic() - self._spawned)
                    return
            await trio.sleep(0.01)
        raise BrokenPromiseError(f"the bridge ended by itself: {bridge.process.returncode} {bridge.plain}")

    async def replay(self) -> None:
        """What an operator may do at any time."""
        try:
            await trio.to_thread.run_sync(ask, self.spool, ReplayDead(None))
        except McpIlertError:
            self.seen["replays that failed"] += 1
        else:
            self.seen["replays"] += 1

    async def kill(self, bridge: Bridge, how: str = "") -> None:
        self.ends["kill"] += 1
        self.ends[how] += 1
        self.history.killed.add(self.ilert.life)
        bridge.signal(signal.SIGKILL)
        self._ended(await bridge.exit_code(), -signal.SIGKILL, bridge)

    async def end(self, bridge: Bridge) -> None:
        self.ends["gentle"] += 1
        bridge.signal(signal.SIGTERM)
        began = time.monotonic()
        code = await bridge.exit_code()
        if time.monotonic() - began > GRACE_SECONDS:  # what was in flight then is cut off
            self.history.killed.add(self.ilert.life)
        self._ended(code, 0, bridge)

    def _ended(self, code: int, meant: int, bridge: Bridge) -> None:
        """The books must be right after each end, and hold what was answered and no more than was said."""
        if code != meant:
            raise BrokenPromiseError(
                f"the bridge ended with {code}, meant was {meant}: {bridge.plain} {bridge.records[-5:]}"
            )
        self._note_unanswered(bridge)
        if self.ilert.first_arrival is not None:
            self.first_delivery[self._cold].append(self.ilert.first_arrival - self._spawned)
        if not self.spool.exists():
            return
        with SpoolView(self.spool) as view:
            audit = view.audit()
        self.counts = audit.counts
        if audit.error:
            raise BrokenPromiseError(
                f"the conservation law is broken by {audit.error} after life {self.ilert.life}: {audit}"
            )
        fates, accepted = self.history.fates, audit.counts.accepted
        if not fates["answered"] <= accepted <= self.history.maybe_taken or audit.counts.fanned_out:
            raise BrokenPromiseError(f"{accepted} events are in the books, of these were said {fates}")

    def _note_unanswered(self, bridge: Bridge) -> None:
        """A process that gets no turn for seconds misses answers that were in time."""
        for record in bridge.records:
            if "alert_key" in record and "reason" in record and record.get("status") is None:
                self.history.gave_up.add((self.ilert.life, record["alert_key"]))

    # Reckonings -----------------------------------------------------------------------------------------------

    async def reckon(self) -> None:
        """See that one key holds up no other; mend all, drain, and look each alert key up."""
        await self.producers.hush()
        await self._others_drain()
        await self._drain(lambda view: look.settled(view, digests_stay=True))
        self._judge({key: words[0].target for key, words in self.history.words.items()})
        self.ilert.core.use(USUAL)

    async def _others_drain(self) -> None:
        self.ilert.set(REFUSED)
        self.ilert.core.use(HARDLY)
        async with self.process(CALM) as bridge:
            await self.until_ready(bridge)
            for name in TARGETS[1:]:
                await self._say([(f"{name}-{number}", "firing", 1, name) for number in range(15)])
            await self.replay()
            await self._until(lambda view: not view.counts().inbox and not look.waiting(view)["default"])
            with SpoolView(self.spool) as view:
                waiting = look.waiting(view)
                if not waiting["refused"]:
                    stand = [(x.state, x.remote, x.waiting) for x in view.show("refused-0")]
                    raise BrokenPromiseError(
                        f"what iLert refuses does not wait: {stand}, of {waiting}; at iLert {self.ilert.faults_now()}"
                    )
            self.seen["limited lanes that waited while others drained"] += waiting["limited"]
            self.seen["refused lanes that waited while others drained"] += waiting["refused"]
            await self.kill(bridge)

    async def _drain(self, done: Callable[[SpoolView], bool], *more: tuple[str, str, int, str]) -> None:
        self.ilert.set()
        self.ilert.core.use(UNLIMITED)
        async with self.process(CALM) as bridge:
            await self.until_ready(bridge)
            for first in range(0, len(more), 50):
                await self._say(list(more[first : first + 50]))
            await self.replay()
            await self._until(done)
            await self.end(bridge)

    async def close(self) -> None:
        """Resolve what can be resolved: then nothing waits, and no digest stands open."""
        targets = {key: words[0].target for key, words in self.history.words.items() if "single" not in key}
        await self._drain(look.settled, *((key, "resolved", 2, target) for key, target in targets.items()))
        self._judge(targets)
        if left := self.ilert.open_digests():
            raise BrokenPromiseError(f"digests stand open though all was resolved: {left}")

    async def _say(self, what: list[tuple[str, str, int, str]]) -> None:
        words = [self.producers.word(key, status, priority, target) for key, status, priority, target in what]
        async with self.producers.mouth() as mouth:
            if not await mouth.say(words):
                raise BrokenPromiseError("a bridge that is ready does not take events")

    async def _until(self, done: Callable[[SpoolView], bool]) -> None:
        """Wait for what must come; the time is a bound, not a verdict on speed."""
        with trio.move_on_after(DRAIN_SECONDS):
            while True:
                with SpoolView(self.spool) as view:
                    if done(view):
                        return
                await trio.sleep(0.1)
        with SpoolView(self.spool) as view:
            raise BrokenPromiseError(
                f"still waiting after {DRAIN_SECONDS:g} s: {view.counts()} {view.lanes(5)}"
            )

    def _judge(self, targets: dict[str, str]) -> None:
        with SpoolView(self.spool) as view:
            places = look.places(view, self.ilert, targets)
        self.verdict = judge(self.history, places)
        wrong = self.verdict.wrong
        worst = max(self.verdict.repeats_by_kill.values(), default=0)
        if worst > IN_FLIGHT:
            wrong = [*wrong, f"{worst} operations came again after one kill, {IN_FLIGHT} could be in flight"]
        delivered = {(a.target, a.key, a.kind, a.number) for a in self.history.arrivals if a.applied}
        if self.counts.delivered > len(delivered):
            wrong = [*wrong, f"{self.counts.delivered} are booked as delivered, iLert took {len(delivered)}"]
        if wrong:
            raise BrokenPromiseError(f"{len(wrong)} things are wrong: {wrong[:5]}")


async def _free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = int(listener.socket.getsockname()[1])
    await listener.aclose()
    return port


async def _readyz(port: int) -> int | None:
    """The status, or None where the answer is cut short."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join([chunk async for chunk in stream])
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None
