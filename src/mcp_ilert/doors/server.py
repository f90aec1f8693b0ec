"""Serves an app on sockets until it is told to stop: bounded connections, then a graceful end.

Three ways carry a connection: the reactor (plain sockets, where it is compiled), the stream pump (TLS, other
systems), and Hypercorn's protocols (`Connection`) for all that is not for sessions, which the first two hand over.
"""

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import structlog
import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

from mcp_ilert.doors.connection import Connection, Deadlines, Shared, Stream
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.faults import tell_failed
from mcp_ilert.doors.foreign import Stage
from mcp_ilert.doors.hyper import hypercorn_config
from mcp_ilert.doors.places import Bounds, Places, full_http, full_line
from mcp_ilert.doors.sessions import Sessions
from mcp_ilert.doors.stream import Begin, StreamPump
from mcp_ilert.doors.tls import Clients, sans_of
from mcp_ilert.wire import Bounds as Sizes

try:
    from mcp_ilert.doors.reactor import ReactorPump
except ImportError:  # no C compiler, or another system
    REACTOR = False
else:
    REACTOR = True

log = structlog.get_logger()

Sockets = list[socket.socket]
__all__ = ["Bounds", "Fast", "Server"]


class Fast(msgspec.Struct, frozen=True):
    """What the doors with sessions need beyond an app."""

    events: EventsDoor
    sizes: Sizes
    lines: Sequence[socket.socket] = ()
    """Where an event a line is taken; HTTP elsewhere."""
    pump: Literal["reactor", "stream"] = "reactor"
    """Which is used for plain sockets, if it is there."""


