"""Which session a connection's first bytes ask for. What is not compiled here is left to Hypercorn."""

import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

from mcp_ilert._fast.tls import Tls
from mcp_ilert.doors.foreign import Address, ForeignStreams, Peers, Stage
from mcp_ilert.doors.line_session import LineSession
from mcp_ilert.wire import Bounds, Session

try:
    from mcp_ilert._fast.http1 import Calendar, Http1Session
except ImportError:  # no C compiler
    HTTP1 = False
else:
    HTTP1 = True
try:
    from mcp_ilert._fast.http2 import Budget, Http2Session
except ImportError:  # no C compiler, or no libnghttp2
    HTTP2 = False
else:
    HTTP2 = True

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MORE: Final = cast("Session | None", NotImplemented)
Touched = Callable[[Sequence[Session]], None]


class Sessions:
    """Makes sessions, all within the same bounds. `stage` is where foreign streams are served; set it first."""

    stage: Stage

    def __init__(self, bounds: Bounds, tell_overlong: Callable[[], None]) -> None:
        self.bounds = bounds
        self._tell_overlong = tell_overlong
        self._calendar = Calendar() if HTTP1 else None
        self._budget = Budget() if HTTP2 else None

    def http(self, first: bytes, fd: int, tls: Tls | None, *, touched: Touched) -> Session | None:
        """For the port of HTTP; None where these bytes are for others, MORE where they are too few to know.

        What TLS has chosen holds, or else HTTP/2's preface. `touched` is told when foreign streams have something
        to send.
        """
        chosen = None if tls is None else tls.alpn
        if chosen is None and first.startswith(PREFACE[: len(first)]):
            if len(first) < len(PREFACE):
                return MORE
            chosen = "h2"
        if chosen != "h2":
            return Http1Session(self.bounds, self._calendar) if HTTP1 else None
        if not HTTP2:
            return None
        peers = peers_of(fd, secure=tls is not None)
        foreign = ForeignStreams(self.stage, peers, lambda session: touched((session,)))
        return Http2Session(self.bounds, foreign, self._budget, self._calendar)

    def lines(self, _first: bytes, _fd: int, _tls: Tls | None) -> Session:
        """For the port of lines."""
        return LineSession(self.bounds, self._tell_overlong)

    def turn(self) -> None:
        """Tell the time to the sessions that put it into their answers."""
        if self._calendar is not None:
            self._calendar.turn(time.time())


def peers_of(fd: int, *, secure: bool) -> Peers:
    """Who speaks at this socket."""
    sock = socket.socket(fileno=fd)
    try:
        return Peers(secure, _address(sock.getpeername()), _address(sock.getsockname()))
    except OSError:
        return Peers(secure, None, None)
    finally:
        sock.detach()


def _address(name: tuple[str, int]) -> Address:
    return name[0], name[1]
