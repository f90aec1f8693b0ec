"""From what other systems send to events: each dialect, each preset, and whatever else may come."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_ilert.config import Settings, Webhook
from mcp_ilert.decode.converted import event_text
from mcp_ilert.decode.dialects import dialects_of, spoken
from mcp_ilert.decode.native import MARK, check, decode_event
from mcp_ilert.decode.presets import PRESETS
from mcp_ilert.decode.sns import confirmation, is_subscribe_url
from mcp_ilert.decode.text import check_text
from mcp_ilert.errors import InvalidEventError, MalformedError, McpIlertError, TooLargeError
from mcp_ilert.events import Event, Link, Severity
from mcp_ilert.mapping import Mapper
from samples import payload, raw

MAPPER = Mapper(Settings())
FIELDS = {"mcp_id": "id", "summary": "title"}


def made(name: str, body: Any, webhook: Webhook | None = None) -> list[Event | str]:
    """The events, or why one is none."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    dialect = (spoken(name, webhook) if webhook else spoken(name, Webhook(preset=name))).dialect  # type: ignore[arg-type]
    return [str(e) if isinstance(e, InvalidEventError) else decode_event(e) for e in dialect.convert(text)]


def only(name: str, body: Any, webhook: Webhook | None = None) -> Event:
    (event,) = made(name, body, webhook)
    assert isinstance(event, Event), event
    return event


def mapped(event: dict[str, str], body: Any, **more: Any) -> Event:
    return only("shop", body, Webhook(event={**FIELDS, **event}, **more))


def severity(event: Event) -> str:
    return MAPPER.severity(event).name.lower()


def extra(event: Event) -> dict[str, Any]:
    return {name: json.loads(bytes(value)) for name, value in event.extra.items()}


# The mark ---------------------------------------------------------------------------------------------------------


def test_a_severity_word_counts_in_what_a_webhook_became_and_is_an_unknown_field_of_a_producer():
    text = event_text("a", "b", "c", severity="critical")
    assert text.startswith(MARK)
    assert MAPPER.severity(check(text)) is Severity.CRITICAL
    native = decode_event(text.removeprefix(MARK))
    assert (native.severity, extra(native)) == (None, {"severity": "critical"})
    assert severity(native) == "high"


def test_words_of_severity_are_found_without_case():
    assert severity(decode_event(event_text("a", "b", "c", severity=" PAGE "))) == "critical"
    assert severity(decode_event(event_text("a", "b", "c", severity="nobody knows"))) == "high"


def test_what_is_too_long_is_cut_and_kept_whole_beside_it():
    event = decode_event(
        event_text("k" * 300, "s" * 300, "t" * 2000, labels={f"l{i}": "v" for i in range(70)})
    )
    assert (len(event.mcp_id), len(event.source), len(event.summary), len(event.labels)) == (
        255,
        255,
        1024,
        64,
    )
    assert extra(event)["full_mcp_id"] == "k" * 300
    assert extra(event)["full_source"] == "s" * 300
    assert extra(event)["full_summary"] == "t" * 2000
    assert extra(event)["more_labels"] == [[f"l{i}", "v"] for i in range(64, 70)]
    other = decode_event(event_text("k" * 299 + "x", "s", "t"))
    assert other.mcp_id != event.mcp_id


def test_an_unknown_field_that_bears_one_of_our_names_is_kept_under_another():
    event = decode_event(event_text("a", "b", "c", extra={"mcp_id": 1, "severity": "low", "x": 2}))
    assert event.mcp_id == "a"
    assert event.severity is None
    assert extra(event) == {"event_mcp_id": 1, "event_severity": "low", "x": 2}


# Alertmanager and Grafana -----------------------------------------------------------------------------------------


