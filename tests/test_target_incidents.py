"""Incidents of the published model: one POST for each fire, whatever gets lost, and the lane's operations on it."""

import json
from typing import Any

import httpx
import pytest
import trio

from ilert_world import T0, Facts, Secret, delivery
from incident_world import IncidentWorld
from mcp_ilert.config import Service
from mcp_ilert.events import (
    Delivered,
    Event,
    Kind,
    Link,
    Outcome,
    Refused,
    Rejected,
    Suspect,
    Throttled,
    Unavailable,
)
from mcp_ilert.sandbox import API_KEY
from mcp_ilert.targets.incident import NEW_MODEL
from mcp_ilert.targets.incidents import IncidentTarget
from mcp_ilert.targets.port import PausedError

LOST = {"kind": "lost", "method": "POST", "path": "/api/incidents"}


async def test_an_alert_an_accept_and_a_resolve_are_one_incident() -> None:
    world = IncidentWorld()
    for kind in Kind:
        assert isinstance(await world.send(kind), Delivered)
    assert world.statuses() == [["INVESTIGATING", "IDENTIFIED", "RESOLVED"]]
    assert world.ref == ""


async def test_an_incident_says_what_the_event_says() -> None:
    event = Event("evt-1", "probe-1", "Disk full", details="98 %", links=(Link("https://x/d", "graph"),))
    world = IncidentWorld(event=event)
    await world.send(count=3, first_ms=T0, last_ms=T0 + 60_000)
    (made,) = world.incidents()
    assert made["summary"] == "Disk full"
    assert made["message"].split("\n\n") == [
        "98 %",
        "3 events, the first at 2027-01-15T08:00:00.000Z, the last at 2027-01-15T08:01:00.000Z",
        "graph: https://x/d",
        'mcp-ilert default-incident "evt-1"',
    ]
    assert made["affectedServices"] == [{"impact": "MAJOR_OUTAGE", "service": {"id": 6001}}]


async def test_services_go_by_id_or_alias_and_are_looked_up_once() -> None:
    world = IncidentWorld(Service(id=6001), Service(alias="payments", impact="PARTIAL_OUTAGE"))
    await world.send()
    await world.send(Kind.RESOLVE)
    await world.send()
    affected = world.incidents()[0]["affectedServices"]
    assert [(s["service"]["id"], s["impact"]) for s in affected] == [
        (6001, "DEGRADED"),
        (6002, "PARTIAL_OUTAGE"),
    ]
    assert world.asked().count("GET /services") == 1


async def test_a_further_alert_changes_the_open_incident_and_does_not_take_its_status_back() -> None:
    world = IncidentWorld()
    await world.send()
    await world.send(Kind.ACCEPT)
    world.say(summary="Disk still full")
    await world.send()
    assert world.statuses() == [["INVESTIGATING", "IDENTIFIED", "IDENTIFIED"]]
    assert world.incidents()[0]["summary"] == "Disk still full"


async def test_after_a_resolve_the_next_alert_opens_another() -> None:
    world = IncidentWorld()
    for kind in (Kind.ALERT, Kind.RESOLVE, Kind.ALERT):
        await world.send(kind)
    assert world.statuses() == [["INVESTIGATING", "RESOLVED"], ["INVESTIGATING"]]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_lost_answer_to_a_post_opens_no_second_incident(restart: bool) -> None:
    world = IncidentWorld()
    world.fault(**LOST, times=1)
    first = await world.send()
    assert isinstance(first, Unavailable)
    assert not first.certain
    if restart:
        world.hire()
    assert isinstance(await world.send(), Delivered)
    assert world.statuses() == [["INVESTIGATING"]], "not even a second entry in its history"
    assert world.ref == "1"


async def test_where_the_post_was_not_applied_the_next_attempt_opens_the_incident() -> None:
    world = IncidentWorld()
    world.fault(kind="reset", method="POST", times=1)
    assert isinstance(await world.send(), Unavailable)
    assert isinstance(await world.send(), Delivered)
    assert world.statuses() == [["INVESTIGATING"]]


async def test_ours_is_found_behind_a_hundred_others() -> None:
    world = IncidentWorld()
    world.fault(**LOST, times=1)
    await world.send()
    other = IncidentWorld()
    other.core, other.event = world.core, Event("x", "s", "other")
    for i in range(120):
        other.ref = ""
        await other.target.send(delivery(key=f"k{i}", target="default-incident"))
    world.say(summary="worse")
    assert isinstance(await world.send(), Delivered)
    assert world.ref == "1"
    assert "GET /incidents/1" in world.asked()


