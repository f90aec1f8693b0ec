"""Logs: one JSON object a line on stderr, or `format: text` for people.

Whatever a producer, a library or iLert put into a value, a record stays one, and a Secret stays hidden.
Logging never raises: a broken stderr costs the record, not the bridge.
"""

import datetime as dt
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

from mcp_ilert.config.secret import SHOWN, Secret

DEEPEST = 6
MOST_ITEMS = 100
LONGEST_TEXT = 16_384
# Their INFO is a line a request, with URLs in it.
CHATTERERS = ("httpx", "httpcore", "hpack", "h2", "hypercorn.access")

_RESERVED = ("timestamp", "level", "event")
# What is legal in JSON text but ends or hides a line on somebody's screen, and what UTF-8 cannot hold.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_SIMPLE = re.compile(r"[^\s\"'=\\{}\[\]]+")

Now = Callable[[], float]
Record = Mapping[str, object]
EventDict = MutableMapping[str, Any]


def configure(
    level: str,
    format: str,  # noqa: A002 - the configuration's word
    stream: TextIO | None = None,
    now: Now = time.time,
) -> None:
    """Send structlog's records and the standard library's to `stream` (stderr); again on each reload."""
    lines = Lines(stream)
    render = as_text if format == "text" else as_json
    least = logging.getLevelNamesMapping()[level.upper()]

    def finish(_logger: object, method: str, event: EventDict) -> str:
        name = "error" if method == "exception" else "warning" if method == "warn" else method
        return render(_record(now(), name, event))

    structlog.configure(
        processors=[finish],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        context_class=dict,
        logger_factory=lambda *_: lines,
        # Not cached, so that a reload may change the level.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [old for old in root.handlers if isinstance(old, _Forward)]:
        root.removeHandler(handler)
    root.addHandler(_Forward(lines, render))
    root.setLevel(least)
    for name in CHATTERERS:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    logging.captureWarnings(capture=True)


def debugging() -> bool:
    """Whether debug records are written; to ask costs less than a record that is not."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


class Lines:
    """Writes lines, and swallows what goes wrong in doing so: there is nowhere left to tell it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        try:
            # stderr's own way with what its encoding lacks, `\\xf6`, is no JSON.
            if (getattr(stream, "encoding", None) or "utf-8").lower() not in {"utf-8", "utf8"}:
                line = _NOT_ASCII.sub(lambda found: json.dumps(found.group())[1:-1], line)
            stream.write(f"{line}\n")
            stream.flush()
        except BrokenPipeError:
            _let_go(stream)
        except (OSError, ValueError, AttributeError):  # full disk; closed; no stderr at all
            return

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _let_go(stream: TextIO) -> None:
    """Nobody reads this stream any more: what its buffer holds must not fail again when the process ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return


class _Forward(logging.Handler):
    """Brings the standard library's records into the same form."""

    def __init__(self, lines: Lines, render: Callable[[Record], str]) -> None:
        super().__init__()
        self._lines = lines
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's faulty call of logging is not to stop the bridge
            text = str(record.msg)
        event: EventDict = {"event": text, "logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            event["exc_info"] = record.exc_info[1]
        self._lines.msg(self._render(_record(record.created, record.levelname.lower(), event)))


# A record, and its two forms ----------------------------------------------------------------------------


def _record(at: float, level: str, event: EventDict) -> dict[str, object]:
    """The record in its order: timestamp, level, event, then the fields."""
    raised = event.pop("exc_info", None)
    record: dict[str, object] = {
        "timestamp": _rfc3339(at),
        "level": level,
        "event": plain(str(event.pop("event", ""))),
    }
    for name, value in event.items():
        record[f"{name}_" if name in _RESERVED else name] = plain(value)
    error = _raised(raised)
    if error is not None:
        record["exception"] = plain("".join(traceback.format_exception(error)).rstrip())
    return record


def _rfc3339(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _raised(raised: object) -> BaseException | None:
    if isinstance(raised, BaseException):
        return raised
    if isinstance(raised, tuple):
        return raised[1] if len(raised) > 1 and isinstance(raised[1], BaseException) else None
    return sys.exc_info()[1] if raised else None


def plain(value: object, depth: int = 0) -> object:
    """The value as JSON can hold it: secrets hidden, sizes bounded, strange objects as their repr."""
    if isinstance(value, Secret):
        return SHOWN
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return float(value) if value - value == 0 else str(value)
    if isinstance(value, str):
        return _cut(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _cut(bytes(value[: LONGEST_TEXT + 1]).decode("utf-8", "backslashreplace"))
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        items = list(value.items())[:MOST_ITEMS]
        return {_cut(str(key)): plain(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return _cut(_repr(value))


def _repr(value: object) -> str:
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 - somebody's broken repr is not to stop the bridge
        return f"<{type(value).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def as_json(record: Record) -> str:
    """One line of JSON; characters that could end or hide it are escaped."""
    return _harmless(json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def as_text(record: Record) -> str:
    """One line for people, and behind it a traceback, each line of it indented."""
    fields = {name: value for name, value in record.items() if name not in {*_RESERVED, "exception"}}
    words = [f"{_harmless(name)}={_word(value)}" for name, value in fields.items()]
    head = [record["timestamp"], f"{record['level']:<8}", _harmless(str(record["event"])), *words]
    line = " ".join(str(part) for part in head)
    trace = str(record.get("exception") or "").split("\n") if record.get("exception") else []
    return "\n".join([line, *(f"  | {_harmless(part)}" for part in trace)])


def _word(value: object) -> str:
    if isinstance(value, str) and _SIMPLE.fullmatch(value):
        return _harmless(value)
    return _harmless(json.dumps(value, ensure_ascii=False))


def _harmless(text: str) -> str:
    return _HARMFUL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
