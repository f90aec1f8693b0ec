"""A running bridge: what it tells, what it is asked to do, and how it takes a new configuration."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog
import trio

from mcp_ilert import __version__, config, logs
from mcp_ilert.clock import NowMs
from mcp_ilert.config import Settings
from mcp_ilert.console.look import Look
from mcp_ilert.console.overview import Facts
from mcp_ilert.control import Answer, DropKey, PauseTarget, ReplayDead, Request, ResumeTarget, change_of
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.errors import ConfigError, McpIlertError, StartError
from mcp_ilert.events import Counts, Severity
from mcp_ilert.intake import Intake
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.service import health
from mcp_ilert.service.manager import Manager
from mcp_ilert.service.parts import (
    Attempted,
    limits_of,
    oldest_at,
    rules_of,
    same_targets,
    targets_of,
    wanted_of,
    with_what_stays,
)
from mcp_ilert.service.recorder import Recorder
from mcp_ilert.spool.history import Told
from mcp_ilert.spool.port import Retarget
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.targets.client import check_proxies
from mcp_ilert.targets.on_call import OnCall
from mcp_ilert.targets.port import Target
from mcp_ilert.web.auth import Guard
from mcp_ilert.web.webhooks import Webhooks

log = structlog.get_logger()

Load = Callable[[], Settings]
Apply = Callable[[Settings], None]
"""Has the doors take new settings; raises StartError, with nothing changed, where they cannot."""


class Service:
    """The parts of a running bridge; open_service puts them together."""

    def __init__(
        self,
        settings: Settings,
        path: Path,
        spool: WrittenSpool,
        mapper: Mapper,
        metrics: Metrics,
        *,
        now_ms: NowMs,
        attempted: Attempted | None,
    ) -> None:
        self.settings = settings
        self.path = path
        self.spool = spool
        self.metrics = metrics
        self.intake = Intake(spool, mapper, metrics, now_ms, limits_of(settings))
        self.recorder: Recorder | None = None
        self.guard = Guard(settings.auth.tokens, mutual=settings.tls.client_ca_file is not None)
        self.webhooks = Webhooks(self.guard, settings)
        self._tell = rules_of(settings, mapper).tell
        self.look = Look(path, now_ms, self._tell_now)
        """Reads of the spool, for the API."""
        self.on_call = OnCall(metrics.asked_on_call)
        metrics.on_call_age.set_function(self.on_call.age)
        self.on_call.use(wanted_of(settings))
        self.stopping = False
        self.url = ""
        """Where the doors are."""
        self.tcp_url: str | None = None
        self.metrics_url: str | None = None
        self._dispatcher: Dispatcher | None = None
        self._targets: Mapping[str, Target] = {}
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._attempted = attempted
        self._reload_asked = trio.Event()
        self.reloaded = trio.Event()
        """Set when the next reload is over, taken or refused."""

    def begin(self, dispatcher: Dispatcher, targets: Mapping[str, Target]) -> None:
        """Take the delivering half, which is made after the spool and the doors."""
        self._dispatcher, self._targets = dispatcher, targets

    def record(self) -> None:
        """Record to where the settings say now. Raises StartError, with nothing changed, where that cannot be."""
        name = self.settings.listen.record
        path = Path(name) if name else None
        old = self.recorder
        if path == (old.path if old is not None else None):
            return
        new = None
        if path is not None:
            new = Recorder(path, self.metrics.record_lost, self.settings.spool.min_free_bytes)
        self.recorder, self.intake.taken = new, new.add if new is not None else None
        if old is not None:
            old.end()

    def end_recording(self) -> None:
        """Write what was taken until now, and close the file."""
        if self.recorder is not None:
            self.recorder.close()

    def _tell_now(self, payload: bytes) -> Told:
        return self._tell(payload)

    def facts(self) -> Facts:
        """What an operator sees at a glance, without a look at the spool's file."""
        reasons, notes = self.readiness()
        counts, dispatcher = self.counts(), self._delivering()
        return Facts(
            version=__version__,
            started_ms=self._started_ms,
            at_ms=self._now_ms(),
            reasons=reasons,
            notes=notes,
            counts=counts,
            full=health.full(counts, self.settings),
            in_flight=dispatcher.in_flight,
            standings=dispatcher.standings(),
        )

    def counts(self) -> Counts:
        """The conservation law's terms, now."""
        return self.spool.counts()

    def readiness(self) -> tuple[list[str], list[str]]:
        """What keeps the bridge from accepting, and what an operator should know."""
        return self._reasons(), [*self._delivering().notes(), *health.notes(self.counts(), self.settings)]

    def _reasons(self) -> list[str]:
        in_place = self.spool.in_place()
        return health.reasons(self.path, self.settings, in_place=in_place, stopping=self.stopping)

    async def ailments(self) -> list[str]:
        """Why the bridge does not accept or deliver. Commits nothing, with all that a commit takes.

        Raises UnavailableError where the spool takes nothing.
        """
        reasons = self._reasons()
        await self.spool.settle((), {}, self._now_ms())
        return [*reasons, *self._delivering().ailments()]

    async def alive(self) -> None:
        """Returns once the spool's writer has answered. What it says is no matter: no restart empties a full disk."""
        with suppress(McpIlertError):
            await self.spool.settle((), {}, self._now_ms())

    @property
    def status(self) -> str:
        """The bridge in a line, for the service manager."""
        return f"accepting events at {self.url}"

    def oldest(self) -> Mapping[Severity, float]:
        """The age of the oldest event that waits, in seconds, by severity."""
        return oldest_at(self.path, self._now_ms)()

    async def handle(self, request: Request) -> Answer:
        """Carry out what a command asks for through the control socket."""
        match request:
            case PauseTarget(target=target):
                await self._delivering().pause(target)
                return Answer(ok=True)
            case ResumeTarget(target=target):
                await self._delivering().resume(target)
                return Answer(ok=True)
            case DropKey(
                target=str() as target
            ):  # of those that are gone, too: what they hold may be unwanted
                self._delivering().must_know(target, await self.spool.records())
        changed = await self.spool.change(change_of(request), self._now_ms())
        if isinstance(request, ReplayDead):
            await self._retarget()
        log.info("changed by an operator", change=type(request).__name__, events=changed.events)
        return Answer(ok=True, events=changed.events)

    def _delivering(self) -> Dispatcher:
        if self._dispatcher is None:
            raise RuntimeError("the service is used before it has begun")
        return self._dispatcher

    def ask_reload(self) -> None:
        """Have the configuration read again, soon."""
        self._reload_asked.set()

    async def reloads(self, load: Load, apply: Apply, manager: Manager) -> None:
        """Reload each time that it is asked for, one at a time; runs until cancelled."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked = trio.Event()
            manager.reloading(time.monotonic_ns() // 1000)
            taken = await self.reload(load, apply)
            if not self.stopping:
                manager.ready(self.status if taken else f"{self.status}; reload refused, see the log")
            self.reloaded.set()
            self.reloaded = trio.Event()

    async def reload(self, load: Load, apply: Apply) -> bool:
        """Take the configuration as it is now; where anything is wrong with it, nothing changes."""
        try:
            loaded = load()
            check_proxies(loaded.ilert.api_url, loaded.ilert.heartbeat_url.reveal())
            apply(loaded)
        except ConfigError as error:
            return self._refused(error.problems)
        except StartError as error:
            return self._refused([str(error)])
        await self._take(loaded)
        self.metrics.last_reload_success.set(1)
        log.info("configuration reloaded")
        return True

    def _refused(self, problems: list[str]) -> bool:
        for problem in problems:
            log.error("reload refused, nothing changed", problem=problem)
        self.metrics.last_reload_success.set(0)
        return False

    async def _take(self, loaded: Settings) -> None:
        for key in config.reload_differences(self.settings, loaded):
            log.warning("this key needs a restart; the other changes are applied", key=key)
        old, new = self.settings, with_what_stays(loaded, self.settings)
        self.settings = new
        logs.configure(new.logging.level, new.logging.format)
        mapper = Mapper(new)
        self.intake.use(mapper, limits_of(new))
        self.guard.use(new.auth.tokens, mutual=new.tls.client_ca_file is not None)
        self.webhooks.use(new)
        rules = rules_of(new, mapper)
        self.spool.use(rules)
        self._tell = rules.tell
        self.on_call.use(wanted_of(new))
        if not same_targets(old, new):
            self._targets = targets_of(new, mapper, self._attempted, self.on_call)
        try:
            self.record()
        except StartError as error:
            log.error("not recording", problem=str(error))  # noqa: TRY400 - the line says it all
        self.metrics.use_targets(self._targets)
        self._delivering().replace(self._targets, new)
        await self._retarget()

    async def _retarget(self) -> None:
        """Have what waits at targets that are gone go where the routes send it now."""
        await self.spool.change(Retarget(tuple(self._targets)), self._now_ms())
