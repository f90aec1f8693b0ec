"""The native dialect: one MCP event as a JSON object, as spec'd in the README under "The event".

`check` serves the doors: it decodes only what is validated and mapped, in one pass. Whatever that pass refuses
is judged again, field by field, by `decode_event`: it knows that of duplicate keys the last wins, words the
errors, and keeps the fields that we do not know as the text received. It serves the delivery, too.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Final, TypeVar

import msgspec

from mcp_ilert.decode.text import refuse_nul
from mcp_ilert.errors import InvalidEventError, MalformedError
from mcp_ilert.events import KIND_OF_STATUS, Event, Link, Status

MARK: Final = b" "
"""Begins the text of an event that a webhook became, and no producer's: see decode/converted.py."""
MAX_TAGS: Final = 64
MAX_LABELS: Final = 64
MAX_LINKS: Final = 64
MAX_SHOWN: Final = 80
"""Characters of a producer's own text that an error may repeat."""

ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Summary = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Tags = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_TAGS)]
Labels = Annotated[dict[str, str], msgspec.Meta(max_length=MAX_LABELS)]


class LinkIn(msgspec.Struct, frozen=True, gc=False):
    href: Annotated[str, msgspec.Meta(min_length=1)]
    text: str | None = None


Links = Annotated[tuple[LinkIn, ...], msgspec.Meta(max_length=MAX_LINKS)]


class EventIn(msgspec.Struct, frozen=True, gc=False):
    """What a door decodes. `details` stays raw: either form is kept as it came."""

    mcp_id: ShortText
    source: ShortText
    summary: Summary
    priority: Integer | None = None
    details: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    tags: Tags | None = None
    status: Status | None = None
    timestamp: str | None = None
    links: Links | None = None
    labels: Labels | None = None


KNOWN: Final = frozenset(EventIn.__struct_fields__)
REQUIRED: Final = ("mcp_id", "source", "summary")

DECODE: Final = msgspec.json.Decoder(EventIn).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_short = msgspec.json.Decoder(ShortText)
_summary = msgspec.json.Decoder(Summary)
_integer = msgspec.json.Decoder(Integer)
_NULL: Final = b"null"


