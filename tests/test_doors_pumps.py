"""What moves the bytes: slow readers, slow disks, floods, descriptors, deadlines and the end, over both pumps."""

import contextlib
import re
import resource
import socket
from functools import partial

import h11
import pytest
import trio
import trio.testing

import doors
import mcp_ilert.doors.events as events_door
from doors import BODY, event
from mcp_ilert.doors import server, sessions
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.places import Bounds
from test_doors_http1 import Wire, connect, post

pytestmark = pytest.mark.skipif(
    not sessions.HTTP1, reason="HTTP/1.1 is not compiled here, so Hypercorn reads it"
)
STATUS = re.compile(rb"HTTP/1\.1 (\d+) [^\r]*\r\n")


@pytest.fixture(params=["reactor", "reactor-tls", "stream", "stream-tls"])
def open_bridge(request):
    pump, _, secure = request.param.partition("-")
    if pump == "reactor" and not server.REACTOR:
        pytest.skip("the reactor is not compiled here")
    return partial(doors.open_bridge, carry=pump, tls=doors.server_tls() if secure else None)


@pytest.fixture
async def bridge(open_bridge):
    async with open_bridge() as bridge:
        yield bridge


@contextlib.asynccontextmanager
async def dial(bridge, *, receive_bytes=None):
    """A connected stream, perhaps with a small buffer."""
    sock = trio.socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    await sock.connect(("127.0.0.1", bridge.port))
    try:
        yield doors.secured(bridge, trio.SocketStream(sock))
    finally:
        sock.close()


async def read_answers(stream, number):
    """The statuses of so many pipelined answers."""
    statuses: list[int] = []
    text = b""
    while len(statuses) < number:
        more = await stream.receive_some(65_536)
        assert more, text[-500:]
        text += more
        statuses += [int(status) for status in STATUS.findall(text)]
        text = text[text.rfind(b"\r\n") :]
    return statuses


async def settled():
    """Returns once nothing happens any more, in this process at least."""
    await trio.testing.wait_all_tasks_blocked(0.05)


# Slow clients ----------------------------------------------------------------------------------------------------


async def test_who_reads_slowly_gets_every_answer_in_order(bridge):
    number = 20_000
    async with dial(bridge, receive_bytes=2_048) as stream, trio.open_nursery() as nursery:
        requests = (post(event(mcp_id=str(i))) if i % 500 else post(b"{") for i in range(number))
        nursery.start_soon(stream.send_all, b"".join(requests))
        await settled()
        assert len(bridge.spool.entries) < number  # it was not read while it took nothing
        statuses = await read_answers(stream, number)
    assert statuses == [202 if i % 500 else 400 for i in range(number)]
    assert [entry.key for entry in bridge.spool.entries] == [str(i) for i in range(number) if i % 500]


async def test_who_takes_nothing_is_let_go(open_bridge):
    async with (
        open_bridge(deadlines=Deadlines(send=0.2)) as bridge,
        dial(bridge, receive_bytes=2_048) as stream,
    ):
        with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(20):
            while True:
                await stream.send_all(post() * 100)


async def test_a_flood_starves_nobody(bridge):
    over = False

    async def read(stream):
        try:
            while await stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:  # of our own TLS: sending was cancelled in the middle of a record
            assert over

    async def flood(stream):
        while True:
            await stream.send_all(post() * 500)

    async with contextlib.AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for _ in range(3):
            stream = await stack.enter_async_context(dial(bridge))
            nursery.start_soon(read, stream)
            nursery.start_soon(flood, stream)
        async with connect(bridge) as wire:
            for _ in range(20):
                await wire.send(post(event(mcp_id="quiet")))
                assert (await wire.answer())[0] == 202
        over = True
        nursery.cancel_scope.cancel()
    assert [entry.key for entry in bridge.spool.entries].count("quiet") == 20


# Slow disks ------------------------------------------------------------------------------------------------------


async def test_a_slow_disk_stops_the_reading_and_lets_it_go_on(bridge, monkeypatch):
    monkeypatch.setattr(events_door, "MANY_REQUESTS", 100)
    gate = bridge.spool.shut()
    number = 50_000
    async with dial(bridge) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, post() * number)
        await settled()
        waiting = bridge.events.waiting_requests
        assert 100 < waiting < number / 2
        async with connect(bridge) as other:  # who waits for nothing is read all the same
            await other.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await other.answer())[0] == 200
        await settled()
        assert bridge.events.waiting_requests == waiting
        gate.set()
        assert await read_answers(stream, number) == [202] * number
    assert bridge.events.waiting_requests == bridge.events.waiting_bytes == 0
    assert len(bridge.spool.entries) == number


