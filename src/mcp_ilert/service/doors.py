"""The ports of the bridge: the doors for events, and Prometheus' own."""

import socket
import ssl
from pathlib import Path

import msgspec
import structlog
import trio
from quart_trio import QuartTrio

from mcp_ilert import __version__
from mcp_ilert.clock import wall_ms
from mcp_ilert.config import Settings
from mcp_ilert.doors.certificates import Validity, validity_of
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.server import Bounds, Fast, Server
from mcp_ilert.doors.sockets import listening_sockets
from mcp_ilert.doors.tls import Clients, clients_of, server_context
from mcp_ilert.errors import StartError
from mcp_ilert.metrics import Metrics
from mcp_ilert.service.service import Service
from mcp_ilert.web.api import Api
from mcp_ilert.web.app import bridge_app, metrics_app
from mcp_ilert.web.base import use_limits
from mcp_ilert.wire import Bounds as Sizes

log = structlog.get_logger()

Sockets = list[socket.socket]
METRICS_BOUNDS = Bounds(connections=100, per_address=100)
MOST_BODY_BYTES = 1_048_576
"""Larger bodies are read by the app, as streams."""


class Doors:
    """Bound when made, so that a port that is taken is known before anything is sent; then served."""

    def __init__(self, service: Service) -> None:
        """Raises StartError where a port or a certificate cannot be used."""
        settings = service.settings
        self._closed = trio.Event()
        self._told = service.metrics
        tls = tls_of(settings)
        _tell_expiry(self._told, settings)
        self._app = _app(service)
        bound = _bound(settings)
        self._sizes = Sizes()
        _measure(self._sizes, settings)
        self._events = EventsDoor(service.intake, service.guard, service.metrics)
        self._server = Server(
            self._app,
            bound.http,
            tls=tls,
            clients=clients_in(settings),
            bounds=bounds_of(settings),
            deadlines=deadlines_of(settings),
            fast=Fast(self._events, self._sizes, bound.lines),
        )
        self._metrics = (
            Server(metrics_app(service.metrics.exposition), bound.metrics, bounds=METRICS_BOUNDS)
            if bound.metrics
            else None
        )
        service.url = _url(bound.http, "http" if tls is None else "https")
        service.tcp_url = _url(bound.lines, "tcp" if tls is None else "tcps") if bound.lines else None
        service.metrics_url = _url(bound.metrics, "http") if bound.metrics else None

    async def serve(
        self, grace_seconds: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the doors until `close`, and the metrics until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._metrics is not None:
                await nursery.start(self._metrics.serve, 0.0)
            await self._server.serve(grace_seconds, task_status=task_status)
            self._closed.set()

    async def close(self) -> None:
        """Accept no more, and return once what is being read has ended, or its time is up."""
        self._server.stop()
        await self._closed.wait()

    def take(self, settings: Settings) -> None:
        """Use new settings for the next connections and requests. Raises StartError with nothing changed."""
        tls, clients = tls_of(settings), clients_in(settings)
        self._server.use_tls(tls, clients)
        _tell_expiry(self._told, settings)
        self._server.use_bounds(bounds_of(settings))
        self._server.use_deadlines(deadlines_of(settings))
        _measure(self._sizes, settings)
        listen = settings.listen
        use_limits(
            self._app,
            max_body_bytes=listen.max_body_bytes,
            read_timeout_seconds=listen.read_timeout_seconds,
        )


def deadlines_of(settings: Settings) -> Deadlines:
    timeout = settings.listen.read_timeout_seconds
    return Deadlines(head=timeout, body=timeout)


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    tls = settings.tls
    if tls.cert_file is None or tls.key_file is None:
        return None
    return server_context(tls.cert_file, tls.key_file, client_ca_file=tls.client_ca_file)


def clients_in(settings: Settings) -> Clients | None:
    tls = settings.tls
    return None if tls.client_ca_file is None else clients_of(tls.client_ca_file, tls.client_allowed_sans)


def _tell_expiry(metrics: Metrics, settings: Settings) -> None:
    tls = settings.tls
    own, clients = _validity(tls.cert_file), _validity(tls.client_ca_file)
    metrics.use_certificates(own.ends, clients.ends)
    if flaw := own.flaw(wall_ms() / 1000):
        event, (begins, ends) = f"the certificate of the doors {flaw}", own.words
        log.warning(
            event,
            key="tls.cert_file",
            path=tls.cert_file,
            not_before=begins,
            not_after=ends,
        )


def _validity(path: str | None) -> Validity:
    return Validity() if path is None else validity_of(Path(path).read_bytes())


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(settings.listen.max_connections, settings.listen.max_connections_per_address)


def _app(service: Service) -> QuartTrio:
    return bridge_app(
        intake=service.intake,
        guard=service.guard,
        metrics=service.metrics,
        readiness=service.readiness,
        version=__version__,
        read_timeout_seconds=service.settings.listen.read_timeout_seconds,
        api=Api(service.look, service.facts, service.handle, service.on_call.now),
        webhooks=service.webhooks,
    )


def _measure(sizes: Sizes, settings: Settings) -> None:
    """Have sessions keep to these settings from the next request on."""
    sizes.body_bytes = min(settings.listen.max_body_bytes, MOST_BODY_BYTES)
    sizes.line_bytes = settings.listen.max_event_bytes


class _Bound(msgspec.Struct, frozen=True):
    """The sockets of the doors; empty where one is off."""

    http: Sockets
    lines: Sockets
    metrics: Sockets


def _bound(settings: Settings) -> _Bound:
    """All, or none is left open."""
    listen, metrics = settings.listen, settings.metrics
    wanted: list[tuple[str, int | None, tuple[str, str]]] = [
        (listen.address, listen.port, ("listen.address", "listen.port")),
        (listen.address, listen.tcp_port, ("listen.address", "listen.tcp_port")),
        (
            metrics.listen_address,
            metrics.listen_port if metrics.enabled else None,
            ("metrics.listen_address", "metrics.listen_port"),
        ),
    ]
    found: list[Sockets] = []
    try:
        for address, port, keys in wanted:
            found.append([] if port is None else listening_sockets(address, port, keys=keys))
    except StartError:
        for sock in (sock for sockets in found for sock in sockets):
            sock.close()
        raise
    return _Bound(*found)


def _url(sockets: Sockets, scheme: str) -> str:
    """Where a program on this machine finds the door."""
    host, port = sockets[0].getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
