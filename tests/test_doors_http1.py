"""HTTP/1.1 as bytes on a socket: framing, pipelining, what comes after an error, and clients that misbehave."""

import contextlib
import json

import h11
import pytest
import trio
import trio.testing

import doors
from doors import BODY, event
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.server import Bounds

HEAD = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def post(body=BODY, extra=b""):
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Wire:
    """A socket, and a parser of the answers that come over it."""

    def __init__(self, stream):
        self.stream = stream
        self._parser = h11.Connection(h11.CLIENT)

    async def send(self, data):
        await self.stream.send_all(data)

    async def answer(self):
        """(status, headers, body) of the next answer, as one to a POST."""
        if self._parser.our_state is not h11.IDLE:
            self._parser.start_next_cycle()
        self._parser.send(
            h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")])
        )
        self._parser.send(h11.EndOfMessage())
        body = b""
        status, headers = 0, {}
        while True:
            found = self._parser.next_event()
            if found is h11.NEED_DATA:
                self._parser.receive_data(await self.stream.receive_some(65536))
            elif isinstance(found, h11.Response):
                status = found.status_code
                headers = {name.decode(): value.decode() for name, value in found.headers}
            elif isinstance(found, h11.Data):
                body += found.data
            elif isinstance(found, h11.EndOfMessage):
                return status, headers, body
            else:
                assert isinstance(found, h11.InformationalResponse), found

    async def is_closed(self):
        with trio.fail_after(20):
            return await self.stream.receive_some(1) == b""


@pytest.fixture
async def wire(bridge):
    async with connect(bridge) as wire:
        yield wire


@contextlib.asynccontextmanager
async def connect(bridge):
    stream = doors.secured(bridge, await trio.open_tcp_stream("127.0.0.1", bridge.port))
    try:
        yield Wire(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def test_pipelined_requests_are_answered_in_order(bridge, wire):
    await wire.send(post(event(mcp_id="1")) + post(b"{") + post(event(mcp_id="2")) + post(b"[]") + post())
    assert [(await wire.answer())[0] for _ in range(5)] == [202, 400, 202, 422, 202]
    assert [entry.key for entry in bridge.spool.entries] == ["1", "2", "evt-0001"]


async def test_a_connection_stays_open_after_each_error(bridge, wire):
    unwanted = [
        (post(b"nonsense"), 400),
        (post(b"{}"), 422),
        (post().replace(b"application/json", b"text/html"), 415),
        (post().replace(b"/events", b"/nothing"), 404),
        (post().replace(b"POST", b"DELETE"), 405),
    ]
    for request, status in unwanted:
        await wire.send(request)
        found, headers, _ = await wire.answer()
        assert found == status
        assert headers.get("connection") != "close"
        await wire.send(post())
        assert (await wire.answer())[0] == 202


async def test_chunks_with_extensions_and_trailers_are_a_body(bridge, wire):
    half = len(BODY) // 2
    body = b"%x;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (
        half,
        BODY[:half],
        len(BODY) - half,
        BODY[half:],
    )
    await wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + post())
    assert (await wire.answer())[0] == 202
    assert (await wire.answer())[0] == 202
    assert [entry.payload for entry in bridge.spool.entries] == [BODY, BODY]


async def test_a_request_may_come_byte_by_byte(bridge, wire):
    for byte in post():
        await wire.send(bytes([byte]))
    assert (await wire.answer())[0] == 202


async def test_who_expects_a_100_gets_it(bridge, wire):
    await wire.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    assert (await wire.stream.receive_some(65536)).startswith(b"HTTP/1.1 100 ")
    await wire.send(BODY)
    assert (await wire.answer())[0] == 202


async def test_who_shuts_its_own_side_still_gets_the_answer(bridge, wire):
    bridge.spool.shut()
    await wire.send(post())
    await wire.stream.send_eof()
    await trio.testing.wait_all_tasks_blocked(0.05)
    bridge.spool.gate.set()
    assert (await wire.answer())[0] == 202
    assert await wire.is_closed()


async def test_who_asks_for_it_is_closed_after_the_answer(bridge, wire):
    await wire.send(post(extra=b"Connection: close\r\n"))
    assert (await wire.answer())[0] == 202
    assert await wire.is_closed()


async def test_http_1_0_is_served(bridge, wire):
    await wire.send(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await wire.answer())[0] == 202
    assert await wire.is_closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x00\xff\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 70_000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n", 400),
    ],
)
async def test_what_is_no_http_is_answered_by_a_problem_and_closed(bridge, wire, request_bytes, status):
    async with connect(bridge) as neighbour:
        await neighbour.send(post()[:60])
        await wire.send(request_bytes)
        found, headers, body = await wire.answer()
        assert found == status
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
        assert await wire.is_closed()
        await neighbour.send(post()[60:])
        assert (await neighbour.answer())[0] == 202


async def test_a_body_within_four_times_the_limit_is_read_and_the_connection_closed_gently(bridge, wire):
    await wire.send(HEAD + b"Content-Length: 4000000\r\n\r\n")
    for _ in range(400):
        await wire.send(b" " * 10_000)
    status, headers, _ = await wire.answer()
    assert (status, headers["connection"]) == (413, "close")
    assert await wire.is_closed()


