"""What an HTTP/2 client may cost, over real sockets: the same where libnghttp2 carries it and where h2 does."""

import contextlib
import itertools
import struct

import hpack
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

import doors
from doors import BODY, event
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.hyper2 import Commons
from mcp_ilert.doors.places import Bounds, Places
from mcp_ilert.doors.toll import Allowance, Toll
from test_doors_http2 import POST, connect

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
HEAD = [(name.encode(), value.encode()) for name, value in POST]
UNKNOWN = struct.pack("!I", 1_000)[1:] + b"\xef\0\0\0\0\0" + bytes(1_000)
STALL = Deadlines(keep_alive=1000)


def head(stream: int, *flags: str) -> HeadersFrame:
    return HeadersFrame(stream, hpack.Encoder().encode(HEAD, huffman=False), flags=["END_HEADERS", *flags])


def numbers():
    return itertools.count(1, 2)


def many(*frames, times=50):
    return itertools.repeat([*frames] * times)


def opened(*frames, times=50):
    """Frames for a stream whose body is awaited."""
    return itertools.chain([[head(1)]], itertools.repeat([*frames] * times))


FLOODS = {
    "pings": lambda: many(PingFrame(0, b"12345678")),
    "settings": lambda: many(SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 1})),
    "settings of nothing": lambda: many(SettingsFrame(0)),
    "empty data": lambda: opened(DataFrame(1)),
    "data of a byte": lambda: opened(DataFrame(1, b"x")),
    "padding": lambda: opened(DataFrame(1, pad_length=200, flags=["PADDED"])),
    "window updates": lambda: opened(WindowUpdateFrame(1, 1), WindowUpdateFrame(0, 1)),
    "frames that nobody knows": lambda: many(UNKNOWN, times=60),
    "continuations": lambda: itertools.chain(
        [[HeadersFrame(1, b"", flags=["END_STREAM"])]], many(ContinuationFrame(1, b""))
    ),
    "long continuations": lambda: itertools.chain(
        [[HeadersFrame(1, b"\x10\x01x\x7f\xe1\xd2\x03", flags=["END_STREAM"])]],
        many(ContinuationFrame(1, b"v" * 16_000), times=4),
    ),
    "rapid resets": lambda: ([head(one, "END_STREAM"), RstStreamFrame(one, 8)] for one in numbers()),
    "rapid resets of bodies": lambda: ([head(one), RstStreamFrame(one, 8)] for one in numbers()),
    "requests that have us reset them": lambda: (
        [head(one), WindowUpdateFrame(one, 2**31 - 1)] for one in numbers()
    ),
    "unsound requests": lambda: (
        [
            HeadersFrame(
                one,
                hpack.Encoder().encode([*HEAD[:1], (b":path", b"\xff"), *HEAD[2:]]),
                flags=["END_HEADERS"],
            )
        ]
        for one in numbers()
    ),
    "data of a closed stream": lambda: itertools.chain(
        [[head(1), RstStreamFrame(1, 8)]], many(DataFrame(1, bytes(1_000)), times=60)
    ),
}


def goaway(data: bytes) -> int | None:
    """The code of the first GOAWAY in there."""
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        if data[3] == GoAwayFrame.type:
            return int.from_bytes(data[13:17], "big")
        data = data[9 + size :]
    return None