def test_each_alert_of_alertmanager_is_an_event():
    firing, resolved = made("alertmanager", raw("alertmanager"))
    assert isinstance(firing, Event)
    assert isinstance(resolved, Event)
    assert (firing.mcp_id, firing.source, firing.status) == ("c6eadffa33fcdf37", "web-1:9100", "firing")
    assert (firing.summary, firing.details) == ("Disk of web-1 is full", "98% of / are used")
    assert severity(firing) == "critical"
    assert firing.labels["team"] == "core"
    assert firing.timestamp == "2026-01-12T08:51:03.157076901Z"
    assert firing.links == (
        Link("http://prometheus.example:9090/graph?g0.expr=disk", "Source"),
        Link("https://runbooks.example/disk", "Runbook"),
    )
    assert extra(firing)["truncatedAlerts"] == 3
    assert extra(firing)["annotations"]["description"] == "98% of / are used"
    assert extra(firing)["groupLabels"] == {"alertname": "DiskFull"}
    assert (resolved.mcp_id, resolved.status, resolved.summary) == (
        "bc97ff14869b13e3",
        "resolved",
        "DiskFull",
    )
    assert (severity(resolved), resolved.timestamp) == ("medium", "2026-01-12T08:50:00Z")


def test_grafana_gives_its_links_and_values_as_they_were_written():
    firing, resolved = made("grafana", raw("grafana"))
    assert isinstance(firing, Event)
    assert isinstance(resolved, Event)
    assert [link.text for link in firing.links] == ["Alert rule", "Dashboard", "Silence", "Runbook"]
    assert bytes(firing.extra["values"]) == b'{"B": 44.230, "C": 1}'
    assert (firing.source, severity(firing)) == ("db-3", "critical")
    assert "message" not in firing.extra
    assert "title" not in firing.extra
    assert (resolved.source, resolved.summary, severity(resolved)) == ("On call", "High CPU usage", "high")


def test_a_bad_alert_is_told_and_the_others_are_taken():
    alerts = payload("alertmanager")["alerts"]
    bad: list[Any] = [
        5,
        {**alerts[0], "status": "odd"},
        {**alerts[0], "fingerprint": ""},
        {**alerts[0], "labels": {"a": 1}},
        {**alerts[0], "annotations": []},
        {**alerts[0], "startsAt": 5},
        {**alerts[0], "labels": {"a": "\0"}},
    ]
    found = made("alertmanager", payload("alertmanager", alerts=[*bad, alerts[1]]))
    assert found[:-1] == [
        "$.alerts[0]: expected an alert as a JSON object",
        "$.alerts[1].status: expected firing or resolved",
        "$.alerts[2].fingerprint: required, but missing",
        "$.alerts[3].labels: expected an object of texts",
        "$.alerts[4].annotations: expected an object of texts",
        "$.alerts[5].startsAt: expected a text",
        "$: the character NUL (\\u0000) is not allowed",
    ]
    assert isinstance(found[-1], Event)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", "$: expected a notification as a JSON object"),
        (b"{}", "$.alerts: required, but missing"),
        (b'{"alerts": {}}', "$.alerts: expected an array of alerts"),
        (b'{"alerts": []}', "$.alerts: expected at least one alert"),
        (b'{"alerts": [{}], "receiver": 5}', "$.receiver: expected a text"),
    ],
)
def test_a_body_that_is_no_notification_is_refused_as_a_whole(body, error):
    with pytest.raises(InvalidEventError, match=error.replace("$", r"\$")):
        made("alertmanager", body)


def test_what_all_alerts_have_in_common_is_bounded_and_what_is_left_out_is_named():
    event = made("alertmanager", payload("alertmanager", groupKey="k" * 5000, note="n" * 9000))[0]
    assert isinstance(event, Event)
    assert extra(event)["left_out"] == ["groupKey", "note"]
    assert "groupKey" not in event.extra
    assert extra(event)["truncatedAlerts"] == 3


def test_more_alerts_than_a_body_may_hold_are_refused_as_a_whole():
    with pytest.raises(TooLargeError, match="at most 10000 alerts, got 10001"):
        made("alertmanager", {"alerts": [0] * 10_001})


@pytest.mark.parametrize("number", ["9" * 30, "-" + "9" * 400, "1e999", "0." + "1" * 5000, "1" * 5000])
def test_numbers_of_any_size_end_in_an_event_or_in_an_error_of_ours(number):
    text = f'{{"id":{number},"title":"t","n":{number}}}'.encode()
    webhook = Webhook(
        event={**FIELDS, "priority": "n", "timestamp": "n", "x": "ceil(n)", "y": "to_string(n)"}
    )
    with contextlib.suppress(MalformedError, InvalidEventError):
        (found,) = spoken("shop", webhook).dialect.convert(text)
        assert isinstance(found, InvalidEventError) or decode_event(found).mcp_id


# Presets ----------------------------------------------------------------------------------------------------------


