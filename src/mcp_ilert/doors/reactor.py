"""The reactor pump: one task that turns the compiled reactor, and gives what it brings to the door of events.

A round costs the task one wait; in between, other tasks run. Linux only.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final

import trio

from mcp_ilert._fast.reactor import Listener, Reactor
from mcp_ilert._fast.tls import Tls
from mcp_ilert.doors.connection import DRAIN_SECONDS, LINGER_SECONDS, Deadlines
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.faults import tell_failed
from mcp_ilert.doors.places import Places
from mcp_ilert.doors.wheel import Wheel
from mcp_ilert.wire import Arrival, Session

DRAIN_ROUNDS: Final = 64
"""At the end so many rounds may still bring what had come before."""

Begin = Callable[[bytes, int, Tls | None], Session | None]
HandOver = Callable[[socket.socket, bytes, str, Tls | None], None]
"""Told of a connection that is not for sessions: its socket, what was received of it, its address, its TLS."""


class ReactorPump:
    """The connections of some sockets. `run` serves them; `drain` ends them."""

    def __init__(
        self,
        events: EventsDoor,
        places: Places,
        deadlines: Deadlines,
        hand_over: HandOver,
        turn: Callable[[], None],
    ) -> None:
        self._events = events
        self._places = places
        self._hand_over = hand_over
        self._turn = turn
        self._wheel: Wheel[object] = Wheel()
        self._reactor = Reactor(self, self._wheel)
        self._reactor.linger = LINGER_SECONDS
        self.use(deadlines)
        self._waiting = trio.CancelScope()
        self._ended = trio.Event()
        self._draining = False

    def use(self, deadlines: Deadlines) -> None:
        """Take these from now on."""
        reactor = self._reactor
        reactor.handshake = min(deadlines.handshake, deadlines.head)
        reactor.head, reactor.body = deadlines.head, deadlines.body
        reactor.grace, reactor.rate = deadlines.grace, deadlines.rate
        reactor.keep_alive, reactor.send_for = deadlines.keep_alive, deadlines.send

    def listen(
        self,
        sock: socket.socket,
        begin: Begin,
        full: Callable[[], bytes],
        layer: Callable[[], Tls | None],
    ) -> None:
        """Accept what comes at this socket, by the TLS that `layer` gives, if any.

        Who does not find a place is told `full`.
        """
        self._reactor.listen(Listener(sock.fileno(), begin, full, layer))

    def refuse(self) -> None:
        """Accept what has come until now, and no more."""
        self._reactor.refuse(trio.current_time())

    def let_go(self) -> None:
        """Let go of all who are connected now, after what they wait for."""
        self._reactor.go_away(trio.current_time(), firm=True, later=False)
        self._look_around()

    def drop_leaving(self) -> None:
        """Drop those of them who have not gone."""
        self._reactor.drop_leaving()
        self._look_around()

    async def run(self) -> None:
        """Turn the reactor until cancelled, or drained."""
        try:
            while not self._ended.is_set():
                await self._wait()
                self._round()
        finally:
            self._reactor.end()

    async def drain(self) -> None:
        """Answer what has come, and let every connection go; returns once they have gone."""
        self.refuse()
        for _ in range(DRAIN_ROUNDS):
            if not self._round():
                break
            await trio.lowlevel.checkpoint()
        self._draining = True
        firm = False
        while not self._ended.is_set():
            self._reactor.go_away(trio.current_time(), firm)
            self._look_around()
            with trio.move_on_after(DRAIN_SECONDS):
                await self._ended.wait()
            firm = True

    async def _wait(self) -> None:
        """Until a socket is ready, or a deadline due."""
        if self._reactor.more:
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(deadline=self._wheel.next) as self._waiting:
            await trio.lowlevel.wait_readable(self._reactor.fd)

    def _round(self) -> int:
        reactor, now = self._reactor, trio.current_time()
        if now >= self._wheel.next:
            reactor.expire(now)
        self._turn()
        reactor.full = self._events.full
        arrivals: list[Arrival] = []
        done = reactor.poll(now, arrivals)
        if arrivals:
            self._events.take(arrivals, self.touched, reactor.fail)
        self._look_around()
        return done

    def touched(self, sessions: Sequence[Session]) -> None:
        """These have something to send."""
        self._reactor.full = self._events.full
        self._reactor.flush(sessions, trio.current_time())
        self._look_around()

    def _look_around(self) -> None:
        """After anything has happened to connections."""
        reactor = self._reactor
        while reactor.handed:
            fd, unread, address, tls = reactor.handed.pop()
            self._hand_over(socket.socket(fileno=fd), unread, address, tls)
        if self._draining and not len(reactor):
            self._ended.set()
            self._waiting.cancel()
        elif self._wheel.next < self._waiting.deadline:
            self._waiting.deadline = self._wheel.next

    # What the reactor asks ----------------------------------------------------------------------------------------

    def enter(self, address: str) -> bool:
        return self._places.enter(address)

    def leave(self, address: str) -> None:
        self._places.leave(address)

    def part(self, session: Session) -> None:
        self._events.part(session)

    def failed(self, error: Exception) -> None:
        tell_failed(error)