def check(payload: bytes) -> Event:
    """The event of a JSON text that has passed `check_text`, without its unknown fields (`extra` is empty).

    Raises InvalidEventError or MalformedError; accepts exactly what `decode_event` does.
    """
    if payload.startswith(MARK):
        return decode_event(payload)
    refuse_nul(payload)
    try:
        wire = DECODE(payload)
    except msgspec.ValidationError:
        return decode_event(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None
    if wire.timestamp is not None:
        _timestamp_text(wire.timestamp)
    return Event(
        wire.mcp_id,
        wire.source,
        wire.summary,
        wire.priority,
        None,
        _details(wire.details) if wire.details else None,
        wire.tags or (),
        wire.status or "firing",
        wire.timestamp,
        tuple(Link(link.href, link.text or "") for link in wire.links) if wire.links else (),
        wire.labels or {},
        {},
    )


def decode_event(payload: bytes) -> Event:
    """The whole event, unknown fields in `extra` included. Raises InvalidEventError or MalformedError."""
    refuse_nul(payload)
    try:
        fields = _object.decode(payload)
    except msgspec.ValidationError as error:
        raise InvalidEventError(f"$: {_reworded(error)}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error) from None
    for name in REQUIRED:
        if name not in fields:
            raise InvalidEventError(f"$.{name}: required, but missing")
    severity = fields.pop("severity", None) if payload.startswith(MARK) else None
    extra = {name: raw for name, raw in fields.items() if name not in KNOWN}
    links = _optional(fields, "links", _links) or ()
    if links and _has_unknown_link_fields(fields["links"]):
        extra["links"] = fields["links"]  # what our Link cannot hold is not lost
    return Event(
        mcp_id=_field(_short, fields["mcp_id"], "$.mcp_id"),
        source=_field(_short, fields["source"], "$.source"),
        summary=_field(_summary, fields["summary"], "$.summary"),
        priority=_optional(fields, "priority", _priority),
        severity=None if severity is None else _field(_text, severity, "$.severity"),
        details=_optional(fields, "details", _details),
        tags=_optional(fields, "tags", _tags) or (),
        status=_optional(fields, "status", _status) or "firing",
        timestamp=_optional(fields, "timestamp", _timestamp),
        links=links,
        labels=_optional(fields, "labels", _labels) or {},
        extra=extra,
    )


def malformed(error: Exception) -> MalformedError:
    """The parser's complaint about bytes that are no JSON, in our words."""
    if isinstance(error, RecursionError):
        return MalformedError("too many levels of nesting")
    if isinstance(error, UnicodeDecodeError):
        return MalformedError(f"not UTF-8: {error.reason}")
    text = str(error).removeprefix("JSON is malformed: ")
    return MalformedError(f"not JSON: {text[:1].lower()}{text[1:]}")


# Fields, one by one -----------------------------------------------------------------------------------------

T = TypeVar("T")


def _field(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, path: str) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidEventError(f"{path}: {_reworded(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(error) from None


def _reworded(error: msgspec.ValidationError) -> str:
    """`Expected `str`, got `int` - at …` → `expected str, got int`."""
    text = str(error).split(" - at ")[0].replace("`", "")
    return text[:1].lower() + text[1:]


def _optional(fields: dict[str, msgspec.Raw], name: str, read: Callable[[msgspec.Raw], T]) -> T | None:
    raw = fields.get(name)
    if raw is None or bytes(raw) == _NULL:
        return None
    return read(raw)


def _priority(raw: msgspec.Raw) -> int:
    value = bytes(raw)
    try:
        return _integer.decode(value)
    except msgspec.ValidationError as error:
        if value.lstrip(b"-").isdigit():
            raise InvalidEventError("$.priority: expected an integer within 64 bits") from None
        got = "expected int, got float" if value[:1] in b"-0123456789" else _reworded(error)
        raise InvalidEventError(f"$.priority: {got}") from None


def _details(raw: msgspec.Raw) -> str | msgspec.Raw | None:
    """A string, or an object kept as its text (the parser has seen that it is well-formed)."""
    value = bytes(raw)
    if value.startswith(b'"'):
        return _field(_text, raw, "$.details")
    if value.startswith(b"{"):
        return raw.copy()
    if value == _NULL:
        return None
    raise InvalidEventError(f"$.details: expected str or object, got {_kind(value)}")


def _kind(value: bytes) -> str:
    if value.startswith(b"["):
        return "array"
    if value in {b"true", b"false"}:
        return "bool"
    return "float" if any(mark in value for mark in b".eE") else "int"


def _tags(raw: msgspec.Raw) -> tuple[str, ...]:
    items = _field(_list, raw, "$.tags")
    if len(items) > MAX_TAGS:
        raise InvalidEventError(f"$.tags: expected at most {MAX_TAGS} strings, got {len(items)}")
    return tuple(_field(_text, item, f"$.tags[{i}]") for i, item in enumerate(items))


def _status(raw: msgspec.Raw) -> Status:
    value = _field(_text, raw, "$.status")
    if value not in KIND_OF_STATUS:
        raise InvalidEventError(f"$.status: expected firing, acknowledged or resolved, got {_shown(value)}")
    return value  # type: ignore[return-value] # just found to be one of them


def _links(raw: msgspec.Raw) -> tuple[Link, ...]:
    items = _field(_list, raw, "$.links")
    if len(items) > MAX_LINKS:
        raise InvalidEventError(f"$.links: expected at most {MAX_LINKS} links, got {len(items)}")
    return tuple(_link(item, f"$.links[{i}]") for i, item in enumerate(items))


def _link(raw: msgspec.Raw, path: str) -> Link:
    fields = _field(_object, raw, path)
    if "href" not in fields:
        raise InvalidEventError(f"{path}.href: required, but missing")
    href = _field(_text, fields["href"], f"{path}.href")
    if not href:
        raise InvalidEventError(f"{path}.href: expected a URL, got an empty string")
    text = fields.get("text")
    if text is None or bytes(text) == _NULL:
        return Link(href)
    return Link(href, _field(_text, text, f"{path}.text"))


def _has_unknown_link_fields(raw: msgspec.Raw) -> bool:
    return any(_object.decode(item).keys() - {"href", "text"} for item in _list.decode(raw))


def _labels(raw: msgspec.Raw) -> dict[str, str]:
    items = _field(_object, raw, "$.labels")
    if len(items) > MAX_LABELS:
        raise InvalidEventError(f"$.labels: expected at most {MAX_LABELS} labels, got {len(items)}")
    return {name: _field(_text, value, f"$.labels.{_clipped(name)}") for name, value in items.items()}


def _timestamp(raw: msgspec.Raw) -> str:
    return _timestamp_text(_field(_text, raw, "$.timestamp"))


_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-]([0-9]{2}):([0-9]{2}))"
)
_LEAP_YEAR: Final = 400


def is_timestamp(text: str) -> bool:
    """Whether the text is RFC 3339 (which has leap seconds and a year 0)."""
    match = _RFC3339.fullmatch(text)
    return match is not None and _is_time([int(part or 0) for part in match.groups()])


def _timestamp_text(text: str) -> str:
    """The text itself, once it is known to be RFC 3339."""
    if not is_timestamp(text):
        raise InvalidEventError(
            f"$.timestamp: expected RFC 3339 such as 2026-01-31T23:59:59Z, got {_shown(text)}"
        )
    return text


def _is_time(parts: list[int]) -> bool:
    year, month, day, hour, minute, second, off_hour, off_minute = parts
    try:
        date(year or _LEAP_YEAR, month, day)
    except ValueError:
        return False
    return hour < 24 and minute < 60 and second <= 60 and off_hour < 24 and off_minute < 60


def _shown(text: str) -> str:
    return repr(_clipped(text))


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
