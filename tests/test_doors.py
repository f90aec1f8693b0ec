"""What every door for events does alike; each test runs through a real socket, over each protocol."""

import json

import pytest
import trio

from doors import BODY, DOORS, EVENT, NOW_MS, event
from mcp_ilert.config import Match, RouteSettings, Secret, Settings, Token
from mcp_ilert.events import Entry, Kind, Severity
from mcp_ilert.intake import Limits

PROBLEM = "application/problem+json"
NDJSON = "application/x-ndjson"


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request):
    return request.param


@pytest.fixture
async def bridge(door):
    async with door.open() as bridge:
        yield bridge


@pytest.fixture
async def client(door, bridge):
    async with door.client(bridge) as client:
        yield client


def is_problem(answer, status, detail=None):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json["status"] == status
    assert answer.json["title"]
    if detail is not None:
        assert detail in answer.json["detail"]
    return True


async def still_works(client, bridge):
    """The same connection (or the next one, where the answer closed it) takes an event."""
    before = len(bridge.spool.entries)
    assert (await client.post(BODY)).status == 202
    assert len(bridge.spool.entries) == before + 1
    return True


# What is taken ---------------------------------------------------------------------------------------------------


async def test_an_event_is_answered_once_it_is_kept_as_it_was_received(bridge, client, door):
    body = b' {"mcp_id": " k-1 ",  "source":"s", "summary":"x", "status":"resolved", "later": 1.50}\r\n'
    answer = await client.post(body)
    assert (answer.status, answer.json) == (202, {"accepted": 1})
    assert answer.headers["content-type"] == "application/json"
    assert bridge.spool.puts == [[Entry(NOW_MS, Kind.RESOLVE, Severity.HIGH, "default", "k-1", body.strip())]]
    assert bridge.count(door.label, "accepted") == 1
    assert bridge.metrics.registry.get_sample_value("mcp_ingest_latency_seconds_count") == 1


async def test_an_array_is_one_commit_and_its_bad_events_are_named(bridge, client, door):
    body = b"[" + event(mcp_id="a") + b', {"mcp_id": 1}, 7, ' + event(mcp_id="b", priority=4) + b"]"
    answer = await client.post(body)
    assert answer.status == 202
    assert answer.json == {
        "accepted": 2,
        "rejected": [
            {"index": 1, "error": "$.source: required, but missing"},
            {"index": 2, "error": "$: expected an event as a JSON object"},
        ],
    }
    assert [[entry.key for entry in put] for put in bridge.spool.puts] == [["a", "b"]]
    assert bridge.spool.entries[1].payload == event(mcp_id="b", priority=4)
    assert bridge.count(door.label, "accepted") == 2
    assert bridge.count(door.label, "invalid") == 2


async def test_lines_are_events_and_blank_ones_are_not_counted(bridge, client):
    lines = [event(mcp_id="a"), b"", b"  \r", b"{nonsense", b'["no object"]', b"\xff", event(mcp_id="b")]
    answer = await client.post(b"\n".join(lines), NDJSON)
    assert answer.status == 202
    assert answer.json["accepted"] == 2
    assert [one["index"] for one in answer.json["rejected"]] == [1, 2, 3]
    assert [[entry.key for entry in put] for put in bridge.spool.puts] == [["a", "b"]]


async def test_lines_may_come_in_pieces(bridge, client):
    text = b"\n".join(event(mcp_id=str(number)) for number in range(5)) + b"\n"

    async def pieces():
        for start in range(0, len(text), 37):
            yield text[start : start + 37]
            await trio.lowlevel.checkpoint()

    assert (await client.post(pieces(), NDJSON)).json == {"accepted": 5}
    assert [entry.key for entry in bridge.spool.entries] == ["0", "1", "2", "3", "4"]


async def test_a_body_without_an_announced_length_is_taken(bridge, client):
    async def chunks():
        yield BODY[:10]
        yield BODY[10:]

    assert (await client.post(chunks())).json == {"accepted": 1}
    assert bridge.spool.entries[0].payload == BODY


