"""What the bridge would make of an event: which route it matches and why, and the request that would go out.

All by the code that serves: the doors' check, the mapping's table, the targets' bodies. Nothing is sent.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mcp_ilert import config
from mcp_ilert.config import Settings
from mcp_ilert.decode.native import check, decode_event
from mcp_ilert.decode.text import check_text
from mcp_ilert.events import DROP, Delivery, Entry, Event, Kind, Severity
from mcp_ilert.mapping import Considered, Mapper, Route
from mcp_ilert.service.parts import fields_of
from mcp_ilert.targets import incident
from mcp_ilert.targets.http import api_base
from mcp_ilert.targets.ilert import events_url
from mcp_ilert.targets.payload import body

SECRET = "<secret>"  # noqa: S105 - what stands for one


class OutRequest(msgspec.Struct, frozen=True):
    """A request to iLert, its keys masked."""

    method: str
    url: str
    headers: dict[str, str]
    body: msgspec.Raw


class Explained(msgspec.Struct, frozen=True):
    """All that is decided about an event, and by what."""

    alert_key: str
    alert_key_by: str
    operation: str
    severity: str
    severity_by: str
    routes: tuple[Considered, ...]
    """In their order, up to the one that matches."""
    route: str | None
    target: str | None
    """None where the route drops it."""
    notes: tuple[str, ...]
    request: OutRequest | None


def explain(payload: bytes, settings: Settings, now_ms: int) -> Explained:
    """What becomes of the event that is this JSON text. Raises MalformedError, InvalidEventError."""
    check_text(payload)
    mapper = Mapper(settings)
    entry = mapper.entry(check(payload), payload, now_ms)
    event = decode_event(payload)
    route = mapper.route(event)
    dropped = entry.target == DROP
    return Explained(
        alert_key=entry.key,
        alert_key_by="mcp_id: the event lacks a field of mapping.alert_key"
        if mapper.key_fallbacks
        else f"mapping.alert_key {settings.mapping.alert_key}",
        operation=entry.kind.name.lower(),
        severity=entry.severity.name.lower(),
        severity_by=mapper.severity_by(event),
        routes=mapper.considered(event),
        route=mapper.rule(event) or None,
        target=None if dropped else entry.target,
        notes=tuple(_notes(entry, route, settings)),
        request=None if dropped else _request(entry, event, route, settings),
    )


def _notes(entry: Entry, route: Route, settings: Settings) -> list[str]:
    notes = []
    if entry.kind is not Kind.ALERT:
        what = entry.kind.name.lower()
        notes.append(
            f"the {what} goes to every target where the key is open or waits; routes decide where there is none"
        )
    if route.escalate_if_nobody and entry.kind is Kind.ALERT:
        notes.append(f"while nobody is on call, its routingKey is {route.escalate_if_nobody!r}")
    if route.drop:
        notes.append("a route drops it: answered 202, counted, never sent")
    elif _kind(entry, settings) == "incident":
        notes.append("where an incident of the key is open it is changed (PUT), else one is opened (POST)")
    return notes


def _kind(entry: Entry, settings: Settings) -> str:
    return config.targets(settings)[entry.target].kind


def _request(entry: Entry, event: Event, route: Route, settings: Settings) -> OutRequest:
    delivery = Delivery(
        lease=0,
        target=entry.target,
        key=entry.key,
        kind=entry.kind,
        severity=entry.severity,
        payload=entry.payload,
        count=1,
        first_ms=entry.accepted_ms,
        last_ms=entry.accepted_ms,
        attempts=0,
        rejections=0,
        revivals=0,
    )
    if _kind(entry, settings) == "incident":
        return _incident(delivery, event, route, settings)
    words = fields_of(settings)
    fields = {severity: words[severity.name.lower()] for severity in Severity}
    text = body(delivery, event, route, SECRET, fields)
    return OutRequest("POST", events_url(settings.ilert.api_url), _headers(settings), msgspec.Raw(text))


def _incident(delivery: Delivery, event: Event, route: Route, settings: Settings) -> OutRequest:
    ids: Mapping[str, Any] = {
        s.alias: f"<the id of {s.alias}>" for s in route.services if s.alias is not None
    }
    content = incident.content(
        delivery, event, delivery.target, incident.affected_services(route.services, ids)
    )
    base = api_base(settings.ilert.api_url)
    method, url = "POST", f"{base}/incidents"
    if delivery.kind is not Kind.ALERT:
        method, url = "PUT", f"{base}/incidents/<the id of the open one>"
    return OutRequest(method, url, _headers(settings), msgspec.Raw(msgspec.json.encode(content)))


def _headers(settings: Settings) -> dict[str, str]:
    bearer = {"Authorization": f"Bearer {SECRET}"} if settings.ilert.api_key else {}
    return {"Content-Type": "application/json", **bearer}
