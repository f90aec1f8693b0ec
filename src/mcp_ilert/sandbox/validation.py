"""Bytes → an iLert event, or a Refusal with 400. As strict as the schema and the vendor's clients are; null is absent.

What each field must be is a table: name → (what it must be, a test). Unknown fields are ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from mcp_ilert.sandbox.messages import Refusal, Request

EVENT_TYPES = ("ALERT", "ACCEPT", "RESOLVE", "COMMENT")


class IlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A valid event of the events API. `key` is trimmed, in the sender's spelling; None where there is none."""

    integration_key: str
    event_type: str
    summary: str
    key: str | None
    details: str | None
    priority: str | None
    severity: int | None
    labels: dict[str, str]
    custom_details: dict[str, Any]
    links: list[dict[str, Any]]
    images: list[dict[str, Any]]
    services: list[dict[str, Any]]
    comments: list[dict[str, Any]]
    routing_key: str | None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _objects(needed: str, texts: tuple[str, ...]) -> Callable[[Any], bool]:
    """A list of objects, each with the text `needed`, and the other `texts` being texts where given."""

    def fits(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(item, dict)
            and isinstance(item.get(needed), str)
            and all(isinstance(item.get(name, ""), str) for name in texts)
            for item in value
        )

    return fits


def _is_services(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and (_is_text(item.get("alias")) or _is_number(item.get("id")))
        for item in value
    )


Rule = tuple[str, Callable[[Any], bool]]
FIELDS: Mapping[str, Rule] = {
    "summary": ("a string", _is_text),
    "details": ("a string", _is_text),
    "alertKey": ("a string", _is_text),
    "routingKey": ("a string", _is_text),
    "priority": ("HIGH or LOW", lambda value: value in ("HIGH", "LOW")),
    "severity": ("an integer from 1 to 5", lambda value: _is_number(value) and 1 <= value <= 5),
    "labels": ("an object of strings", _is_text_map),
    "customDetails": ("an object", _is_object),
    "links": ("a list of objects with a string href", _objects("href", ("text",))),
    "images": ("a list of objects with a string src", _objects("src", ("href", "alt"))),
    "services": ("a list of objects with an alias or an id", _is_services),
    "comments": ("a list of objects with a string content", _objects("content", ("creator",))),
}


def decode_object(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object; refuses wrong content types, malformed JSON and everything else."""
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(400, f"Content type '{media_type[:100]}' is not supported, expected application/json")
    try:
        value = msgspec.json.decode(request.body)
    except (ValueError, RecursionError) as problem:
        raise Refusal(400, f"Malformed JSON: {problem}") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The body must be a JSON object")
    return value


def integration_key(body: Mapping[str, Any]) -> str:
    """The credential in the body; `apiKey` is its older name."""
    key = body.get("integrationKey")
    key = body.get("apiKey") if key is None else key
    if not isinstance(key, str) or not key:
        raise Refusal(400, "integrationKey: required, a string")
    return key


def check_event(body: Mapping[str, Any], *, summary_always: bool) -> IlertEvent:
    """The event, every field of it judged."""
    given = {name: value for name, value in body.items() if value is not None}
    event_type = given.get("eventType")
    if event_type not in EVENT_TYPES:
        raise Refusal(400, f"eventType: required, one of {', '.join(EVENT_TYPES)}")
    for name, (expected, fits) in FIELDS.items():
        if name in given and not fits(given[name]):
            raise Refusal(400, f"{name}: expected {expected}")
    summary = given.get("summary", "")
    if not summary.strip() and (summary_always or event_type == "ALERT"):
        raise Refusal(400, "summary: required")
    return IlertEvent(
        integration_key=integration_key(body),
        event_type=cast("str", event_type),
        summary=summary,
        key=given.get("alertKey", "").strip() or None,
        details=given.get("details"),
        priority=given.get("priority"),
        severity=given.get("severity"),
        labels=given.get("labels", {}),
        custom_details=given.get("customDetails", {}),
        links=given.get("links", []),
        images=given.get("images", []),
        services=given.get("services", []),
        comments=given.get("comments", []),
        routing_key=given.get("routingKey"),
    )