def test_zabbix():
    event = only("zabbix", raw("zabbix"))
    assert (event.mcp_id, event.source, event.status) == ("zabbix-184467", "db-1", "firing")
    assert (event.summary, severity(event)) == ("Free disk space is low on /", "high")
    assert event.links[0].href.startswith("https://zabbix.example/")
    assert event.labels["host"] == "Database 1"
    assert extra(event)["opdata"] == "Space used: 98 %"


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"EVENT.VALUE": "0"}, "resolved", "high"),
        ({"EVENT.VALUE": 0, "EVENT.NSEVERITY": 5}, "resolved", "critical"),
        (
            {"EVENT.UPDATE.STATUS": "1", "EVENT.ACK.STATUS": "Yes", "EVENT.NSEVERITY": "2"},
            "acknowledged",
            "medium",
        ),
        ({"EVENT.UPDATE.STATUS": "1", "EVENT.NSEVERITY": "0"}, "firing", "low"),
    ],
)
def test_zabbix_recovers_and_is_acknowledged(changes, status, word):
    event = only("zabbix", payload("zabbix", **changes))
    assert (event.mcp_id, event.status, severity(event)) == ("zabbix-184467", status, word)


def test_icinga():
    event = only("icinga", raw("icinga"))
    assert (event.mcp_id, event.source, event.status) == ("web-1/disk /", "web-1", "firing")
    assert event.summary == "disk / on Web server 1 is CRITICAL: DISK CRITICAL - free space: / 1024 MB (2%)"
    assert severity(event) == "critical"
    assert event.labels == {"host": "web-1", "service": "disk /", "address": "192.0.2.20"}


HOST_DOWN = {"NOTIFICATIONTYPE": "PROBLEM", "HOSTNAME": "web-1", "HOSTSTATE": "DOWN", "HOSTOUTPUT": "no ping"}


@pytest.mark.parametrize(
    ("body", "key", "status", "word"),
    [
        (
            payload("icinga", NOTIFICATIONTYPE="RECOVERY", SERVICESTATE="OK"),
            "web-1/disk /",
            "resolved",
            "high",
        ),
        (payload("icinga", NOTIFICATIONTYPE="CUSTOM", SERVICESTATE="OK"), "web-1/disk /", "resolved", "high"),
        (payload("icinga", NOTIFICATIONTYPE="ACKNOWLEDGEMENT"), "web-1/disk /", "acknowledged", "critical"),
        (payload("icinga", SERVICESTATE="WARNING"), "web-1/disk /", "firing", "medium"),
        (HOST_DOWN, "web-1/host", "firing", "critical"),
        ({**HOST_DOWN, "SERVICEDESC": "", "HOSTSTATE": "UP"}, "web-1/host", "resolved", "critical"),
    ],
)
def test_icinga_tells_of_services_and_hosts(body, key, status, word):
    event = only("icinga", body)
    assert (event.mcp_id, event.status, severity(event)) == (key, status, word)


def test_uptime_kuma():
    event = only("uptime-kuma", raw("uptime-kuma"))
    assert (event.mcp_id, event.source, event.status) == ("uptime-kuma-12", "Shop", "firing")
    assert (severity(event), event.tags, event.links) == (
        "critical",
        ("customer",),
        (Link("https://shop.example", "Shop"),),
    )
    up = payload("uptime-kuma")
    up["heartbeat"]["status"] = 1
    assert only("uptime-kuma", up).status == "resolved"


def test_uptime_kumas_test_names_no_monitor():
    event = only("uptime-kuma", {"heartbeat": None, "monitor": None, "msg": "My Webhook Testing"})
    assert (event.mcp_id, event.source, severity(event)) == ("uptime-kuma", "uptime-kuma", "low")


def test_cloudwatch_over_sns():
    event = only("cloudwatch", raw("cloudwatch"))
    assert event.mcp_id == "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:cpu-web"
    assert (event.source, event.summary, event.status) == (
        "cloudwatch-123456789012",
        "cpu-web is ALARM",
        "firing",
    )
    assert event.timestamp == "2026-01-12T08:13:42.236+00:00"
    assert event.labels["metric"] == "CPUUtilization"
    body = payload("cloudwatch")
    body["Message"] = body["Message"].replace('"NewStateValue":"ALARM"', '"NewStateValue":"OK"')
    assert only("cloudwatch", body).status == "resolved"


