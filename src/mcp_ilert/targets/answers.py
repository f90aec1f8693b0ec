"""The total table of answers: every status, and everything that can go wrong on the way, to one outcome.

| answer | outcome |
|---|---|
| 2xx | Delivered |
| 401, 402; 403 and (not for incidents) 404 with a JSON `code` | Refused: the key's fault |
| 403, 404 without a code (not for incidents) | Suspect: the key's or the event's |
| 408, 425, 5xx, and what is no final status | Unavailable |
| 429 | Throttled |
| 3xx, every other 4xx | Rejected: the event's fault |
| an error of the connection | Unavailable |

Only 3xx, 4xx and errors before the request could leave are certain not to have been applied.
"""

import zlib
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from mcp_ilert.events import Delivered, Outcome, Refused, Rejected, Suspect, Throttled, Unavailable

MAX_BODY_BYTES = 65_536
MAX_DETAIL = 300
_MAX_CORRELATION_ID = 128


class Answer(msgspec.Struct, frozen=True):
    """What a target answered: header names in lower case, the body's first MAX_BODY_BYTES bytes, decoded."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


def _unavailable(answer: Answer, _detail: str, correlation_id: str | None, _now_ms: int) -> Outcome:
    certain = 400 <= answer.status < 500
    return Unavailable(f"answered {answer.status}", certain, answer.status, correlation_id)


def _throttled(answer: Answer, _detail: str, correlation_id: str | None, now_ms: int) -> Outcome:
    return Throttled(retry_after(answer.headers.get("retry-after"), now_ms), correlation_id)


def _refused(answer: Answer, detail: str, correlation_id: str | None, _now_ms: int) -> Outcome:
    return Refused(answer.status, detail, correlation_id)


def _refused_if_coded(answer: Answer, detail: str, correlation_id: str | None, _now_ms: int) -> Outcome:
    made = Refused if error_code(answer.body) else Suspect
    return made(answer.status, detail, correlation_id)


def _rejected(answer: Answer, detail: str, correlation_id: str | None, _now_ms: int) -> Outcome:
    return Rejected(answer.status, detail, correlation_id)


def _delivered(answer: Answer, _detail: str, correlation_id: str | None, _now_ms: int) -> Outcome:
    return Delivered(answer.status, correlation_id)


_Rule = Callable[[Answer, str, str | None, int], Outcome]

BY_STATUS: dict[int, _Rule] = {
    401: _refused,
    402: _refused,
    403: _refused_if_coded,
    404: _refused_if_coded,
    408: _unavailable,
    425: _unavailable,
    429: _throttled,
}
OF_INCIDENTS: dict[int, _Rule] = BY_STATUS | {404: _rejected}
"""For incidents 404 says that this one is not there, and nothing of the key."""
BY_CLASS: dict[int, _Rule] = {2: _delivered, 3: _rejected, 4: _rejected}


def classify(
    answer: Answer,
    now_ms: int,
    hidden: tuple[str, ...] = (),
    by_status: Mapping[int, _Rule] = BY_STATUS,
) -> Outcome:
    """The outcome of an answer; texts in `hidden` (keys) never show in its detail."""
    rule = by_status.get(answer.status) or BY_CLASS.get(answer.status // 100, _unavailable)
    correlation_id = _plain(answer.headers.get("correlation-id", ""), _MAX_CORRELATION_ID, hidden)
    detail = "" if rule is _delivered else _detail(answer, hidden)
    return rule(answer, detail, correlation_id or None, now_ms)


def error_code(body: bytes) -> str | None:
    """The `code` of a JSON error body; None where there is none, or no JSON at all."""
    code = _error(body).get("code")
    return code if isinstance(code, str) and code else None


def _error(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, ValueError):  # ValueError: not UTF-8
        return {}


def _detail(answer: Answer, hidden: tuple[str, ...]) -> str:
    """What the answer says, short and printable: its code and message, or the beginning of its text."""
    error = _error(answer.body)
    said = [text for name in ("code", "message") if isinstance(text := error.get(name), str) and text]
    text = ": ".join(said) if said else _whole(answer.body).decode("utf-8", "replace")
    return _plain(text, MAX_DETAIL, hidden)


def _whole(body: bytes) -> bytes:
    """The body, less the end of one that was cut: there a key could stand in half, and not be recognised."""
    return body if len(body) < MAX_BODY_BYTES else body[: -MAX_BODY_BYTES // 4]


def _plain(text: str, limit: int, hidden: tuple[str, ...]) -> str:
    for secret in hidden:
        text = text.replace(secret, "<secret>")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def retry_after(value: str | None, now_ms: int) -> float | None:
    """Seconds from a Retry-After header, given in seconds or as an HTTP date; None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now_ms / 1000)


def decoded(body: bytes, encoding: str, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body without its content coding, bounded; nothing where the coding is not known or wrong."""
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding != "gzip":
        return b""
    try:
        return zlib.decompressobj(wbits=31).decompress(body, most_bytes)
    except zlib.error:
        return b""
