"""The TCP door: a line is an event, and its answer a line; over both pumps, plain and with TLS."""

import contextlib
import json

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing

from doors import BODY, Carry, client_tls, event, open_bridge, server_tls
from mcp_ilert.config import Secret, Token
from mcp_ilert.doors import server
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.places import Bounds
from mcp_ilert.events import Kind
from mcp_ilert.intake import Limits

OK = {"ok": True}
TOKENS = (Token("probes", Secret("p-secret"), sources=("web-*",)), Token("all", Secret("ä-secret")))


class Door(msgspec.Struct, frozen=True):
    name: str
    carry: Carry
    secure: bool = False

    @contextlib.asynccontextmanager
    async def open(self, **options):
        if self.carry == "reactor" and not server.REACTOR:
            pytest.skip("the reactor is not compiled here")
        async with open_bridge(
            carry=self.carry, tls=server_tls() if self.secure else None, **options
        ) as bridge:
            yield bridge

    @contextlib.asynccontextmanager
    async def client(self, bridge):
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port)
        if self.secure:
            stream = trio.SSLStream(stream, client_tls(), server_hostname="127.0.0.1", https_compatible=True)
        try:
            yield Client(stream)
        finally:
            await trio.aclose_forcefully(stream)


class Client:
    def __init__(self, stream):
        self.stream = stream
        self._unread = b""

    async def send(self, *lines):
        await self.stream.send_all(b"".join(line + b"\n" for line in lines))

    async def answers(self, number):
        lines: list[bytes] = []
        with trio.fail_after(20):
            while len(lines) < number:
                *more, self._unread = (self._unread + await self._receive()).split(b"\n")
                lines += more
        assert len(lines) == number
        return [json.loads(line) for line in lines]

    async def ask(self, *lines):
        await self.send(*lines)
        return await self.answers(len(lines))

    async def is_closed(self):
        with trio.fail_after(20):
            return self._unread == b"" and await self.stream.receive_some(1) == b""

    async def _receive(self):
        data = await self.stream.receive_some(65_536)
        assert data, "closed"
        return data


@pytest.fixture(
    params=(
        Door("reactor", "reactor"),
        Door("reactor-tls", "reactor", secure=True),
        Door("stream", "stream"),
        Door("stream-tls", "stream", secure=True),
    ),
    ids=lambda door: door.name,
)
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


async def test_a_line_is_answered_once_its_event_is_kept_as_it_was_received(bridge, client):
    line = b' {"mcp_id": "k-1",  "source":"s", "summary":"x", "status":"resolved", "later": 1.50}'
    gate = bridge.spool.shut()
    await client.send(line)
    await bridge.spool.waiting(1)
    gate.set()
    assert await client.answers(1) == [OK]
    (entry,) = bridge.spool.entries
    assert (entry.key, entry.kind, entry.payload) == ("k-1", Kind.RESOLVE, line.strip())
    assert bridge.count("tcp", "accepted") == 1
    assert bridge.metrics.registry.get_sample_value("mcp_ingest_latency_seconds_count") == 1


async def test_answers_come_in_the_order_of_the_lines(bridge, client):
    lines = [b"{nonsense", event(mcp_id="a"), b"[" + BODY + b"]", b"{}", event(mcp_id="b"), b'{"x":"\xff"}']
    found = await client.ask(*lines)
    assert [answer["ok"] for answer in found] == [False, True, False, False, True, False]
    assert "expected an event as a JSON object" in found[2]["error"]
    assert found[3]["error"] == "$.mcp_id: required, but missing"
    assert "UTF-8" in found[5]["error"]
    assert [entry.key for entry in bridge.spool.entries] == ["a", "b"]
    assert bridge.count("tcp", "accepted") == 2
    assert bridge.count("tcp", "invalid") == 4


async def test_blank_lines_have_no_answer(client):
    await client.send(b"", b"\r", BODY, b"", BODY)
    assert await client.answers(2) == [OK, OK]


async def test_an_overlong_line_is_answered_and_skipped(door):
    async with door.open(limits=Limits(max_event_bytes=300)) as bridge, door.client(bridge) as client:
        long = event(details="x" * 100_000)
        found = await client.ask(BODY, long, BODY)
        assert [answer["ok"] for answer in found] == [True, False, True]
        assert "listen.max_event_bytes" in found[1]["error"]
        assert len(bridge.spool.entries) == 2
        assert bridge.count("tcp", "invalid") == 1


async def test_many_lines_at_once_are_answered_and_kept_in_order(bridge, client):
    number = 5_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, *(event(mcp_id=str(i)) for i in range(number)))
        found: list[object] = []
        while len(found) < number:
            *more, client._unread = (client._unread + await client._receive()).split(b"\n")
            found += more
    assert found == [b'{"ok":true}'] * number
    assert [entry.key for entry in bridge.spool.entries] == [str(i) for i in range(number)]


async def test_lines_may_come_in_pieces_and_the_last_without_its_end(door, bridge):
    async with door.client(bridge) as client:
        for start in range(0, len(BODY), 20):
            await client.stream.send_all(BODY[start : start + 20])
            await trio.testing.wait_all_tasks_blocked()
        if door.secure:
            await client.stream.send_all(b"\n")
        else:
            await client.stream.send_eof()
        assert await client.answers(1) == [OK]
        if not door.secure:
            assert await client.is_closed()