async def test_no_other_key_target_or_text_passes_for_ours() -> None:
    forged = 'evil\nmcp-ilert default-incident "evt-1"'
    world = IncidentWorld(event=Event("other", "s", "x", details=forged))
    await world.target.send(delivery(key="other", target="default-incident"))
    elsewhere = IncidentWorld(name="calls")
    elsewhere.core = world.core
    await elsewhere.send()
    world.ref, world.unsure = "", True
    assert isinstance(await world.send(), Delivered)
    assert world.ref == "3"


async def test_keys_are_the_same_in_any_case() -> None:
    world = IncidentWorld()
    world.fault(**LOST, times=1)
    await world.send(key='Evt "1"\n')
    await world.send(key='eVT "1"\n')
    assert len(world.incidents()) == 1


async def test_a_resolve_whose_answer_was_lost_is_not_written_twice() -> None:
    world = IncidentWorld()
    await world.send()
    world.fault(kind="lost", method="PUT", times=1)
    assert isinstance(await world.send(Kind.RESOLVE), Unavailable)
    assert isinstance(await world.send(Kind.RESOLVE), Delivered)
    assert world.statuses() == [["INVESTIGATING", "RESOLVED"]]


async def test_an_update_whose_answer_was_lost_is_not_written_twice() -> None:
    world = IncidentWorld()
    await world.send()
    world.say(summary="worse")
    world.fault(kind="lost", method="PUT", times=1)
    await world.send()
    assert isinstance(await world.send(), Delivered)
    assert world.statuses() == [["INVESTIGATING", "INVESTIGATING"]]


async def test_somebody_elses_change_in_between_is_not_overwritten() -> None:
    world = IncidentWorld()
    await world.send()
    handle = world.core.handle
    moved: list[int] = []

    def interfere(request: Any, now: float) -> Any:
        if request.method == "PUT" and request.header("if-match") and not moved:
            moved.append(1)
            world.edit(1, status="MONITORING", summary="By hand")
        return handle(request, now)

    world.core.handle = interfere  # type: ignore[method-assign]
    assert isinstance(await world.send(Kind.ACCEPT), Delivered)
    world.core.handle = handle  # type: ignore[method-assign]
    (made,) = world.incidents()
    assert (made["status"], made["summary"]) == ("MONITORING", "By hand")
    assert [r.status for r in world.core.requests if r.method == "PUT"] == [200, 412, 200]


async def test_an_endless_412_is_the_events_fault() -> None:
    world = IncidentWorld()
    await world.send()
    world.fault(kind="status", status=412, method="PUT")
    outcome = await world.send(Kind.ACCEPT)
    assert isinstance(outcome, Rejected)
    assert outcome.status == 412


async def test_what_a_person_resolved_is_opened_anew_by_an_alert_and_left_by_a_resolve() -> None:
    world = IncidentWorld()
    await world.send()
    world.edit(1, status="RESOLVED")
    resolved = await world.send(Kind.RESOLVE, ref="1")
    assert isinstance(resolved, Delivered)
    assert "nothing to do" in resolved.note
    await world.send(ref="1")
    assert world.statuses() == [["INVESTIGATING", "RESOLVED"], ["INVESTIGATING"]]


async def test_a_lost_post_after_a_resolve_by_hand_is_found_too() -> None:
    world = IncidentWorld()
    await world.send()
    world.edit(1, status="RESOLVED")
    world.fault(**LOST, times=1)
    assert isinstance(await world.send(), Unavailable)
    assert isinstance(await world.send(Kind.RESOLVE), Delivered)
    assert world.statuses() == [["INVESTIGATING", "RESOLVED"], ["INVESTIGATING", "RESOLVED"]]


@pytest.mark.parametrize("kind", [Kind.ACCEPT, Kind.RESOLVE])
async def test_what_concerns_no_open_incident_is_delivered_and_writes_nothing(kind: Kind) -> None:
    world = IncidentWorld()
    assert isinstance(await world.send(kind), Delivered)
    assert world.asked() == ["GET /incidents"]


