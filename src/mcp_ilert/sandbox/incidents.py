"""Incidents of the published model: POST answers 200, GET gives an ETag, PUT replaces the whole and may answer 412."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from mcp_ilert.sandbox.messages import Refusal
from mcp_ilert.sandbox.wire import UNKNOWN, Json, time_text

STATUSES = ("INVESTIGATING", "IDENTIFIED", "MONITORING", "RESOLVED")
IMPACTS = ("OPERATIONAL", "UNDER_MAINTENANCE", "DEGRADED", "PARTIAL_OUTAGE", "MAJOR_OUTAGE")


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an incident's history."""

    at: float
    status: str
    message: str


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One incident as its newest POST or PUT has it; `affected` is (service id, impact)."""

    id: int
    summary: str
    status: str
    message: str
    affected: tuple[tuple[int, str], ...]
    created: float
    history: tuple[Update, ...]
    version: int = 1

    @property
    def etag(self) -> str:
        return f'"{self.id}-{self.version}"'


class Incidents:
    """All incidents; beyond `keep`, the oldest are forgotten, and an incident keeps its last hundred updates."""

    def __init__(self, services: frozenset[int], keep: int = 10_000) -> None:
        self._services = services
        self._keep = keep
        self._next_id = 1
        self._incidents: dict[int, Incident] = {}

    def newest_first(self) -> list[Incident]:
        return sorted(self._incidents.values(), key=lambda incident: -incident.id)

    def get(self, incident_id: int) -> Incident:
        """The incident, or 404."""
        incident = self._incidents.get(incident_id)
        if incident is None:
            raise Refusal(404, "There is no incident of this id")
        return incident

    def create(self, body: Mapping[str, Any], now: float) -> Incident:
        incident = self._checked(body, self._next_id, now, now, ())
        self._next_id += 1
        self._incidents[incident.id] = incident
        if len(self._incidents) > self._keep:
            del self._incidents[min(self._incidents)]
        return incident

    def replace(
        self, incident_id: int, body: Mapping[str, Any], if_match: str | None, now: float
    ) -> Incident:
        """PUT: the whole anew, and an entry in the history; 412 where somebody was faster."""
        old = self.get(incident_id)
        if if_match not in (None, "*", old.etag):
            raise Refusal(412, "The incident was changed meanwhile")
        new = self._checked(body, old.id, old.created, now, old.history)
        new = msgspec.structs.replace(new, version=old.version + 1)
        self._incidents[old.id] = new
        return new

    def _checked(
        self, body: Mapping[str, Any], incident_id: int, created: float, now: float, past: tuple[Update, ...]
    ) -> Incident:
        summary, status = body.get("summary"), body.get("status")
        message = body.get("message")
        if not isinstance(summary, str) or not summary.strip():
            raise Refusal(400, "summary: required, a string")
        if status not in STATUSES:
            raise Refusal(400, f"status: required, one of {', '.join(STATUSES)}")
        if message is not None and not isinstance(message, str):
            raise Refusal(400, "message: expected a string")
        if not isinstance(body.get("sendNotification", False), bool):
            raise Refusal(400, "sendNotification: expected a boolean")
        update = Update(at=now, status=str(status), message=message or "")
        return Incident(
            id=incident_id,
            summary=summary,
            status=str(status),
            message=message or "",
            affected=self._affected(body.get("affectedServices")),
            created=created,
            history=(*past, update)[-100:],
        )

    def _affected(self, value: Any) -> tuple[tuple[int, str], ...]:
        if not isinstance(value, list) or not value:
            raise Refusal(400, "affectedServices: at least one is needed")
        return tuple(self._one_affected(item) for item in value)

    def _one_affected(self, item: Any) -> tuple[int, str]:
        service = item.get("service") if isinstance(item, dict) else None
        service_id = service.get("id") if isinstance(service, dict) else None
        if type(service_id) is not int or service_id not in self._services:
            raise Refusal(400, "affectedServices: service.id is not a service of this account")
        impact = item.get("impact")
        if impact not in IMPACTS:
            raise Refusal(400, f"affectedServices: impact must be one of {', '.join(IMPACTS)}")
        return service_id, impact


def incident_json(incident: Incident, include: Collection[str] = ()) -> Json:
    affected = [{"impact": impact, "service": {"id": service}} for service, impact in incident.affected]
    json: Json = {
        "id": incident.id,
        "summary": incident.summary,
        "status": incident.status,
        "message": incident.message,
        "affectedServices": affected,
        "createdAt": time_text(incident.created, incident.id),
        "updatedAt": time_text(incident.history[-1].at, incident.id + 1),
        "resolvedOn": time_text(incident.history[-1].at) if incident.status == "RESOLVED" else None,
    }
    if "history" in include:
        json["history"] = [
            {"timestamp": time_text(update.at, n), "status": update.status, "message": update.message}
            for n, update in enumerate(incident.history)
        ]
    return json | UNKNOWN
