"""TLS at the doors, over both pumps: handshakes that fail or dawdle, ends, and what is handed over."""

import contextlib
import ssl
from functools import partial

import pytest
import trio
import trio.testing

import doors
from doors import BODY, Client, client_tls, event, server_tls
from mcp_ilert.doors import server
from mcp_ilert.doors.connection import Deadlines
from test_doors_http1 import Wire, connect, post

GET = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"Connection: close\r\n"


@pytest.fixture(params=["reactor", "stream"])
def open_bridge(request):
    if request.param == "reactor" and not server.REACTOR:
        pytest.skip("the reactor is not compiled here")
    return partial(doors.open_bridge, carry=request.param, tls=server_tls())


@pytest.fixture
async def bridge(open_bridge):
    async with open_bridge() as bridge:
        yield bridge


@contextlib.asynccontextmanager
async def dial(port):
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


def strict(stream):
    """A client that takes no end for one that is not said."""
    return trio.SSLStream(stream, client_tls(), server_hostname="127.0.0.1", https_compatible=False)


async def ends(stream):
    with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(20):
        while await stream.receive_some(65_536):
            pass


async def settled():
    await trio.testing.wait_all_tasks_blocked(0.05)


# Handshakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 70_000])
async def test_nonsense_ends_its_own_connection_only(bridge, first):
    async with connect(bridge) as sound, dial(bridge.port) as other:
        await sound.send(post())
        with contextlib.suppress(trio.BrokenResourceError):
            await other.send_all(first)
            await other.send_eof()
        await ends(other)
        assert (await sound.answer())[0] == 202


async def test_a_changed_record_ends_its_own_connection_only(bridge):
    async with connect(bridge) as sound, dial(bridge.port) as raw:
        faulty = doors.secured(bridge, raw)
        await faulty.send_all(post())
        assert await faulty.receive_some(1_000)
        await raw.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        await ends(raw)
        await sound.send(post())
        assert (await sound.answer())[0] == 202
    assert len(bridge.spool.entries) == 2


async def test_a_handshake_has_so_long_however_it_drips(open_bridge, mock_clock):
    async with open_bridge(deadlines=Deadlines(head=10)) as bridge:
        async with dial(bridge.port) as silent, dial(bridge.port) as dripping:
            await settled()
            for byte in (b"\x16", b"\x03", b"\x01"):
                await dripping.send_all(byte)
                mock_clock.jump(1.5)
                await settled()
            mock_clock.jump(2)
            await ends(silent)
            await ends(dripping)
        async with connect(bridge) as wire:  # the time of the handshake is not that of a request
            await wire.send(b"")
            await settled()
            mock_clock.jump(60)
            await settled()
            await wire.send(post())
            assert (await wire.answer())[0] == 202


async def test_what_was_chosen_in_the_handshake_is_spoken(bridge):
    context = client_tls()
    context.set_alpn_protocols(["h2"])
    async with dial(bridge.port) as raw:
        stream = trio.SSLStream(raw, context, server_hostname="127.0.0.1", https_compatible=True)
        await stream.send_all(post())
        await ends(stream)
    assert bridge.spool.entries == []
    async with Client(bridge.port, http2=True, verify=client_tls()) as client:
        assert (await client.post(BODY)).status == 202


async def test_many_handshakes_at_once_come_to_their_end(bridge):
    statuses = []

    async def ask():
        async with connect(bridge) as wire:
            await wire.send(post())
            statuses.append((await wire.answer())[0])

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(ask)
    assert statuses == [202] * 40


# Bytes -----------------------------------------------------------------------------------------------------------


async def test_small_records_and_large_bodies_arrive_whole(bridge):
    async with connect(bridge) as wire:
        for byte in post():
            await wire.send(bytes([byte]))
        assert (await wire.answer())[0] == 202
        await wire.send(post(event(mcp_id="large", details="x" * 60_000)))
        assert (await wire.answer())[0] == 202
        many = b"[" + b",".join([event(details="x" * 8_000)] * 100) + b"]"
        await wire.send(post(many))
        status, _, body = await wire.answer()
        assert (status, body) == (202, b'{"accepted":100}')


# Handing over ----------------------------------------------------------------------------------------------------


async def test_a_get_between_posts_is_answered_and_so_is_what_follows(bridge):
    gate = bridge.spool.shut()
    async with connect(bridge) as wire:
        await wire.send(post() + post() + GET + post())
        await settled()
        gate.set()
        assert [(await wire.answer())[0] for _ in range(4)] == [202, 202, 200, 202]
        await wire.send(GET)
        await wire.send(post())
        assert [(await wire.answer())[0] for _ in range(2)] == [200, 202]
    assert len(bridge.spool.entries) == 4


async def test_other_streams_of_http2_are_served_beside_events(bridge):
    async with Client(bridge.port, http2=True, verify=client_tls()) as client:
        for _ in range(3):
            assert (await client.post(BODY)).status == 202
            assert (await client.send("GET", "/readyz")).status == 200


# The end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [post(extra=LAST), GET.replace(b"Host", LAST + b"Host")])
async def test_the_end_is_said(bridge, last):
    async with dial(bridge.port) as raw:
        stream = strict(raw)
        wire = Wire(stream)
        await wire.send(post())
        assert (await wire.answer())[0] == 202
        await wire.send(last)
        assert (await wire.answer())[0] in {200, 202}
        assert await stream.receive_some(1) == b""  # raises where it is cut off
        assert await raw.receive_some(1) == b""


async def test_who_says_no_more_still_gets_its_answers(bridge):
    gate = bridge.spool.shut()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_tls().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")

    async def drive(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if outgoing.pending:
                    await raw.send_all(outgoing.read())
                incoming.write(await raw.receive_some(65_536))

    async with dial(bridge.port) as raw:
        await drive(client.do_handshake)
        client.write(post())
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        await raw.send_all(outgoing.read())  # the request and the end at once
        await bridge.spool.waiting(1)
        gate.set()
        assert (await drive(partial(client.read, 65_536))).startswith(b"HTTP/1.1 202 ")
    assert len(bridge.spool.entries) == 1


async def test_at_the_end_of_the_bridge_it_is_said_too(bridge):
    async with dial(bridge.port) as raw:
        stream = strict(raw)
        wire = Wire(stream)
        await wire.send(post())
        assert (await wire.answer())[0] == 202
        bridge.server.stop()
        with trio.fail_after(20):
            assert await stream.receive_some(1) == b""


async def test_tls_may_be_turned_off_and_on_for_the_next_connections(bridge):
    async with connect(bridge) as old:
        await old.send(post())
        assert (await old.answer())[0] == 202
        bridge.server.use_tls(None)
        async with dial(bridge.port) as plain:
            wire = Wire(plain)
            await wire.send(post())
            assert (await wire.answer())[0] == 202
            bridge.server.use_tls(server_tls())
            await wire.send(post())
            assert (await wire.answer())[0] == 202
        await old.send(post())
        assert (await old.answer())[0] == 202
        async with connect(bridge) as new:
            await new.send(post())
            assert (await new.answer())[0] == 202