def test_an_envelope_whose_type_is_no_text_is_a_message():
    """Found by fuzzing."""
    assert only("cloudwatch", payload("cloudwatch", Type=[])).summary == "cpu-web is ALARM"
    assert confirmation(b'{"Type": {}}') is None


def test_sns_may_bring_plain_text_and_messages_without_an_envelope():
    text = only("cloudwatch", payload("cloudwatch", Message="the disk is full"))
    assert (text.mcp_id, text.details) == ("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "the disk is full")
    bare = only("cloudwatch", payload("cloudwatch")["Message"].encode())
    assert bare.summary == "cpu-web is ALARM"


def test_what_sns_says_of_the_subscription_is_no_event():
    assert made("cloudwatch", raw("sns-confirmation")) == []
    assert made("cloudwatch", payload("sns-confirmation", Type="UnsubscribeConfirmation")) == []
    asked = confirmation(raw("sns-confirmation"))
    assert asked is not None
    assert asked.topic == "arn:aws:sns:eu-central-1:123456789012:alarms"
    assert confirmation(raw("cloudwatch")) is None


GOOD_URL = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"


@pytest.mark.parametrize(
    "url",
    [
        GOOD_URL.replace("https", "http"),
        GOOD_URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        GOOD_URL.replace("sns.eu", "evil.sns.eu"),
        GOOD_URL.replace("https://", "https://u:p@"),
        GOOD_URL.replace("https://", "https://evil.example\\@"),
        GOOD_URL.replace(".com/", ".com:8443/"),
        GOOD_URL.replace(".com/", ".com:port/"),
        GOOD_URL.replace("/?", "/x?"),
        GOOD_URL.replace("ConfirmSubscription", "Publish"),
        GOOD_URL + "&Action=Publish",
        GOOD_URL + "#x",
        GOOD_URL + "\n",
        GOOD_URL + "x" * 3000,
        "https://sns.amazonaws.com/?Action=ConfirmSubscription",
        "https://169.254.169.254/?Action=ConfirmSubscription",
        "https://[::1/?Action=ConfirmSubscription",
        "",
    ],
)
def test_no_other_url_is_taken_for_one_that_confirms(url):
    assert not is_subscribe_url(url)
    with pytest.raises(InvalidEventError):
        confirmation(json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": url}).encode())


def test_the_urls_that_sns_gives_are_taken():
    assert is_subscribe_url(GOOD_URL)
    assert is_subscribe_url(GOOD_URL.replace("eu-central-1", "us-gov-west-1"))
    assert is_subscribe_url(GOOD_URL.replace("eu-central-1", "cn-north-1").replace(".com/", ".com.cn/"))


def test_sentry():
    event = only("sentry", raw("sentry"))
    assert (event.mcp_id, event.source) == ("sentry-1170820242", "sentry-project-1")
    assert (event.summary, severity(event)) == ("ReferenceError: heck is not defined", "high")
    assert event.timestamp == "2026-01-12T08:12:44.372000Z"
    issue = {"action": "resolved", "data": {"issue": {"id": "1170820242", "title": "t", "level": "fatal"}}}
    resolved = only("sentry", issue)
    assert (resolved.mcp_id, resolved.status, severity(resolved)) == (
        "sentry-1170820242",
        "resolved",
        "critical",
    )


def test_a_preset_yields_to_what_is_configured():
    event = only("z", raw("zabbix"), Webhook(preset="zabbix", event={"source": "'cellar'", "team": "'ops'"}))
    assert (event.source, event.mcp_id, extra(event)["team"]) == ("cellar", "zabbix-184467", "ops")


# Expressions ------------------------------------------------------------------------------------------------------


def test_fields_take_what_can_only_mean_one_thing():
    body = {
        "id": 7,
        "title": "Down",
        "n": 2,
        "t": 1768205564,
        "x": {"a": 1, "b": None, "c": "d"},
        "none": None,
    }
    event = mapped(
        {
            "priority": "to_string(n)",
            "timestamp": "t",
            "labels": "x",
            "tags": "[title, `5`, none]",
            "links": "['https://a.example', {href: 'https://b.example', text: 'B'}, none, {href: none}]",
            "status": "'ACK'",
            "details": "[`1`, `2`]",
            "more": "x.a",
            "nothing": "none",
        },
        body,
    )
    assert (event.mcp_id, event.source, event.priority) == ("7", "shop", 2)
    assert (event.timestamp, event.status, event.details) == (
        "2026-01-12T08:12:44.000Z",
        "acknowledged",
        "[1,2]",
    )
    assert event.labels == {"a": "1", "c": "d"}
    assert event.tags == ("Down", "5")
    assert event.links == (Link("https://a.example"), Link("https://b.example", "B"))
    assert extra(event) == {"more": 1}


def test_a_time_that_is_none_is_kept_beside():
    assert extra(mapped({"timestamp": "title"}, {"id": 1, "title": "yesterday"})) == {
        "event_timestamp": "yesterday"
    }


@pytest.mark.parametrize(
    ("expressions", "error"),
    [
        ({"mcp_id": "nothing"}, "$.mcp_id: the webhook's expression gives nothing"),
        ({"summary": "@"}, "$.summary: expected a text or a number, got object"),
        ({"status": "'odd'"}, "$.status: expected firing, acknowledged or resolved, got 'odd'"),
        ({"priority": "'high'"}, "$.priority: expected a whole number, got a text"),
        ({"priority": "`1.5`"}, "$.priority: expected a whole number, got a number"),
        ({"labels": "title"}, "$.labels: expected an object, got a text"),
        ({"links": "`5`"}, "$.links: expected URLs, or objects {href, text}, got a number"),
        ({"tags": "[@]"}, "$.tags: expected a text or a number, got object"),
    ],
)
def test_what_means_nothing_is_an_error_that_names_the_field(expressions, error):
    webhook = Webhook(event={**FIELDS, **expressions})
    assert made("shop", {"id": 1, "title": "t"}, webhook) == [error]


def test_each_finds_the_events():
    webhook = Webhook(event=FIELDS, each="items[?open]")
    body = {
        "items": [{"id": 1, "title": "a", "open": True}, {"id": 2, "open": True}, {"id": 3, "title": "c"}]
    }
    first, second = made("shop", body, webhook)
    assert isinstance(first, Event)
    assert second == "$.summary: the webhook's expression gives nothing"
    assert made("shop", {"items": []}, webhook) == []
    with pytest.raises(InvalidEventError, match="gives no array"):
        made("shop", {}, webhook)


@pytest.mark.parametrize(
    "expression",
    [
        "ceil(to_number('1e999'))",  # Python's OverflowError
        "sum(@)",
        "sort(@)",
        "&id",
        "to_number(join('', ['9', '9'])) < title",
        "max_by(values(@), &id)",
        '`"\\ud800"`',
    ],
)
def test_what_an_expression_raises_is_an_error_of_the_event_or_nothing(expression):
    (found,) = made("shop", {"id": 1, "title": "t"}, Webhook(event={**FIELDS, "more": expression}))
    assert isinstance(found, Event) or "cannot be evaluated" in found


def test_a_body_cannot_make_an_expression_run_for_long():
    many = {"items": [{"id": i, "title": "t"} for i in range(60_000)]}
    with pytest.raises(InvalidEventError, match="too many steps"):
        made("shop", many, Webhook(event=FIELDS, each="items[?id && title && id && title && open]"))
    with pytest.raises(TooLargeError):
        made("shop", many, Webhook(event=FIELDS, each="items"))
    found = made("shop", many, Webhook(event={**FIELDS, "n": "length(items[?id && title && id])"}))
    assert found == ["$.mcp_id: the webhook's expression gives nothing"] or "too many steps" in str(found[0])


def test_join_cannot_multiply_what_a_body_holds():
    webhook = Webhook(event={**FIELDS, "n": "join(glue, parts)"})
    few = {"id": 1, "title": "t", "glue": "-", "parts": ["a", "b"]}
    (event,) = made("shop", few, webhook)
    assert isinstance(event, Event)
    assert extra(event) == {"n": "a-b"}
    many = {"id": 1, "title": "t", "glue": "-" * 100_000, "parts": [""] * 100_000}
    assert "join() would take more than" in str(made("shop", many, webhook)[0])


def test_the_steps_of_a_body_end_for_all_its_events():
    items = [{"id": i, "title": "t", "n": [0] * 3000} for i in range(100)]
    found = made("shop", items, Webhook(event={**FIELDS, "n": "n[?@ && @] | length(@)"}, each="@"))
    assert isinstance(found[0], Event)
    assert "too many steps" in str(found[-1])


# Whatever comes ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted({*PRESETS, "alertmanager", "grafana"})
TEMPLATES = {name: payload(name) for name in NAMES}


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Any]:
    """A payload as it should be, in which something stands that should not."""
    name = draw(st.sampled_from(NAMES))
    body = json.loads(json.dumps(TEMPLATES[name]))
    for _ in range(draw(st.integers(1, 3))):
        spot, path = body, []
        while isinstance(spot, (dict, list)) and spot:
            key = (
                draw(st.sampled_from(sorted(spot)))
                if isinstance(spot, dict)
                else draw(st.integers(0, len(spot) - 1))
            )
            path.append((spot, key))
            spot = spot[key]
            if draw(st.booleans()):
                break
        if path:
            holder, key = path[-1]
            holder[key] = draw(
                JSON | st.sampled_from(["0", "1", "", "\0", "\ud83d\udd34", 0, 1e300, -1, [[]], "9" * 300])
            )
    return name, body


def conversion_is_sound(name: str, text: bytes) -> None:
    """Every event is either valid, or refused with our own words."""
    try:
        for event in spoken(name, Webhook(preset=name)).dialect.convert(text):  # type: ignore[arg-type]
            if isinstance(event, InvalidEventError):
                assert event.detail
                continue
            try:
                check_text(event)
                MAPPER.entry(check(event), event, 0)
            except (InvalidEventError, MalformedError):
                continue
    except McpIlertError:
        pass


ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1e300,
    2**70,
    "",
    "0",
    "\0",
    "x" * 2000,
    [],
    [[]],
    {},
    {"a": {"b": []}},
    [None],
]


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each place in a payload."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in ((*path, key), *spots(item, (*path, key)))]


