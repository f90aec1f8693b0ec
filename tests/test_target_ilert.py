"""What leaves for iLert, and what is made of the answer, over httpx's own in-memory transport."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from ilert_world import API_KEY, EVENT, KEY, T0, Facts, delivery, target
from mcp_ilert import __version__
from mcp_ilert.errors import InvalidEventError
from mcp_ilert.events import (
    Delivered,
    Delivery,
    Event,
    Kind,
    Link,
    Refused,
    Rejected,
    Severity,
    Throttled,
    Unavailable,
)
from mcp_ilert.targets.ilert import IlertTarget, events_url


async def posted(event: Event = EVENT, facts: Facts | None = None, **values: Any) -> Any:
    """The body that a delivery of the event becomes."""
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> Any:
        requests.append(request)
        return httpx.Response(202)

    sender = target(event=event, facts=facts or Facts(), handler=handler)
    assert await sender.send(delivery(**values)) == Delivered(202)
    await sender.aclose()
    return requests[0].content


async def test_an_alert_goes_as_the_events_api_wants_it() -> None:
    assert json.loads(await posted()) == {
        "integrationKey": KEY,
        "eventType": "ALERT",
        "alertKey": "evt-1",
        "summary": "Disk full",
        "priority": "HIGH",
        "severity": 2,
        "labels": {"source": "probe-1"},
        "customDetails": {"mcp_id": "evt-1"},
    }


async def test_everything_an_event_may_carry_arrives() -> None:
    event = Event(
        mcp_id="evt-1",
        source="probe-1",
        summary="Disk full",
        priority=1,
        details="root at 98%",
        tags=("disk", "storage"),
        timestamp="2027-01-15T08:00:00Z",
        links=(Link("https://example.org/d", "dashboard"), Link("https://example.org/e")),
        labels={"team": "ops", "env": "prod"},
        extra={"ratio": msgspec.Raw(b"0.10000000000000000000001"), "host": msgspec.Raw(b'{"a": [1e400]}')},
    )
    content = await posted(
        event, Facts({"team": "storage"}, "disk-team"), severity=Severity.CRITICAL, key="Evt-1"
    )
    sent = json.loads(content)
    assert sent["alertKey"] == "Evt-1"
    assert (sent["priority"], sent["severity"]) == ("HIGH", 1)
    assert sent["details"] == "root at 98%"
    assert sent["labels"] == {"source": "probe-1", "team": "storage", "env": "prod"}
    assert sent["links"] == [
        {"href": "https://example.org/d", "text": "dashboard"},
        {"href": "https://example.org/e", "text": ""},
    ]
    assert sent["routingKey"] == "disk-team"
    assert sent["customDetails"]["tags"] == ["disk", "storage"]
    assert sent["customDetails"]["timestamp"] == "2027-01-15T08:00:00Z"
    assert b'"ratio":0.10000000000000000000001' in content, "numbers keep their digits"
    assert b'"host":{"a": [1e400]}' in content


@pytest.mark.parametrize(
    ("severity", "fields"),
    [
        (Severity.CRITICAL, ("HIGH", 1)),
        (Severity.HIGH, ("HIGH", 2)),
        (Severity.MEDIUM, ("LOW", 3)),
        (Severity.LOW, ("LOW", 4)),
    ],
)
async def test_the_severity_of_the_delivery_sets_both_fields(
    severity: Severity, fields: tuple[str, int]
) -> None:
    sent = json.loads(await posted(severity=severity))
    assert (sent["priority"], sent["severity"]) == fields


@pytest.mark.parametrize(("kind", "name"), [(Kind.ACCEPT, "ACCEPT"), (Kind.RESOLVE, "RESOLVE")])
async def test_accept_and_resolve_carry_a_summary_but_no_routing_key(kind: Kind, name: str) -> None:
    sent = json.loads(await posted(EVENT, Facts(routing_key="ops"), kind=kind))
    assert (sent["eventType"], sent["summary"]) == (name, "Disk full")
    assert "routingKey" not in sent


async def test_details_given_as_an_object_go_as_their_json_text() -> None:
    event = msgspec.structs.replace(EVENT, details=msgspec.Raw(b'{"disk": 0.980, "n": [1]}'))
    assert json.loads(await posted(event))["details"] == '{"disk": 0.980, "n": [1]}'


async def test_labels_of_the_event_win_over_the_source_and_those_of_the_route_over_both() -> None:
    event = msgspec.structs.replace(EVENT, labels={"source": "mine", "a": "event"})
    assert json.loads(await posted(event, Facts({"a": "route"})))["labels"] == {
        "source": "mine",
        "a": "route",
    }


async def test_a_folded_operation_tells_how_many_and_since_when() -> None:
    sent = json.loads(await posted(count=3, first_ms=T0, last_ms=T0 + 90_250))
    details = sent["customDetails"]
    assert details["count"] == 3
    assert details["first_seen"] == "2027-01-15T08:00:00.000Z"
    assert details["last_seen"] == "2027-01-15T08:01:30.250Z"


async def test_an_unknown_field_that_bears_one_of_our_names_is_renamed_and_nothing_is_lost() -> None:
    names = ["count", "first_seen", "last_seen", "event_count", "own"]
    event = msgspec.structs.replace(EVENT, extra={name: msgspec.Raw(f'"{name}"'.encode()) for name in names})
    assert json.loads(await posted(event))["customDetails"] == {
        "mcp_id": "evt-1",
        "event_count": "event_count",
        "event_event_count": "count",
        "event_first_seen": "first_seen",
        "event_last_seen": "last_seen",
        "own": "own",
    }


@pytest.mark.parametrize("summary", [" ", "\t\n ", "\u3000"])
async def test_an_alert_whose_summary_is_blank_is_called_by_its_key_and_pages(summary: str) -> None:
    sent = json.loads(await posted(msgspec.structs.replace(EVENT, summary=summary)))
    assert sent["summary"] == sent["alertKey"] == "evt-1"


async def test_text_goes_as_utf_8() -> None:
    event = msgspec.structs.replace(EVENT, summary="Platte voll – ß 🔥 \u2028")
    assert json.loads((await posted(event)).decode())["summary"] == "Platte voll – ß 🔥 \u2028"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.ilert.com", "https://api.ilert.com/api/events"),
        ("https://api.ilert.com/", "https://api.ilert.com/api/events"),
        ("https://api.ilert.com/api", "https://api.ilert.com/api/events"),
        ("https://api.ilert.com/api/", "https://api.ilert.com/api/events"),
        ("http://127.0.0.1:1/x/api", "http://127.0.0.1:1/x/api/events"),
        ("https://api", "https://api/api/events"),
    ],
)
def test_api_is_added_to_the_url_unless_it_is_there(given: str, url: str) -> None:
    assert events_url(given) == url


@pytest.mark.parametrize("api_key", ["", API_KEY])
async def test_the_headers_name_us_and_carry_the_api_key_where_there_is_one(api_key: str) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> Any:
        requests.append(request)
        return httpx.Response(202)

    await target(handler=handler, api_key=api_key).send(delivery())
    headers = requests[0].headers
    assert requests[0].url == "http://127.0.0.1:9/api/events"
    assert headers["user-agent"] == f"mcp-ilert/{__version__}"
    assert headers["content-type"] == "application/json"
    assert headers.get("authorization") == (f"Bearer {API_KEY}" if api_key else None)


async def answered(response: httpx.Response, **values: Any) -> Any:
    sender = target(handler=lambda _request: response, **values)
    outcome = await sender.send(delivery())
    await sender.aclose()
    return outcome


async def test_the_correlation_id_is_taken_from_the_answer() -> None:
    assert await answered(httpx.Response(202, headers={"Correlation-Id": "c-1"})) == Delivered(202, "c-1")


async def test_a_refusal_tells_what_ilert_said_but_not_the_key() -> None:
    response = httpx.Response(403, json={"code": "KEY_ERROR", "message": f"unknown {KEY} or {API_KEY}"})
    outcome = await answered(response, api_key=API_KEY)
    assert outcome == Refused(403, "KEY_ERROR: unknown <secret> or <secret>")


async def test_a_retry_after_of_a_429_is_told() -> None:
    response = httpx.Response(429, headers={"Retry-After": "Fri, 15 Jan 2027 08:00:20 GMT"})
    assert await answered(response) == Throttled(20.0)


@pytest.mark.parametrize("location", ["http://other.example/", "http://[", "::::", "/x" * 50_000])
async def test_a_redirection_is_not_followed_wherever_it_points(location: str) -> None:
    outcome = await answered(httpx.Response(302, headers={"Location": location}))
    assert isinstance(outcome, Rejected)
    assert outcome.status == 302


async def test_cookies_are_not_kept() -> None:
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> Any:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(202, headers={"Set-Cookie": "a=b; Path=/"})

    sender = target(handler=handler)
    await sender.send(delivery())
    await sender.send(delivery())
    assert seen == [None, None]


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        (httpx.ConnectError("no"), True),
        (httpx.ConnectTimeout("no"), True),
        (httpx.PoolTimeout("no"), True),
        (httpx.ReadTimeout("no"), False),
        (httpx.WriteError("no"), False),
        (httpx.RemoteProtocolError("no"), False),
        (trio.BrokenResourceError("leaked from below"), False),
        (KeyError(17), False),
    ],
)
async def test_no_error_on_the_way_gets_out(error: Exception, certain: bool) -> None:
    def handler(_request: httpx.Request) -> None:
        raise error

    outcome = await target(handler=handler).send(delivery())
    assert isinstance(outcome, Unavailable)
    assert outcome.certain is certain


async def test_an_attempt_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    async def handler(_request: httpx.Request) -> None:
        await trio.sleep_forever()

    assert await target(handler=handler, seconds=10).send(delivery()) == Unavailable("timeout", certain=False)
    assert trio.current_time() == 10


class Drip(httpx.AsyncByteStream):
    """A body of which a piece comes each second, for ever."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(1)
            yield b"<p>"


