"""What every spool remembers of a key, whatever is behind it: in words of what happened, and never more than it may."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Kind,
    Said,
    Severity,
)
from mcp_ilert.spool.history import (
    DECODE,
    Attempt,
    Cancelled,
    Dropped,
    End,
    Forgotten,
    Moved,
    Repeated,
    Replayed,
    Returned,
    Stop,
    Told,
    What,
)
from mcp_ilert.spool.port import Drop, Replay, Retarget, ReturnRefused, Rules, Stopped, Want
from mcp_ilert.spool.rank import Pick
from spools import KINDS, T0, Clock, World, entry, opened

DAY_S = 86_400
RULES = Rules(
    remember_open_ms=30 * DAY_S * 1000,
    history_ms=7 * DAY_S * 1000,
    tell=lambda payload: Told('routes[0] "db"', "probe-1", payload.decode()),
)


class Lived(World):
    """Tells what the spool has kept of a key's past."""

    async def life(self, key: str = "evt-1") -> list[What]:
        return [what for _, _, what in await self.notes(key)]

    async def notes(self, key: str = "evt-1") -> list[tuple[int, str, What]]:
        await self.spool.records()  # a threaded writer may still be folding
        found = self.spool._store.engine.shelf.history(key, 1 << 62, 1_000)
        notes = [(at_ms, DECODE(body)) for _, at_ms, body in reversed(found)]
        return [(at_ms, note.target, note.what) for at_ms, note in notes]


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lived]:
    clock = Clock()
    async with opened(request.param, tmp_path, RULES, clock) as spool:
        yield Lived(spool, clock)
        assert spool.counts().error() == 0


def attempt(what: What) -> Attempt:
    assert isinstance(what, Attempt)
    return what


async def test_a_delivery_is_one_note_with_all_that_led_to_it(world: Lived) -> None:
    await world.put(*(entry("A", "Evt-1", at=T0 + i, text=f"text {i}") for i in range(5)))
    world.clock.forward(30)
    (delivery,) = await world.lease()
    world.clock.forward(1)
    await world.settle(delivery)
    ((at_ms, target, what),) = await world.notes()
    made = attempt(what)
    assert (at_ms, target) == (T0 + 31_000, "default")
    assert (made.end, made.kind, made.severity) == (End.DELIVERED, Kind.ALERT, Severity.HIGH)
    assert (made.count, made.first_ms, made.last_ms, made.number) == (5, T0, T0 + 4, 1)
    assert made.said == Said(202, "", "c-1")
    assert made.taken is not None
    assert (made.taken.ready_ms, made.taken.at_ms, made.taken.turn) == (T0, T0 + 30_000, Pick.DEADLINE)
    assert made.taken.told == Told('routes[0] "db"', "probe-1", "text 4")


async def test_a_critical_lane_is_remembered_as_having_gone_first(world: Lived) -> None:
    await world.put(entry(severity=Severity.CRITICAL))
    await world.send()
    (what,) = await world.life()
    taken = attempt(what).taken
    assert taken is not None
    assert taken.turn is Pick.CRITICAL


async def test_each_failed_attempt_is_told_with_what_was_answered_and_when_it_goes_on(world: Lived) -> None:
    await world.put(entry())
    down = Said(503, "answered 503", "c-9")
    await world.send(Again(T0 + 5_000, attempts=1, rejections=0, certain=False), down)
    world.clock.forward(7)
    await world.send()
    first, second = map(attempt, await world.life())
    assert (first.end, first.said, first.next_ms, first.certain) == (End.AGAIN, down, T0 + 5_000, False)
    assert (second.end, second.number) == (End.DELIVERED, 2)
    assert second.taken is not None
    assert (second.taken.ready_ms, second.taken.backed_off) == (T0 + 5_000, True)


async def test_what_waited_behind_its_own_lane_was_ready_when_the_request_had_ended(world: Lived) -> None:
    await world.put(entry("A"))
    (flying,) = await world.lease()
    await world.put(entry("R"))
    world.clock.forward(4)
    await world.settle(flying)
    world.clock.forward(1)
    await world.send()
    _, resolve = map(attempt, await world.life())
    assert resolve.taken is not None
    assert (resolve.taken.ready_ms, resolve.taken.backed_off) == (T0 + 4_000, False)


async def test_a_stop_of_the_target_is_told_for_as_long_as_the_lane_was_ready(world: Lived) -> None:
    world.clock.forward(100)
    await world.put(entry(at=T0 + 40_000))
    stopped = Stopped(Stop.CIRCUIT, T0 + 10_000, T0 + 90_000)
    await world.settle(*await world.lease(stopped=stopped))
    (what,) = await world.life()
    taken = attempt(what).taken
    assert taken is not None
    assert (taken.stop, taken.stop_ms) == (Stop.CIRCUIT, 50_000)


