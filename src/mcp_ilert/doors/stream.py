"""The stream pump: a task a connection, over the same sessions; where the reactor is not compiled."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import trio

from mcp_ilert._fast.tls import Tls
from mcp_ilert.doors.connection import (
    DRAIN_SECONDS,
    Deadlines,
    Stream,
    close_gently,
    socket_of,
)
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.faults import tell_failed
from mcp_ilert.doors.tls_stream import RECEIVE_BYTES, TlsStream
from mcp_ilert.wire import Arrival, Phase, Session

MOST_PENDING: Final = 8_192
"""Requests of one connection that wait for their answers before it is read no more."""

Begin = Callable[[bytes, int, Tls | None], Session | None]


class StreamPump:
    """The connections of streams."""

    def __init__(self, events: EventsDoor, deadlines: Deadlines, turn: Callable[[], None]) -> None:
        self.events = events
        self.deadlines = deadlines
        self.turn = turn
        self._carried: dict[Session, Carried] = {}
        self._none = trio.Event()
        """Set when none is carried any more."""
        self.leaving = False
        self._age = 0
        """Counts the calls of `let_go`."""
        self._opening: set[trio.CancelScope] = set()
        """Of connections that have no session yet."""
        self._fresh: set[trio.CancelScope] = set()
        """Of these, those of which nothing has come."""

    async def carry(self, stream: Stream, begin: Begin) -> bytes | None:
        """Serve a connection to its end; gives the bytes from which on it is somebody else's, where it is."""
        age = self._age
        first = await self._first(stream, begin)
        if first is None:
            return None
        session, data = first
        if session is None:
            return data
        carried = Carried(self, stream, session)
        carried.leaving = age != self._age
        self._carried[session] = carried
        self._none = trio.Event()
        try:
            return await carried.run(data)
        finally:
            del self._carried[session]
            if not self._carried:
                self._none.set()
            self.events.part(session)
            session.receive(b"", [])  # it may have to tell others

    def drop_leaving(self) -> None:
        """Drop those who were let go and have not gone."""
        for carried in self._carried.values():
            if carried.leaving:
                carried.abort()

    def let_go(self) -> None:
        """Let go of all who are connected now, after what they wait for; who comes after them stays."""
        self._age += 1
        for scope in self._opening:
            scope.cancel()
        for carried in self._carried.values():
            carried.leave()

    def touched(self, sessions: Sequence[Session]) -> None:
        """These have something to send."""
        for session in sessions:
            carried = self._carried.get(session)
            if carried is not None:
                carried.stir()

    def failed(self, session: Session, error: Exception) -> None:
        tell_failed(error)
        carried = self._carried.get(session)
        if carried is not None:
            carried.abort()

    async def drain(self) -> None:
        """Answer what has come, and let every connection go; returns once they have gone."""
        for scope in self._fresh:
            scope.cancel()
        self.leaving = True
        while self._carried:
            for carried in list(self._carried.values()):
                carried.stir()
            with trio.move_on_after(DRAIN_SECONDS):
                await self._none.wait()
            for session in self._carried:
                session.go_away()

    async def _first(self, stream: Stream, begin: Begin) -> tuple[Session | None, bytes] | None:
        """The session, if it is one for sessions, and the first bytes; None where there is nothing to serve."""
        data = b""
        until = trio.current_time() + self.deadlines.keep_alive
        tls = stream.layer if isinstance(stream, TlsStream) else None
        while True:
            with trio.CancelScope(deadline=until) as scope:
                self._opening.add(scope)
                if not data:
                    self._fresh.add(scope)
                more = bytes(await stream.receive_some(RECEIVE_BYTES))
            self._opening.discard(scope)
            self._fresh.discard(scope)
            if scope.cancelled_caught or not more:
                return None
            if not data:
                until = trio.current_time() + self.deadlines.head
            data += more
            session = begin(data, socket_of(stream).fileno(), tls)
            if session is not NotImplemented:
                return session, data


