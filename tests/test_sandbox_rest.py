"""The sandbox's REST API: keys, pages, alerts, incidents, on-call data."""

import re
from typing import Any

import pytest

from mcp_ilert.sandbox import API_KEY, INTEGRATION_KEY, Limits, Options, Request, SandboxIlert
from sandboxes import AT_ONCE, BEARER, JSON, event, headers, post, read, rest

HOUR = 3_600.0


@pytest.fixture
def core() -> SandboxIlert:
    return SandboxIlert(AT_ONCE)


# Keys ---------------------------------------------------------------------------------------------------------------

PATHS = (
    "/alerts",
    "/incidents",
    "/services",
    "/schedules",
    "/on-calls",
    "/users/current",
    "/alert-sources/1001",
)


@pytest.mark.parametrize("path", PATHS)
def test_rest_wants_a_key_and_knows_a_bad_one(core: SandboxIlert, path: str) -> None:
    def status(*sent: tuple[str, str]) -> tuple[int, Any]:
        answer = core.handle(Request(method="GET", target=f"/api{path}", headers=sent), 0.0)
        return answer.status, read(answer)

    assert status()[0] == 401
    for bad in ("Bearer other", API_KEY, f"Basic {API_KEY}", ""):
        code, body = status(("authorization", bad))
        assert (code, body["code"]) == (403, "KEY_ERROR")
    assert status(*BEARER)[0] == 200


def test_the_events_path_needs_no_api_key_and_ignores_one(core: SandboxIlert) -> None:
    body = b'{"integrationKey":"sandbox-key","eventType":"ALERT","summary":"s"}'
    sent = (*JSON, ("authorization", "Bearer wrong"))
    assert (
        core.handle(Request(method="POST", target="/api/events", headers=sent, body=body), 0.0).status == 202
    )


@pytest.mark.parametrize("code", ["FEATURE_REQUIRED", "QUOTA_EXCEEDED", "ERROR"])
def test_a_switch_answers_402(code: Any) -> None:
    answer = rest(SandboxIlert(Options(plan_error=code)), "GET", "/alerts")
    assert (answer.status, read(answer)["code"]) == (402, code)


def test_an_api_key_has_120_calls_a_minute() -> None:
    core = SandboxIlert()
    assert [rest(core, "GET", "/users/current").status for _ in range(121)] == [200] * 120 + [429]
    assert rest(core, "GET", "/users/current", now=60).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/alerts/7", 404),
        ("GET", "/alerts/x", 404),
        ("GET", "/alerts/1/nothing", 404),
        ("DELETE", "/alerts/1", 405),
        ("GET", "/incidents/7", 404),
        ("PUT", "/incidents/7", 404),
        ("GET", "/schedules/1/shifts", 404),
        ("GET", "/services/1", 404),
        ("GET", "/alert-sources/none", 404),
        ("GET", "/escalation-policies/resolve?routing-key=none", 404),
        ("GET", "/escalation-policies/resolve", 400),
        ("POST", "/escalation-policies/resolve", 405),
    ],
)
def test_what_is_not_there_is_refused(core: SandboxIlert, method: str, path: str, status: int) -> None:
    assert rest(core, method, path, {}).status == status


@pytest.mark.parametrize(
    ("path", "cap"),
    [
        ("/alerts", 100),
        ("/incidents", 100),
        ("/incidents?include=history", 25),
        ("/services", 100),
        ("/services?include=x", 25),
        ("/schedules", 20),
        ("/on-calls", 250),
        ("/alert-sources", 50),
        ("/escalation-policies", 50),
    ],
)
def test_a_page_above_its_cap_is_refused(core: SandboxIlert, path: str, cap: int) -> None:
    glue = "&" if "?" in path else "?"
    assert rest(core, "GET", f"{path}{glue}max-results={cap}").status == 200
    for wrong in (cap + 1, 0, -1, "x", ""):
        assert rest(core, "GET", f"{path}{glue}max-results={wrong}").status == 400
    assert rest(core, "GET", f"{path}{glue}start-index=-1").status == 400


# Alerts -------------------------------------------------------------------------------------------------------------


def test_alerts_are_listed_newest_first_a_page_at_a_time_without_a_total(core: SandboxIlert) -> None:
    for n in range(60):
        post(core, event(key=f"k{n}"), now=n)
    assert [alert["id"] for alert in read(rest(core, "GET", "/alerts"))] == list(range(60, 10, -1))
    page = read(rest(core, "GET", "/alerts?start-index=50&max-results=20"))
    assert [alert["id"] for alert in page] == list(range(10, 0, -1))


