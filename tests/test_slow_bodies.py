"""Bodies that drip, wherever they are read, on virtual time: a byte now and then is cut off long before its whole time
is up, and a body that comes at the least rate has all of it.
"""

import contextlib
import gzip
from functools import partial

import pytest
import trio
import trio.testing

import doors
import test_doors_http1
import test_doors_http2
from doors import BODY, open_bridge
from mcp_ilert.config import Settings, Webhook
from mcp_ilert.intake import Limits

SETTINGS = Settings(webhooks={"one": Webhook(event={"mcp_id": "mcp_id", "summary": "summary"})})
SLOWLY = 15_000
"""Bytes that a steady client sends bit by bit."""
LONG = BODY[:-1] + b" " * SLOWLY + b"}"
PACKED = gzip.compress(LONG, compresslevel=0)
HUGE = BODY[:-1] + b" " * 1_200_000 + b"}"
"""Above what sessions read."""
PLACES = {
    "plain": ("/events", LONG, {}),
    "packed": ("/events", PACKED, {"content-encoding": "gzip"}),
    "webhook": ("/webhooks/one", LONG, {}),
    "huge": ("/events", HUGE, {}),
    "nowhere": ("/nowhere", LONG, {}),
}


async def settled():
    await trio.testing.wait_all_tasks_blocked(0.02)


class Http1:
    def __init__(self, wire):
        self.wire = wire
        self.send = wire.send

    async def begin(self, path, size, headers):
        lines = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(size), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())

    async def end(self):
        """Its length has told."""

    async def status(self):
        return (await self.wire.answer())[0]


class Http2:
    def __init__(self, wire):
        self.wire = wire
        self.stream = 0

    async def begin(self, path, size, headers):
        fixed = [pair for pair in test_doors_http2.POST if pair[0] != ":path"]
        self.stream = await self.wire.open(
            [(":path", path), *fixed, ("content-length", str(size)), *headers.items()]
        )

    async def send(self, data):
        for start in range(0, len(data), 16_384):
            piece = data[start : start + 16_384]
            while self.wire.h2.local_flow_control_window(self.stream) < len(piece):
                assert await self.wire.receive()
            self.wire.h2.send_data(self.stream, piece)
            await self.wire.flush()

    async def end(self):
        self.wire.h2.end_stream(self.stream)
        await self.wire.flush()

    async def status(self):
        return (await self.wire.answer(self.stream)).status


@contextlib.asynccontextmanager
async def dial(bridge, kind):
    module = test_doors_http1 if kind is Http1 else test_doors_http2
    async with module.connect(bridge) as wire:
        yield kind(wire)


@pytest.mark.parametrize("carry", doors.CARRIES)
@pytest.mark.parametrize("kind", [Http1, Http2])
@pytest.mark.parametrize("place", PLACES)
async def test_a_body_that_drips_is_cut_off_and_a_steady_one_is_taken(place, kind, carry, mock_clock):
    path, body, headers = PLACES[place]
    limits = Limits(max_body_bytes=4 << 20, max_event_bytes=2 << 20)
    opened = partial(open_bridge, settings=SETTINGS, limits=limits, carry=carry, read_timeout=600)
    async with opened() as bridge, dial(bridge, kind) as dripping, dial(bridge, kind) as steady:
        sent = len(body) - SLOWLY
        for client in (dripping, steady):
            await client.begin(path, len(body), headers)
        await steady.send(body[:sent])
        for second in range(0, 30, 3):
            await steady.send(body[sent : sent + 1_800])
            sent += 1_800
            if second < 10:
                await dripping.send(b"{")
            await settled()
            mock_clock.jump(3)
            await settled()
            if second == (9 if kind is Http1 else 24):  # HTTP/2 looks at many together, each the second time
                with trio.fail_after(100):
                    assert await dripping.status() == (404 if place == "nowhere" else 408)
        await steady.end()
        assert await steady.status() == (404 if place == "nowhere" else 202)


@pytest.mark.parametrize("carry", doors.CARRIES)
async def test_who_sends_other_requests_beside_it_has_no_more_time_for_a_body(carry, mock_clock):
    async with open_bridge(carry=carry) as bridge, test_doors_http2.connect(bridge) as wire:
        slow = await wire.open()
        wire.h2.send_data(slow, BODY[:5])
        for _ in range(8):
            assert (await wire.answer(await wire.post())).status == 202
            mock_clock.jump(5)
            await settled()
        with trio.move_on_after(0):
            await wire.receive()
        assert wire.streams[slow].status == 408
