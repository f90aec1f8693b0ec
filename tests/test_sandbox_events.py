"""The sandbox's events API: what it refuses, what an accepted event does, what it counts."""

import json
from typing import Any, Literal

import pytest

from mcp_ilert.sandbox import (
    INTEGRATION_KEY,
    Answer,
    Limits,
    Options,
    Received,
    Request,
    SandboxIlert,
    Source,
)
from mcp_ilert.sandbox.options import Grouping
from sandboxes import AT_ONCE, UNLIMITED, event, headers, post, raw, read, the_alert


@pytest.fixture
def core() -> SandboxIlert:
    return SandboxIlert(AT_ONCE)


def test_a_valid_event_is_answered_202_with_an_empty_body_and_a_correlation_id(core: SandboxIlert) -> None:
    answer = post(core, event())
    assert (answer.status, answer.body) == (202, b"")
    assert headers(answer)["content-length"] == "0"
    assert headers(answer)["correlation-id"]
    assert "content-type" not in headers(answer)


EVERYTHING: dict[str, Any] = {
    "details": "d",
    "priority": "LOW",
    "severity": 5,
    "labels": {"a": "b"},
    "customDetails": {"deep": [{"er": None}]},
    "links": [{"href": "https://example.org"}, {"href": "https://example.org", "text": "t"}],
    "images": [{"src": "https://example.org/i.png", "href": "https://example.org", "alt": "a"}],
    "services": [{"alias": "orders"}, {"id": 6001}],
    "comments": [{"creator": "me", "content": "c"}],
    "routingKey": "a,b",
    "unknownField": {"is": "ignored"},
}


def test_every_documented_field_is_taken_and_an_unknown_one_is_ignored(core: SandboxIlert) -> None:
    assert post(core, event(**EVERYTHING)).status == 202


def test_a_null_is_as_good_as_absent(core: SandboxIlert) -> None:
    body = event() | dict[str, Any].fromkeys(EVERYTHING)
    assert raw(core, json.dumps(body).encode()).status == 202


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eventType", "FIRE"),
        ("eventType", "alert"),
        ("eventType", ["ALERT"]),
        ("summary", "  "),
        ("summary", 7),
        ("details", {"a": 1}),
        ("alertKey", 7),
        ("routingKey", ["a"]),
        ("priority", "MEDIUM"),
        ("priority", "high"),
        ("priority", 1),
        ("severity", "SEV1"),
        ("severity", "1"),
        ("severity", 0),
        ("severity", 6),
        ("severity", True),
        ("severity", 2.0),
        ("labels", {"a": 1}),
        ("labels", {"a": None}),
        ("labels", ["a"]),
        ("customDetails", "text"),
        ("customDetails", []),
        ("links", {"href": "x"}),
        ("links", ["https://example.org"]),
        ("links", [{"text": "no href"}]),
        ("links", [{"href": "x", "text": 1}]),
        ("images", [{"href": "no src"}]),
        ("images", "x"),
        ("services", [{}]),
        ("services", [{"id": True}]),
        ("services", ["orders"]),
        ("comments", [{"creator": "me"}]),
        ("integrationKey", 7),
        ("integrationKey", ""),
    ],
)
def test_a_field_of_the_wrong_form_is_refused_and_named(
    core: SandboxIlert, field: str, value: object
) -> None:
    answer = post(core, event() | {field: value})
    assert answer.status == 400
    body = read(answer)
    assert (body["status"], body["code"]) == (400, "BAD_REQUEST")
    assert field in body["message"]
    assert core.alerts.all() == []


@pytest.mark.parametrize("field", ["integrationKey", "eventType", "summary"])
def test_an_alert_without_a_required_field_is_refused(core: SandboxIlert, field: str) -> None:
    body = {name: value for name, value in event().items() if name != field}
    assert post(core, body).status == 400


@pytest.mark.parametrize("kind", ["ACCEPT", "RESOLVE", "COMMENT"])
def test_only_the_switch_makes_a_summary_required_on_other_kinds(kind: str) -> None:
    body = event(kind, summary=None)
    assert post(SandboxIlert(AT_ONCE), body).status == 202
    assert post(SandboxIlert(Options(summary_always=True)), body).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b'{"a":1,}',
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"summary":"\xff"}',
    ],
)
def test_what_is_no_json_object_is_refused(core: SandboxIlert, body: bytes) -> None:
    assert raw(core, body).status == 400


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-ndjson", "application/jsonp"])
def test_another_content_type_is_refused(core: SandboxIlert, content_type: str) -> None:
    body = json.dumps(event()).encode()
    assert raw(core, body, content_type=content_type).status == 400
    assert raw(core, body, content_type="Application/JSON; charset=utf-8").status == 202


