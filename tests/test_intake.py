"""The accepting half without sockets: one commit a request, all or nothing, and what is told of it."""

import pytest
import structlog.testing
import trio

from doors import BODY, NOW_MS, count, event
from fake_spool import FakeSpool
from mcp_ilert.config import Mapping, Settings
from mcp_ilert.errors import MalformedError, TooLargeError, UnavailableError
from mcp_ilert.intake import AllRejectedError, ForbiddenSourceError, Intake, Limits, Receipt, Rejected
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics


class World:
    def __init__(self, limits=None, settings=None):
        self.spool = FakeSpool()
        self.metrics = Metrics()
        self.now_ms = NOW_MS
        self.intake = Intake(
            self.spool, Mapper(settings or Settings()), self.metrics, lambda: self.now_ms, limits or Limits()
        )

    def counts(self):
        results = ("accepted", "invalid", "unauthorized", "limited", "unavailable")
        return {result: found for result in results if (found := count(self.metrics, "tcp", result))}


async def chunks(*pieces):
    for piece in pieces:
        yield piece


async def test_the_valid_events_of_a_request_are_one_put():
    world = World()
    receipt = await world.intake.accept_body(b"[" + BODY + b", 5, " + BODY + b"]", door="tcp")
    assert receipt == Receipt(2, (Rejected(1, "$: expected an event as a JSON object"),))
    assert [len(put) for put in world.spool.puts] == [2]
    assert world.counts() == {"accepted": 2, "invalid": 1}


async def test_when_the_spool_refuses_nothing_is_kept_and_it_is_told():
    world = World()
    world.spool.full = True
    with pytest.raises(UnavailableError):
        await world.intake.accept_body(b"[" + BODY + b"," + BODY + b"]", door="tcp")
    assert world.spool.puts == []
    assert world.counts() == {"unavailable": 2}


async def test_what_the_chunks_raise_leaves_nothing():
    world = World()

    async def broken():
        yield BODY + b"\n"
        raise TooLargeError("more than the door takes")

    with pytest.raises(TooLargeError):
        await world.intake.accept_lines(broken(), door="tcp")
    assert world.spool.puts == []
    assert world.counts() == {"invalid": 1}


async def test_lines_are_one_put_too():
    world = World()
    receipt = await world.intake.accept_lines(
        chunks(BODY + b"\n\n" + BODY[:9], BODY[9:] + b"\nx"), door="tcp"
    )
    assert receipt == Receipt(2, (Rejected(2, "$: expected an event as a JSON object"),))
    assert [len(put) for put in world.spool.puts] == [2]


@pytest.mark.parametrize("text", [b"", b"\n \n\r\n"])
async def test_no_line_at_all_is_malformed(text):
    world = World()
    with pytest.raises(MalformedError):
        await world.intake.accept_lines(chunks(text), door="tcp")
    assert world.counts() == {"invalid": 1}


async def test_when_no_event_is_valid_the_reasons_are_carried():
    world = World()
    with pytest.raises(AllRejectedError) as caught:
        await world.intake.accept_body(b"[{}, 1]", door="tcp")
    assert [one.index for one in caught.value.receipt.rejected] == [0, 1]
    assert world.counts() == {"invalid": 2}


async def test_sources_are_allowed_or_not():
    world = World()
    only_a = "a".__eq__
    with pytest.raises(ForbiddenSourceError):
        await world.intake.accept_body(BODY, door="tcp", allows=only_a)
    both = b"[" + BODY + b"," + event(source="a") + b"]"
    receipt = await world.intake.accept_body(both, door="tcp", allows=only_a)
    assert (receipt.accepted, receipt.rejected[0].index) == (1, 0)
    assert world.counts() == {"accepted": 1, "unauthorized": 2}


async def test_errors_in_a_receipt_are_short_and_so_is_their_list():
    world = World()
    long = event(timestamp="x" * 10_000)
    receipt = await world.intake.accept_body(b"[" + BODY + (b"," + long) * 150 + b"]", door="tcp")
    assert len(receipt.rejected) == 100
    assert receipt.rejected_total == 150
    assert max(len(one.error) for one in receipt.rejected) <= 300


async def test_a_long_array_lets_others_have_their_turn():
    world = World(Limits(max_body_bytes=10**7))
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await world.intake.accept_body(b"[" + b",".join([BODY] * 5000) + b"]", door="tcp")
        nursery.cancel_scope.cancel()
    assert turns > 20


async def test_a_put_that_is_cancelled_is_not_counted_as_accepted():
    world = World()
    world.spool.shut()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: world.intake.accept_body(BODY, door="tcp"))
            await world.spool.waiting(1)
            scope.cancel()
    assert world.spool.puts == []
    assert world.counts() == {}


async def test_events_that_lack_a_field_of_the_key_are_logged_once_a_minute():
    world = World(settings=Settings(mapping=Mapping(alert_key="{labels.host}")))
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            await world.intake.accept_body(BODY, door="tcp")
        world.now_ms += 60_000
        await world.intake.accept_body(BODY, door="tcp")
    assert [line["events"] for line in logs if line["log_level"] == "warning"] == [1, 5]


async def test_new_limits_and_rules_hold_from_the_next_request_on():
    world = World()
    world.intake.use(
        Mapper(Settings(mapping=Mapping(alert_key="{source}"))), Limits(max_event_bytes=len(BODY))
    )
    await world.intake.accept_body(BODY, door="tcp")
    assert world.spool.entries[0].key == "probe-1"
    with pytest.raises(TooLargeError):
        await world.intake.accept_body(event(details="x" * 100), door="tcp")
