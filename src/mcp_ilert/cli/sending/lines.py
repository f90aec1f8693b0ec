"""NDJSON in chunks of any size → batches of whole lines, each bounded in lines and bytes."""

import msgspec

MAX_LINE_BYTES = 1024 * 1024


class Batch(msgspec.Struct, frozen=True):
    """Lines that go out together. `numbers` are their places in the input, from 1; no blank ones."""

    lines: tuple[bytes, ...]
    numbers: tuple[int, ...]

    def halves(self) -> "tuple[Batch, Batch]":
        middle = len(self.lines) // 2
        return (
            Batch(self.lines[:middle], self.numbers[:middle]),
            Batch(self.lines[middle:], self.numbers[middle:]),
        )


class Refusal(msgspec.Struct, frozen=True):
    """A line that was not accepted, and why."""

    line: int
    error: str


class Splitter:
    """Cuts a stream into batches. A line that is too long is refused and skipped; memory stays bounded."""

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._tail = b""
        self._skipping = False
        self._number = 0

    def feed(self, chunk: bytes) -> list[Batch | Refusal]:
        """What is complete with this chunk; empty batches are not given."""
        *lines, self._tail = (self._tail + chunk).split(b"\n")
        found = self._pack(lines)
        if len(self._tail) > MAX_LINE_BYTES:
            if not self._skipping:
                found.append(self._too_long(self._number + 1))
            self._skipping, self._tail = True, b""
        return found

    def finish(self) -> list[Batch | Refusal]:
        """The last line, where the input did not end with a newline."""
        return self._pack([self._tail])

    def _pack(self, lines: list[bytes]) -> list[Batch | Refusal]:
        found: list[Batch | Refusal] = []
        taken: list[bytes] = []
        numbers: list[int] = []
        size = 0
        for line in lines:
            self._number += 1
            if self._skipping:  # the end of a line that was refused at its beginning
                self._skipping = False
                continue
            text = line.strip()
            if len(text) > MAX_LINE_BYTES:
                found.append(self._too_long(self._number))
                continue
            if not text:
                continue
            if taken and (len(taken) == self._max_lines or size + len(text) > self._max_bytes):
                found.append(Batch(tuple(taken), tuple(numbers)))
                taken, numbers, size = [], [], 0
            taken.append(text)
            numbers.append(self._number)
            size += len(text) + 1
        if taken:
            found.append(Batch(tuple(taken), tuple(numbers)))
        return found

    @staticmethod
    def _too_long(number: int) -> Refusal:
        return Refusal(number, f"longer than {MAX_LINE_BYTES} bytes")
