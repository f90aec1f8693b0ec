"""What a stranger's web page makes an operator's browser send, on a machine whose bridge has no tokens."""

import json
from typing import Any

import pytest
import trio

from api_world import WRITES, Api, problem
from bridge import event
from doors import BODY, DOORS, Door
from mcp_ilert.config import Secret, Token
from mcp_ilert.web.access import from_foreign_page, has_name, rebound

FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
"""What a page may have any browser send anywhere, without asking first."""
NAMED = "by a name that may be a stranger's"


def own(api: Api) -> str:
    return str(api.client.base_url).rstrip("/")


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("kind", [*FORMS, None])
async def test_events_from_a_form_are_refused_at_every_door(door: Door, kind: str | None) -> None:
    async with door.open() as bridge, door.client(bridge) as client:
        assert (await client.post(BODY, kind)).status == 415
        assert bridge.spool.counts().accepted == 0


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"}],
    ids=lambda headers: str(*headers.values()),
)
async def test_events_from_a_foreign_page_are_refused_at_every_door_and_counted(
    door: Door, headers: dict[str, str]
) -> None:
    async with door.open() as bridge, door.client(bridge) as client:
        answer = await client.post(BODY, **headers)
        assert answer.status == 403
        assert "web page of another origin" in answer.json["detail"]
        assert bridge.count(door.label, "unauthorized") == 1
        assert (await client.post(BODY)).status == 202  # the connection goes on


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_events_of_a_page_whose_name_leads_here_are_refused_at_every_door(door: Door) -> None:
    async with door.open() as bridge, door.client(bridge) as client:
        scheme = "https" if door.secure else "http"
        answer = await client.post(BODY, host="evil.example", origin=f"{scheme}://evil.example")
        assert answer.status == 403
        assert NAMED in answer.json["detail"]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_a_producer_may_call_the_bridge_by_any_name(door: Door) -> None:
    async with door.open() as bridge, door.client(bridge) as client:
        assert (await client.post(BODY, host="bridge.example")).status == 202


async def test_with_tokens_a_page_needs_one_and_its_origin_is_not_asked() -> None:
    door = DOORS[0]
    async with door.open(tokens=[Token("probe", Secret("p"))]) as bridge, door.client(bridge) as client:
        away = {"origin": "https://console.example"}
        assert (await client.post(BODY, **away)).status == 401
        assert (await client.post(BODY, **away, authorization="Bearer p")).status == 202


async def test_webhooks_are_kept_from_foreign_pages_too() -> None:
    door = DOORS[0]
    async with door.open() as bridge, door.client(bridge) as client:
        headers = {"origin": "http://evil.example", "content-type": "application/json"}
        assert (await client.send("POST", "/webhooks/grafana", b"{}", headers)).status == 403
        assert bridge.count("webhook", "unauthorized") == 1


@pytest.mark.parametrize(("path", "body"), WRITES.items())
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=lambda headers: str(*headers.values()),
)
async def test_a_foreign_page_changes_nothing(
    api: Api,
    path: str,
    body: object,
    headers: dict[str, str],
) -> None:
    status, detail = problem(await api.post(path, body, **headers))
    assert status == 403
    assert "without auth.tokens web pages of others are kept out" in detail


@pytest.mark.parametrize(("path", "body"), WRITES.items())
async def test_our_own_page_may_change_what_it_shows(api: Api, path: str, body: object) -> None:
    mine = {"origin": own(api), "sec-fetch-site": "same-origin"}
    assert (await api.post(path, body, **mine)).status_code == 200


@pytest.mark.parametrize("kind", FORMS)
async def test_a_form_changes_nothing(api: Api, kind: str) -> None:
    answer = await api.client.post(
        "/api/v1/drop", content=json.dumps({"key": "k"}), headers={"content-type": kind}
    )
    assert problem(answer)[0] == 415


async def test_a_name_that_was_made_to_lead_here_neither_reads_nor_changes(api: Api) -> None:
    await api.send(event("k"))
    evil = {"host": "evil.example:8080"}
    for path in ("overview", "lanes", "why?key=k"):
        status, detail = problem(await api.get(path, **evil))
        assert status == 403
        assert NAMED in detail
    more: dict[str, str] = {"origin": "http://evil.example:8080", "sec-fetch-site": "same-origin"}
    for headers in (evil, evil | more, evil | {"x-forwarded-for": "203.0.113.7"}):
        assert problem(await api.post("drop", {"key": "k"}, **headers))[0] == 403
    for path in ("/healthz", "/readyz", "/"):  # which tell everybody the same
        assert (await api.client.get(path, headers=evil)).status_code == 200


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
async def test_what_names_this_machine_may_read_and_change(api: Api, host: str) -> None:
    assert (await api.get("stats", host=host)).status_code == 200
    assert (await api.post("pause", {"target": "default"}, host=host)).status_code == 200


async def test_with_tokens_the_bridge_has_any_name(guarded: Api) -> None:
    boss = {
        "authorization": "Bearer operator-token-1",
        "host": "bridge.example",
        "origin": "https://x.example",
    }
    assert (await guarded.get("stats", **boss)).status_code == 200
    assert (await guarded.post("pause", {"target": "default"}, **boss)).status_code == 200


async def test_nobody_is_told_that_pages_of_others_may_read(api: Api) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    for method in ("GET", "OPTIONS"):
        answer = await api.client.request(method, "/api/v1/stats", headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_door_for_lines_speaks_no_http() -> None:
    """A page may have a browser send it a body of lines, which would be taken for what they are."""
    async with DOORS[0].open() as bridge:
        stream = await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port)
        async with stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + BODY + b"\n")
            answer = b"".join([chunk async for chunk in stream])
        assert answer.count(b"\n") == 1
        assert b"HTTP is spoken on listen.port" in answer
        assert bridge.spool.counts().accepted == 0


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("", False),
        ("localhost", False),
        ("localhost:8080", False),
        ("127.0.0.1:8080", False),
        ("[::1]", False),
        ("192.0.2.7", False),
        ("localhost.evil.example", True),
        ("127.0.0.1.evil.example:8080", True),
        ("evil", True),
        ("[bad", True),
        (":8080", True),
    ],
)
def test_which_hosts_are_names(host: str, named: bool) -> None:
    assert has_name(host) is named
    assert (rebound("127.0.0.1", host) is not None) is named
    assert rebound("192.0.2.7", host) is None


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": "http://127.0.0.1:8080"}, False),
        ({"origin": "HTTP://127.0.0.1:8080", "sec-fetch-site": "Same-Origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://127.0.0.1"}, True),
        ({"origin": "http://[bad"}, True),
        ({"origin": ""}, True),
        ({"sec-fetch-site": "cross-site"}, True),
    ],
)
def test_which_pages_are_foreign(headers: dict[str, Any], foreign: bool) -> None:
    assert (from_foreign_page("127.0.0.1:8080", headers) is not None) is foreign