class Server:
    """One app on one port, and perhaps lines on another. `serve` runs it; `stop` ends it."""

    def __init__(
        self,
        app: Any,
        sockets: Sockets,
        *,
        tls: ssl.SSLContext | None = None,
        clients: Clients | None = None,
        bounds: Bounds | None = None,
        deadlines: Deadlines | None = None,
        fast: Fast | None = None,
    ) -> None:
        self._sockets = sockets
        self._tls = tls
        self._clients = clients
        self._context = WorkerContext(None)
        framework: ASGIFramework = app
        deadlines = deadlines or Deadlines()
        self._shared = Shared(wrap_app(framework, 0, "asgi"), hypercorn_config(), self._context, deadlines)
        self._places = Places(bounds or Bounds())
        self._connections: set[Connection] = set()
        self._stopping = trio.Event()
        self._fast = fast
        self._changed = trio.Event()
        """Set when it is another pump's turn to accept."""
        if fast is not None:
            self._sessions = Sessions(fast.sizes, fast.events.tell_overlong)
            self._streams = StreamPump(fast.events, deadlines, self._sessions.turn)
        self._reactor: ReactorPump | None = None
        self._nursery: trio.Nursery | None = None
        """Of the connections, while it serves."""

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    async def serve(
        self, grace_seconds: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop`; then requests under way have so long to end. Owns the sockets, and closes them."""
        async with trio.open_nursery() as connections:
            try:
                await self._accept(connections, task_status)
                connections.cancel_scope.deadline = trio.current_time() + grace_seconds
                await self._end()
            finally:
                self._close()

    def use_tls(self, tls: ssl.SSLContext | None, clients: Clients | None = None) -> None:
        """Take this certificate from the next connection on (a reload).

        Who is connected stays, unless it is another matter now who may come in.
        """
        if (tls is None) != (self._tls is None):
            self._changed.set()
            if self._reactor is not None:
                self._reactor.refuse()
        stay = clients is None or clients == self._clients
        self._tls, self._clients = tls, clients
        if not stay:
            self._let_go()

    def _let_go(self) -> None:
        """Have all who are connected come again."""
        if self._reactor is not None:
            self._reactor.let_go()
        if self._fast is not None:
            self._streams.let_go()
        if self._nursery is not None:
            for connection in self._connections:
                self._nursery.start_soon(connection.leave)

    def use_bounds(self, bounds: Bounds) -> None:
        """Take these for the next connections."""
        self._places.bounds = bounds

    def use_deadlines(self, deadlines: Deadlines) -> None:
        """Take these for the next connections; the doors with sessions from now on."""
        self._shared = msgspec.structs.replace(self._shared, deadlines=deadlines)
        if self._fast is not None:
            self._streams.deadlines = deadlines
        if self._reactor is not None:
            self._reactor.use(deadlines)

    def stop(self) -> None:
        """Accept no more, close what is idle, let the rest end."""
        self._stopping.set()
        self._changed.set()

    # Accepting ----------------------------------------------------------------------------------------------------

    async def _accept(self, connections: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        fast, shared = self._fast, self._shared
        self._nursery = connections
        if fast is not None:
            self._sessions.stage = Stage(shared.app, shared.config, shared.context, connections)
        if REACTOR and fast is not None and fast.pump == "reactor":
            self._reactor = ReactorPump(
                fast.events,
                self._places,
                shared.deadlines,
                partial(self._take_over, connections),
                self._sessions.turn,
            )
            connections.start_soon(self._reactor.run)
        started = False
        while not self._stopping.is_set():
            self._changed = trio.Event()
            async with trio.open_nursery() as accepting:
                if self._reactor is not None and self._tls is None:
                    self._listen(self._reactor)
                else:
                    accepting.start_soon(self._accept_streams, connections)
                if not started:
                    started = True
                    task_status.started()
                await self._changed.wait()
                accepting.cancel_scope.cancel()
                if self._reactor is not None:
                    self._reactor.refuse()

    def _listen(self, reactor: "ReactorPump") -> None:
        for sock in self._sockets:
            begin = partial(self._sessions.http, touched=reactor.touched, secure=False)
            reactor.listen(sock, begin, full_http())
        for sock in self._fast.lines if self._fast else ():
            reactor.listen(sock, self._sessions.lines, full_line())

    async def _accept_streams(self, connections: trio.Nursery) -> None:
        async with trio.open_nursery() as accepting:
            for begin, full, sockets in self._kinds():
                listeners = [_listener(sock) for sock in sockets]
                serve = partial(self._serve_one, begin, full)
                if not listeners:
                    continue
                accepting.start_soon(
                    partial(trio.serve_listeners, handler_nursery=connections), serve, listeners
                )

    def _kinds(self) -> list[tuple[Begin | None, bytes, Sequence[socket.socket]]]:
        if self._fast is None:
            return [(None, full_http(), self._sockets)]
        http = partial(self._sessions.http, touched=self._streams.touched, secure=self._tls is not None)
        return [
            (http, full_http(), self._sockets),
            (self._sessions.lines, full_line(), self._fast.lines),
        ]

    # Connections --------------------------------------------------------------------------------------------------

    async def _serve_one(self, begin: Begin | None, full: bytes, stream: trio.SocketStream) -> None:
        address = _address(stream)
        if not self._places.enter(address):
            await self._turn_away(stream, full)
            return
        wrapped = (
            stream
            if self._tls is None
            else trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        )
        clients = self._clients
        try:
            if await self._secured(wrapped, clients):
                await self._carry(wrapped, begin, clients)
        except Exception as error:  # noqa: BLE001 - a connection's fault is its own
            tell_failed(error)
        finally:
            self._places.leave(address)

    async def _secured(self, stream: Stream, clients: Clients | None) -> bool:
        """Whether the client may come in: its handshake has ended in time, and its certificate is one that may."""
        if not isinstance(stream, trio.SSLStream):
            return True
        deadlines, admitted = self._shared.deadlines, False
        try:
            with trio.move_on_after(min(deadlines.handshake, deadlines.head)):
                await stream.do_handshake()
                admitted = self._may_stay(clients) and (clients is None or _admits(clients, stream))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone, or it speaks no TLS
        finally:
            if not admitted:
                await trio.aclose_forcefully(stream)
        return admitted

    def _may_stay(self, clients: Clients | None) -> bool:
        """Whether who came in by this rule is let in still."""
        return self._clients is None or clients == self._clients

    async def _carry(self, stream: Stream, begin: Begin | None, clients: Clients | None) -> None:
        unread: bytes | None = b""
        if begin is not None:
            unread = await self._carry_session(stream, begin)
        if unread is not None:
            await self._carry_on(stream, unread, clients)

    async def _carry_session(self, stream: Stream, begin: Begin) -> bytes | None:
        """Serve by a session; gives what is left for Hypercorn, None at the connection's end."""
        unread: bytes | None = None
        try:
            unread = await self._streams.carry(stream, begin)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            if unread is None:
                await trio.aclose_forcefully(stream)
        return unread

    async def _carry_on(self, stream: Stream, unread: bytes, clients: Clients | None) -> None:
        if not self._may_stay(clients):  # it changed while what came before was answered
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(self._shared, stream, unread)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _take_over(self, connections: trio.Nursery, sock: socket.socket, unread: bytes, address: str) -> None:
        """Take what the reactor hands over; its place is given back here."""
        sock.setblocking(False)
        connections.start_soon(self._serve_handed, sock, unread, address)

    async def _serve_handed(self, sock: socket.socket, unread: bytes, address: str) -> None:
        try:
            await self._carry_on(trio.SocketStream(trio.socket.from_stdlib_socket(sock)), unread, None)
        except Exception as error:  # noqa: BLE001 - as above
            tell_failed(error)
        finally:
            self._places.leave(address)

    async def _turn_away(self, stream: trio.SocketStream, full: bytes) -> None:
        try:
            with trio.move_on_after(1):
                if self._tls is None:
                    await stream.send_all(full)
                    await stream.send_eof()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    # The end ------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Nobody can connect any more; let go of who is here, as their requests are answered."""
        await self._context.terminated.set()
        async with trio.open_nursery() as ending:
            if self._reactor is not None:
                ending.start_soon(self._reactor.drain)
            if self._fast is not None:
                ending.start_soon(self._streams.drain)
            self._close()
            for connection in list(self._connections):
                ending.start_soon(connection.close_if_idle)

    def _close(self) -> None:
        for sock in (*self._sockets, *(self._fast.lines if self._fast else ())):
            sock.close()


def _listener(sock: socket.socket) -> trio.SocketListener:
    """Of a descriptor of its own, for Trio closes it where accepting ends."""
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock.dup()))


def _admits(clients: Clients, stream: "trio.SSLStream[trio.SocketStream]") -> bool:
    certificate = stream.getpeercert()
    if clients.admits(certificate):
        return True
    names = [name for _, name in sans_of(certificate or {})][:5]
    log.warning("a client certificate without a name of tls.client_allowed_sans is not let in", names=names)
    return False


def _address(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""
