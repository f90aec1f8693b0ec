"""Incidents of iLert's published model as values: what of one is read, and the bodies that open and change one. Pure.

An incident of ours ends its message with a marker line, by which it is found again when the answer to the request
that opened it was lost. The marker is the last line, so that no event's text can pass for another key's.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mcp_ilert.clock import rfc3339
from mcp_ilert.events import Delivery, Event, Kind
from mcp_ilert.targets.payload import ServiceRef, summary_of, text_of

INVESTIGATING, IDENTIFIED, MONITORING, RESOLVED = "INVESTIGATING", "IDENTIFIED", "MONITORING", "RESOLVED"
OPEN: tuple[str, ...] = (INVESTIGATING, IDENTIFIED, MONITORING)
STATUSES: tuple[str, ...] = (*OPEN, RESOLVED)
STATUS: dict[Kind, str] = {
    Kind.ALERT: INVESTIGATING,
    Kind.ACCEPT: IDENTIFIED,
    Kind.RESOLVE: RESOLVED,
}
"""What an operation sets."""
DEFAULT_IMPACT = "DEGRADED"
NEW_MODEL = (
    "this account seems to have iLert's new incident model (status updates), which the published API and this "
    "version do not have; use target: alert"
)
NOT_THERE = frozenset({404, 405, 410, 501})
"""Answers for the collection itself that say that there is no incidents API of the published model."""


class NotPublishedError(Exception):
    """What came is an incident, and not of the published model."""


class UnreadableError(Exception):
    """What came is no incident at all, or not the whole of it."""


class Incident(msgspec.Struct, frozen=True):
    """What we read of an incident; `affected` as it came, to be sent back as it is."""

    ref: str
    status: str
    summary: str
    message: str
    affected: tuple[Any, ...]
    etag: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is not resolved."""
        return self.status != RESOLVED


class _Wire(msgspec.Struct):
    id: int | str
    status: str
    summary: str = ""
    message: str | None = None
    affectedServices: list[Any] | None = None  # noqa: N815 - iLert's name


def incident_of(body: bytes, etag: str | None = None) -> Incident:
    """The incident in an answer. Raises NotPublishedError, UnreadableError."""
    return _incident(_decoded(body), etag)


def incidents_of(body: bytes) -> list[Incident]:
    """The incidents in the answer to a list. Raises NotPublishedError, UnreadableError."""
    found = _decoded(body)
    if not isinstance(found, list):
        raise UnreadableError
    return [_incident(each, None) for each in found]


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise UnreadableError from None


def _incident(found: Any, etag: str | None) -> Incident:
    if not isinstance(found, dict) or "id" not in found:
        raise UnreadableError
    try:
        wire = msgspec.convert(found, _Wire)
    except msgspec.ValidationError:
        raise NotPublishedError from None
    if wire.status not in STATUSES:
        raise NotPublishedError
    affected = tuple(wire.affectedServices or ())
    return Incident(str(wire.id), wire.status, wire.summary, wire.message or "", affected, etag)


def marker(target: str, key: str) -> str:
    """The line that names an incident as ours; keys are the same without regard to case."""
    return f"mcp-ilert {target} {json.dumps(key, ensure_ascii=False)}"


def is_marked(incident: Incident, target: str, key: str) -> bool:
    """Whether the incident is the one of this target and alert key."""
    last = incident.message.rstrip().rpartition("\n")[2]
    return last.lower() == marker(target, key).lower()


def affected_services(services: Sequence[ServiceRef], ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """The services as iLert takes them; `ids` by alias."""
    return [
        {
            "impact": service.impact or DEFAULT_IMPACT,
            "service": {"id": service.id if service.id is not None else ids[service.alias or ""]},
        }
        for service in services
    ]


def content(
    delivery: Delivery,
    event: Event,
    target: str,
    affected: Sequence[Any],
    before: Incident | None = None,
) -> dict[str, Any]:
    """What POST (nothing `before`) or PUT takes: always the whole of an incident.

    An update keeps the services that the incident has, and never takes its status back. Only an alert writes the
    summary. Subscribers of status pages are not told by us.
    """
    alert = delivery.kind is Kind.ALERT or before is None
    return {
        "summary": summary_of(event, delivery.key) if alert or before is None else before.summary,
        "status": _status(delivery.kind, before),
        "message": _message(delivery, event, target),
        "sendNotification": False,
        "affectedServices": list((before.affected if before is not None else ()) or affected),
    }


def _status(kind: Kind, before: Incident | None) -> str:
    wanted = STATUS[kind]
    if before is None:
        return wanted
    return max(wanted, before.status, key=STATUSES.index)


def _message(delivery: Delivery, event: Event, target: str) -> str:
    text = text_of(event.details) if event.details is not None else event.summary
    lines = [text]
    if delivery.count > 1:
        first, last = rfc3339(delivery.first_ms), rfc3339(delivery.last_ms)
        lines.append(f"{delivery.count} events, the first at {first}, the last at {last}")
    lines += [f"{link.text}: {link.href}" if link.text else link.href for link in event.links]
    return "\n\n".join((*lines, marker(target, delivery.key)))


def is_applied(incident: Incident, wanted: Mapping[str, Any]) -> bool:
    """Whether the incident already says what is wanted, as after a request whose answer was lost."""
    now = (incident.summary, incident.status, incident.message)
    return now == (wanted["summary"], wanted["status"], wanted["message"])