async def test_a_stop_that_was_over_before_is_not_told(world: Lived) -> None:
    world.clock.forward(100)
    await world.put(entry(at=T0 + 40_000))
    await world.settle(*await world.lease(stopped=Stopped(Stop.PAUSED, T0, T0 + 40_000)))
    (what,) = await world.life()
    taken = attempt(what).taken
    assert taken is not None
    assert (taken.stop, taken.stop_ms) == (None, 0)


async def test_an_alert_that_was_resolved_before_it_was_sent_is_remembered(world: Lived) -> None:
    await world.put(entry("A"), entry("A", at=T0 + 1))
    await world.put(entry("R", at=T0 + 2))
    assert await world.life() == [Cancelled(3, T0, T0 + 2)]


async def test_an_alert_that_failed_and_was_resolved_meanwhile_is_remembered_as_cancelled(
    world: Lived,
) -> None:
    await world.put(entry("A"))
    (flying,) = await world.lease()
    await world.put(entry("R", at=T0 + 9))
    await world.settle(flying, Again(0, attempts=1, rejections=0, certain=True))
    failed, cancelled = await world.life()
    assert attempt(failed).end is End.AGAIN
    assert cancelled == Cancelled(2, T0, T0 + 9)


async def test_repeats_of_what_was_delivered_are_one_note_a_transaction(world: Lived) -> None:
    await world.put(entry(text="same"))
    await world.send()
    await world.put(*(entry(text="same", at=T0 + i) for i in range(1, 21)))
    assert (await world.life())[1:] == [Repeated(20, T0 + 1, T0 + 20)]


async def test_deaths_and_what_brought_back_to_life_are_told(world: Lived) -> None:
    await world.put(entry())
    await world.send(DeadByOutage(revive_ms=T0 + 60_000, certain=True), Said(None, "connect timeout"))
    await world.spool.change(Replay(None), world.clock())
    await world.send(DeadByRejection(404, "who?"), Said(404, "who?"))
    await world.spool.change(ReturnRefused("default", (404,)), world.clock())
    await world.send(DeadByRejection(400, "no"), Said(400, "no"))
    await world.spool.change(Replay(("EVT-1",), force=True), world.clock())
    await world.spool.change(Drop("evt-1"), world.clock())
    life = await world.life()
    ends = [what.end if isinstance(what, Attempt) else what for what in life]
    assert ends == [
        End.DEAD_BY_OUTAGE,
        Replayed(1),
        End.DEAD_BY_REJECTION,
        Returned(1),
        End.DEAD_BY_REJECTION,
        Replayed(1, forced=True),
        Dropped(1),
    ]


async def test_a_revived_lane_says_that_it_came_back_by_itself(world: Lived) -> None:
    await world.put(entry())
    await world.send(DeadByOutage(revive_ms=T0, certain=True))
    leased = await world.spool.lease([Want("default", 1, 1, revive=1)], {}, world.clock())
    await world.settle(leased.deliveries[0])
    taken = attempt((await world.life())[1]).taken
    assert taken is not None
    assert taken.revived


async def test_what_moves_because_its_target_is_gone_is_told_at_both(world: Lived) -> None:
    await world.put(entry(target="old"))
    await world.spool.change(Retarget(("default",)), world.clock())
    await world.send()
    notes = await world.notes()
    assert [(target, type(what)) for _, target, what in notes] == [("old", Moved), ("default", Attempt)]
    assert notes[0][2] == Moved(1, ("default",))


async def test_an_open_alert_that_is_forgotten_leaves_a_note_and_a_closed_one_none(world: Lived) -> None:
    await world.put(entry("A", "open"), entry("R", "closed"))
    await world.send()
    await world.send()
    world.clock.forward(31 * DAY_S)
    await world.spool.records()
    assert await world.life("open") == [Forgotten(T0)]
    assert await world.life("closed") == []


async def test_the_history_of_other_keys_is_not_that_of_this_one(world: Lived) -> None:
    await world.put(entry(key="a"), entry(key="b"))
    await world.send()
    assert (len(await world.life("a")), await world.life("b")) == (1, [])


async def test_what_is_older_than_keep_days_goes(world: Lived) -> None:
    await world.put(entry(key="a"))
    await world.send()
    world.clock.forward(7 * DAY_S - 60)
    await world.spool.records()
    assert len(await world.life("a")) == 1
    world.clock.forward(120)
    await world.spool.records()
    assert await world.life("a") == []
    assert world.spool._store.engine.shelf.history_bytes() == 0


async def test_no_history_is_kept_where_it_may_take_no_room(world: Lived) -> None:
    world.spool.use(Rules(history_bytes=0))
    await world.put(entry())
    await world.send()
    assert await world.life() == []


async def test_a_flood_of_cancellations_writes_a_bounded_number_of_notes(world: Lived) -> None:
    pairs = [entry(kind, f"k{i}") for i in range(200) for kind in "AR"]
    await world.put(*pairs)
    await world.spool.records()
    told = sum([len(await world.life(f"k{i}")) for i in range(200)])
    assert world.spool.counts().cancelled == 400
    assert 64 <= told <= 64 * 2  # it takes one or two transactions to fold
