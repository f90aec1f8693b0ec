"""What every spool keeps to of messages that say who they are, whatever is behind it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio

from mcp_ilert.errors import McpIlertError, RepeatedError, UnavailableError
from mcp_ilert.events import Message
from mcp_ilert.spool import messages
from mcp_ilert.spool.port import Drop, Rules
from mcp_ilert.spool.spool import WrittenSpool
from spools import KINDS, Clock, entry, opened

FIRST = Message("shop\0msg_1", accepted=2, rejected=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
async def spool(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[WrittenSpool]:
    async with opened(request.param, tmp_path, Rules(max_pending=10), clock) as spool:
        yield spool
        assert spool.counts().error() == 0


async def put(spool: WrittenSpool, message: Message, *keys: str) -> tuple[int, int] | None:
    """None where it is taken; else what came of it when it was."""
    try:
        await spool.put([entry(key=key) for key in keys or ("a", "b")], message)
    except RepeatedError as error:
        return error.accepted, error.rejected
    return None


async def test_a_message_is_taken_once_and_what_came_of_it_is_told(spool: WrittenSpool) -> None:
    assert await put(spool, FIRST) is None
    assert await put(spool, FIRST) == (2, 1)
    assert await put(spool, Message("other\0msg_1", accepted=2)) is None
    assert await put(spool, Message("shop\0msg_2", accepted=2)) is None
    assert spool.counts().accepted == 6


async def test_many_events_at_once_are_taken_once_too(spool: WrittenSpool) -> None:
    many = [entry(key="one", text=str(i)) for i in range(600)]  # more than are folded at once
    await spool.put(many, FIRST)
    with pytest.raises(RepeatedError):
        await spool.put(many, FIRST)
    assert spool.counts().accepted == 600


async def test_of_two_at_once_one_is_taken(spool: WrittenSpool) -> None:
    told: list[McpIlertError | None] = []
    over = trio.Event()

    def done(errors: Sequence[McpIlertError | None]) -> None:
        told.extend(errors)
        if len(told) == 3:
            over.set()

    for message in (FIRST, FIRST, None):
        spool.offer([[entry()]], done, message)
    with trio.fail_after(20):
        await over.wait()
    assert [type(error) for error in told] == [type(None), RepeatedError, type(None)]
    assert spool.counts().accepted == 2


async def test_what_was_refused_is_taken_when_it_comes_again_and_what_was_taken_is_known_in_a_full_spool(
    spool: WrittenSpool,
) -> None:
    assert await put(spool, FIRST) is None
    second = Message("shop\0msg_2", accepted=9)
    with pytest.raises(UnavailableError):
        await put(spool, second, *map(str, range(9)))
    assert await put(spool, FIRST) == (2, 1)
    await spool.change(Drop("a"), 0)
    assert await put(spool, second, *map(str, range(9))) is None


async def test_what_was_taken_is_known_while_the_disk_is_short_of_room(
    spool: WrittenSpool, clock: Clock
) -> None:
    assert await put(spool, FIRST) is None
    spool.use(Rules(min_free_bytes=1 << 63))
    assert await put(spool, FIRST) == (2, 1)
    with pytest.raises(UnavailableError):
        await put(spool, Message("shop\0msg_2", accepted=2))


async def test_what_is_remembered_is_bounded_in_number(
    spool: WrittenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool._store.engine.messages, "_most", 3)
    for number in range(4):
        assert await put(spool, Message(str(number), 1)) is None
    assert await put(spool, Message("1", 1)) == (1, 0)
    assert await put(spool, Message("0", 1)) is None


async def test_what_is_remembered_ages(spool: WrittenSpool, clock: Clock) -> None:
    assert await put(spool, FIRST) is None
    clock.ms += messages.KEEP_MS - 1
    assert await put(spool, Message("later", 1)) is None
    assert await put(spool, FIRST) == (2, 1)
    clock.ms += 60_000
    await spool.settle([], {}, clock())  # any transaction looks after it now and then
    assert await put(spool, FIRST) is None
    assert await put(spool, Message("later", 1)) == (1, 0)
