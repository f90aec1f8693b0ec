"""What dialects of webhooks make: an event's JSON text in the native form, marked as ours.

The mark is a blank before the brace: JSON as before, for whoever reads it, yet no producer's text begins so, for
theirs is kept without the white space around it. Only in a marked text is `severity` the word that a webhook gave.
What is too long for the native form is cut where that does no harm, and kept whole beside it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mcp_ilert.decode.native import KNOWN, MARK, MAX_LABELS, MAX_LINKS, MAX_TAGS
from mcp_ilert.events import Status

MOST_EVENTS: Final = 10_000
"""Of one body."""
MOST_ID: Final = 255
MOST_SOURCE: Final = 255
MOST_SUMMARY: Final = 1_024
TAIL: Final = 32
"""Characters of the digest that keeps cut identifiers apart."""
_OURS: Final = KNOWN | {"severity"}

T = TypeVar("T")
Extra = Mapping[str, Any]


def event_text(
    mcp_id: str,
    source: str,
    summary: str,
    *,
    status: Status | None = None,
    severity: str | None = None,
    priority: int | None = None,
    details: str | Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    timestamp: str | None = None,
    links: Sequence[tuple[str, str]] = (),
    labels: Mapping[str, str] | None = None,
    extra: Extra | None = None,
) -> bytes:
    """The event's text. What is empty is left out; whether it is a valid event is for `decode_event` to say."""
    more: dict[str, Any] = {}
    fields: dict[str, Any] = {
        "mcp_id": _identifier(mcp_id, more),
        "source": _cut("source", source, MOST_SOURCE, more),
        "summary": _cut("summary", summary, MOST_SUMMARY, more),
        "status": status,
        "severity": severity.strip().lower() if severity else None,
        "priority": priority,
        "details": details,
        "tags": _first("tags", tags, MAX_TAGS, more),
        "timestamp": timestamp,
        "links": [
            {"href": href, "text": text} if text else {"href": href}
            for href, text in _first("links", links, MAX_LINKS, more)
        ],
        "labels": dict(_first("labels", list((labels or {}).items()), MAX_LABELS, more)),
    }
    fields = {name: value for name, value in fields.items() if value or value == 0}
    more |= {f"event_{name}" if name in _OURS else name: value for name, value in (extra or {}).items()}
    return MARK + msgspec.json.encode(fields | {n: v for n, v in more.items() if n not in fields})


def _identifier(text: str, more: dict[str, Any]) -> str:
    """What is cut ends in its digest, so that two that begin alike stay two."""
    if len(text) <= MOST_ID:
        return text
    more["full_mcp_id"] = text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:TAIL]
    return f"{text[: MOST_ID - TAIL - 1]}…{digest}"


def _cut(name: str, text: str, most: int, more: dict[str, Any]) -> str:
    if len(text) <= most:
        return text
    more[f"full_{name}"] = text
    return text[: most - 1] + "…"


def _first(name: str, items: Sequence[T], most: int, more: dict[str, Any]) -> Sequence[T]:
    """As many as the native form has room for; the others are kept beside."""
    if len(items) > most:
        more[f"more_{name}"] = [list(item) if isinstance(item, tuple) else item for item in items[most:]]
    return items[:most]