class Carried:
    """One connection: a reader and a writer around its session."""

    def __init__(self, pump: StreamPump, stream: Stream, session: Session) -> None:
        self._pump = pump
        self._stream = stream
        self._session = session
        self._stirred = trio.Event()
        self._sent = trio.Event()
        self._reading = trio.CancelScope()
        self._all = trio.CancelScope()
        self._phase = Phase.IDLE
        self._since = trio.current_time()
        self._ended = False
        self._sending = False
        self.leaving = False

    async def run(self, data: bytes) -> bytes | None:
        """Serve the client; gives what is left unread where the connection is not closed after it."""
        with self._all:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read(data)
        if self._all.cancelled_caught:
            return None
        unread = self._session.unread
        if unread is None:
            await close_gently(self._stream, client_may_send=not self._ended)
        return unread

    def stir(self) -> None:
        """The session has been answered: there is something to send, and perhaps room to read."""
        if not self._beside():
            self._since = trio.current_time()
        self._stirred.set()

    def leave(self) -> None:
        """Take no request that has not begun, and end."""
        self.leaving = True
        self._stirred.set()

    def abort(self) -> None:
        """End now, whatever waits."""
        self._all.cancel()

    @property
    def _over(self) -> bool:
        session = self._session
        return not session.pending and (session.closing or session.unread is not None)

    # From the client ----------------------------------------------------------------------------------------------

    async def _read(self, data: bytes) -> None:
        self._receive(data)
        while not (self._ended or self._session.closing or self._over):
            if not self._may_read():
                self._sent = trio.Event()
                await self._sent.wait()
                continue
            with trio.CancelScope(deadline=self._until()) as self._reading:
                data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
            if not self._reading.cancelled_caught:
                self._receive(data)
            elif trio.current_time() >= self._until():
                self._expire()

    def _receive(self, data: bytes) -> None:
        arrivals: list[Arrival] = []
        self._pump.turn()
        self._ended = not data
        self._session.receive(data, arrivals)
        phase = self._session.phase
        if (arrivals and not self._beside()) or phase is not self._phase:
            self._phase, self._since = phase, trio.current_time()
        if arrivals:
            self._pump.events.take(arrivals, self._pump.touched, self._pump.failed)
        self._stirred.set()

    def _beside(self) -> bool:
        """Whether a request is being read to which others give no time."""
        return self._session.beside and self._phase is Phase.BODY

    def _may_read(self) -> bool:
        session = self._session
        if self._sending:
            return False
        pending = session.pending
        return pending < MOST_PENDING and not (pending and self._pump.events.full) and not session.leaving

    def _until(self) -> float:
        deadlines = self._pump.deadlines
        phase = self._session.phase
        if phase is Phase.HEAD:
            return self._since + deadlines.head
        if phase is Phase.BODY:
            paced = deadlines.grace + self._session.held / deadlines.rate
            return self._since + min(deadlines.body, paced)
        return math.inf if self._session.pending else self._since + deadlines.keep_alive

    def _expire(self) -> None:
        self._session.expire()
        self._since = trio.current_time()
        self._stirred.set()

    # To the client ------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            self._stirred = trio.Event()
            data = self._session.output()
            leaving = self.leaving or self._pump.leaving
            if not data and leaving and not self._session.pending and not self._session.closing:
                for _ in range(3):  # each call is firmer; some clients of HTTP/2 take nothing after a GOAWAY
                    self._session.go_away()
                data = self._session.output()
            if data:
                await self._send(data)
            elif self._over or (self._session.closing and not self._session.pending):
                self._let_read()
                return
            else:
                self._let_read()
                await self._stirred.wait()

    async def _send(self, data: bytes) -> None:
        self._sending = True
        with trio.move_on_after(self._pump.deadlines.send) as scope:
            await self._stream.send_all(data)
        self._sending = False
        if scope.cancelled_caught:
            self.abort()

    def _let_read(self) -> None:
        """Have the reader look again at what it may do, and until when."""
        self._sent.set()
        if self._over:
            self._reading.cancel()
        else:
            self._reading.deadline = self._until()
