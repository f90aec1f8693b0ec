"""The part of iLert that wants an API key: reading and handling alerts, incidents, on-call data.

A table says which path is answered by what. Lists have no total and no next link; above their page cap is 400.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mcp_ilert.sandbox.alerts import Alert, Alerts
from mcp_ilert.sandbox.directory import Directory, shift_at, shifts_between
from mcp_ilert.sandbox.incidents import Incidents, incident_json
from mcp_ilert.sandbox.messages import Answer, Refusal, Request, empty, json_answer
from mcp_ilert.sandbox.options import Source
from mcp_ilert.sandbox.validation import check_event, decode_object
from mcp_ilert.sandbox.wire import (
    Json,
    alert_json,
    policy_json,
    read_time,
    schedule_json,
    service_json,
    shift_json,
    source_json,
    time_text,
    user_json,
)

THREE_MONTHS = 93 * 86_400


class Call(msgspec.Struct, frozen=True):
    """A request with its path taken apart: `parts` are those that stand for a star in the table."""

    request: Request
    parts: tuple[str, ...]
    query: dict[str, list[str]]
    sources: tuple[Source, ...]
    now: float

    def values(self, name: str) -> set[str]:
        """All values of a parameter, given several times or with commas."""
        return {part for value in self.query.get(name, []) for part in value.split(",") if part}

    def one(self, name: str) -> str | None:
        return next(iter(self.query.get(name, [])), None)

    def number(self, name: str, default: int) -> int:
        text = self.one(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Refusal(400, f"{name}: expected a number from 0")
        return int(text)

    def span(self, default: float) -> tuple[float, float]:
        """`from` and `until`; each is the default where it is not given."""
        start, end = self.one("from"), self.one("until")
        begin = default if start is None else read_time(start, "from")
        return begin, max(begin, default) if end is None else read_time(end, "until")

    def id(self) -> int:
        """The first part as an id, or 404."""
        text = self.parts[0]
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Refusal(404, "There is nothing of this id")
        return int(text)


def page(call: Call, items: Sequence[Any], default: int, cap: int) -> list[Any]:
    """The page asked for by start-index and max-results."""
    start, most = call.number("start-index", 0), call.number("max-results", default)
    if not 1 <= most <= cap:
        raise Refusal(400, f"max-results: expected 1 to {cap}")
    return list(items[start : start + most])


class Rest:
    """The REST API over the alerts and one account's directory."""

    def __init__(self, directory: Directory, alerts: Alerts) -> None:
        self._directory = directory
        self._alerts = alerts
        self._incidents = Incidents(frozenset(service.id for service in directory.services))
        self._table: Mapping[tuple[str, ...], Mapping[str, Callable[[Call], Answer]]] = {
            ("alerts",): {"GET": self._list_alerts, "POST": self._create_alert},
            ("alerts", "count"): {"GET": self._count_alerts},
            ("alerts", "*"): {"GET": self._get_alert},
            ("alerts", "*", "accept"): {"PUT": self._accept_alert},
            ("alerts", "*", "resolve"): {"PUT": self._resolve_alert},
            ("incidents",): {"GET": self._list_incidents, "POST": self._create_incident},
            ("incidents", "*"): {"GET": self._get_incident, "PUT": self._replace_incident},
            ("services",): {"GET": self._list_services},
            ("services", "*"): {"GET": self._get_service},
            ("schedules",): {"GET": self._list_schedules},
            ("schedules", "*"): {"GET": self._get_schedule},
            ("schedules", "*", "shifts"): {"GET": self._get_shifts},
            ("schedules", "*", "user-on-call"): {"GET": self._get_on_call},
            ("on-calls",): {"GET": self._list_on_calls},
            ("users", "current"): {"GET": self._get_owner},
            ("users", "search-email"): {"POST": self._find_user},
            ("escalation-policies",): {"GET": self._list_policies},
            ("escalation-policies", "resolve"): {"GET": self._resolve_policy},
            ("alert-sources",): {"GET": self._list_sources},
            ("alert-sources", "*"): {"GET": self._get_source},
        }
        self.names = frozenset(path[0] for path in self._table)
        """The first parts of all paths; what begins otherwise is not REST."""

    def handle(
        self, request: Request, path: tuple[str, ...], sources: tuple[Source, ...], now: float
    ) -> Answer:
        """Answer a request whose API key was found good; `path` is without the leading "api"."""
        methods, parts = self._find(path)
        action = methods.get(request.method)
        if action is None:
            allow = (("allow", ", ".join(methods)),)
            raise Refusal(405, f"{request.method} is not allowed here", headers=allow)
        try:
            query = request.query()
        except ValueError:
            raise Refusal(400, "The query has too many parameters") from None
        return action(Call(request, parts, query, sources, now))

    def _find(self, path: tuple[str, ...]) -> tuple[Mapping[str, Callable[[Call], Answer]], tuple[str, ...]]:
        if path in self._table:
            return self._table[path], ()
        for pattern, methods in self._table.items():
            pairs = tuple(zip(pattern, path, strict=False))
            if len(pattern) == len(path) and all(want in ("*", have) for want, have in pairs):
                return methods, tuple(have for want, have in pairs if want == "*")
        raise Refusal(404, "There is nothing here")

    # Alerts ------------------------------------------------------------------------------------------------------

    def _list_alerts(self, call: Call) -> Answer:
        found = page(call, self._matching(call), 50, 100)
        return json_answer(200, [self._alert_json(call, alert) for alert in found])

    def _count_alerts(self, call: Call) -> Answer:
        return json_answer(200, {"count": len(self._matching(call))})

    def _matching(self, call: Call) -> list[Alert]:
        states, sources = call.values("states"), call.values("sources")
        policies, responders = call.values("policies"), call.values("responders")
        start = read_time(call.one("from") or "1970-01-01", "from")
        end = read_time(call.one("until") or "9999-01-01", "until")
        return [
            alert
            for alert in reversed(self._alerts.all())
            if (not states or alert.status in states)
            and (not sources or str(alert.source) in sources)
            and (not policies or str(alert.policy) in policies)
            and not responders
            and start <= alert.reported <= end
        ]

    def _get_alert(self, call: Call) -> Answer:
        return json_answer(200, self._alert_json(call, self._alert(call)))

    def _create_alert(self, call: Call) -> Answer:
        body = decode_object(call.request)
        wanted = body.get("alertSource")
        source_id = wanted.get("id") if isinstance(wanted, dict) else None
        source = next((each for each in call.sources if each.id == source_id), None)
        if source is None:
            raise Refusal(400, "alertSource: required, a source of this account")
        event = check_event(body | {"integrationKey": source.key, "eventType": "ALERT"}, summary_always=False)
        return json_answer(201, self._alert_json(call, self._alerts.open(event, source, call.now)))

    def _accept_alert(self, call: Call) -> Answer:
        alert = self._alert(call)
        if not alert.is_open:
            raise Refusal(400, "The alert is resolved")
        changed = self._alerts.accept(alert, call.now) if alert.status == "PENDING" else alert
        return json_answer(200, self._alert_json(call, changed))

    def _resolve_alert(self, call: Call) -> Answer:
        alert = self._alert(call)
        changed = self._alerts.resolve(alert, call.now) if alert.is_open else alert
        return json_answer(200, self._alert_json(call, changed))

    def _alert(self, call: Call) -> Alert:
        alert = self._alerts.get(call.id())
        if alert is None:
            raise Refusal(404, "There is no alert of this id")
        return alert

    def _alert_json(self, call: Call, alert: Alert) -> Json:
        source = next((each for each in call.sources if each.id == alert.source), None)
        return alert_json(alert, source, self._directory, call.values("include"))

    # Incidents ---------------------------------------------------------------------------------------------------

    def _list_incidents(self, call: Call) -> Answer:
        include, states = call.values("include"), call.values("states")
        matching = [each for each in self._incidents.newest_first() if not states or each.status in states]
        found = page(call, matching, 10, 25 if include else 100)
        return json_answer(200, [incident_json(incident, include) for incident in found])

    def _get_incident(self, call: Call) -> Answer:
        incident = self._incidents.get(call.id())
        return json_answer(200, incident_json(incident, call.values("include")), (("etag", incident.etag),))

    def _create_incident(self, call: Call) -> Answer:
        incident = self._incidents.create(decode_object(call.request), call.now)
        return json_answer(200, incident_json(incident))

    def _replace_incident(self, call: Call) -> Answer:
        self._incidents.get(call.id())
        body, if_match = decode_object(call.request), call.request.header("if-match")
        return json_answer(200, incident_json(self._incidents.replace(call.id(), body, if_match, call.now)))

    # On-call -----------------------------------------------------------------------------------------------------

    def _list_schedules(self, call: Call) -> Answer:
        found, include = page(call, self._directory.schedules, 20, 20), call.values("include")
        return json_answer(200, [schedule_json(schedule, include, call.now) for schedule in found])

    def _get_schedule(self, call: Call) -> Answer:
        schedule = _by_id(self._directory.schedules, call.id())
        return json_answer(200, schedule_json(schedule, call.values("include"), call.now))

    def _get_shifts(self, call: Call) -> Answer:
        schedule = _by_id(self._directory.schedules, call.id())
        start, end = call.span(call.now)
        return json_answer(200, [shift_json(shift) for shift in shifts_between(schedule, start, end)])

    def _get_on_call(self, call: Call) -> Answer:
        shift = shift_at(_by_id(self._directory.schedules, call.id()), call.now)
        return empty(204) if shift is None else json_answer(200, shift_json(shift))

    def _list_on_calls(self, call: Call) -> Answer:
        start, end = call.span(call.now)
        if not 0 <= end - start <= THREE_MONTHS:
            raise Refusal(400, "until: expected at most three months after from")
        policies, schedules, users = (call.values(name) for name in ("policies", "schedules", "users"))
        found = [
            self._on_call_json(call, policy.id, level, schedule_id, shift)
            for policy in self._directory.policies
            for level, schedule_id in enumerate(policy.schedules, start=1)
            for shift in shifts_between(_by_id(self._directory.schedules, schedule_id), start, end)
            if (not policies or str(policy.id) in policies)
            and (not schedules or str(schedule_id) in schedules)
            and (not users or str(shift.user) in users)
        ]
        return json_answer(200, page(call, found, 50, 250))

    def _on_call_json(self, call: Call, policy: int, level: int, schedule: int, shift: Any) -> Json:
        expand, directory = call.values("expand"), self._directory
        json: Json = {
            "user": {"id": shift.user},
            "escalationPolicy": {"id": policy},
            "schedule": {"id": schedule},
            "start": time_text(shift.start, level),
            "end": time_text(shift.end, level + 1),
            "escalationLevel": level,
        }
        if "user" in expand:
            json["user"] = user_json(_by_id(directory.users, shift.user))
        if "escalationPolicy" in expand:
            json["escalationPolicy"] = policy_json(_by_id(directory.policies, policy))
        if "schedule" in expand:
            json["schedule"] = schedule_json(_by_id(directory.schedules, schedule), (), call.now)
        return json

    # Users, services, policies, sources --------------------------------------------------------------------------

    def _get_owner(self, _call: Call) -> Answer:
        return json_answer(200, user_json(self._directory.users[0]))

    def _find_user(self, call: Call) -> Answer:
        email = decode_object(call.request).get("email")
        if not isinstance(email, str):
            raise Refusal(400, "email: required, a string")
        found = [user for user in self._directory.users if user.email == email.strip().lower()]
        if not found:
            raise Refusal(404, "There is no user of this address")
        return json_answer(200, user_json(found[0]))

    def _list_services(self, call: Call) -> Answer:
        found = page(call, self._directory.services, 10, 25 if call.values("include") else 100)
        return json_answer(200, [service_json(service) for service in found])

    def _get_service(self, call: Call) -> Answer:
        return json_answer(200, service_json(_by_id(self._directory.services, call.id())))

    def _list_policies(self, call: Call) -> Answer:
        return json_answer(200, [policy_json(each) for each in page(call, self._directory.policies, 50, 50)])

    def _resolve_policy(self, call: Call) -> Answer:
        wanted = call.one("routing-key")
        if wanted is None:
            raise Refusal(400, "routing-key: required")
        found = [policy for policy in self._directory.policies if policy.routing_key == wanted]
        if not found:
            raise Refusal(404, "There is no escalation policy of this routing key")
        return json_answer(200, policy_json(found[0]))

    def _list_sources(self, call: Call) -> Answer:
        return json_answer(200, [source_json(source) for source in page(call, call.sources, 50, 50)])

    def _get_source(self, call: Call) -> Answer:
        wanted = call.parts[0]
        found = [source for source in call.sources if wanted in (str(source.id), source.key)]
        if not found:
            raise Refusal(404, "There is no alert source of this id or integrationKey")
        return json_answer(200, source_json(found[0]))


def _by_id(items: Sequence[Any], item_id: int) -> Any:
    found = next((item for item in items if item.id == item_id), None)
    if found is None:
        raise Refusal(404, "There is nothing of this id")
    return found