async def test_what_a_hanging_disk_cannot_hold_is_refused(bridge, monkeypatch):
    monkeypatch.setattr(events_door, "MANY_BYTES", 1_000)
    gate = bridge.spool.shut()
    size = events_door.RESERVE * 1_000 // len(BODY)
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connect(bridge)) for _ in range(size + 1)]
        for wire in wires:
            await wire.send(post())
            await settled()
        status, headers, body = await wires[-1].answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert b"spool" in body
        assert bridge.count("http1", "unavailable") == 1
        gate.set()
        for wire in wires[:-1]:
            assert (await wire.answer())[0] == 202
    assert len(bridge.spool.entries) == size


async def test_all_that_is_ready_at_once_is_one_commit():
    if not server.REACTOR:
        pytest.skip("the reactor is not compiled here")
    async with doors.open_bridge() as bridge, contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connect(bridge)) for _ in range(30)]
        for wire in wires:
            wire.stream.socket._sock.send(post())  # without a checkpoint in between
        for wire in wires:
            assert (await wire.answer())[0] == 202
        assert len(bridge.spool.entries) == 30
        assert bridge.spool.offers == 1


# Handing over ----------------------------------------------------------------------------------------------------


async def test_a_connection_is_handed_over_in_the_middle_and_nothing_is_lost(bridge):
    gate = bridge.spool.shut()
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with connect(bridge) as wire:
        await wire.send(post(event(mcp_id="1")) + post(event(mcp_id="2")) + get + post(event(mcp_id="3")))
        await settled()
        await wire.send(get + post(event(mcp_id="4")))
        await settled()
        gate.set()
        answers = [await wire.answer() for _ in range(6)]
    assert [answer[0] for answer in answers] == [202, 202, 200, 202, 200, 202]
    assert [entry.key for entry in bridge.spool.entries] == ["1", "2", "3", "4"]


async def test_a_connection_that_was_handed_over_keeps_its_place(open_bridge):
    async with open_bridge(bounds=Bounds(connections=1)) as bridge:
        async with connect(bridge) as first:
            await first.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await first.answer())[0] == 200
            async with connect(bridge) as second:
                if bridge.secure:  # to be told, it would need a handshake
                    with contextlib.suppress(trio.BrokenResourceError):
                        assert await second.is_closed()
                else:
                    assert (await second.answer())[0] == 503
        with trio.fail_after(20):
            while True:
                async with connect(bridge) as third:
                    with contextlib.suppress(trio.BrokenResourceError, AssertionError):
                        await third.send(post())
                        if (await third.answer())[0] == 202:
                            break


@pytest.mark.parametrize("http2", [False, True])
async def test_what_the_app_streams_arrives_as_it_is_sent(bridge, http2):
    sent, go_on = trio.Event(), trio.Event()

    @bridge.app.get("/stream")
    async def stream():
        async def parts():
            yield b"data: 1\n\n"
            await go_on.wait()
            yield b"data: 2\n\n" * 30_000

        return parts(), {"Content-Type": "text/event-stream"}

    async with doors.Client(
        bridge.port, http2=http2, verify=doors.client_tls() if bridge.secure else None
    ) as client:
        async with client._client.stream("GET", "/stream") as answer:
            came = b""
            async for part in answer.aiter_bytes():
                came += part
                if came == b"data: 1\n\n":
                    sent.set()
                    go_on.set()
        assert came == b"data: 1\n\n" + b"data: 2\n\n" * 30_000
        assert sent.is_set()
        assert (await client.post(BODY)).status == 202


# Faults ----------------------------------------------------------------------------------------------------------


class Faulty:
    """A session that has a bug."""

    pending = held = phase = 0
    beside = closing = leaving = False
    unread = None

    def receive(self, data, arrivals):
        raise RuntimeError("a bug in a session")

    def output(self):
        return b""


async def test_a_fault_in_a_session_ends_that_connection_only(bridge, monkeypatch):
    async with connect(bridge) as sound, connect(bridge) as faulty:
        await sound.send(post())
        assert (await sound.answer())[0] == 202
        with monkeypatch.context() as patched:
            patched.setattr("mcp_ilert.doors.sessions.Http1Session", lambda *_: Faulty())
            await faulty.send(post())
            with contextlib.suppress(trio.BrokenResourceError):
                assert await faulty.is_closed()
        await sound.send(post())
        assert (await sound.answer())[0] == 202


async def test_without_descriptors_those_who_are_in_are_served_and_later_all_are(bridge):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with connect(bridge) as inside:
        await inside.send(post())
        assert (await inside.answer())[0] == 202
        waiting = [trio.socket.socket() for _ in range(4)]
        used = max(sock.fileno() for sock in waiting)
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        try:
            for sock in waiting:
                await sock.connect(("127.0.0.1", bridge.port))
            await settled()
            await inside.send(post())
            assert (await inside.answer())[0] == 202
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for sock in waiting:
                sock.close()
    async with connect(bridge) as later:
        await later.send(post())
        with trio.fail_after(20):
            assert (await later.answer())[0] == 202


