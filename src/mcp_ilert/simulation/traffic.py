"""Recorded traffic: a line `{"at": …, "event": {…}}` for each event, in the order of time, read as it is needed.

`at` is RFC 3339, or seconds: since 1970 where they are so many, else from any beginning.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from mcp_ilert.decode.native import MARK
from mcp_ilert.errors import ConfigError

BEGINNING_MS = 1_767_225_600_000
"""Second 0 of a file that counts from any beginning: 2026-01-01, at a full minute, as iLert's windows are."""
SINCE_1970 = 1_000_000_000
"""Seconds from here on count from 1970."""
DISORDER_MS = 60_000
"""So much earlier than the line before a line may be: doors commit side by side. It is taken at that one's time."""
MOST_MS = 253_402_300_000_000
LONGEST_LINE = 17 * 1024 * 1024
BUFFER = 1024 * 1024


class Line(msgspec.Struct, frozen=True):
    """One line of the file."""

    at: float | str
    event: msgspec.Raw
    webhook: bool = False
    """Whether a webhook became this event: then `severity` is the word that it gave."""


class Arrival(msgspec.Struct, frozen=True):
    """An event's text as received, and when."""

    at_ms: int
    payload: bytes
    line: int


_decode = msgspec.json.Decoder(Line).decode


def read_traffic(path: Path) -> Iterator[Arrival]:
    """The file's events. Raises ConfigError, which names the line, where it is no recorded traffic."""
    last = 0
    try:
        with path.open("rb", buffering=BUFFER) as file:
            for number, text in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), 1):
                try:
                    line = _decode(text)
                    at_ms = moment_ms(line.at)
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    if text.isspace():
                        continue
                    raise _problem(path, number, _wrong(text, error)) from None
                if at_ms < last:
                    if at_ms < last - DISORDER_MS:
                        raise _problem(path, number, "at: earlier than the line before; sort the file by at")
                    at_ms = last
                last = at_ms
                payload = bytes(line.event)
                yield Arrival(at_ms, MARK + payload if line.webhook else payload, number)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None


def _wrong(text: bytes, error: Exception) -> str:
    """What is wrong with a line that cannot be read, or its time."""
    try:
        line = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return f'expected {{"at": seconds or RFC 3339, "event": {{…}}}}: {error}'
    return f"at: got {line.at!r}, expected seconds, or RFC 3339 with its zone"


def _problem(path: Path, number: int, what: str) -> ConfigError:
    return ConfigError([f"{path}, line {number}: {what}"])


def moment_ms(at: float | str) -> int:
    """A time as files give it, as wall-clock milliseconds; raises ValueError."""
    if isinstance(at, str):
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return round(moment.timestamp() * 1000)
    if not math.isfinite(at) or at < 0 or at * 1000 > MOST_MS:
        raise ValueError("no time")
    return round(at * 1000) + (0 if at >= SINCE_1970 else BEGINNING_MS)


def shown(ms: int) -> str:
    """A wall-clock time as RFC 3339; of a file that counts from any beginning, 2026-01-01 is its second 0."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
