"""One connection: bytes between a stream and Hypercorn's protocols, every wait with a deadline.

A connection's fault ends that connection and nothing else. Closing HTTP/1.1 is gentle: our side is shut first,
and what the client still sends is read for a moment, for a reset would take our answer from it.
"""

import math
from typing import Any, Final

import h11
import msgspec
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H2ProtocolAssumedError
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from mcp_ilert.doors.hyper import Http1
from mcp_ilert.doors.hyper2 import Commons, Http2
from mcp_ilert.doors.tls_stream import RECEIVE_BYTES, TlsStream
from mcp_ilert.wire import GRACE_SECONDS, LEAST_RATE

LINGER_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 1.0
"""At the end, sessions are asked so often to let their clients go, each time more firmly."""
Stream = trio.SocketStream | TlsStream


class Deadlines(msgspec.Struct, frozen=True):
    """How long a connection is waited for, in seconds."""

    head: float = 10
    """For the rest of a request's head once its first byte is there."""
    body: float = 10
    """For the rest of a request's body, where a session reads it."""
    keep_alive: float = 75
    """For the next request."""
    send: float = 10
    """For the client to take what is sent."""
    handshake: float = 5
    """For a TLS handshake."""
    grace: float = GRACE_SECONDS
    """For a body, however slowly it drips; after that it must have come at `rate`."""
    rate: float = LEAST_RATE
    """Bytes a second."""


class Shared(msgspec.Struct, frozen=True):
    """What all connections of a server have in common."""

    app: AppWrapper
    config: Config
    context: WorkerContext
    deadlines: Deadlines
    commons: Commons


