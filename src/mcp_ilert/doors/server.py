"""Serves an app on sockets until it is told to stop: bounded connections, then a graceful end."""

import json
import socket
import ssl
from collections import Counter
from typing import Any, Final

import msgspec
import structlog
import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

from mcp_ilert.doors.connection import Connection, Deadlines, Shared
from mcp_ilert.doors.hyper import hypercorn_config

log = structlog.get_logger()

_FULL_BODY: Final = json.dumps(
    {
        "title": "Service Unavailable",
        "status": 503,
        "detail": "too many connections (listen.max_connections, listen.max_connections_per_address)",
    }
).encode()
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class Bounds(msgspec.Struct, frozen=True):
    """How many connections are open at once."""

    connections: int = 10_000
    per_address: int = 1_000


class Server:
    """One app on one port. `serve` runs it; `stop` ends it."""

    def __init__(
        self,
        app: Any,
        sockets: list[socket.socket],
        *,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.bounds = bounds or Bounds()
        self._sockets = sockets
        self._tls = tls
        self._context = WorkerContext(None)
        framework: ASGIFramework = app
        self._shared = Shared(
            wrap_app(framework, 0, "asgi"), hypercorn_config(), self._context, deadlines or Deadlines()
        )
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._stopping = trio.Event()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    async def serve(
        self, grace_seconds: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop`; then requests under way have so long to end. Owns the sockets, and closes them."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._sockets]
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._accept, listeners, connections)
                task_status.started()
                await self._stopping.wait()
                accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + grace_seconds
            await self._context.terminated.set()
            for connection in list(self._connections):
                await connection.close_if_idle()

    def use_tls(self, tls: ssl.SSLContext | None) -> None:
        """Take this certificate from the next connection on (a reload)."""
        self._tls = tls

    def stop(self) -> None:
        """Accept no more, close what is idle, let the rest end."""
        self._stopping.set()

    async def _accept(self, listeners: list[trio.SocketListener], connections: trio.Nursery) -> None:
        await trio.serve_listeners(self._serve_one, listeners, handler_nursery=connections)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        address = _address(stream)
        if (
            len(self._connections) >= self.bounds.connections
            or self._addresses[address] >= self.bounds.per_address
        ):
            await self._turn_away(stream)
            return
        wrapped = (
            stream
            if self._tls is None
            else trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        )
        connection = Connection(self._shared, wrapped)
        self._connections.add(connection)
        self._addresses[address] += 1
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - a connection's fault is its own
            log.warning("a connection failed", error=_shown(error))
        finally:
            self._connections.discard(connection)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(1):
                if self._tls is None:
                    await stream.send_all(_FULL)
                    await stream.send_eof()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


def _address(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""


def _shown(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:300]
