"""Which session a connection's first bytes ask for. What is not compiled here is left to Hypercorn."""

import time
from typing import Final, cast

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


class Sessions:
    """Makes sessions, all within the same bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._calendar = Calendar() if HTTP1 else None
        self._budget = Budget() if HTTP2 else None

    def http(self, first: bytes) -> Session | None:
        """For the port of HTTP; None where these bytes are for others, MORE where they are too few to know."""
        if first.startswith(PREFACE[: len(first)]):
            if len(first) < len(PREFACE):
                return MORE
            return Http2Session(self.bounds, None, self._budget) if HTTP2 else None
        return Http1Session(self.bounds, self._calendar) if HTTP1 else None

    def lines(self, _first: bytes) -> Session:
        """For the port of lines."""
        return LineSession(self.bounds)

    def turn(self) -> None:
        """Tell the time to the sessions that put it into their answers."""
        if self._calendar is not None:
            self._calendar.turn(time.time())
