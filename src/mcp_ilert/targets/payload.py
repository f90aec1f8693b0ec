"""From a delivery and its event to the body that iLert's events API takes.

Nothing that a producer sent is left out: what iLert has no field for goes into `customDetails`, as received.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from mcp_ilert.clock import rfc3339
from mcp_ilert.events import Delivery, Event, Kind, Severity

EVENT_TYPE: dict[Kind, str] = {Kind.ALERT: "ALERT", Kind.ACCEPT: "ACCEPT", Kind.RESOLVE: "RESOLVE"}
OUR_NAMES = frozenset({"mcp_id", "tags", "timestamp", "count", "first_seen", "last_seen"})
"""What we write into `customDetails` ourselves; a producer's field of such a name is renamed."""


class ServiceRef(Protocol):
    """A service that is affected, as configured: by id or by alias."""

    @property
    def id(self) -> int | None: ...
    @property
    def alias(self) -> str | None: ...
    @property
    def impact(self) -> str | None: ...


class RouteFacts(Protocol):
    """What the route that an event matches adds to it."""

    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def routing_key(self) -> str | None: ...
    @property
    def on_call(self) -> str: ...
    @property
    def services(self) -> Sequence[ServiceRef]: ...


class SeverityFields(Protocol):
    """iLert's two fields for one of our severities."""

    @property
    def priority(self) -> str: ...
    @property
    def severity(self) -> int: ...


_encoder = msgspec.json.Encoder()


def body(
    delivery: Delivery,
    event: Event,
    facts: RouteFacts,
    integration_key: str,
    fields: Mapping[Severity, SeverityFields],
) -> bytes:
    """The JSON of the request."""
    chosen = fields[delivery.severity]
    content: dict[str, Any] = {
        "integrationKey": integration_key,
        "eventType": EVENT_TYPE[delivery.kind],
        "alertKey": delivery.key,
        "summary": summary_of(event, delivery.key),
        "priority": chosen.priority,
        "severity": chosen.severity,
        "labels": {"source": event.source, **event.labels, **facts.labels},
        "customDetails": custom_details(delivery, event),
    }
    if event.details is not None:
        content["details"] = text_of(event.details)
    if event.links:
        content["links"] = event.links
    if facts.routing_key and delivery.kind is Kind.ALERT:
        content["routingKey"] = facts.routing_key
    if facts.services and delivery.kind is Kind.ALERT:
        content["services"] = [
            {"alias": s.alias} if s.alias is not None else {"id": s.id} for s in facts.services
        ]
    return _encoder.encode(content)


def custom_details(delivery: Delivery, event: Event) -> dict[str, Any]:
    """What iLert has no field of its own for."""
    details: dict[str, Any] = {"mcp_id": event.mcp_id}
    if event.tags:
        details["tags"] = event.tags
    if event.timestamp is not None:
        details["timestamp"] = event.timestamp
    if delivery.count > 1:
        details["count"] = delivery.count
        details["first_seen"] = rfc3339(delivery.first_ms)
        details["last_seen"] = rfc3339(delivery.last_ms)
    for name, value in event.extra.items():
        details[_renamed(name, event.extra)] = value
    return details


def _renamed(name: str, taken: Mapping[str, object]) -> str:
    if name not in OUR_NAMES:
        return name
    name = f"event_{name}"
    while name in taken:
        name = f"event_{name}"
    return name


def summary_of(event: Event, key: str) -> str:
    """The alert key in place of a summary of blanks, which iLert refuses: somebody is to be paged all the same."""
    return event.summary if event.summary.strip() else key


def text_of(details: str | msgspec.Raw) -> str:
    """Details that are an object are their JSON text."""
    return details if isinstance(details, str) else bytes(details).decode()