def test_the_older_name_of_the_key_is_accepted(core: SandboxIlert) -> None:
    assert post(core, event(integrationKey=None, apiKey=INTEGRATION_KEY)).status == 202


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_unknown_key_is_answered_as_configured_and_not_repeated(
    status: Literal[400, 401, 403, 404],
) -> None:
    core = SandboxIlert(Options(unknown_key_status=status))
    answer = post(core, event(integrationKey="somebody-else"))
    assert answer.status == status
    assert read(answer)["code"]
    assert b"somebody-else" not in answer.body


def test_an_unknown_key_is_404_by_default() -> None:
    assert post(SandboxIlert(), event(integrationKey="x")).status == 404


def test_a_body_above_the_configured_cap_is_413_and_without_one_it_is_taken(core: SandboxIlert) -> None:
    body = event(details="x" * 2_000)
    assert post(core, body).status == 202
    assert post(SandboxIlert(Options(max_body_bytes=1_000)), body).status == 413


@pytest.mark.parametrize(
    ("method", "target", "status"), [("GET", "/api/events", 405), ("POST", "/events", 404)]
)
def test_another_method_or_path_is_refused(core: SandboxIlert, method: str, target: str, status: int) -> None:
    answer = core.handle(Request(method=method, target=target), 0.0)
    assert answer.status == status
    if status == 405:
        assert headers(answer)["allow"] == "POST"


# What an event does -----------------------------------------------------------------------------------------------


def test_a_key_is_compared_trimmed_and_without_case(core: SandboxIlert) -> None:
    for n, key in enumerate([" SRV-1 ", "srv-1", "Srv-1\t"]):
        post(core, event(key=key), now=n)
    alert = the_alert(core, "sRv-1")
    assert (alert.key, alert.events, len(core.alerts.all())) == ("SRV-1", 3, 1)


def test_sharp_s_is_not_double_s(core: SandboxIlert) -> None:
    post(core, event(key="straße"))
    post(core, event(key="strasse"))
    assert len(core.alerts.all()) == 2


def test_an_alert_goes_from_pending_over_accepted_to_resolved_and_the_key_is_free_again(
    core: SandboxIlert,
) -> None:
    post(core, event("ALERT"), now=1)
    assert the_alert(core).status == "PENDING"
    post(core, event("ACCEPT"), now=2)
    assert the_alert(core).status == "ACCEPTED"
    post(core, event("ALERT"), now=3)
    assert (the_alert(core).status, the_alert(core).events) == ("ACCEPTED", 2)
    post(core, event("RESOLVE"), now=4)
    assert core.open_alert("k") is None
    post(core, event("ALERT"), now=5)
    assert [alert.status for alert in core.alerts.all()] == ["RESOLVED", "PENDING"]


@pytest.mark.parametrize("kind", ["ACCEPT", "RESOLVE", "COMMENT"])
def test_what_finds_no_open_alert_is_202_and_only_logged(core: SandboxIlert, kind: str) -> None:
    assert post(core, event(kind)).status == 202
    assert core.alerts.all() == []
    assert [(entry.event_type, entry.what) for entry in core.log] == [(kind, "none")]


@pytest.mark.parametrize("key", [None, "", "  "])
def test_an_alert_without_a_key_always_opens_another(core: SandboxIlert, key: str | None) -> None:
    post(core, event(key=key))
    post(core, event(key=key))
    assert len(core.alerts.all()) == 2
    assert core.stats().keyless == 2


def test_sources_do_not_share_keys() -> None:
    core = SandboxIlert(Options(sources=(Source(key="one", id=1), Source(key="two", id=2)), apply_seconds=0))
    post(core, event(integrationKey="one"))
    post(core, event("RESOLVE", integrationKey="two"))
    assert core.open_alert("k", "one") is not None
    assert core.open_alert("k", "two") is None


def test_an_event_has_no_effect_before_its_time() -> None:
    core = SandboxIlert(Options(apply_seconds=2))
    post(core, event(), now=10)
    core.advance(11.9)
    assert (core.open_alert("k"), core.stats().waiting) == (None, 1)
    core.advance(12)
    assert the_alert(core).reported == 12


