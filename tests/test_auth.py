"""Who may send, and how fast: by token, by certificate, at every door."""

import msgspec
import pytest
import trio

from doors import DOORS, event, open_bridge
from mcp_ilert.config import Secret, Token
from mcp_ilert.problems import RequestError
from mcp_ilert.web.auth import ANYBODY, Guard

LIMITED = Token("probes", Secret("p-secret"), per_second=2)
FREE = Token("others", Secret("o-secret"))
BOSS = Token("boss", Secret("b-secret"), role="operator")


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request):
    return request.param


def status(call, authorization):
    try:
        return call(authorization).name
    except RequestError as error:
        return error.status


def quota_of(guard, token):
    quota = guard.admit(f"Bearer {token}").quota
    assert quota is not None
    return quota


# Rates ------------------------------------------------------------------------------------------------------------


async def test_who_sends_faster_than_its_token_may_is_told_when_to_come_again(door):
    async with door.open(tokens=[LIMITED, FREE]) as bridge, door.client(bridge) as client:
        mine = {"authorization": "Bearer p-secret"}
        assert [(await client.post(event(mcp_id=f"a{i}"), **mine)).status for i in range(2)] == [202, 202]
        answer = await client.post(event(mcp_id="a2"), **mine)
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert "auth.tokens[].per_second" in answer.json["detail"]
        assert (await client.post(event(mcp_id="b"), authorization="Bearer o-secret")).status == 202
        bridge.seconds += 0.5
        assert (await client.post(event(mcp_id="a3"), **mine)).status == 202
        assert [entry.key for entry in bridge.spool.entries] == ["a0", "a1", "b", "a3"]
        assert (bridge.count(door.label, "limited"), bridge.count(door.label, "accepted")) == (1, 4)


@pytest.mark.parametrize(("kind", "join"), [("application/json", b"[%b]"), ("application/x-ndjson", b"%b")])
async def test_many_events_at_once_are_all_taken_or_none_and_paid_off(door, kind, join):
    async with door.open(tokens=[LIMITED]) as bridge, door.client(bridge) as client:
        mine = {"authorization": "Bearer p-secret"}
        lines = [event(mcp_id=str(i)) for i in range(6)]
        body = join % (b"," if b"[" in join else b"\n").join(lines)
        assert (await client.post(body, kind, **mine)).status == 202  # a full bucket, and four on credit
        bridge.seconds += 1.9
        answer = await client.post(body, kind, **mine)
        assert (answer.status, answer.headers["retry-after"]) == (429, "2")
        assert len(bridge.spool.entries) == 6
        assert bridge.count(door.label, "limited") == 6
        bridge.seconds += 1.2
        assert (await client.post(body, kind, **mine)).status == 202


@pytest.mark.parametrize("carry", ["reactor", "stream"])
async def test_the_tcp_door_answers_a_line_too_many_by_an_error_and_goes_on(carry):
    async with open_bridge(tokens=[LIMITED], carry=carry) as bridge:
        stream = await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port)
        lines = [b'{"auth":"p-secret"}', *(event(mcp_id=str(i)) for i in range(3))]
        answers = await ask(stream, lines)
        assert [answer["ok"] for answer in answers] == [True, True, True, False]
        assert "per_second" in answers[-1]["error"]
        bridge.seconds += 1
        assert await ask(stream, [event(mcp_id="later")]) == [{"ok": True}]
        assert bridge.count("tcp", "limited") == 1
        await stream.aclose()


async def ask(stream, lines):
    await stream.send_all(b"".join(line + b"\n" for line in lines))
    text = b""
    with trio.fail_after(20):
        while text.count(b"\n") < len(lines):
            more = await stream.receive_some(65_536)
            assert more, text
            text += more
    return [msgspec.json.decode(line) for line in text.splitlines()]


async def test_what_is_not_valid_costs_nothing_of_the_rate(door):
    async with door.open(tokens=[LIMITED]) as bridge, door.client(bridge) as client:
        mine = {"authorization": "Bearer p-secret"}
        for _ in range(5):
            assert (await client.post(b"{}", **mine)).status == 422
        assert (await client.post(event(), **mine)).status == 202


def test_a_reload_gives_nothing_back_and_takes_the_new_rate():
    clock = [0.0]
    guard = Guard([LIMITED], now=lambda: clock[0])
    quota = quota_of(guard, "p-secret")
    assert [quota(1), quota(1), quota(1)] == [0, 0, 0.5]
    guard.use([msgspec.structs.replace(LIMITED, token=Secret("new"), per_second=10)])
    assert quota_of(guard, "new")(1) == pytest.approx(0.1)
    guard.use([FREE])
    assert guard.admit("Bearer o-secret").quota is None


# Tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_rotated_by_a_second_entry():
    old, new = Token("probes-1", Secret("old")), Token("probes-2", Secret("new"))
    guard = Guard([old, new])
    assert [guard.admit(f"Bearer {text}").name for text in ("old", "new")] == ["probes-1", "probes-2"]
    guard.use([new])
    assert status(guard.admit, "Bearer old") == 401


def test_nothing_of_a_token_is_kept_but_its_digest():
    guard = Guard([LIMITED, BOSS])
    kept = repr(vars(guard)) + repr(guard.admit("Bearer p-secret"))
    assert "p-secret" not in kept
    assert "b-secret" not in kept


# Certificates -----------------------------------------------------------------------------------------------------


def test_a_certificate_alone_is_a_producer_and_no_operator():
    guard = Guard(mutual=True)
    assert (guard.on, guard.knows) == (False, True)
    assert guard.admit(None) is ANYBODY
    assert status(guard.operate, None) == status(guard.operate, "Bearer x") == 403


def test_with_a_certificate_operators_need_their_token_and_producers_none():
    guard = Guard([BOSS], mutual=True)
    assert status(guard.admit, None) == ""
    assert status(guard.operate, None) == 403
    assert status(guard.operate, "Bearer b-secret") == "boss"
    assert status(guard.admit, "Bearer wrong") == 401


def test_leaving_a_token_out_gives_no_more_than_the_token():
    guard = Guard([LIMITED, BOSS], mutual=True)
    assert status(guard.admit, None) == 401
    assert status(guard.admit, "Bearer p-secret") == "probes"