async def test_when_the_spool_takes_nothing_the_line_says_so(bridge, client):
    bridge.spool.full = True
    assert await client.ask(BODY) == [{"ok": False, "error": "the spool is full"}]
    assert bridge.count("tcp", "unavailable") == 1
    bridge.spool.full = False
    assert await client.ask(BODY) == [OK]


async def test_a_bug_tells_nothing(bridge, client):
    bridge.spool.broken = True
    (answer,) = await client.ask(BODY)
    assert not answer["ok"]
    assert "a bug in the spool" not in answer["error"]


# Who may ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def guarded(door):
    async with door.open(tokens=TOKENS) as bridge:
        yield bridge


async def test_the_first_line_says_who_it_is(door, guarded):
    async with door.client(guarded) as client:
        assert await client.ask(b'{"auth":"p-secret"}', event(source="web-1")) == [OK, OK]
        refused, taken = await client.ask(event(source="db-1"), event(source="web-2"))
        assert "$.source" in refused["error"]
        assert taken == OK
    assert len(guarded.spool.entries) == 2
    assert guarded.count("tcp", "unauthorized") == 1


async def test_a_token_may_be_any_text(door, guarded):
    async with door.client(guarded) as client:
        assert await client.ask('{"auth":"ä-secret"}'.encode(), BODY) == [OK, OK]


@pytest.mark.parametrize(
    "first",
    [
        b'{"auth":"wrong"}',
        b'{"auth":""}',
        b'{"auth":7}',
        BODY,
        b'{"auth":"p-secret","x":1}',
        b"\xff",
        b'{"auth":"\\ud800"}',
    ],
)
async def test_a_wrong_first_line_is_answered_and_the_connection_closed(door, guarded, first):
    async with door.client(guarded) as client:
        await client.send(first)
        (answer,) = await client.answers(1)
        assert not answer["ok"]
        assert "p-secret" not in answer["error"]
        assert await client.is_closed()
    assert guarded.spool.puts == []
    assert guarded.count("tcp", "unauthorized") == 1


async def test_what_follows_a_wrong_first_line_is_not_taken(door, guarded):
    async with door.client(guarded) as client:
        await client.send(b'{"auth":"wrong"}', BODY, b'{"auth":"p-secret"}', BODY)
        found = b""
        with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(20):
            while more := await client.stream.receive_some(1_000):
                found += more
        assert b'"ok":true' not in found
    assert guarded.spool.puts == []


async def test_without_tokens_an_introduction_is_welcome_and_not_needed(client, bridge):
    assert await client.ask(b'{"auth":"anything"}', BODY) == [OK, OK]
    assert len(bridge.spool.entries) == 1


async def test_a_token_that_is_taken_back_ends_its_connections(door, guarded):
    async with door.client(guarded) as client, door.client(guarded) as other:
        assert await client.ask(b'{"auth":"p-secret"}', event(source="web-1")) == [OK, OK]
        assert await other.ask('{"auth":"ä-secret"}'.encode()) == [OK]
        guarded.guard.use(TOKENS[1:])
        (answer,) = await client.ask(event(source="web-1"))
        assert not answer["ok"]
        assert await client.is_closed()
        assert await other.ask(BODY) == [OK]
    with trio.fail_after(20):
        while guarded.events._heads or guarded.events._sent_away:  # nothing is kept of who has gone
            await trio.lowlevel.checkpoint()


async def test_tokens_that_come_later_are_asked_for(door, bridge):
    async with door.client(bridge) as client:
        assert await client.ask(BODY) == [OK]
        bridge.guard.use(TOKENS)
        (answer,) = await client.ask(BODY)
        assert "first line" in answer["error"]
        assert await client.is_closed()


# Connections -----------------------------------------------------------------------------------------------------


async def test_whom_there_is_no_place_for_is_told_in_a_line(door):
    if door.secure:
        pytest.skip("who speaks TLS is only closed")
    async with door.open(bounds=Bounds(connections=1)) as bridge, door.client(bridge) as first:
        assert await first.ask(BODY) == [OK]
        async with door.client(bridge) as second:
            (answer,) = await second.answers(1)
            assert "listen.max_connections" in answer["error"]
            assert await second.is_closed()


async def test_a_line_that_does_not_end_is_told_so(door):
    async with door.open(deadlines=Deadlines(head=5, body=0.2)) as bridge, door.client(bridge) as client:
        assert await client.ask(BODY) == [OK]
        await client.stream.send_all(BODY)
        (answer,) = await client.answers(1)
        assert "listen.read_timeout_seconds" in answer["error"]
        assert await client.is_closed()
        assert len(bridge.spool.entries) == 1


async def test_at_the_end_a_line_under_way_is_answered(door):
    async with door.open() as bridge, door.client(bridge) as client:
        gate = bridge.spool.shut()
        await client.send(BODY)
        await bridge.spool.waiting(1)
        bridge.server.stop()
        await trio.testing.wait_all_tasks_blocked(0.05)
        gate.set()
        assert await client.answers(1) == [OK]
        assert await client.is_closed()
