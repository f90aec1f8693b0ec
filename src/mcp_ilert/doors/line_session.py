"""The TCP door's protocol: a line is an event, its answer is a line, in the order of the lines.

Blank lines are skipped, and have no answer; a last line needs no newline. A line above the bound is answered here,
and never held: `{"ok":false,"error":"…"}` in the intake's words.
"""

import re
from collections.abc import Callable
from itertools import count, repeat
from typing import Final

import msgspec

from mcp_ilert.decode.lines import OVERLONG, Line, Lines, Overlong
from mcp_ilert.wire import Arrival, Bounds, Head, Headers, Phase

HEAD: Final = Head("tcp")
OK: Final = b'{"ok":true}\n'
HTTP: Final = re.compile(rb"[A-Z]+ [^ ]+ HTTP/[0-9.]+", re.ASCII)
NOT_HTTP: Final = "this is the door for lines of events; HTTP is spoken on listen.port"
LATE: Final = "the line did not arrive in time (listen.read_timeout_seconds)"


class _Problem(msgspec.Struct):
    """What is read of a problem+json."""

    detail: str


class _Refused(msgspec.Struct):
    ok: bool
    error: str


class LineSession:
    """One connection: a `wire.Session`. Whatever is received is split at once; the shortest line is 2 bytes."""

    __slots__ = (
        "_bounds",
        "_early",
        "_first",
        "_going",
        "_limit",
        "_lines",
        "_next",
        "_ready",
        "_run",
        "_tell_overlong",
        "closing",
    )

    leaving: Final = False
    unread: Final = None

    def __init__(self, bounds: Bounds, tell_overlong: Callable[[], None] = lambda: None) -> None:
        """`tell_overlong` is called for each line that is answered here, for whoever counts what is refused."""
        self.closing = False
        self._tell_overlong = tell_overlong
        self._bounds = bounds
        self._limit = bounds.line_bytes
        self._lines = Lines(self._limit)
        self._next = 0
        self._first = 0
        """The first line without an answer."""
        self._early: dict[int, bytes] = {}
        """Answers whose turn has not come."""
        self._run = 0
        """Lines accepted since what is `_ready`."""
        self._ready: list[bytes] = []
        self._going = False

    @property
    def pending(self) -> int:
        return self._next - self._first - len(self._early)

    @property
    def held(self) -> int:
        return self._lines.held

    @property
    def phase(self) -> Phase:
        return Phase.BODY if self._lines.begun and not self.closing else Phase.IDLE

    @property
    def beside(self) -> bool:
        return False

    # From the client -----------------------------------------------------------------------------------------

    def receive(self, data: bytes, arrivals: list[Arrival]) -> None:
        if self.closing:
            return
        if self._limit != self._bounds.line_bytes and not self._lines.begun:
            self._limit = self._bounds.line_bytes
            self._lines = Lines(self._limit)
        lines = self._lines.feed(data) if data else self._lines.end()
        self.closing = not data
        if self._going and lines:
            del lines[1:]
            self.closing = True
        self._give(lines, arrivals)

    def expire(self) -> None:
        late = self.phase is Phase.BODY
        self.closing = True
        if late:
            self._answer_here(LATE)

    def go_away(self) -> None:
        """A line that has begun is the last."""
        self._going = True
        self.closing = self.closing or not self._lines.begun

    def _give(self, lines: list[Line], arrivals: list[Arrival]) -> None:
        if not self._next and lines and _is_http(lines[0]):
            self.closing = True
            self._answer_here(NOT_HTTP)
            return
        if OVERLONG not in lines:
            # A tuple a line, all in C.
            arrivals.extend(zip(repeat(self), count(self._next), repeat(HEAD), lines, strict=False))  # type: ignore[arg-type]  # no Overlong
            self._next += len(lines)
            return
        for line in lines:
            if isinstance(line, Overlong):
                self._tell_overlong()
                self._answer_here(f"the event is larger than {self._limit} bytes (listen.max_event_bytes)")
            else:
                arrivals.append((self, self._next, HEAD, line))
                self._next += 1

    # To the client -------------------------------------------------------------------------------------------

    def accepted(self, stream: int) -> None:
        if stream == self._first < self._next:
            self._first += 1
            self._run += 1
            if self._early:
                self._go_on()
        else:
            self._put(stream, OK)

    def answer(self, stream: int, status: int, headers: Headers, body: bytes) -> None:  # noqa: ARG002 - lines have none
        """`body` is a problem+json where the status is none of success; its detail is the line's error."""
        self._put(stream, OK if status < 300 else _refusal(msgspec.json.decode(body, type=_Problem).detail))

    def output(self) -> bytes:
        if not self._ready:
            run, self._run = self._run, 0
            return OK * run
        self._end_run()
        sent = b"".join(self._ready)
        self._ready.clear()
        return sent

    def _answer_here(self, error: str) -> None:
        self._next += 1
        self._put(self._next - 1, _refusal(error))

    def _put(self, stream: int, line: bytes) -> None:
        if self._first <= stream < self._next:
            self._early.setdefault(stream, line)
            self._go_on()

    def _go_on(self) -> None:
        while self._first in self._early:
            self._end_run()
            self._ready.append(self._early.pop(self._first))
            self._first += 1

    def _end_run(self) -> None:
        if self._run:
            self._ready.append(OK * self._run)
            self._run = 0


def _is_http(line: Line) -> bool:
    """Whether a connection that begins so is a browser's, in whose body a stranger's web page may have put lines."""
    return not isinstance(line, Overlong) and HTTP.fullmatch(line) is not None


def _refusal(error: str) -> bytes:
    return msgspec.json.encode(_Refused(ok=False, error=error)) + b"\n"
