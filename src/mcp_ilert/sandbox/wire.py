"""How iLert's REST objects look as JSON. Each bears a property that no client knows, and times of uneven precision."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from mcp_ilert.sandbox.alerts import Alert
from mcp_ilert.sandbox.directory import Directory, Policy, Schedule, Service, Shift, User, shift_at
from mcp_ilert.sandbox.messages import Refusal
from mcp_ilert.sandbox.options import Source

Json = dict[str, Any]
UNKNOWN: Json = {"sandboxOnly": {"unknown": True}}
"""Clients must ignore it."""


def time_text(seconds: float, variant: int = 0) -> str:
    """ISO-8601 in UTC with 0, 3 or 6 fraction digits, as `variant` (mod 3) says."""
    moment = datetime.fromtimestamp(seconds, tz=UTC).replace(tzinfo=None)
    spec = ("seconds", "milliseconds", "microseconds")[variant % 3]
    return moment.isoformat(timespec=spec) + "Z"


def read_time(text: str, name: str) -> float:
    """Seconds since 1970 of an ISO-8601 text; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refusal(400, f"{name}: expected an ISO-8601 time") from None


def user_json(user: User) -> Json:
    return {
        "id": user.id,
        "firstName": user.first,
        "lastName": user.last,
        "email": user.email,
        "username": user.email,
        "role": "USER",
        "timezone": "Europe/Berlin",
        "language": "en",
    } | UNKNOWN


def service_json(service: Service) -> Json:
    return {
        "id": service.id,
        "name": service.name,
        "alias": service.alias,
        "status": "OPERATIONAL",
        "description": None,
        "oneOpenIncidentOnly": False,
        "showUptimeHistory": True,
        "teams": [],
    } | UNKNOWN


def policy_json(policy: Policy) -> Json:
    rules = [{"escalationTimeout": 0, "schedules": [{"id": schedule}]} for schedule in policy.schedules]
    return {
        "id": policy.id,
        "name": policy.name,
        "routingKey": policy.routing_key,
        "escalationRules": rules,
    } | UNKNOWN


def source_json(source: Source) -> Json:
    return {
        "id": source.id,
        "name": source.name,
        "integrationType": "API",
        "integrationKey": source.key,
        "alertCreation": source.grouping,
        "alertPriorityRule": source.default_priority,
        "status": "ALL_ACCEPTED",
        "active": True,
        "escalationPolicy": {"id": source.policy},
    } | UNKNOWN


def shift_json(shift: Shift) -> Json:
    return {
        "user": {"id": shift.user},
        "start": time_text(shift.start),
        "end": time_text(shift.end, 1),
    } | UNKNOWN


def schedule_json(schedule: Schedule, include: Collection[str], now: float) -> Json:
    json: Json = {"id": schedule.id, "name": schedule.name, "type": "RECURRING", "timezone": "UTC"}
    turns = {"currentShift": 0, "nextShift": 1}
    for name in ("currentShift", "nextShift"):
        shift = shift_at(schedule, now, turns[name]) if name in include else None
        json |= {name: None if shift is None else shift_json(shift)} if name in include else {}
    if "shifts" in include:
        ahead = [shift_at(schedule, now, turn) for turn in range(7)]
        json["shifts"] = [shift_json(shift) for shift in ahead if shift is not None]
    if "scheduleLayers" in include:
        json["scheduleLayers"] = [{"name": "Layer 1", "users": [{"user": {"id": u}} for u in schedule.users]}]
    return json | UNKNOWN


def alert_json(
    alert: Alert, source: Source | None, directory: Directory, include: Collection[str] = ()
) -> Json:
    policy = next((each for each in directory.policies if each.id == alert.policy), None)
    resolved = None if alert.resolved is None else time_text(alert.resolved, alert.id + 1)
    json: Json = {
        "id": alert.id,
        "summary": alert.summary,
        "details": alert.details,
        "reportTime": time_text(alert.reported, alert.id),
        "resolvedOn": resolved,
        "status": alert.status,
        "priority": alert.priority,
        "severity": alert.severity,
        "alertKey": alert.key,
        "labels": alert.labels,
        "links": alert.links,
        "images": alert.images,
        "alertSource": {"id": alert.source, "name": None if source is None else source.name},
        "escalationPolicy": None if policy is None else {"id": policy.id, "name": policy.name},
        "responders": [],
        "nextEscalation": None,
        "linkedIncidentId": None,
        "mergedIntoId": None,
        "mergeState": "NONE",
    }
    if "customDetails" in include:
        json["customDetails"] = alert.custom_details
    if "escalationRules" in include:
        json["escalationRules"] = [] if policy is None else policy_json(policy)["escalationRules"]
    if "nextEscalationUser" in include:
        json["nextEscalationUser"] = None
    return json | UNKNOWN