class Connection:
    """One client, until it goes, idles too long, or the server stops."""

    def __init__(self, shared: Shared, stream: Stream, unread: bytes = b"") -> None:
        """`unread` was received already, by whom the connection is not for."""
        self._shared = shared
        self._stream = stream
        self._unread = unread
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._until = math.inf
        self._idle = False
        self._closing = False
        self._leaving = False
        self._settled = trio.Event()
        """Set while no request is under way."""
        self._protocol: Http1 | Http2

    async def run(self) -> None:
        """Serve the client; returns once the connection is closed."""
        try:
            deadlines = self._shared.deadlines
            with trio.move_on_after(min(deadlines.handshake, deadlines.head)) as handshake:
                http2 = await is_http2(self._stream)
            if handshake.cancelled_caught:
                return
            async with TaskGroup() as tasks:
                self._protocol = self._http2(tasks) if http2 else Http1(*self._parts(tasks))
                await self._protocol.initiate()
                self._rest()
                self._closing = self._leaving or self._shared.context.terminated.is_set()
                await self._read(tasks)
                await self._protocol.handle(Closed())
            await self._close()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            await trio.aclose_forcefully(self._stream)

    async def leave(self) -> None:
        """Let go of the client, after its answer where it waits for one."""
        self._leaving = True
        await self.close_if_idle()

    async def abort(self) -> None:
        """End now, whatever waits."""
        await trio.aclose_forcefully(self._stream)
        await self._give_up()

    async def close_if_idle(self) -> None:
        """Let go of a client that waits for nothing; one that does is let go after its answer."""
        if self._idle:
            self._closing = True
            if isinstance(self._protocol, Http2):
                await self._protocol.go_away()
            self._reading.cancel()

    def _http2(self, tasks: TaskGroup) -> Http2:
        return Http2(self._shared.commons, *self._parts(tasks))

    def _parts(self, tasks: TaskGroup) -> tuple[Any, ...]:
        """What Hypercorn's protocols are made of."""
        shared, stream = self._shared, self._stream
        ssl = isinstance(stream, TlsStream)
        sock = socket_of(stream)
        client = parse_socket_addr(sock.family, sock.getpeername())
        server = parse_socket_addr(sock.family, sock.getsockname())
        state = ConnectionState({})
        return shared.app, shared.config, shared.context, tasks, state, ssl, client, server, self._send

    # From the client -----------------------------------------------------------------------------------------

    async def _read(self, tasks: TaskGroup) -> None:
        while not self._closing:
            with trio.CancelScope(deadline=self._until) as self._reading:
                data = await self._receive()
            if self._reading.cancelled_caught:
                self._closing = True
                return
            self._begin()
            await self._handle(data, tasks)
            if not data:
                if isinstance(self._protocol, Http1):
                    await self._settled.wait()  # who shuts only its own side wants the answer still
                return

    async def _receive(self) -> bytes:
        data, self._unread = self._unread, b""
        return data or bytes(await self._stream.receive_some(RECEIVE_BYTES))

    async def _handle(self, data: bytes, tasks: TaskGroup) -> None:
        try:
            await self._protocol.handle(RawData(data))
        except H2ProtocolAssumedError as error:  # prior knowledge: the preface is there
            await self._turn_to_http2(tasks, error.data)

    async def _turn_to_http2(self, tasks: TaskGroup, data: bytes) -> None:
        self._protocol = protocol = self._http2(tasks)
        await protocol.initiate()
        self._rest()
        await protocol.handle(RawData(data))

    def _rest(self) -> None:
        """Nothing is under way: wait for the next request."""
        self._idle = True
        self._settled.set()
        self._set_deadline(trio.current_time() + self._shared.deadlines.keep_alive)

    def _begin(self) -> None:
        """Bytes have come: an HTTP/1.1 request's head has so long to be complete, however slowly it drips."""
        if self._idle and isinstance(self._protocol, Http1):
            head = trio.current_time() + self._shared.deadlines.head
            self._set_deadline(min(self._until, head))

    def _set_deadline(self, until: float) -> None:
        self._until = until
        self._reading.deadline = until

    # To the client -------------------------------------------------------------------------------------------

    async def _send(self, event: Event) -> None:
        """What Hypercorn's protocols call, from any task of the connection."""
        if isinstance(event, RawData):
            await self._send_bytes(event.data)
        elif isinstance(event, Closed):
            await self._give_up()
        elif isinstance(event, Updated):
            if not event.idle:
                self._idle = False
                self._settled = trio.Event()
                self._set_deadline(math.inf)
            else:
                self._rest()
                if self._leaving or self._shared.context.terminated.is_set():
                    await self.close_if_idle()

    async def _send_bytes(self, data: bytes) -> None:
        """All or, where the client does not take it in time, nothing more ever: half a frame would be garbage."""
        async with self._sending:
            try:
                with trio.CancelScope(
                    shield=True, deadline=trio.current_time() + self._shared.deadlines.send
                ) as scope:
                    await self._stream.send_all(data)
                gone = scope.cancelled_caught
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                gone = True
        if gone:
            await trio.aclose_forcefully(self._stream)
            await self._give_up()

    async def _give_up(self) -> None:
        """Read no more, and let the requests under way know."""
        self._closing = True
        self._settled.set()
        self._reading.cancel()
        await self._protocol.handle(Closed())

    async def _close(self) -> None:
        await close_gently(self._stream, client_may_send=self._client_may_send())

    def _client_may_send(self) -> bool:
        """Whether the client is in the middle of a request, for which it has had its answer."""
        if not isinstance(self._protocol, Http1):
            return False
        return self._protocol.connection.their_state in {h11.SEND_BODY, h11.ERROR}


def socket_of(stream: Stream) -> trio.socket.SocketType:
    return stream.transport_stream.socket if isinstance(stream, TlsStream) else stream.socket


async def close_gently(stream: Stream, *, client_may_send: bool) -> None:
    """Close as gently as the client needs it, within LINGER_SECONDS."""
    transport = stream.transport_stream if isinstance(stream, TlsStream) else stream
    with trio.move_on_after(LINGER_SECONDS):
        if client_may_send:
            await stream.send_eof()
            while await transport.receive_some(RECEIVE_BYTES):
                pass
        await stream.aclose()


async def is_http2(stream: Stream) -> bool:
    """Whether the handshake chose it; where there is none, the connection's first bytes tell."""
    if not isinstance(stream, TlsStream):
        return False
    await stream.do_handshake()
    return stream.layer.alpn == "h2"
