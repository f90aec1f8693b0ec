"""What an expression gives → an event's field: each field takes what can only mean one thing, and refuses the rest.

Null, and an empty text, is nothing. A number is a text where a text is wanted. Pure.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from mcp_ilert.decode.native import is_timestamp
from mcp_ilert.errors import InvalidEventError
from mcp_ilert.events import Status

STATUS_WORDS: Final[Mapping[str, Status]] = {
    **dict.fromkeys(("firing", "problem", "alerting", "alarm", "triggered", "down", "open"), "firing"),
    **dict.fromkeys(("acknowledged", "acknowledgement", "ack"), "acknowledged"),
    **dict.fromkeys(("resolved", "recovery", "recovered", "ok", "up", "closed", "normal"), "resolved"),
}
"""In lower case."""
MILLISECONDS_FROM: Final = 100_000_000_000
"""A time in numbers is in milliseconds from here on, in seconds below it (the year 5138)."""


def text(name: str, value: Any) -> str | None:
    """A text, a number or a truth value as text."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return plain(value)
    raise _wrong(name, "a text or a number", value)


def status(value: Any) -> Status | None:
    word = text("status", value)
    if word is None:
        return None
    found = STATUS_WORDS.get(word.strip().lower())
    if found is None:
        raise InvalidEventError(f"$.status: expected firing, acknowledged or resolved, got {word[:80]!r}")
    return found


def priority(value: Any) -> int | None:
    """A whole number, or its digits as a text."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) < 20 and value.lstrip("-").isdecimal() and value.isascii():
        try:
            return int(value)
        except ValueError:  # "--1"
            pass
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _wrong("priority", "a whole number", value)


def details(value: Any) -> str | dict[str, Any] | None:
    """A text, or an object; anything else as its JSON text."""
    if value is None or isinstance(value, str | dict):
        return value
    return plain(value)


def tags(value: Any) -> list[str]:
    """A list of texts or numbers, or one of them alone; nulls in it are left out."""
    items = value if isinstance(value, list) else [value]
    return [found for item in items if (found := text("tags", item)) is not None]


def labels(value: Any) -> dict[str, str]:
    """An object; values that are no texts stand as their JSON text, nulls are left out."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong("labels", "an object", value)
    return {name: plain(item) for name, item in value.items() if item is not None}


def links(value: Any) -> list[tuple[str, str]]:
    """A URL, an object {href, text}, or a list of these; those without a URL are left out."""
    if value is None or value == "":
        return []
    items = value if isinstance(value, list) else [value]
    return [found for item in items if (found := _link(item)) is not None]


def _link(item: Any) -> tuple[str, str] | None:
    if item is None or item == "":
        return None
    if isinstance(item, str):
        return item, ""
    if not isinstance(item, dict):
        raise _wrong("links", "URLs, or objects {href, text}", item)
    href = text("links.href", item.get("href"))
    return None if href is None else (href, text("links.text", item.get("text")) or "")


def timestamp(value: Any) -> str | None:
    """RFC 3339, the same with a zone such as +0000, or seconds or milliseconds since 1970; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _since_1970(value)
    if not isinstance(value, str):
        return None
    if len(value) > 5 and value[-5] in "+-" and value[-4:].isdecimal():
        value = f"{value[:-2]}:{value[-2:]}"
    return value if is_timestamp(value) else None


def _since_1970(number: float) -> str | None:
    seconds = number / 1000 if number >= MILLISECONDS_FROM else number
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def plain(value: Any) -> str:
    """A text as it is, all else as its JSON text."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _wrong(name: str, expected: str, value: Any) -> InvalidEventError:
    return InvalidEventError(f"$.{name}: expected {expected}, got {_kind(value)}")


def _kind(value: Any) -> str:
    names = {
        dict: "object",
        list: "array",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "something that is no JSON")