async def test_of_many_rejected_events_the_first_hundred_are_listed(bridge, client):
    answer = await client.post(b"[" + BODY + b",1" * 250 + b"]")
    assert answer.json["accepted"] == 1
    assert len(answer.json["rejected"]) == 100
    assert answer.json["rejected_total"] == 250


async def test_routes_name_the_target(door):
    routes = (
        RouteSettings(name="noise", match=Match(source="lab-*"), drop=True),
        RouteSettings(
            name="db", match=Match(tags=("disk",), severity=("critical",)), webhook_key=Secret("k")
        ),
    )
    async with door.open(settings=Settings(routes=routes)) as bridge, door.client(bridge) as client:
        for body in (event(), event(source="lab-7"), event(tags=[])):
            assert (await client.post(body)).status == 202
    assert [entry.target for entry in bridge.spool.entries] == ["db", "", "default"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=UTF-8", "APPLICATION/JSON"])
async def test_the_content_type_may_say_utf8(client, kind):
    assert (await client.post(BODY, kind)).status == 202


async def test_identity_is_an_encoding(client):
    assert (await client.post(BODY, content_encoding="identity")).status == 202


# Bad input -------------------------------------------------------------------------------------------------------

MALFORMED = {
    "cut short": (b'{"mcp_id": "a"', "truncated"),
    "no JSON": (b"hello", "expected an event as a JSON object"),
    "a bare string": (b'"x"', "expected an event as a JSON object"),
    "a bare number": (b"7", "expected an event as a JSON object"),
    "nothing": (b"", "the body is empty"),
    "white space": (b" \n\t", "the body is empty"),
    "trailing data": (BODY + b" x", "trailing"),
    "two events": (BODY + BODY, "trailing"),
    "a trailing comma": (BODY[:-1] + b",}", "not JSON"),
    "an array cut short": (b"[" + BODY, "truncated"),
    "an array with a trailing comma": (b"[" + BODY + b",]", "not JSON"),
    "100,000 brackets": (b"[" * 100_000, "64 levels"),
    "100,000 pairs of brackets": (b"[" * 100_000 + b"]" * 100_000, "64 levels"),
    "65 levels in an unknown field": (BODY[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}", "64 levels"),
    "bad UTF-8": (BODY.replace(b"Disk", b"D\xffsk"), "not UTF-8"),
    "bad UTF-8 in an unknown field": (BODY[:-1] + b',"x":"\xc3"}', "not UTF-8"),
    "bad UTF-8 in an unknown key": (BODY[:-1] + b',"\xed\xa0\x80":1}', "not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + BODY, "expected an event as a JSON object"),
    "a lone surrogate": (BODY.replace(b"Disk", b"\\ud800"), "surrogate"),
    "a lone surrogate in an unknown field": (BODY[:-1] + b',"x":["\\udc00"]}', "surrogate"),
    "a lone surrogate in a key": (BODY[:-1] + b',"\\ud83d":1}', "surrogate"),
    "a lone surrogate in an array": (b"[" + BODY + b',"\\ud800"]', "surrogate"),
    "NUL as a byte": (BODY.replace(b"Disk", b"D\x00sk"), "not JSON"),
}


@pytest.mark.parametrize(("body", "detail"), MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_json_of_ours_is_400_and_disturbs_nothing(bridge, client, door, body, detail):
    assert is_problem(await client.post(body), 400, detail)
    assert bridge.count(door.label, "invalid") == 1
    assert bridge.spool.puts == []
    assert await still_works(client, bridge)


INVALID = {
    "a priority that is text": (event(priority="1"), "$.priority: expected int, got str"),
    "a priority that is a float": (event(priority=1.5), "$.priority: expected int, got float"),
    "a priority that is true": (event(priority=True), "$.priority: expected int, got bool"),
    "a priority of 65 bits": (event(priority=2**64), "$.priority: expected an integer within 64 bits"),
    "a priority of 5,000 digits": (
        BODY.replace(b'"priority": 1', b'"priority": ' + b"9" * 5000),
        "$.priority: expected an integer within 64 bits",
    ),
    "a number as mcp_id": (event(mcp_id=5), "$.mcp_id: expected str, got int"),
    "null as mcp_id": (event(mcp_id=None), "$.mcp_id: expected str, got null"),
    "no mcp_id": (b'{"source":"s","summary":"x"}', "$.mcp_id: required, but missing"),
    "no source": (b'{"mcp_id":"s","summary":"x"}', "$.source: required, but missing"),
    "no summary": (b'{"mcp_id":"s","source":"x"}', "$.summary: required, but missing"),
    "an empty object": (b"{}", "$.mcp_id: required, but missing"),
    "an empty source": (event(source=""), "$.source: expected str of length >= 1"),
    "a long mcp_id": (event(mcp_id="ä" * 256), "$.mcp_id: expected str of length <= 255"),
    "a long summary": (event(summary="ä" * 1025), "$.summary: expected str of length <= 1024"),
    "an mcp_id of spaces": (event(mcp_id=" \u3000 "), "$.mcp_id: expected an alert key"),
    "an unknown status": (
        event(status="open"),
        "$.status: expected firing, acknowledged or resolved, got 'open'",
    ),
    "65 tags": (event(tags=["t"] * 65), "$.tags: expected at most 64"),
    "a tag that is a number": (event(tags=["a", 1]), "$.tags[1]: expected str, got int"),
    "tags as text": (event(tags="a"), "$.tags: expected array, got str"),
    "a label that is a number": (event(labels={"a": 1}), "$.labels.a: expected str, got int"),
    "a link without href": (event(links=[{"text": "x"}]), "$.links[0].href: required, but missing"),
    "details that are a list": (event(details=[1]), "$.details: expected str or object, got array"),
    "a timestamp without a zone": (event(timestamp="2026-01-31T23:59:59"), "$.timestamp: expected RFC 3339"),
    "a day that is none": (event(timestamp="2026-02-30T00:00:00Z"), "$.timestamp: expected RFC 3339"),
    "a NUL": (event(summary="a\0b"), "NUL"),
    "a NUL in an unknown field": (event(x={"y": ["\0"]}), "NUL"),
    "a NUL in a key": (event(**{"a\0": 1}), "NUL"),
    "an empty array": (b"[]", "expected at least one event"),
}


@pytest.mark.parametrize(("body", "detail"), INVALID.values(), ids=INVALID)
async def test_what_is_no_event_is_422_and_names_the_field(bridge, client, door, body, detail):
    assert is_problem(await client.post(body), 422, detail)
    assert bridge.count(door.label, "invalid") == 1
    assert bridge.spool.puts == []
    assert await still_works(client, bridge)


async def test_an_array_of_which_nothing_is_valid_is_422_and_lists_why(bridge, client):
    answer = await client.post(b'[{}, {"mcp_id": ""}]')
    assert is_problem(answer, 422, "no event is valid")
    assert [one["index"] for one in answer.json["rejected"]] == [0, 1]
    assert bridge.spool.puts == []


async def test_of_duplicate_keys_the_last_wins(bridge, client):
    body = b'{"mcp_id":1,"source":"s","summary":"x","mcp_id":"last","priority":"x","priority":1}'
    assert (await client.post(body)).status == 202
    assert bridge.spool.entries[0].key == "last"
    assert bridge.spool.entries[0].severity is Severity.CRITICAL


async def test_numbers_beyond_64_bits_in_unknown_fields_keep_their_digits(bridge, client):
    body = (
        BODY[:-1] + b',"big": 123456789012345678901234567890.10, "huge": 1e999, "long": ' + b"7" * 9000 + b"}"
    )
    assert (await client.post(body)).status == 202
    assert bridge.spool.entries[0].payload == body


async def test_64_levels_of_nesting_are_taken(client):
    assert (await client.post(BODY[:-1] + b',"x":' + b"[" * 63 + b"]" * 63 + b"}")).status == 202


async def test_null_is_absent(client):
    nulls = dict.fromkeys(("priority", "details", "tags", "status", "timestamp", "links", "labels"))
    assert (await client.post(event(**nulls))).status == 202


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "nonsense",
    ],
)
async def test_another_content_type_is_415(bridge, client, kind):
    assert is_problem(await client.post(BODY, kind), 415, "Content-Type: expected")
    assert bridge.spool.puts == []
    assert await still_works(client, bridge)


async def test_another_encoding_is_415_and_says_which_are_taken(bridge, client):
    answer = await client.post(BODY, content_encoding="br")
    assert is_problem(answer, 415, "Content-Encoding: expected gzip or zstd, got br")
    assert answer.headers["accept-encoding"] == "gzip, zstd"
    assert await still_works(client, bridge)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
async def test_another_method_is_405_and_says_which_is_allowed(bridge, client, method):
    answer = await client.send(method, "/events", headers={"content-type": "application/json"}, body=BODY)
    assert is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert await still_works(client, bridge)


@pytest.mark.parametrize("path", ["/nothing", "/events/", "/events%00", "/%ff", "/static/x", "/../etc"])
async def test_another_path_is_404(bridge, client, path):
    assert is_problem(await client.send("POST", path, body=BODY), 404)
    assert await still_works(client, bridge)


# Sizes -----------------------------------------------------------------------------------------------------------


async def test_a_body_of_2_mb_is_413_and_the_next_request_is_served(bridge, client):
    assert is_problem(await client.post(b"[" + b" " * 2_000_000 + BODY + b"]"), 413, "listen.max_body_bytes")
    assert bridge.spool.puts == []
    assert await still_works(client, bridge)


async def test_a_body_of_2_mb_without_an_announced_length_is_413(bridge, client):
    async def chunks():
        for _ in range(40):
            yield b" " * 50_000

    assert is_problem(await client.post(chunks()), 413, "listen.max_body_bytes")
    assert await still_works(client, bridge)


async def test_lines_of_2_mb_in_all_are_413_and_nothing_of_them_is_kept(bridge, client):
    text = (event(summary="x" * 900) + b"\n") * 2000
    assert is_problem(await client.post(text, NDJSON), 413)
    assert bridge.spool.puts == []
    assert await still_works(client, bridge)


async def test_an_event_above_its_limit_is_413_alone_and_rejected_among_others(door):
    async with door.open(limits=Limits(max_event_bytes=300)) as bridge, door.client(bridge) as client:
        large = event(details="x" * 300)
        assert is_problem(await client.post(large), 413, "listen.max_event_bytes")
        assert await still_works(client, bridge)
        answer = await client.post(b"[" + large + b"," + BODY + b"]")
        assert (answer.status, answer.json["accepted"], answer.json["rejected"][0]["index"]) == (202, 1, 0)
        assert "listen.max_event_bytes" in answer.json["rejected"][0]["error"]
        answer = await client.post(BODY + b"\n" + large + b"\n" + BODY, NDJSON)
        assert (answer.json["accepted"], answer.json["rejected"][0]["index"]) == (2, 1)
        exact = event(details="x" * (300 - len(event(details=""))))
        assert (await client.post(exact)).status == 202


# Who may, and when -----------------------------------------------------------------------------------------------

TOKENS = (
    Token("probes", Secret("p-secret"), sources=("web-*", "db-[12]")),
    Token("all", Secret("a-secret")),
    Token("boss", Secret("b-secret"), role="operator"),
)


@pytest.fixture
async def guarded(door):
    async with door.open(tokens=TOKENS) as bridge, door.client(bridge) as client:
        yield bridge, client


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", "Basic a-secret", "a-secret", "Bearer", "", "Bearer \xff"]
)
async def test_without_a_known_token_it_is_401(guarded, door, given):
    bridge, client = guarded
    headers = {} if given is None else {"authorization": given.encode("latin-1")}
    answer = await client.send(body=BODY, headers={"content-type": "application/json", **headers})
    assert is_problem(answer, 401, "token")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert bridge.count(door.label, "unauthorized") == 1
    assert bridge.spool.puts == []
    assert (await client.post(BODY, authorization="Bearer a-secret")).status == 202


async def test_a_known_token_may_send(guarded):
    _, client = guarded
    for given in ("Bearer a-secret", "bearer a-secret", "Bearer b-secret"):
        assert (await client.post(BODY, authorization=given)).status == 202
    assert (await client.post(event(source="web-1"), authorization="Bearer p-secret")).status == 202


async def test_a_source_outside_the_token_is_403_alone_and_rejected_among_others(guarded, door):
    bridge, client = guarded
    probes = {"authorization": "Bearer p-secret"}
    assert is_problem(await client.post(event(source="db-3"), **probes), 403, "$.source")
    assert is_problem(await client.post(event(source="WEB-1"), **probes), 403)
    body = b"[" + event(source="db-3") + b"," + event(source="db-2") + b"]"
    answer = await client.post(body, **probes)
    assert (answer.status, answer.json["accepted"]) == (202, 1)
    assert "$.source" in answer.json["rejected"][0]["error"]
    assert bridge.count(door.label, "unauthorized") == 3


async def test_health_needs_no_token(guarded):
    _, client = guarded
    assert (await client.send("GET", "/healthz")).status == 200
    assert (await client.send("GET", "/readyz")).status == 200


async def test_when_the_spool_takes_nothing_it_is_503_and_nothing_is_kept(bridge, client, door):
    bridge.spool.full = True
    answer = await client.post(b"[" + BODY + b"," + BODY + b",1]")
    assert is_problem(answer, 503, "the spool is full")
    assert answer.headers["retry-after"] == "7"
    assert bridge.count(door.label, "unavailable") == 2
    assert bridge.spool.puts == []
    bridge.spool.full = False
    assert await still_works(client, bridge)


async def test_a_bug_is_a_500_of_ours_that_tells_nothing(bridge, client):
    bridge.spool.broken = True
    answer = await client.post(BODY)
    assert is_problem(answer, 500)
    assert b"a bug in the spool" not in answer.body
    bridge.spool.broken = False
    assert await still_works(client, bridge)


async def test_a_slow_body_is_408_and_others_are_served_meanwhile(door):
    async with door.open(read_timeout=0.2) as bridge, door.client(bridge) as slow:
        asked = trio.Event()

        async def drip():
            yield BODY[:5]
            asked.set()
            await trio.sleep_forever()

        async def send_slowly(task_status=trio.TASK_STATUS_IGNORED):
            with trio.CancelScope() as scope:
                task_status.started(scope)
                await slow.post(drip())

        async with trio.open_nursery() as nursery:
            scope = await nursery.start(send_slowly)
            await asked.wait()
            async with door.client(bridge) as quick:
                assert (await quick.post(BODY)).status == 202
            scope.cancel()
        assert len(bridge.spool.entries) == 1


async def test_a_client_that_goes_away_mid_body_leaves_nothing_behind(door, bridge):
    async with door.client(bridge) as gone:
        reached = trio.Event()

        async def half():
            yield b"[" + BODY + b","
            reached.set()
            await trio.sleep_forever()

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(gone.post, half())
                await reached.wait()
                scope.cancel()
    async with door.client(bridge) as other:
        assert (await other.post(BODY)).status == 202
    assert len(bridge.spool.entries) == 1


async def test_a_request_that_waits_for_the_spool_delays_no_other_connection(door, bridge):
    bridge.spool.shut()
    async with door.client(bridge) as first, door.client(bridge) as second, trio.open_nursery() as nursery:
        nursery.start_soon(first.post, BODY)
        assert (await second.send("GET", "/healthz")).status == 200
        bridge.spool.gate.set()
    assert len(bridge.spool.entries) == 1


def test_the_sample_is_what_the_readme_shows():
    assert json.loads(BODY) == EVENT
