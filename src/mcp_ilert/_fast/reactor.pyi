from collections.abc import Callable, Iterable
from typing import Protocol

from mcp_ilert._fast.tls import Tls
from mcp_ilert.wire import Arrival, Session

class Owner(Protocol):
    def enter(self, address: str) -> bool: ...
    def leave(self, address: str) -> None: ...
    def part(self, session: Session) -> None: ...
    def failed(self, error: Exception) -> None: ...

class Wheel(Protocol):
    def by(self, item: object, time: float) -> None: ...
    def remove(self, item: object) -> None: ...
    def due(self, now: float) -> list[object]: ...

class Listener:
    """A listening socket, and what becomes of the connections that it accepts."""

    fd: int
    def __init__(
        self,
        fd: int,
        begin: Callable[[bytes, int, Tls | None], Session | None],
        full: Callable[[], bytes],
        layer: Callable[[], Tls | None],
    ) -> None:
        """`begin(first, fd, tls)` gives a session for a connection that begins with these bytes.

        It gives None where it is none for a session, NotImplemented where to know takes more bytes. Who is turned
        away is told `full()`. `layer()` is the next connection's TLS, None where it is plain.
        """

class Reactor:
    """The connections of some listeners. Not to be used from two threads."""

    fd: int
    """Of the epoll set: readable where a round has something to do."""
    full: bool
    """Too much waits for the spool: a connection that waits for answers is not read."""
    most_held: int
    handshake: float
    head: float
    body: float
    grace: float
    rate: float
    keep_alive: float
    send_for: float
    linger: float
    held: int
    """Bytes of requests that are not complete."""
    handed: list[tuple[int, bytes, str, Tls | None]]
    """What is not for sessions: descriptor, unread bytes, address, TLS. The owner takes it out."""
    def __init__(self, owner: Owner, wheel: Wheel) -> None: ...
    def __len__(self) -> int: ...
    def listen(self, listener: Listener) -> None:
        """Accept what comes at this socket."""

    def refuse(self, now: float) -> None:
        """Accept what has come until now, and no more."""

    @property
    def more(self) -> bool:
        """Whether the last round left something for the next."""

    def poll(self, now: float, arrivals: list[Arrival]) -> int:
        """One round; returns of how many sockets something was to be done."""

    def flush(self, sessions: Iterable[Session], now: float) -> None:
        """Send what these sessions have to say, and read on where that was waited for."""

    def expire(self, now: float) -> None:
        """Look at the deadlines that are due."""

    def go_away(self, now: float, firm: bool, later: bool = True) -> None:
        """Have every session take no request that has not begun, at once where it waits for no answers, or `firm`.

        `later`: who comes after this, too; without it, these stand out for `drop_leaving`.
        """

    def drop_leaving(self) -> None:
        """Drop those who were to go away, but for who came later, and have not gone."""

    def end(self) -> None:
        """Drop every connection."""

    def fail(self, session: Session, error: Exception) -> None:
        """This session failed outside: its connection ends."""
