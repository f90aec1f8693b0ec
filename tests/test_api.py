"""`/api/v1` through real sockets, on a whole bridge beside a sandbox iLert."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing
import trio

from api_world import READS, WRITES, Api, open_api, problem
from bridge import event, until
from mcp_ilert import config
from mcp_ilert.config import Secret
from mcp_ilert.console import look as looking
from mcp_ilert.console.look import Look
from mcp_ilert.sandbox import INTEGRATION_KEY, Fault
from mcp_ilert.sandbox.server import SandboxServer
from mcp_ilert.web import api as web_api
from mcp_ilert.web.access import from_elsewhere
from mcp_ilert.web.openapi import document
from test_cli_queue import mcp_ilert

# What it tells ---------------------------------------------------------------------------------------------------


async def test_the_api_tells_what_the_commands_tell(api: Api) -> None:
    await api.send(event("k", priority=1), event("other"))
    await api.delivered(2)
    await api.post("pause", {"target": "default"})
    await api.send(event("k", summary="again"))
    where = ("--spool", api.service.path, "--json")
    for path, args in (
        ("stats", ("queue", "stats")),
        ("lanes", ("queue", "list")),
        ("dead", ("queue", "dead")),
        ("audit", ("audit",)),
    ):
        _, out, _ = await mcp_ilert(*args, *where)
        assert await api.json(path) == json.loads(out), path
    _, out, _ = await mcp_ilert("why", "k", *where)
    life, told = await api.json("why?key=K"), json.loads(out)
    assert life["history"] == told["history"]
    assert life["history"][0]["status"] == 202
    assert "no route matches) waits: an operator has paused the target" in life["now"][0]


async def test_the_life_of_a_key_has_ilerts_correlation_id(api: Api) -> None:
    await api.send(event("some/key ü", priority=1))
    await api.delivered(1)
    life = (await api.client.get("/api/v1/why", params={"key": "some/key ü"})).json()
    (happened,) = life["history"]
    assert happened["what"] == "delivered"
    assert happened["correlation_id"]
    assert (happened["source"], happened["summary"]) == ("probe-1", "some/key ü is down")


async def test_who_is_on_call_is_told_here_in_the_life_of_a_key_and_in_the_log(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    ilert = config.Ilert(
        api_url=sandbox.url, webhook_key=Secret(INTEGRATION_KEY), api_key=Secret("sandbox-api-key")
    )
    async with open_api(tmp_path, sandbox, ilert=ilert) as api:
        with trio.fail_after(30):
            while not (found := await api.json("on-call"))["known"]:  # noqa: ASYNC110 - asked by HTTP
                await trio.sleep(0.02)
        ((ada,),) = [policy["on_call"] for policy in found["policies"]]
        with structlog.testing.capture_logs() as logs:
            await api.send(event("a"))
            await api.delivered(1)
        (said,) = [record for record in logs if record["event"] == "delivered"]
        assert said["note"].startswith(f"on call: {ada['user']} (level 1")
        life = await api.json("why?key=a")
        assert ada["user"] in life["history"][-1]["says"][-1]["says"]
    async with open_api(tmp_path, sandbox) as api:
        assert await api.json("on-call") == {"known": False, "age_seconds": None, "policies": []}


async def test_lanes_come_page_by_page(api: Api) -> None:
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i}") for i in range(7)))
    seen: list[str] = []
    after: int | None = 0
    pages = 0
    while after is not None:
        page = await api.json(f"lanes?limit=3&after={after}")
        assert len(page["lanes"]) <= 3
        seen += [lane["key"] for lane in page["lanes"]]
        after, pages = page["after"], pages + 1
    assert (seen, pages) == ([f"k{i}" for i in range(7)], 3)


async def test_a_page_of_large_events_ends_early_and_says_where_to_go_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "PAGE_BYTES", 100_000)
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i}", details="x" * 40_000) for i in range(7)))
    first = await api.json("lanes?limit=500")
    assert [lane["key"] for lane in first["lanes"]] == ["k0", "k1", "k2"]
    second = await api.json(f"lanes?limit=500&after={first['after']}")
    assert [lane["key"] for lane in second["lanes"]] == ["k3", "k4", "k5"]


async def test_a_life_comes_page_by_page_newest_first(api: Api) -> None:
    for i in range(5):
        await api.send(event("k", summary=f"text {i}"))
        await api.delivered(i + 1)
    page = await api.json("why?key=k&limit=2")
    assert [h["summary"] for h in page["history"]] == ["text 3", "text 4"]
    page = await api.json(f"why?key=k&limit=3&before={page['before']}")
    assert [h["summary"] for h in page["history"]] == ["text 0", "text 1", "text 2"]


async def test_the_overview_says_whether_the_bridge_is_well(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_api, "FRESH_SECONDS", 0.0)
    found = await api.json("overview")
    assert (found["level"], found["says"]) == ("good", "Events are accepted and delivered. Nothing waits.")
    assert found["read_only"] is None
    await api.post("pause", {"target": "default"})
    await api.send(event("k", priority=1), event("other", priority=4))
    await until(lambda: api.service.counts().lanes == 2)  # folded
    found = await api.json("overview")
    assert found["level"] == "note"
    assert "an operator has paused it" in found["says"]
    assert found["counts"]["pending"] == 2
    assert found["oldest_ms"].keys() == {"critical", "low"}
    (target,) = found["targets"]
    assert (target["name"], target["paused"], target["held"], target["lanes"]) == (
        "default",
        True,
        "paused",
        2,
    )


async def test_one_look_at_the_spool_serves_all_that_ask_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Look] = []
    real = Look.backlog

    def counted(look: Look) -> Any:
        looks.append(look)
        return real(look)

    monkeypatch.setattr(Look, "backlog", counted)
    monkeypatch.setattr(web_api, "FRESH_SECONDS", 60.0)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(api.json, "overview")
    assert len(looks) == 1
    await api.post("pause", {"target": "default"})  # which is seen at once
    assert (await api.json("overview"))["targets"][0]["paused"]
    assert len(looks) == 2


async def test_browsers_that_do_not_read_what_they_asked_for_hold_nobody_up(api: Api) -> None:
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i}", details="x" * 30_000) for i in range(30)))
    port = api.client.base_url.port
    assert port is not None
    asked = b"GET /api/v1/lanes?limit=500 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    deaf = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(10)]
    for stream in deaf:
        await stream.send_all(asked * 20)
    await api.json("overview")
    await api.json("waiting")
    await api.send(event("quick"))
    for stream in deaf:
        await stream.aclose()


async def test_who_may_change_nothing_is_told_so(api: Api) -> None:
    found = (await api.get("overview", **{"x-forwarded-for": "203.0.113.7"})).json()
    assert "without auth.tokens the API changes things for this machine only" in found["read_only"]


async def test_what_waits_comes_the_most_urgent_first_and_without_its_text(api: Api) -> None:
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i}", priority=4 - i % 4, details="x" * 1000) for i in range(8)))
    await until(lambda: api.service.counts().lanes == 8)  # folded
    page = await api.json("waiting?limit=3")
    assert [lane["severity"] for lane in page["lanes"]] == ["critical", "critical", "high"]
    (first, *_) = page["lanes"]
    assert (first["key"], first["summary"], first["source"]) == ("k3", "k3 is down", "probe-1")
    assert (first["kinds"], first["count"], first["state"]) == (["alert"], 1, "ready")
    assert "an operator has paused the target" in first["says"][0]
    assert "xxx" not in json.dumps(page)
    page = await api.json(f"waiting?limit=500&after={page['after']}")
    assert (len(page["lanes"]), page["after"]) == (5, None)
    keys = [lane["key"] for lane in (await api.json("waiting?severity=low"))["lanes"]]
    assert keys == ["k0", "k4"]
    assert [lane["key"] for lane in (await api.json("waiting?key=K5"))["lanes"]] == ["k5"]
    assert (await api.json("waiting?target=other"))["lanes"] == []


async def test_a_part_of_a_key_is_looked_for_in_so_many_lanes_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "SEARCHED", 50)
    monkeypatch.setattr(looking, "SEARCH_SLICE", 25)
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i:03}") for i in range(120)))
    await until(lambda: api.service.counts().lanes == 120)  # folded
    seen: list[str] = []
    looked, query = [], "waiting?key=k11"
    page: Any = {"after": ""}
    while page["after"] is not None:
        page = await api.json(query + (f"&after={page['after']}" if page["after"] else ""))
        seen += [lane["key"] for lane in page["lanes"]]
        looked.append(page["looked"])
        assert page["of"] == 120
    assert seen == [f"k11{i}" for i in range(10)]
    assert looked == [50, 50, 20]


async def test_the_key_that_is_looked_for_comes_at_once_and_once_however_much_is_before_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "SEARCHED", 4)
    monkeypatch.setattr(looking, "SEARCH_SLICE", 2)
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"K{i}", priority=1 + i // 10) for i in range(1, 16)))
    await until(lambda: api.service.counts().lanes == 15)  # folded

    async def found(query: str) -> list[list[str]]:
        pages: list[list[str]] = []
        after: str | None = ""
        while after is not None:
            page = await api.json(f"waiting?{query}" + (f"&after={after}" if after else ""))
            pages.append([lane["key"] for lane in page["lanes"]])
            after = page["after"]
        return pages

    assert await found("key=k15") == [["K15"], [], [], []]
    assert await found("key=k1") == [["K1"], [], ["K10", "K11", "K12"], ["K13", "K14", "K15"]]
    assert await found("key=k1&limit=2") == [["K1"], [], ["K10", "K11"], ["K12", "K13"], ["K14", "K15"], []]
    assert await found("key=k15&severity=critical") == [[], [], []]
    assert (await api.json("waiting?key=k15&target=other"))["lanes"] == []


async def test_digests_are_listed_with_some_of_their_alerts(tmp_path: Path, sandbox: SandboxServer) -> None:
    storm = config.Storm(after_seconds=1)
    delivery = config.DeliverySettings(shutdown_grace_seconds=1, storm=storm)
    async with open_api(tmp_path, sandbox, delivery=delivery) as api:
        await api.send(*(event(f"k{i}", priority=4) for i in range(200)))
        with trio.fail_after(30):
            while not (found := await api.json("digests"))["digests"]:  # noqa: ASYNC110 - asked by HTTP
                await trio.sleep(0.02)
        (digest,) = found["digests"]
        assert digest["key"].startswith("mcp-digest/probe-1/")
        assert len(digest["member_keys"]) == min(20, digest["members"])
        assert found["more"] is False


async def test_the_last_attempts_come_newest_first(api: Api) -> None:
    for i in range(3):
        await api.send(event(f"k{i}"))
        await api.delivered(i + 1)
    await api.post("pause", {"target": "default"})
    await api.post("drop", {"key": "k0"})  # which is no attempt
    page = await api.json("deliveries?limit=2")
    assert [(sent["key"], sent["happened"]["what"]) for sent in page["attempts"]] == [
        ("k2", "delivered"),
        ("k1", "delivered"),
    ]
    page = await api.json(f"deliveries?limit=2&before={page['before']}")
    assert ([sent["key"] for sent in page["attempts"]], page["before"]) == (["k0"], None)


# What it does ----------------------------------------------------------------------------------------------------


async def test_dead_letters_are_seen_replayed_and_dropped(api: Api) -> None:
    api.sandbox.core.set_faults(Fault(kind="status", status=422, times=4), now=api.sandbox.now())
    await api.send(event("a"), event("b"))
    await until(lambda: api.service.counts().dead == 2, seconds=30)
    page = await api.json("dead")
    assert [lane["letters"][0]["status"] for lane in page["lanes"]] == [422, 422]
    answer = await api.post("replay", {"keys": ["A"]})
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "events": 1})
    await api.delivered(1)
    answer = await api.post("drop", {"key": "b", "target": "default"})
    assert answer.json() == {"ok": True, "events": 1}
    stats = await api.json("stats")
    assert (stats["counts"]["dropped_by_operator"], stats["conservation_error"]) == (1, 0)
    what = [h["what"] for h in (await api.json("why?key=b"))["history"]]
    assert what == ["again", "dead_by_rejection", "dropped"]


async def test_a_target_is_paused_and_resumed(api: Api) -> None:
    assert (await api.post("pause", {"target": "default"})).status_code == 200
    await api.send(event("k"))
    assert (await api.json("stats"))["targets"] == [{"name": "default", "paused": True}]
    assert (await api.post("resume", {"target": "default"})).status_code == 200
    await api.delivered(1)


# What it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("lanes?limit=0", 400, "limit: expected a whole number, 1 to 500, got 0"),
        ("lanes?limit=501", 400, "limit: expected"),
        ("lanes?limit=ten", 400, "got ten"),
        ("lanes?after=-1", 400, "after: expected"),
        ("lanes?after=99999999999999999999", 400, "after: expected"),
        ("dead?befor=1", 400, "befor: there is no such query parameter here; known are: limit, after"),
        ("stats?x=1", 400, "known are: none"),
        ("waiting?after=1", 400, "after: expected `after` of the page before, got 1"),
        ("waiting?severity=", 400, "severity: expected one of"),
        ("waiting?severity=worst", 400, "severity: expected one of critical, high, medium, low, got worst"),
        (f"waiting?target={'t' * 256}", 400, "target: expected at most 255 characters"),
        (f"waiting?key={'k' * 4097}", 400, "key: expected at most 4096 characters"),
        ("why", 400, "key: expected an alert key"),
        ("why?key=%20", 400, "key: expected an alert key"),
        (f"why?key={'k' * 4097}", 400, "key: expected an alert key"),
        ("why?key=nobody", 404, "nothing is known of this key"),
        ("nothing", 404, "there is nothing at this path"),
        ("", 404, "there is nothing at this path"),
        ("replay", 405, "this path does not take this method"),
    ],
)
async def test_a_wrong_question_is_a_problem(api: Api, path: str, status: int, detail: str) -> None:
    found = problem(await api.get(path))
    assert found[0] == status
    assert detail in found[1]


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("replay", {}, 422, "missing required field `keys`"),
        ("replay", {"keys": "k"}, 422, "$.keys"),
        ("drop", {"key": "k", "traget": "t"}, 422, "unknown field `traget`"),
        ("drop", [], 422, "Expected `object`"),
        ("pause", {"target": "defualt"}, 404, "target defualt: there is none of this name"),
        (
            "drop",
            {"key": "k", "target": "defualt"},
            404,
            "target defualt: there is none of this name; known are default",
        ),
        ("resume", {"op": "pause", "target": "default"}, 422, "op"),
    ],
)
async def test_a_wrong_request_is_a_problem_and_changes_nothing(
    api: Api, path: str, body: object, status: int, detail: str
) -> None:
    found = problem(await api.post(path, body))
    assert found[0] == status
    assert detail in found[1]


async def test_what_is_no_json_or_is_said_to_be_something_else_is_refused(api: Api) -> None:
    url = "/api/v1/drop"
    broken = await api.client.post(url, content=b"{", headers={"content-type": "application/json"})
    assert problem(broken)[0] == 400
    bad = await api.client.post(url, content=b'{"key":"\xff"}', headers={"content-type": "application/json"})
    assert problem(bad)[0] == 400
    form = await api.client.post(url, content=b'{"key":"k"}', headers={"content-type": "text/plain"})
    assert problem(form) == (415, "Content-Type: expected application/json")
    large = await api.client.post(url, content=b" " * 1_100_000, headers={"content-type": "application/json"})
    assert problem(large)[0] == 413


async def test_one_audit_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = Look.audit

    def slow(look: Look) -> Any:
        begun.set()
        assert go_on.wait(30)
        return real(look)

    monkeypatch.setattr(Look, "audit", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.json, "audit")
        await until(begun.is_set)
        second = await api.get("audit")
        go_on.set()
        assert problem(second)[0] == 429
        assert second.headers["retry-after"] == "5"
    assert (await api.json("audit"))["holds"]


# Who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READS)
async def test_with_tokens_reading_needs_an_operators(guarded: Api, path: str) -> None:
    await guarded.send(event("k"), headers={"authorization": "Bearer producer-token-1"})
    without = await guarded.get(path)
    assert problem(without)[0] == 401
    assert without.headers["www-authenticate"].startswith("Bearer")
    wrong = problem(await guarded.get(path, authorization="Bearer producer-token-1"))
    assert wrong == (403, "this token has the role producer; the API needs operator (auth.tokens)")
    assert (await guarded.get(path, authorization="Bearer operator-token-1")).status_code == 200


@pytest.mark.parametrize(("path", "body"), WRITES.items())
async def test_with_tokens_changing_needs_an_operators_from_wherever(
    guarded: Api, path: str, body: object
) -> None:
    assert problem(await guarded.post(path, body))[0] == 401
    assert problem(await guarded.post(path, body, authorization="Bearer producer-token-1"))[0] == 403
    done = await guarded.post(
        path, body, authorization="Bearer operator-token-1", x_forwarded_for="203.0.113.7"
    )
    assert done.status_code == 200


@pytest.mark.parametrize(("path", "body"), WRITES.items())
async def test_without_tokens_what_was_forwarded_changes_nothing(api: Api, path: str, body: object) -> None:
    assert (await api.post(path, body)).status_code == 200
    for header, value in (
        ("x_forwarded_for", "127.0.0.1"),
        ("forwarded", "for=1"),
    ):
        status, detail = problem(await api.post(path, body, **{header: value}))
        assert status == 403
        assert "without auth.tokens" in detail


async def test_without_tokens_reading_is_for_all(api: Api) -> None:
    assert (await api.get("stats", **{"x-forwarded-for": "203.0.113.7"})).status_code == 200


def own_address() -> str | None:
    """An address of this machine that is not loopback; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        name: str = probe.getsockname()[0]
        return None if name.startswith(("127.", "0.")) else name


