"""A stream of chunks → lines, none longer than `limit` bytes ever held; pure, so any door may feed it."""

from typing import Final

_BLANK = b" \t\r"


class Overlong:
    """Stands in the place of a line that was too long, and was skipped up to its newline."""


OVERLONG: Final = Overlong()
Line = bytes | Overlong


class Lines:
    """Splits at newlines; surrounding white space and blank lines are left out.

    A line that is longer than `limit` without that space, or than twice the limit with what follows it, is OVERLONG.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._skipping = False

    @property
    def held(self) -> int:
        """Bytes of a line whose end has not come."""
        return len(self._tail)

    @property
    def begun(self) -> bool:
        """Whether a line has begun whose end has not come; also while one that is too long is skipped."""
        return self._skipping or bool(self._tail)

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk ends."""
        pieces = chunk.split(b"\n")
        lines: list[Line] = []
        last = pieces.pop()
        for piece in pieces:
            if self._tail or self._skipping or len(piece) > self._limit:
                self._hold(piece)
                self._finish(lines)
            elif line := piece.strip(_BLANK):
                lines.append(line)
        self._hold(last)
        return lines

    def end(self) -> list[Line]:
        """The last line, where the stream did not end with a newline."""
        lines: list[Line] = []
        self._finish(lines)
        return lines

    def _hold(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._tail += piece
        if len(self._tail) > self._limit:
            kept = self._tail.lstrip(_BLANK)
            self._skipping = len(kept.rstrip(_BLANK)) > self._limit or len(kept) > 2 * self._limit
            self._tail = bytearray() if self._skipping else kept

    def _finish(self, lines: list[Line]) -> None:
        if self._skipping:
            lines.append(OVERLONG)
        else:
            line = bytes(self._tail).strip(_BLANK)
            if line:
                lines.append(line)
        self._tail.clear()
        self._skipping = False