async def test_an_incident_that_is_gone_is_the_events_fault_but_an_alert_opens_another() -> None:
    world = IncidentWorld()
    gone = await world.send(Kind.ACCEPT, ref="77")
    assert isinstance(gone, Rejected)
    assert gone.status == 404
    assert isinstance(await world.send(ref="77"), Delivered)


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "X", Rejected),
        (401, "X", Refused),
        (402, "QUOTA_EXCEEDED", Refused),
        (403, "KEY_ERROR", Refused),
        (403, "", Suspect),
        (404, "X", Rejected),
        (408, "X", Unavailable),
        (409, "X", Rejected),
        (413, "X", Rejected),
        (422, "X", Rejected),
        (425, "X", Unavailable),
        (429, "X", Throttled),
        (500, "X", Unavailable),
        (503, "", Unavailable),
        (302, "", Rejected),
    ],
)
async def test_each_answer_has_the_outcome_of_the_table(
    status: int, code: str, outcome: type[Outcome]
) -> None:
    world = IncidentWorld()
    await world.send(key="before")
    for method in ("POST", "PUT"):
        world.core.clear_faults()
        world.fault(kind="status", status=status, code=code, method=method)
        ref = "" if method == "POST" else "1"
        found = await world.target.send(delivery(key="k", target="default-incident", ref=ref))
        assert isinstance(found, outcome), (method, found)
        assert API_KEY not in repr(found)


async def test_a_failure_while_looking_has_surely_changed_nothing() -> None:
    world = IncidentWorld()
    for fault in ({"kind": "reset"}, {"kind": "status", "status": 503}, {"kind": "status", "status": 200}):
        world.core.clear_faults()
        world.fault(**fault, method="GET")
        outcome = await world.send(Kind.RESOLVE)
        assert isinstance(outcome, Unavailable), outcome
        assert outcome.certain
    assert not world.unsure


async def test_a_service_that_is_not_there_and_a_route_without_one_are_told() -> None:
    world = IncidentWorld(Service(alias="nope"))
    missing = await world.send()
    assert isinstance(missing, Rejected)
    assert "no service of the alias 'nope'" in missing.detail
    world.services = ()
    none = await world.send()
    assert isinstance(none, Rejected)
    assert "routes[].services" in none.detail
    assert world.incidents() == []


def target_of(handler: Any) -> IncidentTarget:
    event = Event("evt-1", "s", "x")
    return IncidentTarget(
        "default-incident",
        Secret(API_KEY),
        "http://127.0.0.1:9/api",
        1,
        lambda _delivery: (event, Facts(services=(Service(id=6001),))),
        now_ms=lambda: T0,
        transport=httpx.MockTransport(handler),
    )


async def test_an_account_of_the_new_model_is_told_clearly_and_written_nothing() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, json=[{"id": 1, "summary": "x", "severity": "SEV3", "status": "DECLARED"}])

    outcome = await target_of(handler).send(delivery())
    assert isinstance(outcome, Refused), "the account's fault: its events wait"
    assert outcome.detail.startswith(NEW_MODEL)
    assert asked == ["GET"]


@pytest.mark.parametrize("status", [404, 405, 410, 501])
async def test_where_there_is_no_incidents_api_the_new_model_is_named(status: int) -> None:
    outcome = await target_of(lambda _request: httpx.Response(status)).send(delivery())
    assert isinstance(outcome, Refused)
    assert NEW_MODEL in outcome.detail


async def test_a_post_whose_answer_does_not_name_the_incident_is_delivered_and_looked_for_later() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[] if request.method == "GET" else {"state": "DECLARED"})

    assert await target_of(handler).send(delivery()) == Delivered(200, None, "")


async def test_each_request_but_the_first_waits_for_the_pace() -> None:
    world, waited = IncidentWorld(), 0

    async def more() -> None:
        nonlocal waited
        waited += 1

    await world.target.send(delivery(), more)
    assert waited == len(world.core.requests) - 1 == 2


async def test_a_pause_of_the_key_ends_an_attempt_like_a_429() -> None:
    world = IncidentWorld()

    async def more() -> None:
        raise PausedError(41.0)

    assert await world.target.send(delivery(), more) == Throttled(41.0)


async def test_the_key_shows_nowhere() -> None:
    world = IncidentWorld()
    assert API_KEY not in repr(world.target)
    body = json.dumps({"code": "X", "message": f"bad {API_KEY}"})
    outcome = await target_of(lambda _request: httpx.Response(401, text=body)).send(delivery())
    assert API_KEY not in repr(outcome)


async def test_a_server_that_does_not_answer_costs_the_time_out_of_one_request(
    autojump_clock: object,
) -> None:
    async def handler(_request: httpx.Request) -> httpx.Response:
        await trio.sleep(100)
        return httpx.Response(200)

    assert await target_of(handler).send(delivery()) == Unavailable("timeout", certain=True)
    assert trio.current_time() == 1
