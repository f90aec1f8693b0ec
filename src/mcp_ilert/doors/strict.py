"""h11, as strict as the compiled session: what two who read the same bytes could understand differently is an error.

h11 takes LF for CRLF, folded fields, controls in values and any chunk extension. A proxy before us that reads such
bytes otherwise would let one request be hidden in another (RFC 9112, 11.2). So lines are looked at before h11 sees
them; what it refuses by itself is left to it.
"""

import re
from collections.abc import Sequence
from typing import Final

import h11
from h11._receivebuffer import ReceiveBuffer

LINE_BYTES: Final = 256
"""A chunk's size with its extensions."""
EXTENSION_BYTES: Final = 4_096
"""All of a body's extensions; they are read and thrown away."""
CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
CHUNK: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(;[\t\x20-\x7e\x80-\xff]*)?")
"""Sizes are of 64 bits at most, for others may count no further."""
PREFACE: Final = [b"PRI * HTTP/2.0"]
VERSION: Final = re.compile(rb" HTTP/1\.[01]")


class StrictConnection(h11.Connection):
    """A server's h11 connection; `fault` says what was refused here, in words for the client."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=max_head_bytes)
        self._receive_buffer: _StrictBuffer = _StrictBuffer(max_head_bytes)

    @property
    def fault(self) -> str | None:
        return self._receive_buffer.fault


class _StrictBuffer(ReceiveBuffer):
    """What has come and is not read yet. h11 asks for lines of a head or of trailers, then for each chunk's line."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__()
        self.fault: str | None = None
        self._max_head_bytes = max_head_bytes
        self._line = 0
        """Where the first line begins that was not looked at."""
        self._extensions = 0
        """Bytes of them in this body."""
        self._chunked = False
        """Whether the next lines are trailers."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Those before a blank line, once it is there; what is wrong with one is told as soon as that one has come."""
        while (line := self._next_line(self._line)) is not None:
            start, self._line = self._line, self._line + len(line) + 2
            if self._line > self._max_head_bytes:
                raise self._wrong("", 431)
            if not line:
                return self._take(start)
            self._look_at_field(line)
        return None

    def maybe_extract_next_line(self) -> bytearray | None:
        """A chunk's, with its end."""
        line = self._next_line(0)
        if (len(self._data) if line is None else len(line)) > LINE_BYTES:
            raise self._wrong(f"a chunk's size and extensions: expected at most {LINE_BYTES} bytes")
        if line is None:
            return None
        found = CHUNK.fullmatch(line)
        if found is None:
            raise self._wrong(
                "a chunk's size: expected 1 to 16 hexadecimal digits, perhaps extensions, and CRLF"
            )
        self._extensions += len(found[1] or b"")
        if self._extensions > EXTENSION_BYTES:
            raise self._wrong(f"chunk extensions: expected at most {EXTENSION_BYTES} bytes in a body")
        self._chunked = True
        return self._extract(len(line) + 2)

    def _next_line(self, start: int) -> bytearray | None:
        """The line that begins there, without its end; None where that has not come."""
        end = self._data.find(b"\n", start)
        if end < 0:
            return None
        if end == start or self._data[end - 1] != ord("\r"):
            raise self._wrong("a line ends in LF alone: expected CRLF")
        return self._data[start : end - 1]

    def _look_at_field(self, line: bytearray) -> None:
        if line[0] in b" \t":
            raise self._wrong("a field goes on in a second line: expected one line for each")
        if CONTROL.search(line):
            raise self._wrong("a field has a control character in it")

    def _take(self, end: int) -> list[bytearray]:
        """The lines before `end`, where the blank one is."""
        lines = self._data[: max(end - 2, 0)].split(b"\r\n") if end else []
        self._extract(end + 2)
        self._line = self._extensions = 0
        if not self._chunked:
            self._look_at_framing(lines)
        self._chunked = False
        return lines

    def _look_at_framing(self, head: Sequence[bytearray]) -> None:
        """How long the body is must be said once, in one way (RFC 9112, 6)."""
        if not head or list(head) == PREFACE:
            return
        if VERSION.search(head[0][-9:]) is None:
            raise self._wrong("the request's line: expected it to end in HTTP/1.1 or HTTP/1.0")
        fields = [
            (name.lower(), value.strip(b" \t"))
            for name, _, value in (line.partition(b":") for line in head[1:])
        ]
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        if lengths and codings:
            raise self._wrong("Content-Length, Transfer-Encoding: expected one of them")
        if lengths and (len(lengths) > 1 or not lengths[0].isdigit()):
            raise self._wrong("Content-Length: expected one number in digits")
        if codings and (codings != [b"chunked"] or not head[0].endswith(b"1.1")):
            raise self._wrong("Transfer-Encoding: expected chunked, once and alone, in HTTP/1.1")

    def _wrong(self, fault: str, status: int = 400) -> h11.LocalProtocolError:
        """For the error that h11 makes of it; its own text would quote the client."""
        self.fault = fault
        return h11.LocalProtocolError(fault or "too long", error_status_hint=status)