@pytest.mark.parametrize("name", NAMES)
def test_each_odd_value_in_each_place_of_a_payload_ends_in_events_or_in_an_error_of_ours(name):
    for path in spots(TEMPLATES[name]):
        for odd in ODD:
            body = json.loads(json.dumps(TEMPLATES[name]))
            holder = body
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = odd
            conversion_is_sound(name, json.dumps(body).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_whatever_stands_in_a_payload_ends_in_events_or_in_an_error_of_ours(found):
    name, body = found
    conversion_is_sound(name, json.dumps(body).encode())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), JSON)
def test_whatever_json_comes_ends_in_events_or_in_an_error_of_ours(name, body):
    conversion_is_sound(name, json.dumps(body).encode())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=60))
def test_whatever_bytes_come_end_in_an_error_of_ours(name, text):
    conversion_is_sound(name, text)


WORDS = st.sampled_from(
    [
        *(
            "id",
            "title",
            "@",
            "*",
            "[]",
            "[0]",
            "[*]",
            "[?id]",
            "[::2]",
            ".",
            "|",
            "||",
            "&&",
            "!",
            "==",
            "<",
            "(",
            ")",
            ",",
        ),
        *(
            "{",
            "}",
            ":",
            "`",
            "`1`",
            "'x'",
            "&",
            "length(",
            "to_string(",
            "sort_by(",
            "join(",
            "to_number(",
            "max(",
        ),
        *("ceil(", "keys(", "merge(", "not_null("),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=9).map(" ".join), JSON)
def test_whatever_an_expression_says_it_is_refused_or_ends(expression, body):
    from mcp_ilert.config.expression import ExpressionError, parse_expression

    try:
        parse_expression(expression)
    except ExpressionError:
        return
    webhook = Webhook(event={"mcp_id": "'a'", "summary": "'b'", "x": expression, "details": expression})
    try:
        for found in spoken("shop", webhook).dialect.convert(json.dumps(body).encode()):
            assert isinstance(found, (bytes, InvalidEventError))
    except McpIlertError:
        pass


def test_the_built_in_webhooks_are_there_and_can_have_a_secret_of_their_own():
    assert set(dialects_of(Settings())) == {"alertmanager", "grafana"}
    named = dialects_of(Settings(webhooks={"alertmanager": Webhook(), "second": Webhook(preset="grafana")}))
    assert set(named) == {"alertmanager", "grafana", "second"}
    assert named["alertmanager"].dialect.many
