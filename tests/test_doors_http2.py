"""HTTP/2 as frames on a socket: streams beside each other, early answers, and clients that misbehave."""

import contextlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import msgspec
import pytest
import trio

from doors import BODY, event
from mcp_ilert.doors.connection import Deadlines

POST = [
    (":method", "POST"),
    (":path", "/events"),
    (":scheme", "http"),
    (":authority", "x"),
    ("content-type", "application/json"),
]


class Stream(msgspec.Struct):
    """What has come on one stream."""

    status: int | None = None
    headers: dict[str, str] = {}
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Wire:
    """An HTTP/2 client of which every frame is in the test's hands."""

    def __init__(self, stream):
        self.stream = stream
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.streams: dict[int, Stream] = {}
        self.goaway: int | None = None
        self.closed = False

    async def start(self):
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self):
        await self.stream.send_all(self.h2.data_to_send())

    async def open(self, headers=POST, *, end=False):
        stream_id = self.h2.get_next_available_stream_id()
        self.streams[stream_id] = Stream()
        self.h2.send_headers(stream_id, headers, end_stream=end)
        await self.flush()
        return stream_id

    async def post(self, body=BODY, headers=POST):
        stream_id = await self.open(headers)
        with trio.fail_after(20):
            while self.h2.local_flow_control_window(stream_id) < len(body):
                assert await self.receive(), "the connection was closed"
        self.h2.send_data(stream_id, body, end_stream=True)
        await self.flush()
        return stream_id

    async def receive(self):
        """Take what comes next; false once the connection is at its end."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.closed = True
            return False
        for found in self.h2.receive_data(data):
            self._note(found)
        await self.flush()
        return True

    def _note(self, found):
        if isinstance(found, h2.events.ConnectionTerminated):
            self.goaway = found.error_code
            return
        stream = self.streams.get(getattr(found, "stream_id", 0) or 0)
        if stream is None:
            return
        if isinstance(found, h2.events.ResponseReceived):
            stream.headers = {str(name): str(value) for name, value in found.headers}
            stream.status = int(stream.headers[":status"])
        elif isinstance(found, h2.events.DataReceived):
            stream.body += found.data
            self.h2.acknowledge_received_data(found.flow_controlled_length, found.stream_id)
        elif isinstance(found, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(found, h2.events.StreamReset):
            stream.reset = found.error_code

    async def answer(self, stream_id):
        with trio.fail_after(20):
            while not self.streams[stream_id].ended and self.streams[stream_id].reset is None:
                assert await self.receive(), "the connection was closed"
        return self.streams[stream_id]


@contextlib.asynccontextmanager
async def connect(bridge):
    stream = await trio.open_tcp_stream("127.0.0.1", bridge.port)
    wire = Wire(stream)
    await wire.start()
    try:
        yield wire
    finally:
        await trio.aclose_forcefully(stream)


@pytest.fixture
async def wire(bridge):
    async with connect(bridge) as wire:
        yield wire


async def test_bad_and_good_streams_beside_each_other_do_not_touch(bridge, wire):
    ids = [await wire.post(body) for body in (event(mcp_id="1"), b"{", b"[]", b"\xff", event(mcp_id="2"))]
    assert [(await wire.answer(one)).status for one in ids] == [202, 400, 422, 400, 202]
    assert sorted(entry.key for entry in bridge.spool.entries) == ["1", "2"]


async def test_a_hundred_streams_at_once(bridge, wire):
    assert wire.h2.remote_settings.max_concurrent_streams
    ids = [await wire.post(event(mcp_id=str(number))) for number in range(100)]
    assert {(await wire.answer(one)).status for one in ids} == {202}
    assert len(bridge.spool.entries) == 100


async def test_an_answer_before_the_end_of_the_request_ends_the_stream_only(bridge, wire):
    big = await wire.open([*POST, ("content-length", "99999999")])
    stream = await wire.answer(big)
    assert (stream.status, stream.ended) == (413, True)
    while stream.reset is None:
        assert await wire.receive()
    assert stream.reset == h2.errors.ErrorCodes.NO_ERROR
    assert "connection" not in stream.headers
    assert (await wire.answer(await wire.post())).status == 202


async def test_data_for_a_stream_that_was_answered_is_thrown_away(bridge, wire):
    """Its window is given back as well, or the connection would come to a halt."""
    for _ in range(5):
        big = await wire.open([*POST, ("content-length", "99999999")])
        with contextlib.suppress(h2.exceptions.ProtocolError):
            while wire.streams[big].reset is None:
                room = min(wire.h2.local_flow_control_window(big), 16_000)
                if room:
                    wire.h2.send_data(big, b" " * room)
                    await wire.flush()
                    await trio.lowlevel.checkpoint()
                else:
                    await wire.receive()
        assert (await wire.answer(big)).status == 413
        assert (await wire.answer(await wire.post())).status == 202


async def test_a_slow_body_is_408_and_the_connection_goes_on(open_bridge):
    async with open_bridge(read_timeout=0.1) as bridge, connect(bridge) as wire:
        slow = await wire.open()
        wire.h2.send_data(slow, BODY[:5])
        await wire.flush()
        assert (await wire.answer(slow)).status == 408
        assert (await wire.answer(await wire.post())).status == 202


async def test_a_stream_that_the_client_resets_leaves_nothing(bridge, wire):
    for _ in range(20):
        stream_id = await wire.open()
        wire.h2.send_data(stream_id, BODY[:20])
        wire.h2.reset_stream(stream_id)
        await wire.flush()
    assert (await wire.answer(await wire.post())).status == 202
    assert len(bridge.spool.entries) == 1


async def test_who_resets_streams_without_end_is_sent_away_and_others_are_not(open_bridge):
    async with open_bridge(deadlines=Deadlines(keep_alive=1000)) as bridge:
        async with connect(bridge) as wire:
            with contextlib.suppress(trio.BrokenResourceError, h2.exceptions.ProtocolError):
                for _ in range(1000):
                    stream_id = await wire.open()
                    wire.h2.reset_stream(stream_id)
                    await wire.flush()
            with (
                contextlib.suppress(h2.exceptions.ProtocolError, trio.BrokenResourceError),
                trio.fail_after(20),
            ):
                while await wire.receive():
                    pass
        async with connect(bridge) as other:
            assert (await other.answer(await other.post())).status == 202


async def test_a_path_that_is_not_ascii_resets_its_stream_only(bridge, wire):
    stream_id = await wire.open(HOSTILE["a path that is not ASCII"], end=True)
    assert (await wire.answer(stream_id)).reset == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert (await wire.answer(await wire.post())).status == 202


HOSTILE = {
    "no path": [(":method", "POST"), (":scheme", "http"), (":authority", "x")],
    "a path that is not ASCII": [
        (":method", "POST"),
        (":path", "/\u00e4"),
        (":scheme", "http"),
        (":authority", "x"),
    ],
    "an empty path": [(":method", "POST"), (":path", ""), (":scheme", "http"), (":authority", "x")],
    "CONNECT": [(":method", "CONNECT"), (":authority", "x")],
    "a websocket": [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":path", "/ws"),
        (":scheme", "http"),
        (":authority", "x"),
        ("sec-websocket-version", "13"),
    ],
    "a method that is not ASCII": [
        (":method", "P\u00e4"),
        (":path", "/"),
        (":scheme", "http"),
        (":authority", "x"),
    ],
    "a star": [(":method", "OPTIONS"), (":path", "*"), (":scheme", "http"), (":authority", "x")],
    "a path without a slash": [(":method", "GET"), (":path", "x"), (":scheme", "http"), (":authority", "x")],
    "a connection header": [*POST, ("connection", "close")],
    "a length that is wrong": [*POST, ("content-length", "3")],
    "a huge header": [*POST, ("x-long", "x" * 15_000), ("x-more", "x" * 15_000)],
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_request_ends_at_most_its_connection(bridge, wire, headers):
    async with connect(bridge) as neighbour:
        waiting = await neighbour.open()
        with contextlib.suppress(h2.exceptions.ProtocolError, trio.BrokenResourceError):
            stream_id = await wire.post(headers=headers)
            with trio.move_on_after(20) as scope:
                while not wire.streams[stream_id].ended and wire.streams[stream_id].reset is None:
                    if not await wire.receive():
                        break
            assert not scope.cancelled_caught
            stream = wire.streams[stream_id]
            if stream.status is not None:
                assert stream.headers.get("content-type") in {"application/problem+json", None}
                assert stream.status >= 400
        neighbour.h2.send_data(waiting, BODY, end_stream=True)
        await neighbour.flush()
        assert (await neighbour.answer(waiting)).status == 202


async def test_garbage_after_the_preface_ends_that_connection_only(bridge):
    async with connect(bridge) as wire, connect(bridge) as neighbour:
        await wire.stream.send_all(b"\x00\x00\x05\x09\x00\x00\x00\x00\x00garbage" * 10)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            while await wire.receive():
                pass
        assert (await neighbour.answer(await neighbour.post())).status == 202


async def test_an_idle_connection_is_closed(open_bridge):
    async with open_bridge(deadlines=Deadlines(keep_alive=0.1)) as bridge, connect(bridge) as wire:
        assert (await wire.answer(await wire.post())).status == 202
        with trio.fail_after(20):
            while await wire.receive():
                pass


async def test_a_connection_whose_only_stream_was_reset_is_idle_again(open_bridge):
    async with open_bridge(deadlines=Deadlines(keep_alive=0.1)) as bridge, connect(bridge) as wire:
        stream_id = await wire.open()
        wire.h2.reset_stream(stream_id)
        await wire.flush()
        with trio.fail_after(20):
            while await wire.receive():
                pass
