"""Serves an app on sockets until it is told to stop: bounded connections, then a graceful end.

Three ways carry a connection: the reactor (where it is compiled), the stream pump (elsewhere), and Hypercorn's
protocols (`Connection`) for all that is not for sessions, which the first two hand over.
"""

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal

import msgspec
import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

from mcp_ilert._fast.tls import Tls
from mcp_ilert.doors.connection import Connection, Deadlines, Shared, Stream, is_http2
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.faults import tell_failed
from mcp_ilert.doors.foreign import Stage
from mcp_ilert.doors.hyper import hypercorn_config
from mcp_ilert.doors.hyper2 import Commons
from mcp_ilert.doors.places import Bounds, Places, full_http, full_line
from mcp_ilert.doors.sessions import Sessions
from mcp_ilert.doors.stream import Begin, StreamPump
from mcp_ilert.doors.tls import Admission, Clients
from mcp_ilert.doors.tls_stream import TlsStream
from mcp_ilert.wire import Bounds as Sizes

try:
    from mcp_ilert.doors.reactor import ReactorPump
except ImportError:  # no C compiler, or another system
    REACTOR = False
else:
    REACTOR = True

LEAVE_SECONDS: Final = 5.0
"""Who came in by a rule that holds no more has so long to be answered."""
Sockets = list[socket.socket]
__all__ = ["Bounds", "Fast", "Server"]


class Fast(msgspec.Struct, frozen=True):
    """What the doors with sessions need beyond an app."""

    events: EventsDoor
    sizes: Sizes
    lines: Sequence[socket.socket] = ()
    """Where an event a line is taken; HTTP elsewhere."""
    pump: Literal["reactor", "stream"] = "reactor"
    """Which is used, if it is there."""


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
        commons: Commons | None = None,
    ) -> None:
        self._sockets = sockets
        self._tls = tls
        self._clients = clients
        self._context = WorkerContext(None)
        framework: ASGIFramework = app
        deadlines = deadlines or Deadlines()
        wrapped = wrap_app(framework, 0, "asgi")
        commons = commons or Commons()
        self._shared = Shared(wrapped, hypercorn_config(), self._context, deadlines, commons)
        self._places = Places(bounds or Bounds())
        self._connections: set[Connection] = set()
        self._stopping = trio.Event()
        self._fast = fast
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
        stay = clients is None or clients == self._clients
        self._tls, self._clients = tls, clients
        if not stay and self._nursery is not None:
            self._let_go(self._nursery)

    def _let_go(self, nursery: trio.Nursery) -> None:
        """Have all who are connected come again: after what they wait for, but soon."""
        if self._reactor is not None:
            self._reactor.let_go()
        if self._fast is not None:
            self._streams.let_go()
        for connection in self._connections:
            nursery.start_soon(connection.leave)
        nursery.start_soon(self._see_out, set(self._connections))

    async def _see_out(self, leaving: set[Connection]) -> None:
        with trio.move_on_after(LEAVE_SECONDS):
            await self._stopping.wait()
            return
        if self._reactor is not None:
            self._reactor.drop_leaving()
        if self._fast is not None:
            self._streams.drop_leaving()
        for connection in leaving & self._connections:
            await connection.abort()

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
            self._listen(self._reactor)
            task_status.started()
            await self._stopping.wait()
            self._reactor.refuse()
            return
        async with trio.open_nursery() as accepting:
            accepting.start_soon(self._accept_streams, connections)
            task_status.started()
            await self._stopping.wait()
            accepting.cancel_scope.cancel()

    def _listen(self, reactor: "ReactorPump") -> None:
        begin = partial(self._sessions.http, touched=reactor.touched)
        for sock in self._sockets:
            reactor.listen(sock, begin, partial(self._plainly, full_http()), self._layer)
        for sock in self._fast.lines if self._fast else ():
            reactor.listen(sock, self._sessions.lines, partial(self._plainly, full_line()), self._layer)

    def _layer(self) -> Tls | None:
        """Of the next connection."""
        return None if self._tls is None else Tls(self._tls, Admission(self._clients, self._may_stay))

    def _plainly(self, text: bytes) -> bytes:
        """What is said to who is turned away; over TLS that would take a handshake."""
        return text if self._tls is None else b""

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
        http = partial(self._sessions.http, touched=self._streams.touched)
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
        try:
            layer = self._layer()
            await self._carry(stream if layer is None else TlsStream(stream, layer), begin)
        except Exception as error:  # noqa: BLE001 - a connection's fault is its own
            tell_failed(error)
        finally:
            self._places.leave(address)

    def _may_stay(self, clients: Clients | None) -> bool:
        """Whether who came in by this rule is let in still."""
        return self._clients is None or clients == self._clients

    async def _carry(self, stream: Stream, begin: Begin | None) -> None:
        unread: bytes | None = b""
        if begin is not None:
            unread = await self._carry_session(stream, begin)
        if unread is not None:
            await self._carry_on(stream, unread)

    async def _carry_session(self, stream: Stream, begin: Begin) -> bytes | None:
        """Serve by a session; gives what is left for Hypercorn, None at the connection's end."""
        unread: bytes | None = None
        try:
            if await self._secured(stream):
                unread = await self._streams.carry(stream, begin)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            if unread is None:
                await trio.aclose_forcefully(stream)
        return unread

    async def _secured(self, stream: Stream) -> bool:
        """Whether the handshake, if there is one, has ended in time, and who came by it may stay."""
        deadlines = self._shared.deadlines
        with trio.move_on_after(min(deadlines.handshake, deadlines.head)) as shaking:
            await is_http2(stream)
        return not shaking.cancelled_caught and self._may_stay(_rule(stream))

    async def _carry_on(self, stream: Stream, unread: bytes) -> None:
        if not self._may_stay(_rule(stream)):  # it changed while what came before was answered
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(self._shared, stream, unread)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _take_over(
        self, connections: trio.Nursery, sock: socket.socket, unread: bytes, address: str, tls: Tls | None
    ) -> None:
        """Take what the reactor hands over; its place is given back here."""
        sock.setblocking(False)
        connections.start_soon(self._serve_handed, sock, unread, address, tls)

    async def _serve_handed(self, sock: socket.socket, unread: bytes, address: str, tls: Tls | None) -> None:
        try:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            await self._carry_on(stream if tls is None else TlsStream(stream, tls), unread)
        except Exception as error:  # noqa: BLE001 - as above
            tell_failed(error)
        finally:
            self._places.leave(address)

    async def _turn_away(self, stream: trio.SocketStream, full: bytes) -> None:
        try:
            with trio.move_on_after(1):
                if full := self._plainly(full):
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


def _rule(stream: Stream) -> Clients | None:
    """By which the client was let in."""
    admission = stream.layer.admit if isinstance(stream, TlsStream) else None
    return admission.clients if isinstance(admission, Admission) else None


def _address(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""
