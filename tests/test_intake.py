"""The accepting half without sockets: one commit a request, all or nothing, and what is told of it."""

from typing import Any

import pytest
import structlog.testing
import trio
from hypothesis import given
from hypothesis import strategies as st

from doors import BODY, NOW_MS, count, event
from fake_spool import FakeSpool
from mcp_ilert.config import Mapping, Settings
from mcp_ilert.errors import (
    InvalidEventError,
    MalformedError,
    McpIlertError,
    TooLargeError,
    UnavailableError,
)
from mcp_ilert.events import Entry
from mcp_ilert.intake import (
    ACCEPTED,
    AllRejectedError,
    Dialect,
    ForbiddenSourceError,
    Intake,
    Limits,
    Receipt,
    Rejected,
    Terms,
)
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


# Many requests at once --------------------------------------------------------------------------------------------


def offered(world, *requests, allows=None, door="tcp"):
    """What is answered to bodies of these dialects, once it is."""
    told: list[Any] = []
    terms = {dialect: Terms(door, dialect, allows) for dialect in Dialect}
    world.intake.offer([body for _, body in requests], [terms[d] for d, _ in requests], told.append)
    return told


JSON, LINES, LINE = Dialect.JSON, Dialect.LINES, Dialect.LINE


def test_many_requests_are_one_offer_each_a_unit_of_its_own():
    world = World()
    (answers,) = offered(
        world,
        (JSON, b" " + BODY),
        (JSON, b"{}"),
        (LINES, BODY + b"\n5\n" + BODY),
        (JSON, b"[" + BODY + b"]"),
        (LINE, BODY),
        (LINE, b"[" + BODY + b"]"),
        (JSON, b""),
        (LINES, b"\n"),
        (JSON, b"[1]"),
    )
    assert world.spool.offers == 1
    assert [len(put) for put in world.spool.puts] == [1, 2, 1, 1]
    assert answers[0] is answers[3] is answers[4] is ACCEPTED
    assert answers[2] == Receipt(2, (Rejected(1, "$: expected an event as a JSON object"),))
    errors = (InvalidEventError, InvalidEventError, MalformedError, MalformedError, AllRejectedError)
    assert [type(answers[i]) for i in (1, 5, 6, 7, 8)] == list(errors)
    assert world.counts() == {"accepted": 5, "invalid": 6}


def test_where_nothing_is_valid_nothing_is_offered():
    world = World()
    (answers,) = offered(world, (JSON, b"x"), (LINE, b"{}"))
    assert len(answers) == 2
    assert world.spool.offers == 0
    assert offered(world) == [[]]


def test_what_the_spool_refuses_is_told_to_each():
    world = World()
    world.spool.full = True
    (answers,) = offered(world, (JSON, BODY), (JSON, b"[" + BODY + b"," + BODY + b",3]"), (JSON, b"x"))
    assert [type(answer) for answer in answers] == [UnavailableError, UnavailableError, MalformedError]
    assert world.counts() == {"unavailable": 3, "invalid": 2}


def test_sources_are_allowed_or_not_in_an_offer_too():
    world = World()
    (answers,) = offered(world, (JSON, BODY), (JSON, event(source="a")), allows="a".__eq__)
    assert isinstance(answers[0], ForbiddenSourceError)
    assert answers[1] is ACCEPTED
    assert world.counts() == {"accepted": 1, "unauthorized": 1}


def test_what_is_recorded_is_what_was_committed():
    world = World()
    recorded: list[Entry] = []
    world.intake.taken = recorded.extend
    gate = world.spool.shut()
    told = offered(world, (JSON, BODY), (LINES, BODY + b"\n" + BODY))
    assert (told, recorded, world.counts()) == ([], [], {})
    gate.set()
    assert len(told[0]) == 2
    assert [entry.payload for entry in recorded] == [BODY] * 3


async def alone(world, dialect, body):
    """The answer to a request that is taken by itself, in pieces where it may be."""
    try:
        if dialect is JSON:
            return await world.intake.accept_body(body, door="tcp")
        return await world.intake.accept_lines(chunks(body[:7], body[7:]), door="tcp")
    except McpIlertError as error:
        return error


@given(
    st.lists(
        st.tuples(
            st.sampled_from([JSON, LINES]),
            st.lists(
                st.sampled_from([BODY, b"{}", b"5", event(source=""), b"\xff", b"", b"[" * 70]), max_size=4
            ),
        ),
        max_size=4,
    )
)
async def test_an_offer_answers_as_one_request_after_the_other_is_answered(drawn):
    def whole(dialect, events):
        return b"[" + b",".join(events) + b"]" if dialect is JSON else b"\n".join(events)

    one, other = World(), World()
    (answers,) = offered(one, *((dialect, whole(dialect, events)) for dialect, events in drawn))
    for answer, (dialect, events) in zip(answers, drawn, strict=True):
        body = whole(dialect, events)
        found = await alone(other, dialect, body)
        assert (type(found), str(found)) == (type(answer), str(answer))
        assert getattr(found, "receipt", None) == getattr(answer, "receipt", None)
    assert one.spool.puts == other.spool.puts
    assert one.counts() == other.counts()