def test_the_priority_of_the_event_counts_unless_the_source_says_otherwise() -> None:
    own, other = Source(key="a", id=1), Source(key="b", id=2, honour_priority=False, default_severity=4)
    core = SandboxIlert(Options(sources=(own, other), apply_seconds=0))
    for key in ("a", "b"):
        post(core, event(integrationKey=key, priority="LOW"))
    assert [(alert.priority, alert.severity) for alert in core.alerts.all()] == [("LOW", None), ("HIGH", 4)]


def test_a_source_that_drops_answers_202_all_the_same() -> None:
    core = SandboxIlert(Options(sources=(Source(drops=True),), apply_seconds=0))
    assert post(core, event()).status == 202
    assert [entry.what for entry in core.log] == ["dropped"]


@pytest.mark.parametrize(
    ("grouping", "alerts"),
    [
        ("ONE_ALERT_PER_EMAIL", 4),
        ("ONE_ALERT_PER_EMAIL_SUBJECT", 2),
        ("ONE_PENDING_ALERT_ALLOWED", 2),
        ("ONE_OPEN_ALERT_ALLOWED", 1),
        ("ONE_ALERT_GROUPED_PER_WINDOW", 2),
    ],
)
def test_a_source_groups_what_no_key_matches(grouping: Grouping, alerts: int) -> None:
    source = Source(grouping=grouping, group_seconds=100)
    core = SandboxIlert(Options(sources=(source,), apply_seconds=0))
    post(core, event(key="a", summary="one"), now=0)
    post(core, event(key="b", summary="two"), now=1)
    post(core, event("ACCEPT", key="a"), now=2)
    post(core, event(key="c", summary="one"), now=3)
    post(core, event(key="d", summary="two"), now=200)
    assert len(core.alerts.all()) == alerts


# Other ways in ------------------------------------------------------------------------------------------------------


def test_a_webhook_url_takes_an_event_or_makes_an_alert_of_something_else(core: SandboxIlert) -> None:
    def hook(body: object, key: str = INTEGRATION_KEY) -> Answer:
        target = f"/api/v1/events/grafana/{key}"
        sent = json.dumps(body).encode()
        return core.handle(
            Request(method="POST", target=target, headers=(("content-type", "application/json"),), body=sent),
            0.0,
        )

    answer = hook({"eventType": "ALERT", "summary": "s", "alertKey": "k"})
    assert (answer.status, read(answer)["alertKey"]) == (202, "k")
    assert hook({"title": "whatever"}).status == 202
    assert [alert.summary for alert in core.alerts.all()] == ["s", "grafana"]
    assert hook({}, key="unknown").status == 404


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/api/pings/sandbox-heartbeat", 202),
        ("HEAD", "/api/pings/sandbox-heartbeat", 202),
        ("POST", "/api/pings/sandbox-heartbeat", 405),
        ("GET", "/api/pings/il1hbt-sandbox", 404),
        ("POST", "/api/heartbeats/il1hbt-sandbox", 202),
        ("GET", "/api/heartbeats/sandbox-heartbeat", 404),
    ],
)
def test_a_heartbeat_is_taken_by_its_own_kind_of_key(
    core: SandboxIlert, method: str, target: str, status: int
) -> None:
    assert core.handle(Request(method=method, target=target), 0.0).status == status


# Limits -------------------------------------------------------------------------------------------------------------


def statuses(core: SandboxIlert, times: list[float]) -> list[int]:
    return [post(core, event(), now=now).status for now in times]


def test_the_fifty_first_call_in_a_window_is_429_without_retry_after() -> None:
    core = SandboxIlert()
    assert statuses(core, [1.0] * 50) == [202] * 50
    answer = post(core, event(), now=59.9)
    assert (answer.status, read(answer)["code"]) == (429, "TOO_MANY_REQUESTS")
    assert "retry-after" not in headers(answer)
    assert post(core, event(), now=60.0).status == 202
    assert core.stats().throttled == 1


def test_windows_are_fixed_so_twice_the_limit_fits_around_their_edge() -> None:
    core = SandboxIlert(Options(limits=Limits(integration_key=3, window_seconds=10)))
    assert statuses(core, [9, 9, 9, 9, 10, 10, 10, 10]) == [202, 202, 202, 429] * 2


def test_the_retry_after_switch_says_when_the_window_turns() -> None:
    core = SandboxIlert(Options(limits=Limits(integration_key=1, retry_after=True)))
    post(core, event(), now=100)
    assert headers(post(core, event(), now=100.5))["retry-after"] == "20"


