"""The sandbox's front gate: numbers each connection, and does what must go wrong before there is any HTTP.

While the script says `refused` nobody listens: the port stays bound, so that it is ours again afterwards, and the
kernel answers with a true "connection refused". A reset is a true RST (SO_LINGER 0). When a connection fault
begins, what is connected is reset too, as if the server had gone down.
"""

import errno
import math
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

import trio

from mcp_ilert.errors import StartError
from mcp_ilert.sandbox.faults import Fault
from mcp_ilert.sandbox.ilert import SandboxIlert

MAX_CONNECTIONS = 1_000
BACKLOG = 128
HELLO_SECONDS = 5.0
HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")
"""A TLS alert record: fatal, handshake_failure (RFC 8446, 6)."""
LINGER_NOT = struct.pack("ii", 1, 0)

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Connection:
    """One accepted connection."""

    def __init__(self, number: int, stream: trio.SocketStream) -> None:
        self.number = number
        self.stream = stream

    def reset(self) -> None:
        """Break it off at once, with an RST; what others do with it ends as if it had been closed."""
        if self.stream.socket.fileno() >= 0:
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            self.stream.socket.close()


Serve = Callable[[Connection, Stream], Awaitable[None]]


class Gate:
    """Listens on one port for one sandbox, and hands good connections to `serve`."""

    def __init__(
        self,
        core: SandboxIlert,
        address: str,
        port: int,
        tls: ssl.SSLContext | None,
        now: Callable[[], float],
    ) -> None:
        self._core = core
        self._tls = tls
        self._now = now
        self._address = address
        self._socket = bind(address, port)
        self._socket.listen(BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._listening = trio.Event()
        self._listening.set()
        self._changed = trio.Event()
        self._connections: set[Connection] = set()

    def close(self) -> None:
        """Reset everybody and listen no more."""
        self._reset_all()
        self._socket.close()

    async def run(self, serve: Serve) -> None:
        """Accept until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            places = trio.Semaphore(MAX_CONNECTIONS)
            while True:
                await places.acquire()
                stream = await self._accept()
                nursery.start_soon(self._welcome, stream, serve, places)

    # Listening or not --------------------------------------------------------------------------------------------

    def obey(self) -> None:
        """Do at once what the fault script says of connections now."""
        fault = self._core.script.connecting(self._now())
        if fault is not None:
            self._reset_all()
        if fault is not None and fault.kind == "refused":
            self._refuse()
        else:
            self._listen()
        self._changed.set()

    async def _keep_time(self) -> None:
        """Obey the script at each time at which a fault begins or ends."""
        while True:
            self._changed = trio.Event()
            now = self._now()
            edge = self._core.script.next_edge(now)
            with trio.move_on_after(math.inf if edge is None else edge - now) as wait:
                await self._changed.wait()
            if wait.cancelled_caught:
                self.obey()

    def _refuse(self) -> None:
        if self._listening.is_set():
            self._listening = trio.Event()
            self._socket.close()
            self._socket = bind(self._address, self.port)

    def _listen(self) -> None:
        if not self._listening.is_set():
            self._socket.listen(BACKLOG)
            self._listening.set()

    def _reset_all(self) -> None:
        for connection in self._connections:
            connection.reset()

    # Connections -------------------------------------------------------------------------------------------------

    async def _accept(self) -> trio.SocketStream:
        while True:
            await self._listening.wait()
            try:
                accepted, _ = await self._socket.accept()
            except trio.ClosedResourceError:
                continue
            except OSError:  # out of descriptors, or the client was gone again
                await trio.sleep(0.05)
                continue
            return trio.SocketStream(accepted)

    async def _welcome(self, stream: trio.SocketStream, serve: Serve, places: trio.Semaphore) -> None:
        number, fault = self._core.connect(self._now())
        connection = Connection(number, stream)
        self._connections.add(connection)
        try:
            if fault is not None:
                await self._fail(connection, fault)
                return
            await serve(connection, self._encrypted(stream))
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # a client that goes away disturbs nobody
        finally:
            self._connections.discard(connection)
            stream.socket.close()
            places.release()

    def _encrypted(self, stream: trio.SocketStream) -> Stream:
        if self._tls is None:
            return stream
        return trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)

    async def _fail(self, connection: Connection, fault: Fault) -> None:
        """Answer the client's hello with an alert; without TLS there is no handshake, and a reset must do."""
        if self._tls is None or fault.kind == "refused":
            connection.reset()
            return
        with trio.move_on_after(HELLO_SECONDS):
            await connection.stream.receive_some(16_384)
            await connection.stream.send_all(HANDSHAKE_FAILURE)
            await connection.stream.send_eof()
            await connection.stream.receive_some(16_384)


def bind(address: str, port: int) -> trio.socket.SocketType:
    """A socket that owns the port and does not listen yet; StartError says why it cannot be."""
    try:
        family, kind, _, _, name = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
    except OSError as problem:
        raise StartError(f"cannot listen on {address}: {problem.strerror}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(name)
    except OSError as problem:
        bound.close()
        why = "is taken; choose another, or end what holds it" if problem.errno == errno.EADDRINUSE else None
        raise StartError(f"port {port} on {address} {why or f'cannot be used: {problem.strerror}'}") from None
    return trio.socket.from_stdlib_socket(bound)
