"""Opens a bridge: spool → targets → dispatcher → doors, in one nursery; closes it in the reverse order.

First nobody can bring events any more, then what is in flight may end, and the spool is the last to go.
"""

import os
import random as chance
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
import trio

from mcp_ilert import __version__, config
from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.config import Settings
from mcp_ilert.control import serve_control
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.events import DeadReason
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.service.doors import Doors
from mcp_ilert.service.heartbeat import Heartbeat, ailments
from mcp_ilert.service.manager import Manager
from mcp_ilert.service.parts import Attempted, Waker, oldest_at, rules_of, targets_of
from mcp_ilert.service.service import Load, Service
from mcp_ilert.service.watch import watch
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.job import News
from mcp_ilert.spool.port import Retarget
from mcp_ilert.targets.client import check_proxies

log = structlog.get_logger()


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    load: Load | None = None,
    environ: Mapping[str, str] = os.environ,
    now_ms: NowMs = wall_ms,
    draw: Callable[[], float] = chance.random,
    attempted: Attempted | None = None,
    manager: Manager | None = None,
) -> AsyncIterator[Service]:
    """Run the bridge while the context is open; leaving it ends the bridge gently.

    `load` reads the configuration again, for reloads. `draw` gives numbers in [0, 1). `attempted` is told of each
    attempt, `manager` of the bridge's life. Raises StartError, SpoolError or ConfigError where the bridge cannot
    start; what fails later cancels the body and is raised from here.
    """
    check_proxies(settings.ilert.api_url, settings.ilert.heartbeat_url.reveal())
    path = config.spool_path(settings, environ)
    manager = manager or Manager()
    mapper, metrics, waker = Mapper(settings), Metrics(), Waker()
    observe = partial(_observe, metrics)
    opened = open_spool(path, rules_of(settings, mapper), waker, now_ms, observe=observe)
    async with opened as spool, AsyncExitStack() as ends:
        metrics.watch(spool.counts, oldest_at(path, now_ms))
        service = Service(settings, path, spool, mapper, metrics, now_ms=now_ms, attempted=attempted)
        ends.callback(service.end_recording)
        service.record()
        targets = targets_of(settings, mapper, attempted, service.on_call)
        metrics.use_targets(targets)
        await spool.change(Retarget(tuple(targets)), now_ms())
        waker.dispatcher = dispatcher = Dispatcher(spool, targets, settings, metrics, now_ms, draw)
        service.begin(dispatcher, targets)
        doors = Doors(service)  # before anything is sent: a port may be taken
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.run)
            await nursery.start(doors.serve, settings.delivery.shutdown_grace_seconds)
            await nursery.start(serve_control, path, service.handle)
            if load is not None:
                nursery.start_soon(service.reloads, load, doors.take, manager)
                nursery.start_soon(watch, lambda: config.watched_files(service.settings), service.ask_reload)
            nursery.start_soon(service.on_call.run)
            nursery.start_soon(heartbeat_of(service).run)
            nursery.start_soon(manager.watch, service.alive)
            _tell(service)
            manager.ready(service.status)
            yield service
            manager.stopping()
            await _end(service, dispatcher, doors)
            nursery.cancel_scope.cancel()
    log.info("stopped", pending=service.counts().pending)


def _observe(metrics: Metrics, news: News) -> None:
    """Count what the spool's writer tells of a batch."""
    if news.jobs:
        metrics.commit_seconds.observe(news.commit_seconds)
    if news.set_aside:
        metrics.out_failed.labels(reason=DeadReason.REJECTED.value).inc(news.set_aside)


def heartbeat_of(service: Service) -> Heartbeat:
    """What pings iLert while the bridge is well; it follows the settings of now."""
    return Heartbeat(
        lambda: service.settings.ilert.heartbeat_url,
        partial(ailments, service),
        lambda: service.settings.ilert.timeout_seconds,
        service.metrics.beaten,
    )


def _tell(service: Service) -> None:
    for line in config.warnings(service.settings):
        log.warning(line)
    log.info(
        "started",
        version=__version__,
        url=service.url,
        tcp=service.tcp_url,
        metrics=service.metrics_url,
        spool=str(service.path),
        targets=list(config.targets(service.settings)),
        pending=service.counts().pending,
    )


async def _end(service: Service, dispatcher: Dispatcher, doors: Doors) -> None:
    """/readyz turns, the doors close, what is being read is committed, deliveries in flight end."""
    settings = service.settings
    service.stopping = True
    log.info("shutting down", drain_seconds=settings.listen.drain_seconds)
    await trio.sleep(settings.listen.drain_seconds)
    async with trio.open_nursery() as ending:
        ending.start_soon(doors.close)
        ending.start_soon(dispatcher.drain, settings.delivery.shutdown_grace_seconds)