def test_alerts_are_filtered_and_counted(core: SandboxIlert) -> None:
    post(core, event(key="a"), now=10)
    post(core, event(key="b"), now=20)
    post(core, event("RESOLVE", key="a"), now=30)

    def keys(query: str) -> list[str]:
        found = [alert["alertKey"] for alert in read(rest(core, "GET", f"/alerts?{query}"))]
        assert read(rest(core, "GET", f"/alerts/count?{query}")) == {"count": len(found)}
        return found

    assert keys("states=PENDING&states=ACCEPTED") == ["b"]
    assert keys("states=RESOLVED") == ["a"]
    assert keys("sources=1001") == ["b", "a"]
    assert keys("sources=1") == []
    assert keys("policies=5002") == []
    assert keys("from=1970-01-01T00:00:15Z") == ["b"]
    assert keys("until=1970-01-01T00:00:15Z") == ["a"]
    assert rest(core, "GET", "/alerts?from=yesterday").status == 400


def test_an_alert_is_accepted_and_resolved_by_id(core: SandboxIlert) -> None:
    post(core, event())
    assert read(rest(core, "PUT", "/alerts/1/accept"))["status"] == "ACCEPTED"
    assert read(rest(core, "PUT", "/alerts/1/resolve"))["status"] == "RESOLVED"
    assert rest(core, "PUT", "/alerts/1/accept").status == 400
    assert core.open_alert("k") is None
    post(core, event())
    assert read(rest(core, "GET", "/alerts/2"))["status"] == "PENDING"


def test_an_alert_is_created_with_201(core: SandboxIlert) -> None:
    answer = rest(core, "POST", "/alerts", {"summary": "by hand", "alertSource": {"id": 1001}})
    assert (answer.status, read(answer)["summary"]) == (201, "by hand")
    assert rest(core, "POST", "/alerts", {"summary": "by hand"}).status == 400
    assert rest(core, "POST", "/alerts", {"alertSource": {"id": 1001}}).status == 400


def test_rich_fields_of_an_alert_need_include(core: SandboxIlert) -> None:
    post(core, event(customDetails={"mcp_id": "1"}))
    plain = read(rest(core, "GET", "/alerts/1"))
    assert not {"customDetails", "escalationRules", "nextEscalationUser"} & plain.keys()
    rich = read(rest(core, "GET", "/alerts/1?include=customDetails&include=escalationRules"))
    assert rich["customDetails"] == {"mcp_id": "1"}
    assert rich["escalationRules"]
    assert rich["sandboxOnly"]


def test_times_have_no_three_or_six_fraction_digits(core: SandboxIlert) -> None:
    for n in range(3):
        post(core, event(key=f"k{n}"), now=1_000)
    times = [alert["reportTime"] for alert in read(rest(core, "GET", "/alerts"))]
    assert {len(time.partition(".")[2].rstrip("Z")) for time in times} == {0, 3, 6}
    assert all(re.fullmatch(r"1970-01-01T00:16:40(\.0+)?Z", time) for time in times)


# Incidents ----------------------------------------------------------------------------------------------------------

INCIDENT = {
    "summary": "down",
    "status": "INVESTIGATING",
    "message": "looking",
    "sendNotification": False,
    "affectedServices": [{"impact": "MAJOR_OUTAGE", "service": {"id": 6001}}],
}


def test_an_incident_is_posted_with_200_and_put_with_its_etag(core: SandboxIlert) -> None:
    answer = rest(core, "POST", "/incidents", INCIDENT)
    assert (answer.status, read(answer)["id"]) == (200, 1)
    etag = headers(rest(core, "GET", "/incidents/1"))["etag"]
    update = INCIDENT | {"status": "RESOLVED", "message": "done"}
    assert rest(core, "PUT", "/incidents/1", update, if_match=etag).status == 200
    assert rest(core, "PUT", "/incidents/1", update, if_match=etag).status == 412
    assert rest(core, "PUT", "/incidents/1", update).status == 200
    incident = read(rest(core, "GET", "/incidents/1?include=history"))
    assert [entry["status"] for entry in incident["history"]] == ["INVESTIGATING", "RESOLVED", "RESOLVED"]
    assert [each["id"] for each in read(rest(core, "GET", "/incidents?states=RESOLVED"))] == [1]
    assert read(rest(core, "GET", "/incidents?states=INVESTIGATING")) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("summary", None),
        ("summary", ""),
        ("status", "OPEN"),
        ("status", None),
        ("message", 1),
        ("sendNotification", "yes"),
        ("affectedServices", None),
        ("affectedServices", []),
        ("affectedServices", [{"impact": "MAJOR_OUTAGE"}]),
        ("affectedServices", [{"impact": "MAJOR_OUTAGE", "service": {"id": 1}}]),
        ("affectedServices", [{"impact": "BAD", "service": {"id": 6001}}]),
    ],
)
def test_a_wrong_incident_is_refused(core: SandboxIlert, field: str, value: object) -> None:
    assert rest(core, "POST", "/incidents", INCIDENT | {field: value}).status == 400