async def flood(port: int, rounds) -> tuple[int, int | None]:
    """Send until the connection is given up: how many frames were sent, and the code of its GOAWAY."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    sent = 0
    came = bytearray()

    async def take(nursery):
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await stream.receive_some(65_536):
                came.extend(data)
        nursery.cancel_scope.cancel()

    with trio.fail_after(30):
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(take, nursery)
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(PREFACE)
                for frames in rounds:
                    await stream.send_all(b"".join(_bytes(frame) for frame in frames))
                    sent += len(frames)
                    await trio.testing.wait_all_tasks_blocked()
                    assert sent < 40_000, "it goes on and on"
            await trio.Event().wait()  # what is still to come, up to its end
    return sent, goaway(bytes(came))


def _bytes(frame) -> bytes:
    return frame if isinstance(frame, bytes) else frame.serialize()


@pytest.mark.parametrize("name", FLOODS)
async def test_who_costs_much_and_sends_nothing_is_sent_away_and_others_are_served(open_bridge, name):
    async with open_bridge(deadlines=STALL) as bridge:
        sent, code = await flood(bridge.port, FLOODS[name]())
        assert sent < 10_000
        assert code in {
            ErrorCodes.ENHANCE_YOUR_CALM,
            ErrorCodes.PROTOCOL_ERROR,
            ErrorCodes.STREAM_CLOSED,
            None,
        }
        async with connect(bridge) as wire:
            assert (await wire.answer(await wire.post())).status == 202


async def test_priorities_are_passed_over_within_a_bound(open_bridge):
    async with open_bridge() as bridge, connect(bridge) as wire:
        frames = [PriorityFrame(one, depends_on=one + 2, stream_weight=7) for one in range(1, 801, 2)]
        await wire.stream.send_all(b"".join(frame.serialize() for frame in frames))
        wire.h2.highest_inbound_stream_id = 0
        assert (await wire.answer(await wire.post())).status == 202


async def test_a_client_that_works_may_reset_and_ping_for_as_long_as_it_likes(open_bridge):
    async with open_bridge() as bridge, connect(bridge) as wire:
        for number in range(250):
            await wire.post(event(mcp_id=str(number)))
            kept = await wire.post(event(mcp_id=f"{number}-b"))
            gone = await wire.open()
            wire.h2.reset_stream(gone)
            wire.h2.ping(b"12345678")
            assert (await wire.answer(kept)).status == 202


# What all connections share, where h2 carries them --------------------------------------------------------------


def commons(*, streams: int = 100, body_bytes: int = 1 << 20) -> Commons:
    return Commons(Places(Bounds(connections=streams, per_address=streams)), Allowance(body_bytes))


async def test_streams_beyond_the_bound_of_all_connections_are_refused_and_can_be_sent_again():
    shared = commons(streams=3)
    async with doors.open_bridge(carry="hypercorn", commons=shared) as bridge:
        bridge.spool.shut()
        async with connect(bridge) as first, connect(bridge) as second:
            waiting = [await first.post(event(mcp_id=str(number))) for number in range(3)]
            await trio.testing.wait_all_tasks_blocked(0.05)
            refused = await second.answer(await second.post())
            assert refused.reset == ErrorCodes.REFUSED_STREAM
            bridge.spool.gate.set()
            assert {(await first.answer(one)).status for one in waiting} == {202}
            assert (await second.answer(await second.post())).status == 202
    assert sorted(entry.key for entry in bridge.spool.entries) == ["0", "1", "2", "evt-0001"]


async def test_what_a_client_abandons_gives_its_place_back():
    async with doors.open_bridge(carry="hypercorn", commons=commons(streams=2)) as bridge:
        bridge.spool.shut()
        async with connect(bridge) as wire, connect(bridge) as other:
            kept = await wire.post(event(mcp_id="kept"))
            for _ in range(5):
                wire.h2.reset_stream(await wire.post())
                await wire.flush()
                await trio.testing.wait_all_tasks_blocked(0.01)
            last = await other.post(event(mcp_id="last"))
            await trio.testing.wait_all_tasks_blocked(0.01)
            bridge.spool.gate.set()
            assert (await wire.answer(kept)).status == 202
            assert (await other.answer(last)).status == 202


async def test_bodies_beyond_what_all_connections_may_hold_are_503_and_small_ones_are_taken():
    shared = commons(body_bytes=100_000)
    async with doors.open_bridge(carry="hypercorn", commons=shared) as bridge:  # noqa: SIM117 - left in this order
        async with connect(bridge) as first, connect(bridge) as second:
            held = []
            for wire in (first, second):
                held.append(await wire.open())
                wire.h2.send_data(held[-1], b" " * 16_000)
                wire.h2.send_data(held[-1], b" " * 16_000)
                wire.h2.send_data(held[-1], b" " * 16_000)
                await wire.flush()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert shared.bodies.held == 96_000
            refused = await second.open()
            second.h2.send_data(refused, b" " * 10_000)
            await second.flush()
            answer = await second.answer(refused)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert (await second.answer(await second.post())).status == 202
            first.h2.send_data(held[0], BODY, end_stream=True)
            second.h2.reset_stream(held[1])
            await second.flush()
            assert (await first.answer(held[0])).status in {202, 503}
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert shared.bodies.held == 0
            assert (await second.answer(await second.post(b" " * 15_000 + BODY))).status == 202


async def test_nothing_is_left_behind_by_connections_that_vanish():
    shared = commons()
    async with doors.open_bridge(carry="hypercorn", commons=shared) as bridge:
        for end in (False, True):
            async with connect(bridge) as wire:
                stream = await wire.open(end=end)
                if not end:
                    wire.h2.send_data(stream, b" " * 1_000)
                    await wire.flush()
        async with connect(bridge) as wire:
            websocket = [(":method", "CONNECT"), (":protocol", "websocket"), *POST[1:4]]
            await wire.answer(await wire.open(websocket, end=False))
            await wire.answer(await wire.post())
            with trio.fail_after(20):
                while shared.bodies.held:
                    await trio.testing.wait_all_tasks_blocked(0.01)
    assert all(shared.streams.enter("x") for _ in range(100))


# The account by itself ------------------------------------------------------------------------------------------

FRAMES = st.sampled_from(
    [
        PingFrame(0, b"12345678"),
        SettingsFrame(0),
        DataFrame(1, b"x" * 100),
        DataFrame(1, b"x"),
        head(3),
        ContinuationFrame(3, b"v" * 10_000),
        WindowUpdateFrame(1, 1),
    ]
)


@given(
    st.lists(FRAMES, max_size=10), st.integers(1, 50), st.lists(st.integers(5, 500), min_size=1, max_size=20)
)
def test_frames_cost_the_same_however_they_are_cut(frames, times, cuts):
    data = PREFACE + b"".join(frame.serialize() for frame in frames * times)
    whole, parts = Toll(), Toll()
    at, going = 0, True
    for cut in itertools.cycle(cuts):
        if at >= len(data):
            break
        going = parts.take(data[at : at + cut])
        at += cut
    assert going or not whole.take(data)  # each part earns a little more