@pytest.mark.skipif(own_address() is None, reason="this machine has no address but loopback")
async def test_without_tokens_who_comes_by_another_address_changes_nothing(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    listen = config.Listen(address="0.0.0.0", port=0)
    async with open_api(tmp_path, sandbox, listen=listen) as api:
        await api.send(event("k"))
        port = api.client.base_url.port
        api.client.base_url = httpx.URL(f"http://{own_address()}:{port}")
        for path, body in WRITES.items():
            status, detail = problem(await api.post(path, body, remote_addr="127.0.0.1"))
            assert status == 403
            assert "it does not come from loopback" in detail
        assert (await api.get("stats")).status_code == 200


@pytest.mark.parametrize(
    ("client", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("127.9.9.9", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("::ffff:203.0.113.7", {}, False),
        ("10.0.0.1", {}, False),
        ("nonsense", {}, False),
        (None, {}, False),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("127.0.0.1", {"x-real-ip": "127.0.0.1"}, False),
    ],
)
def test_what_counts_as_from_this_machine(client: str | None, headers: dict[str, str], local: bool) -> None:
    assert (from_elsewhere(client, headers) is None) is local


async def test_no_secret_is_in_any_answer(guarded: Api) -> None:
    boss = {"authorization": "Bearer operator-token-1"}
    await guarded.send(event("k"), headers={"authorization": "Bearer producer-token-1"})
    await guarded.delivered(1)
    for path in READS:
        text = (await guarded.get(path, **boss)).text
        assert not any(secret in text for secret in (INTEGRATION_KEY, "operator-token", "producer-token"))


async def test_the_description_names_every_path_with_its_methods_and_no_other(api: Api) -> None:
    described = {(path, method.upper()) for path, item in document("1")["paths"].items() for method in item}
    for path, method in described:
        answer = await api.client.request(method, path)
        missing = {405} if "{" in path else {404, 405}  # there is no webhook of that very name
        assert answer.status_code not in missing, (path, method)
    described_paths = {path for path, _ in described}
    assert {path for path in described_paths if path.startswith("/api/")} == {
        f"/api/v1/{name.split('?')[0]}" for name in (*READS, *WRITES)
    }
