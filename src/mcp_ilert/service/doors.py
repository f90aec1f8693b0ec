"""The ports of the bridge: the doors for events, and Prometheus' own."""

import socket
import ssl

import trio
from quart_trio import QuartTrio

from mcp_ilert import __version__
from mcp_ilert.config import Settings
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.server import Bounds, Server
from mcp_ilert.doors.sockets import listening_sockets
from mcp_ilert.doors.tls import server_context
from mcp_ilert.errors import StartError
from mcp_ilert.service.service import Service
from mcp_ilert.web.api import Api
from mcp_ilert.web.app import bridge_app, metrics_app
from mcp_ilert.web.base import use_limits

Sockets = list[socket.socket]
METRICS_BOUNDS = Bounds(connections=100, per_address=100)


class Doors:
    """Bound when made, so that a port that is taken is known before anything is sent; then served."""

    def __init__(self, service: Service) -> None:
        """Raises StartError where a port or a certificate cannot be used."""
        settings = service.settings
        self._closed = trio.Event()
        tls = tls_of(settings)
        self._app = _app(service)
        sockets, for_metrics = _bound(settings)
        deadlines = Deadlines(head=settings.listen.read_timeout_seconds)
        self._server = Server(self._app, sockets, tls=tls, bounds=bounds_of(settings), deadlines=deadlines)
        self._metrics = (
            Server(metrics_app(service.metrics.exposition), for_metrics, bounds=METRICS_BOUNDS)
            if for_metrics
            else None
        )
        service.url = _url(self._server, secure=tls is not None)
        service.metrics_url = _url(self._metrics, secure=False) if self._metrics else None

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
        self._server.use_tls(tls_of(settings))
        self._server.bounds = bounds_of(settings)
        listen = settings.listen
        use_limits(
            self._app,
            max_body_bytes=listen.max_body_bytes,
            read_timeout_seconds=listen.read_timeout_seconds,
        )


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    tls = settings.tls
    if tls.cert_file is None or tls.key_file is None:
        return None
    return server_context(tls.cert_file, tls.key_file, client_ca_file=tls.client_ca_file)


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(settings.listen.max_connections, settings.listen.max_connections_per_address)


def _app(service: Service) -> QuartTrio:
    return bridge_app(
        intake=service.intake,
        guard=service.guard,
        metrics=service.metrics,
        readiness=service.readiness,
        counts=service.counts,
        version=__version__,
        read_timeout_seconds=service.settings.listen.read_timeout_seconds,
        api=Api(service.look, service.handle),
    )


def _bound(settings: Settings) -> tuple[Sockets, Sockets]:
    """The sockets of the doors and of the metrics (none where these are off): both, or neither is left open."""
    listen, metrics = settings.listen, settings.metrics
    doors = listening_sockets(listen.address, listen.port, keys=("listen.address", "listen.port"))
    if not metrics.enabled:
        return doors, []
    keys = ("metrics.listen_address", "metrics.listen_port")
    try:
        return doors, listening_sockets(metrics.listen_address, metrics.listen_port, keys=keys)
    except StartError:
        for sock in doors:
            sock.close()
        raise


def _url(server: Server, *, secure: bool) -> str:
    """Where a program on this machine finds the server."""
    host, port = server.addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