def test_a_refused_event_uses_up_its_key_but_an_unknown_key_does_not() -> None:
    core = SandboxIlert(Options(limits=Limits(integration_key=2)))
    post(core, event(severity=9))
    post(core, event(integrationKey="unknown"))
    assert statuses(core, [0, 0]) == [202, 429]


def test_keys_have_windows_of_their_own_and_share_that_of_their_address() -> None:
    sources = (Source(key="a", id=1), Source(key="b", id=2))
    core = SandboxIlert(Options(sources=sources, limits=Limits(integration_key=2, ip=3)))
    got = [post(core, event(integrationKey=key)).status for key in "aaabb"]
    assert got == [202, 202, 429, 429, 429]


@pytest.mark.parametrize(("count_rejected", "last"), [(True, 429), (False, 202)])
def test_a_switch_says_whether_what_a_key_was_denied_uses_up_the_address(
    count_rejected: bool, last: int
) -> None:
    sources = (Source(key="a", id=1), Source(key="b", id=2))
    limits = Limits(integration_key=1, ip=2, count_rejected=count_rejected)
    core = SandboxIlert(Options(sources=sources, limits=limits))
    assert [post(core, event(integrationKey=key)).status for key in "aab"] == [202, 429, last]


def test_a_heartbeat_is_taken_five_times_a_minute() -> None:
    core = SandboxIlert()
    beat = Request(method="GET", target="/api/pings/sandbox-heartbeat")
    assert [core.handle(beat, 0.0).status for _ in range(6)] == [202] * 5 + [429]


# What it counts -----------------------------------------------------------------------------------------------------


def test_a_duplicate_equals_the_newest_event_of_its_key(core: SandboxIlert) -> None:
    one, two = event(summary="one"), event(summary="two")
    for body in (one, one, two, one, event("RESOLVE"), event("RESOLVE", key="K")):
        post(core, body)
    assert core.tally("k").duplicates == 1
    assert core.stats().duplicates == 1


def test_a_resolve_before_any_alert_of_its_key_is_counted(core: SandboxIlert) -> None:
    for kind in ("RESOLVE", "ALERT", "RESOLVE", "RESOLVE"):
        post(core, event(kind, details=kind))
    assert core.tally("K").early_resolves == 1


def test_an_inversion_is_told_by_the_sequence_number(core: SandboxIlert) -> None:
    for n in (1, 3, 2, 3, 4):
        post(core, event(customDetails={"sequence": n}))
    assert (core.tally("k").inversions, core.tally("k").highest_sequence) == (1, 4)


def test_requests_are_remembered_in_order_with_time_and_connection(core: SandboxIlert) -> None:
    for n in (1, 2):
        body = json.dumps(event(key=f"k{n}")).encode()
        headers_ = (("content-type", "application/json"),)
        core.handle(
            Request(method="POST", target="/api/events", headers=headers_, body=body, connection=n), float(n)
        )
    seen = [(r.number, r.at, r.connection, r.key, r.status) for r in core.requests]
    assert seen == [(1, 1.0, 1, "k1", 202), (2, 2.0, 2, "k2", 202)]


def test_the_watcher_is_told_each_event_and_nothing_else() -> None:
    told: list[Received] = []
    core = SandboxIlert(on_event=told.append)
    post(core, event())
    raw(core, b"{")
    core.handle(Request(method="GET", target="/api/alerts"), 0.0)
    assert [(received.key, received.status) for received in told] == [("k", 202), (None, 400)]


def test_memory_is_bounded_and_totals_are_not() -> None:
    core = SandboxIlert(
        Options(limits=UNLIMITED, apply_seconds=0, keep_requests=3, keep_log=3, keep_alerts=3, keep_keys=3)
    )
    for n in range(10):
        post(core, event(key=f"k{n}", details="x" * 100_000))
    assert len(core.requests) == len(core.log) == len(core.alerts.all()) == 3
    assert len(core.tallies.by_key(1001)) == 3
    assert max(len(received.body) for received in core.requests) == 65_536
    stats = core.stats()
    assert (stats.requests, stats.accepted, stats.alerts, stats.forgotten_alerts) == (10, 10, 10, 7)
    assert core.open_alert("k0") is None


def test_a_reset_forgets_everything_but_the_options(core: SandboxIlert) -> None:
    post(core, event())
    core.reset()
    assert core.stats() == SandboxIlert(AT_ONCE).stats()
    assert (list(core.requests), list(core.log), core.alerts.all()) == ([], [], [])
    assert core.options is AT_ONCE
