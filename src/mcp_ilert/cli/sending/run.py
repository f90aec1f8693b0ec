"""Reads batches and sends them, a few at once, until the input ends or nothing more can be sent."""

import os
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from mcp_ilert.cli.sending.lines import Batch, Refusal, Splitter
from mcp_ilert.cli.sending.tally import Stopped, Tally, Verdict

CHUNK_BYTES = 262_144
MAX_BATCH_BYTES = 524_288
"""Half of the bridge's default `listen.max_body_bytes`."""

Send = Callable[[Batch], Awaitable[Verdict]]
Seen = Callable[[int], None]
"""Told how many bytes of the input have been dealt with, each time."""


async def send_one(send: Send, event: bytes, tally: Tally) -> None:
    """Send a single event."""
    try:
        tally.add(await send(Batch((event,), (1,))))
    except Stopped as stop:
        tally.stopped = str(stop)


async def send_all(
    send: Send, descriptor: int, *, batch_lines: int, concurrency: int, tally: Tally, seen: Seen
) -> None:
    """Send the lines of a file or a pipe; what a pipe holds goes out at once, it is not waited for more."""
    give, take = trio.open_memory_channel[Batch](0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, descriptor, Splitter(batch_lines, MAX_BATCH_BYTES), give, tally, seen)
            for _ in range(concurrency):
                nursery.start_soon(_work, send, take.clone(), tally)
            take.close()
    except* Stopped as group:
        tally.stopped = tally.stopped or str(_leaf(group))


async def _read(
    descriptor: int, splitter: Splitter, give: trio.MemorySendChannel[Batch], tally: Tally, seen: Seen
) -> None:
    async with give:
        chunk = b"\n"
        while chunk:
            read = partial(os.read, descriptor, CHUNK_BYTES)
            try:
                chunk = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            except OSError as error:
                raise Stopped(f"the input cannot be read: {error.strerror or error}") from None
            for found in splitter.feed(chunk) if chunk else splitter.finish():
                if isinstance(found, Refusal):
                    tally.refuse([found])
                else:
                    await give.send(found)
            seen(len(chunk))


async def _work(send: Send, take: trio.MemoryReceiveChannel[Batch], tally: Tally) -> None:
    async with take:
        async for batch in take:
            tally.add(await send(batch))


def _leaf(group: BaseExceptionGroup[Stopped]) -> Stopped:
    first = group.exceptions[0]
    return _leaf(first) if isinstance(first, BaseExceptionGroup) else first
