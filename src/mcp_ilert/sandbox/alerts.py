"""Alerts: opened, appended to, accepted and resolved by key. A key is compared trimmed and in lower case, per source.

At most one alert of a key is open. A resolve frees the key: the next ALERT opens another alert.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from mcp_ilert.sandbox.options import Grouping, Source
from mcp_ilert.sandbox.validation import IlertEvent

Status = Literal["PENDING", "ACCEPTED", "RESOLVED"]
What = Literal["opened", "appended", "grouped", "accepted", "resolved", "commented", "none", "dropped"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert. `key` is as its first event spelled it; times are seconds since 1970."""

    id: int
    source: int
    policy: int
    key: str | None
    status: Status
    summary: str
    priority: str
    severity: int | None
    reported: float
    updated: float
    resolved: float | None = None
    events: int = 1
    """ALERT events in it."""
    details: str | None = None
    labels: dict[str, str] = {}
    custom_details: dict[str, Any] = {}
    links: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []

    @property
    def is_open(self) -> bool:
        return self.status != "RESOLVED"


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What an accepted event did, in the event log; `request` is the number of its request."""

    at: float
    request: int
    source: str
    event_type: str
    key: str | None
    what: What
    alert: int | None = None
    note: str = ""


def fold(key: str) -> str:
    """The form in which keys are compared: lower(), since casefold() would merge ß and ss."""
    return key.strip().lower()


def _same_summary(alert: Alert, event: IlertEvent, _source: Source, _now: float) -> bool:
    return alert.is_open and alert.summary == event.summary


def _in_window(alert: Alert, _event: IlertEvent, source: Source, now: float) -> bool:
    return alert.is_open and now - alert.reported < source.group_seconds


GROUPS: dict[Grouping, Callable[[Alert, IlertEvent, Source, float], bool]] = {
    "ONE_ALERT_PER_EMAIL": lambda _alert, _event, _source, _now: False,
    "ONE_ALERT_PER_EMAIL_SUBJECT": _same_summary,
    "ONE_PENDING_ALERT_ALLOWED": lambda alert, _event, _source, _now: alert.status == "PENDING",
    "ONE_OPEN_ALERT_ALLOWED": lambda alert, _event, _source, _now: alert.is_open,
    "ONE_ALERT_GROUPED_PER_WINDOW": _in_window,
}
"""Whether an ALERT that no key matches joins this alert of its source."""


class Alerts:
    """All alerts of all sources; the oldest are forgotten beyond `keep`."""

    def __init__(self, keep: int) -> None:
        self.forgotten = 0
        self._keep = keep
        self._next_id = 1
        self._alerts: OrderedDict[int, Alert] = OrderedDict()
        self._open: dict[tuple[int, str], int] = {}

    def all(self) -> list[Alert]:
        """Every alert that is remembered, oldest first."""
        return list(self._alerts.values())

    def get(self, alert_id: int) -> Alert | None:
        return self._alerts.get(alert_id)

    def open_alert(self, source: int, key: str) -> Alert | None:
        """The open alert of this key, in any spelling."""
        alert_id = self._open.get((source, fold(key)))
        return None if alert_id is None else self._alerts[alert_id]

    def apply(self, event: IlertEvent, source: Source, now: float) -> tuple[What, int | None]:
        """Let an event have its effect: what it did, and to which alert."""
        if source.drops:
            return "dropped", None
        known = None if event.key is None else self.open_alert(source.id, event.key)
        if event.event_type == "ALERT":
            return self._alert(event, source, known, now)
        if known is None:
            return "none", None
        return self._follow_up(event.event_type, known, now), known.id

    def _alert(
        self, event: IlertEvent, source: Source, known: Alert | None, now: float
    ) -> tuple[What, int | None]:
        if known is not None:
            self._append(known, now)
            return "appended", known.id
        if (group := self._group(event, source, now)) is not None:
            self._append(group, now)
            return "grouped", group.id
        return "opened", self.open(event, source, now).id

    def _append(self, alert: Alert, now: float) -> None:
        self._alerts[alert.id] = msgspec.structs.replace(alert, events=alert.events + 1, updated=now)

    def _follow_up(self, event_type: str, alert: Alert, now: float) -> What:
        if event_type == "RESOLVE":
            self.resolve(alert, now)
            return "resolved"
        if event_type == "COMMENT":
            return "commented"
        if alert.status == "ACCEPTED":
            return "none"
        self.accept(alert, now)
        return "accepted"

    def _group(self, event: IlertEvent, source: Source, now: float) -> Alert | None:
        if source.grouping == "ONE_ALERT_PER_EMAIL":
            return None
        joins = GROUPS[source.grouping]
        mine = (alert for alert in reversed(self._alerts.values()) if alert.source == source.id)
        return next((alert for alert in mine if joins(alert, event, source, now)), None)

    def open(self, event: IlertEvent, source: Source, now: float) -> Alert:
        """A new alert, whatever else is open."""
        priority = event.priority if source.honour_priority else None
        severity = event.severity if event.severity is not None else source.default_severity
        alert = Alert(
            id=self._next_id,
            source=source.id,
            policy=source.policy,
            key=event.key,
            status="PENDING",
            summary=event.summary,
            priority=priority or source.default_priority,
            severity=severity,
            reported=now,
            updated=now,
            details=event.details,
            labels=event.labels,
            custom_details=event.custom_details,
            links=event.links,
            images=event.images,
            services=event.services,
        )
        self._next_id += 1
        self._alerts[alert.id] = alert
        if event.key is not None:
            self._open[source.id, fold(event.key)] = alert.id
        self._forget()
        return alert

    def accept(self, alert: Alert, now: float) -> Alert:
        """PENDING → ACCEPTED."""
        return self._set(msgspec.structs.replace(alert, status="ACCEPTED", updated=now))

    def resolve(self, alert: Alert, now: float) -> Alert:
        """Open → RESOLVED; the key is free again."""
        self._free(alert)
        return self._set(msgspec.structs.replace(alert, status="RESOLVED", updated=now, resolved=now))

    def _set(self, alert: Alert) -> Alert:
        self._alerts[alert.id] = alert
        return alert

    def _free(self, alert: Alert) -> None:
        if alert.key is not None and self._open.get((alert.source, fold(alert.key))) == alert.id:
            del self._open[alert.source, fold(alert.key)]

    def _forget(self) -> None:
        while len(self._alerts) > self._keep:
            _, oldest = self._alerts.popitem(last=False)
            self._free(oldest)
            self.forgotten += 1