async def test_a_body_far_above_the_limit_is_answered_before_its_end(bridge, wire):
    await wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"

    async def flood():
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await wire.send(chunk)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        nursery.cancel_scope.cancel()


async def test_a_body_announced_far_above_the_limit_is_answered_at_once(bridge, wire):
    await wire.send(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
    assert (await wire.answer())[0] == 413


@pytest.mark.parametrize("path", [b"/events", b"/webhooks/alertmanager", b"/healthz"])
async def test_a_body_with_two_lengths_is_refused_and_nothing_behind_it_is_read(bridge, wire, path):
    """Who stands before us may have read the other of them (RFC 9112, 6.3)."""
    head = HEAD.replace(b"/events", path) + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    await wire.send(head + b"0\r\n\r\n" + post())
    status, headers, body = await wire.answer()
    assert (status, headers["connection"]) == (400, "close")
    assert "Transfer-Encoding" in json.loads(body)["detail"]
    assert await wire.is_closed()
    assert bridge.spool.puts == []


async def test_a_slow_body_is_408_and_closed(open_bridge):
    async with open_bridge(read_timeout=0.1) as bridge, connect(bridge) as wire:
        await wire.send(post()[:-5])
        status, headers, body = await wire.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert headers["content-type"] == "application/problem+json"
        assert "listen.read_timeout_seconds" in json.loads(body)["detail"]
        assert await wire.is_closed()
        assert bridge.spool.puts == []


async def test_a_slow_body_that_nobody_wants_is_answered_when_its_time_is_up(open_bridge):
    async with open_bridge(read_timeout=0.1) as bridge, connect(bridge) as wire:
        await wire.send(post().replace(b"/events", b"/nothing")[:-5])
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (404, "close")


async def test_a_head_that_drips_is_not_waited_for(open_bridge):
    async with open_bridge(deadlines=Deadlines(head=0.1, keep_alive=1000)) as bridge, connect(bridge) as wire:
        await wire.send(b"POST /eve")
        assert await wire.is_closed()


async def test_an_idle_connection_is_closed(open_bridge):
    async with open_bridge(deadlines=Deadlines(head=1000, keep_alive=0.1)) as bridge, connect(bridge) as wire:
        await wire.send(post())
        assert (await wire.answer())[0] == 202
        assert await wire.is_closed()


async def test_a_client_that_takes_no_answer_holds_nobody_up(open_bridge):
    async def ask(wire):
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await wire.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)

    async with (
        open_bridge(deadlines=Deadlines(send=0.2)) as bridge,
        connect(bridge) as wire,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, wire)
        async with connect(bridge) as other:
            await other.send(post())
            assert (await other.answer())[0] == 202


async def test_a_client_that_vanishes_mid_body_leaves_nothing(bridge):
    for part in (10, 60, len(post()) - 1):
        async with connect(bridge) as wire:
            await wire.send(post()[:part])
    async with connect(bridge) as wire:
        await wire.send(post())
        assert (await wire.answer())[0] == 202
    assert len(bridge.spool.entries) == 1


async def test_who_asks_for_a_websocket_is_told_there_is_none(bridge, wire):
    await wire.send(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    status, headers, body = await wire.answer()
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(body)["status"] == 404


@pytest.mark.parametrize("host", [b"", b"a b", b"[::1", b"x:99999", b"\xff", b"a/b@c"])
async def test_a_strange_host_is_answered_by_us(bridge, wire, host):
    await wire.send(post().replace(b"Host: x", b"Host: " + host))
    status, headers, _ = await wire.answer()
    assert status in {202, 400}
    assert headers["content-type"] in {"application/json", "application/problem+json"}


@pytest.mark.parametrize("host", [b"a..b", b".", b".a", b"x" * 64, b"a." + b"y" * 64 + b":80"])
async def test_a_host_that_is_no_name_is_a_400_of_ours_at_every_path_of_the_app(bridge, wire, host):
    for path in (b"/readyz", b"/nowhere", b"/openapi.json"):
        await wire.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, host))
        status, headers, body = await wire.answer()
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        assert json.loads(body)["detail"].startswith("Host: ")


async def status_of_a_post(bridge):
    async with connect(bridge) as wire:
        with contextlib.suppress(trio.BrokenResourceError):
            await wire.send(post())
            return (await wire.answer())[0]


async def test_connections_beyond_the_bound_are_turned_away_and_the_place_is_given_back(open_bridge):
    async with open_bridge(bounds=Bounds(connections=1)) as bridge:
        async with connect(bridge) as first:
            await first.send(post())
            assert (await first.answer())[0] == 202
            async with connect(bridge) as second:
                status, headers, body = await second.answer()
                assert (status, headers["retry-after"]) == (503, "5")
                assert "listen.max_connections" in json.loads(body)["detail"]
                assert await second.is_closed()
        with trio.fail_after(20):
            while await status_of_a_post(bridge) != 202:
                pass


async def test_connections_of_one_address_are_bounded(open_bridge):
    async with open_bridge(bounds=Bounds(per_address=1)) as bridge, connect(bridge) as first:
        await first.send(post())
        assert (await first.answer())[0] == 202
        async with connect(bridge) as second:
            assert (await second.answer())[0] == 503