# On-call, users, sources --------------------------------------------------------------------------------------------


def test_the_user_on_call_is_200_or_204_when_there_is_nobody(core: SandboxIlert) -> None:
    assert read(rest(core, "GET", "/schedules/4001/user-on-call", now=HOUR))["user"] == {"id": 3001}
    assert read(rest(core, "GET", "/schedules/4001/user-on-call", now=25 * HOUR))["user"] == {"id": 3002}
    nobody = rest(core, "GET", "/schedules/4002/user-on-call")
    assert (nobody.status, nobody.body, "content-length" in headers(nobody)) == (204, b"", False)


def test_on_calls_are_bare_references_unless_expanded(core: SandboxIlert) -> None:
    bare = read(rest(core, "GET", "/on-calls?policies=5001"))
    assert [(item["user"], item["escalationLevel"]) for item in bare] == [({"id": 3001}, 1)]
    query = "/on-calls?policies=5002&expand=user&expand=escalationPolicy&expand=schedule"
    [item] = read(rest(core, "GET", query))
    assert item["user"]["email"] == "ada@example.org"
    assert (item["escalationPolicy"]["name"], item["schedule"]["name"]) == ("Night", "Primary")
    assert item["escalationLevel"] == 2


def test_on_calls_span_three_months_at_most(core: SandboxIlert) -> None:
    assert rest(core, "GET", "/on-calls?from=2026-01-01&until=2026-03-31").status == 200
    assert rest(core, "GET", "/on-calls?from=2026-01-01&until=2026-05-01").status == 400
    assert rest(core, "GET", "/on-calls?from=2026-01-02&until=2026-01-01").status == 400


def test_shifts_touch_the_span_asked_for(core: SandboxIlert) -> None:
    shifts = read(rest(core, "GET", "/schedules/4001/shifts?from=1970-01-01T12:00:00Z&until=1970-01-03"))
    assert [(shift["user"]["id"], shift["start"][:10]) for shift in shifts] == [
        (3001, "1970-01-01"),
        (3002, "1970-01-02"),
    ]


def test_a_schedule_shows_its_shifts_only_when_included(core: SandboxIlert) -> None:
    assert "currentShift" not in read(rest(core, "GET", "/schedules/4001"))
    schedule = read(rest(core, "GET", "/schedules/4001?include=currentShift,nextShift,shifts"))
    assert [schedule[name]["user"]["id"] for name in ("currentShift", "nextShift")] == [3001, 3002]
    assert len(schedule["shifts"]) == 7
    assert read(rest(core, "GET", "/schedules/4002?include=currentShift"))["currentShift"] is None


def test_users_policies_services_and_sources_are_found(core: SandboxIlert) -> None:
    assert read(rest(core, "GET", "/users/current"))["id"] == 3001
    assert read(rest(core, "POST", "/users/search-email", {"email": "Ben@example.org"}))["id"] == 3002
    assert rest(core, "POST", "/users/search-email", {"email": "nobody@example.org"}).status == 404
    assert rest(core, "POST", "/users/search-email", {"mail": "x"}).status == 400
    assert read(rest(core, "GET", "/escalation-policies/resolve?routing-key=night"))["id"] == 5002
    assert [service["alias"] for service in read(rest(core, "GET", "/services"))] == ["orders", "payments"]
    by_id, by_key = (read(rest(core, "GET", f"/alert-sources/{name}")) for name in ("1001", INTEGRATION_KEY))
    assert by_id == by_key
    assert by_id["integrationKey"] == INTEGRATION_KEY


def test_the_address_limit_counts_rest_and_events_together() -> None:
    core = SandboxIlert(Options(limits=Limits(ip=2)))
    assert post(core, event()).status == 202
    assert rest(core, "GET", "/alerts").status == 200
    assert rest(core, "GET", "/alerts").status == 429