class Broken(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"<html>"
        raise httpx.ReadError("cut")


async def test_a_body_without_end_does_not_change_the_answer(autojump_clock: MockClock) -> None:
    assert await answered(httpx.Response(202, stream=Drip())) == Delivered(202)
    assert trio.current_time() <= 2
    assert isinstance(await answered(httpx.Response(400, stream=Drip())), Rejected)


async def test_a_body_that_is_cut_does_not_change_the_answer() -> None:
    assert await answered(httpx.Response(202, stream=Broken())) == Delivered(202)
    assert await answered(httpx.Response(503, stream=Broken())) == Unavailable("answered 503", False, 503)


async def test_an_event_that_the_rules_no_longer_take_is_the_events_fault() -> None:
    def interpret(_delivery: Delivery) -> tuple[Event, Facts]:
        raise InvalidEventError("$.summary: expected str")

    sender = target(handler=lambda _request: httpx.Response(202))
    sender._interpret = interpret
    assert await sender.send(delivery()) == Rejected(
        0, "not sent, the event is not valid any more: $.summary: expected str"
    )


def test_a_target_does_not_show_its_keys() -> None:
    shown: IlertTarget = target(api_key=API_KEY)
    assert KEY not in repr(shown)
    assert API_KEY not in repr(shown)
    assert repr(shown) == "IlertTarget('default', 'http://127.0.0.1:9/api/events')"