async def test_idle_connections_cost_little_and_slow_nobody():
    """A bounded form of ten thousand: each keeps no buffer, whatever it has received before."""
    if not server.REACTOR:
        pytest.skip("the reactor is not compiled here")
    async with doors.open_bridge() as bridge, contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connect(bridge)) for _ in range(300)]
        for wire in wires:
            await wire.stream.send_all(post())
            await wire.stream.receive_some(1_000)
        assert bridge.server._reactor is not None
        reactor = bridge.server._reactor._reactor
        assert len(reactor) == 300
        assert reactor.held == 0
        async with connect(bridge) as quick:
            for _ in range(10):
                await quick.send(post())
                assert (await quick.answer())[0] == 202


# Deadlines, on virtual time --------------------------------------------------------------------------------------


async def test_deadlines_count_from_the_last_request_and_from_a_heads_first_byte(open_bridge, mock_clock):
    async with open_bridge(deadlines=Deadlines(head=10, body=20, keep_alive=75, grace=20)) as bridge:
        async with connect(bridge) as wire:
            for _ in range(3):
                await wire.send(post())
                assert (await wire.answer())[0] == 202
                mock_clock.jump(74)
                await settled()
            await wire.send(b"POST /eve")
            await settled()
            mock_clock.jump(9)
            await settled()
            await wire.send(b"nts HT")
            await settled()
            mock_clock.jump(2)
            assert await wire.is_closed()
        async with connect(bridge) as wire:
            await wire.send(b"")  # a handshake, where there is TLS
            await settled()
            mock_clock.jump(74)
            await wire.send(post()[:-5])
            await settled()
            mock_clock.jump(19)
            await wire.send(post()[-5:-3])
            await settled()
            mock_clock.jump(2)
            assert (await wire.answer())[0] == 408
            assert await wire.is_closed()
        async with connect(bridge) as wire:
            await wire.send(b"")  # a handshake, where there is TLS
            await settled()
            mock_clock.jump(76)
            assert await wire.is_closed()


async def test_a_body_that_drips_is_cut_off_long_before_its_whole_time_is_up(open_bridge, mock_clock):
    """A byte now and then keeps no connection; a body that comes at the least rate has all its time."""
    deadlines = Deadlines(body=600, grace=10, rate=100)
    head = post(b"x" * 100_000).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    async with (
        open_bridge(deadlines=deadlines) as bridge,
        connect(bridge) as dripping,
        connect(bridge) as steady,
    ):
        await dripping.send(head)
        await steady.send(head)
        await settled()
        for second in range(60):
            await steady.send(b" " * 120)
            if second < 10:
                await dripping.send(b" ")
            await settled()
            mock_clock.jump(1)
            await settled()
            if second == 12:
                assert (await dripping.answer())[0] == 408
                assert await dripping.is_closed()
        await steady.send(b" " * 120)
        await settled()
        mock_clock.jump(100)
        assert (await steady.answer())[0] == 408


async def test_a_line_that_drips_is_cut_off(open_bridge, mock_clock):
    async with (
        open_bridge(deadlines=Deadlines(body=600, grace=10, rate=100)) as bridge,
        await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port) as plain,
    ):
        stream = doors.secured(bridge, plain)
        for _ in range(12):
            await stream.send_all(b"{")
            await settled()
            mock_clock.jump(1)
        assert b"in time" in await stream.receive_some(1_000)


async def test_who_waits_for_an_answer_has_no_deadline(open_bridge, mock_clock):
    async with open_bridge() as bridge, connect(bridge) as wire:
        gate = bridge.spool.shut()
        await wire.send(post())
        await settled()
        for _ in range(5):
            mock_clock.jump(100)
            await settled()
        gate.set()
        assert (await wire.answer())[0] == 202


# The end ---------------------------------------------------------------------------------------------------------


async def test_at_the_end_under_load_what_was_kept_is_answered(open_bridge):
    answered: list[str] = []

    async def produce(bridge, name):
        async with connect(bridge) as wire:
            for number in range(100_000):
                key = f"{name}-{number}"
                try:
                    await wire.send(post(event(mcp_id=key)))
                    status, _, _ = await wire.answer()
                except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
                    return  # it was let go before it asked
                assert status == 202
                answered.append(key)

    async with open_bridge() as bridge, trio.open_nursery() as nursery:
        for name in range(8):
            nursery.start_soon(produce, bridge, name)
        while len(answered) < 200:
            await trio.lowlevel.checkpoint()
        bridge.server.stop()
    kept = [entry.key for entry in bridge.spool.entries]
    assert sorted(kept) == sorted(answered)


def test_the_wire_of_this_suite_is_that_of_http1():
    assert Wire.__module__ == "test_doors_http1"
