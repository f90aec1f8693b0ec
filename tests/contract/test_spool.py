"""What every spool keeps to, whatever is behind it."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from mcp_ilert.callback import answer_of
from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import (
    DROP,
    Again,
    DeadByOutage,
    DeadByRejection,
    Done,
    Entry,
    Kind,
    Settlement,
    Severity,
)
from mcp_ilert.spool.port import Drop, Pause, Replay, Retarget, ReturnRefused, Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from spools import KINDS, T0, Clock, Woken, World, entry, opened


class Woke(World):
    """Remembers what it was woken for."""

    def __init__(self, spool: WrittenSpool, clock: Clock, woken: Woken) -> None:
        super().__init__(spool, clock)
        self.woken = woken


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Woke]:
    clock, woken = Clock(), Woken()
    rules = Rules(max_pending=20)
    async with opened(request.param, tmp_path, rules, clock, woken) as spool:
        yield Woke(spool, clock, woken)
        assert spool.counts().error() == 0


async def test_what_was_put_is_leased_once_and_delivered(world: Woke) -> None:
    await world.put(entry("A", "Evt-1", text='{"x": 1}'))
    (delivery,) = await world.lease(tokens=5)
    assert (delivery.key, delivery.kind, delivery.payload) == ("Evt-1", Kind.ALERT, b'{"x": 1}')
    assert await world.lease(tokens=5) == []
    await world.settle(delivery, Done())
    counts = world.spool.counts()
    assert (counts.accepted, counts.delivered, counts.pending) == (1, 1, 0)


async def test_a_put_wakes_its_target(world: Woke) -> None:
    await world.put(entry(target="other"))
    await world.spool.records()  # a threaded writer may still be folding
    assert world.woken.targets == {"other"}


async def test_a_put_wakes_only_for_what_the_dispatcher_does_not_know_of(world: Woke) -> None:
    async def wakes(made: Entry) -> bool:
        world.woken.targets.clear()
        await world.put(made)
        await world.spool.records()
        return bool(world.woken.targets)

    assert await wakes(entry("A", "a"))
    assert not await wakes(entry("A", "b"))  # it has been told, and has not come yet
    assert await wakes(entry("A", "fire", severity=Severity.CRITICAL))
    assert len(await world.lease(tokens=1)) == 1
    assert not await wakes(entry("A", "c"))  # the lease said that others are ready
    assert await wakes(entry("A", "fire-2", severity=Severity.CRITICAL))
    assert len(await world.lease(tokens=9)) == 4
    assert await wakes(entry("A", "d"))


async def test_alert_resolve_and_the_same_alert_within_a_minute_page_twice(world: Woke) -> None:
    for kind in "ARA":
        await world.put(entry(kind, text=f"the {kind}"))
        delivery = await world.send()
        assert delivery.kind is {"A": Kind.ALERT, "R": Kind.RESOLVE}[kind]
        world.clock.forward(10)
    assert world.spool.counts().delivered == 3


async def test_a_repeat_of_the_delivered_text_is_coalesced_for_dedupe_seconds(world: Woke) -> None:
    await world.put(entry(text="same"))
    await world.send()
    world.clock.forward(59)
    await world.put(entry(text="same", at=world.clock()))
    assert await world.lease() == []
    assert world.spool.counts().coalesced == 1
    world.clock.forward(2)
    await world.put(entry(text="same", at=world.clock()))
    assert len(await world.lease()) == 1


async def test_a_repeat_with_another_text_is_sent(world: Woke) -> None:
    await world.put(entry(text="one"))
    await world.send()
    await world.put(entry(text="two"))
    assert (await world.send()).payload == b"two"


async def test_a_resolve_cancels_its_unsent_alert_and_nothing_is_sent(world: Woke) -> None:
    await world.put(entry("A"))
    await world.put(entry("R"))
    assert await world.lease() == []
    assert world.spool.counts().cancelled == 2


async def test_a_lost_answer_and_then_a_resolve_end_resolved(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send(Again(due_ms=0, attempts=1, rejections=0, certain=False))
    await world.put(entry("R"))
    assert (await world.send()).kind is Kind.RESOLVE
    assert await world.lease() == []


async def test_a_storm_of_one_key_is_one_operation_with_its_count(world: Woke) -> None:
    await world.put(*(entry("A", at=T0 + i, text=str(i)) for i in range(50)))
    (delivery,) = await world.lease()
    assert (delivery.count, delivery.payload, delivery.first_ms, delivery.last_ms) == (50, b"49", T0, T0 + 49)
    assert world.spool.counts().coalesced == 49


async def test_the_highest_severity_of_what_was_folded_is_kept(world: Woke) -> None:
    await world.put(entry(severity=Severity.CRITICAL), entry(severity=Severity.LOW))
    (delivery,) = await world.lease()
    assert delivery.severity is Severity.CRITICAL


async def test_keys_are_the_same_when_equal_in_lower_case_and_the_first_spelling_is_sent(
    world: Woke,
) -> None:
    await world.put(entry("A", "SRV-1"))
    await world.put(entry("C", "srv-1"))
    first = await world.send()
    second = await world.send()
    assert [(d.key, d.kind) for d in (first, second)] == [("SRV-1", Kind.ALERT), ("SRV-1", Kind.ACCEPT)]


async def test_sharp_s_and_double_s_are_different_keys(world: Woke) -> None:
    await world.put(entry("A", "stra\u00dfe"), entry("A", "strasse"))
    assert len(await world.lease(tokens=5)) == 2


async def test_a_resolve_goes_to_every_target_that_knows_the_key(world: Woke) -> None:
    await world.put(entry("A", target="one"), entry("A", target="two"))
    await world.send(target="one")
    await world.send(target="two")
    await world.put(entry("R", target="three"))
    assert (await world.send(target="one")).kind is Kind.RESOLVE
    assert (await world.send(target="two")).kind is Kind.RESOLVE
    assert await world.lease(target="three") == []
    counts = world.spool.counts()
    assert (counts.accepted, counts.fanned_out, counts.delivered) == (3, 1, 4)


async def test_a_resolve_that_no_target_knows_follows_its_route(world: Woke) -> None:
    await world.put(entry("R", target="three"))
    assert (await world.send(target="three")).kind is Kind.RESOLVE
    await world.put(entry("C", "evt-9", target=DROP))
    assert world.spool.counts().dropped_by_route == 1


async def test_a_resolve_reaches_an_open_alert_even_where_its_route_says_drop(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send()
    await world.put(entry("R", target=DROP))
    assert (await world.send()).kind is Kind.RESOLVE


async def test_an_alert_that_a_route_drops_is_counted_and_gone(world: Woke) -> None:
    await world.put(entry("A", target=DROP))
    counts = world.spool.counts()
    assert (counts.accepted, counts.dropped_by_route, counts.pending) == (1, 1, 0)


async def test_a_backed_off_lane_waits_until_it_is_due(world: Woke) -> None:
    await world.put(entry())
    await world.send(Again(due_ms=T0 + 5_000, attempts=1, rejections=0, certain=True))
    leased = await world.spool.lease([Want("default", 1, 1)], {}, world.clock())
    assert leased.deliveries == ()
    assert leased.agenda["default"].next_due_ms == T0 + 5_000
    world.clock.forward(5)
    (delivery,) = await world.lease()
    assert delivery.attempts == 1


async def test_dead_by_outage_counts_as_dead_and_any_arrival_makes_it_alive(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send(DeadByOutage(revive_ms=T0 + 60_000, certain=True))
    assert (world.spool.counts().dead, world.spool.counts().pending) == (1, 0)
    assert await world.lease() == []
    await world.put(entry("A", text="again"))
    (delivery,) = await world.lease()
    assert (delivery.count, delivery.attempts, world.spool.counts().dead) == (2, 0, 0)


async def test_a_resolve_finds_the_alert_that_is_dead_by_outage(world: Woke) -> None:
    await world.put(entry("A", target="one"))
    await world.send(DeadByOutage(revive_ms=0, certain=False), target="one")
    await world.put(entry("R", target="two"))
    assert (await world.send(target="one")).kind is Kind.RESOLVE


async def test_dead_lanes_are_revived_oldest_due_first_and_have_one_attempt(world: Woke) -> None:
    for key, due in (("b", 2_000), ("a", 1_000)):
        await world.put(entry("A", key))
        await world.send(DeadByOutage(revive_ms=T0 + due, certain=True))
    world.clock.forward(3)
    leased = await world.spool.lease([Want("default", 5, 5, revive=1)], {}, world.clock())
    (delivery,) = leased.deliveries
    assert (delivery.key, delivery.revivals) == ("a", 1)
    settled = await world.spool.settle(
        [Settlement(delivery.lease, DeadByOutage(revive_ms=T0 + 9_000, certain=True), world.clock())],
        {},
        world.clock(),
    )
    assert settled.outage == 0  # it was counted when it died first
    assert world.spool.counts().dead == 2


async def test_what_arrives_during_an_automatic_replay_has_attempts_of_its_own(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send(DeadByOutage(revive_ms=T0, certain=True))
    (delivery,) = (await world.spool.lease([Want("default", 1, 1, revive=1)], {}, world.clock())).deliveries
    await world.put(entry("A", text="a fresh fire"))
    await world.settle(delivery, DeadByOutage(revive_ms=T0 + 9_000, certain=True))
    (delivery,) = await world.lease()
    assert (delivery.payload, delivery.revivals, delivery.count) == (b"a fresh fire", 0, 2)


async def test_a_rejected_letter_is_set_aside_and_newer_operations_pass_it(world: Woke) -> None:
    await world.put(entry("A"), entry("C"))
    await world.send(DeadByRejection(400, "no"))
    assert (await world.send()).kind is Kind.ACCEPT
    assert world.spool.counts().dead == 1


async def test_a_second_rejected_letter_of_a_kind_folds_into_the_first(world: Woke) -> None:
    for text in "12":
        await world.put(entry("A", text=text))
        await world.send(DeadByRejection(400, "no"))
    counts = world.spool.counts()
    assert (counts.dead, counts.coalesced) == (1, 1)


async def test_a_dead_letter_is_never_sent_behind_a_newer_resolve_except_by_force(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send(DeadByRejection(400, "no"))
    await world.put(entry("R"))
    await world.send()
    assert (await world.spool.change(Replay(None), world.clock())).events == 0
    assert await world.lease() == []
    assert (await world.spool.change(Replay(("EVT-1",), force=True), world.clock())).events == 1
    assert (await world.send()).kind is Kind.ALERT


async def test_a_letter_replayed_while_something_newer_flies_waits_and_is_then_superseded(
    world: Woke,
) -> None:
    await world.put(entry("A"))
    await world.send(DeadByRejection(400, "no"))
    await world.put(entry("R"))
    (flying,) = await world.lease()
    assert (await world.spool.change(Replay(("evt-1",)), world.clock())).events == 1
    await world.settle(flying, Done())
    assert await world.lease() == []
    assert world.spool.counts().dead == 1


async def test_a_letter_replayed_while_something_newer_fails_folds_with_it(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send(DeadByRejection(400, "no"))
    await world.put(entry("R"))
    (flying,) = await world.lease()
    await world.spool.change(Replay(("evt-1",)), world.clock())
    await world.settle(flying, Again(due_ms=0, attempts=1, rejections=0, certain=True))
    assert await world.lease() == []
    assert world.spool.counts().cancelled == 2


async def test_letters_that_a_bad_key_made_return(world: Woke) -> None:
    await world.put(entry("A", "a"), entry("A", "b"))
    await world.send(DeadByRejection(404, "?"))
    await world.send(DeadByRejection(400, "no"))
    changed = await world.spool.change(ReturnRefused("default", (403, 404)), world.clock())
    assert (changed.events, world.spool.counts().dead) == (1, 1)
    assert (await world.send()).key == "a"


async def test_drop_takes_what_waits_and_leaves_what_flies(world: Woke) -> None:
    await world.put(entry("A"))
    (flying,) = await world.lease()
    await world.put(entry("A", text="second"))
    assert (await world.spool.change(Drop("EVT-1", "elsewhere"), world.clock())).events == 0
    assert (await world.spool.change(Drop("EVT-1"), world.clock())).events == 1
    await world.settle(flying, Done())
    counts = world.spool.counts()
    assert (counts.dropped_by_operator, counts.delivered, counts.pending) == (1, 1, 0)


async def test_a_rejection_is_forgiven_when_the_text_changes(world: Woke) -> None:
    await world.put(entry("A", text="bad"))
    await world.send(Again(due_ms=0, attempts=0, rejections=1, certain=True))
    await world.put(entry("A", text="better"))
    (delivery,) = await world.lease()
    assert delivery.rejections == 0


async def test_attempts_and_due_time_are_kept_when_something_folds_in(world: Woke) -> None:
    await world.put(entry("A", text="one"))
    await world.send(Again(due_ms=T0 + 1_000, attempts=3, rejections=0, certain=True))
    await world.put(entry("A", text="two"))
    assert await world.lease() == []
    world.clock.forward(1)
    (delivery,) = await world.lease()
    assert delivery.attempts == 3


async def test_critical_goes_first_and_others_by_their_deadline(world: Woke) -> None:
    minutes = 60_000
    await world.put(
        entry("A", "low", at=T0 - 70 * minutes, severity=Severity.LOW),
        entry("A", "medium", at=T0 - 11 * minutes, severity=Severity.MEDIUM),
        entry("A", "high", at=T0, severity=Severity.HIGH),
        entry("A", "critical", at=T0, severity=Severity.CRITICAL),
    )
    assert [d.key for d in await world.lease(tokens=4)] == ["critical", "low", "medium", "high"]


async def test_a_place_is_kept_for_critical(world: Woke) -> None:
    await world.put(*(entry("A", f"k{i}") for i in range(5)))
    await world.put(entry("A", "fire", severity=Severity.CRITICAL))
    assert [d.key for d in await world.lease(tokens=3, others=0)] == ["fire"]


async def test_the_state_of_targets_is_kept_with_the_lease(world: Woke) -> None:
    await world.spool.lease([], {"default": b"tokens: 3"}, world.clock())
    await world.spool.change(Pause("default", paused=True), world.clock())
    record = (await world.spool.records())["default"]
    assert (record.state, record.paused) == (b"tokens: 3", True)


async def test_a_full_spool_takes_what_adds_no_lane_and_a_tenth_more_of_critical(world: Woke) -> None:
    await world.put(*(entry("A", f"k{i}") for i in range(20)))
    with pytest.raises(UnavailableError, match="full"):
        await world.put(entry("A", "new"), entry("A", "k1", text="again"))
    await world.put(entry("A", "k1", text="again"))
    await world.put(entry("A", "fire-1", severity=Severity.CRITICAL))
    await world.put(entry("A", "fire-2", severity=Severity.CRITICAL))
    with pytest.raises(UnavailableError, match="full"):
        await world.put(entry("A", "fire-3", severity=Severity.CRITICAL))
    assert world.spool.counts().accepted == 23


async def test_lanes_of_a_target_that_is_gone_move_or_are_parked(world: Woke) -> None:
    await world.put(entry("A", "open", target="old"))
    await world.send(target="old")
    await world.put(entry("C", "open", target="old"), entry("A", "unsent", target="old"))
    await world.spool.change(Retarget(("default",)), world.clock())
    assert [(d.key, d.kind) for d in await world.lease(tokens=5)] == [("unsent", Kind.ALERT)]
    parked = await world.lease(tokens=5, target="old")
    assert [(d.key, d.kind) for d in parked] == [("open", Kind.ACCEPT)]


async def test_many_lanes_of_a_gone_target_move_in_slices_past_those_that_are_parked(world: Woke) -> None:
    world.spool.use(Rules(max_pending=10_000))
    for number in range(3):
        await world.put(entry("A", f"open-{number}", target="old"))
        await world.send(target="old")
    await world.put(*(entry("C", f"open-{number}", target="old") for number in range(3)))
    await world.put(*(entry("A", f"k{i}", target="old") for i in range(450)))
    await world.spool.change(Retarget(("default",)), world.clock())
    assert len(await world.lease(tokens=1_000, others=1_000)) == 450
    assert len(await world.lease(tokens=1_000, target="old")) == 3


async def test_a_probe_takes_a_lane_that_is_not_due_before_it_takes_none(world: Woke) -> None:
    await world.put(entry())
    await world.send(Again(due_ms=T0 + 60_000, attempts=1, rejections=0, certain=True))
    leased = await world.spool.lease([Want("default", 1, 1, probe=True)], {}, world.clock())
    assert [(d.key, d.probe, d.attempts) for d in leased.deliveries] == [("evt-1", True, 1)]


async def test_a_dead_lane_is_a_probe_only_where_allowed_and_due(world: Woke) -> None:
    await world.put(entry())
    await world.send(DeadByOutage(revive_ms=T0 + 1_000, certain=True))
    world.clock.forward(1)
    leased = await world.spool.lease([Want("default", 1, 1, probe=True)], {}, world.clock())
    assert leased.deliveries == ()
    assert leased.agenda["default"].next_revive_ms == T0 + 1_000
    leased = await world.spool.lease([Want("default", 1, 1, probe=True, probe_dead=True)], {}, world.clock())
    assert [(d.key, d.revivals) for d in leased.deliveries] == [("evt-1", 1)]


async def test_in_a_storm_the_oldest_lane_and_the_newest_have_their_tokens(world: Woke) -> None:
    day = 86_400_000
    await world.put(entry("A", "old and low", at=T0 - 1_000, severity=Severity.LOW))
    await world.put(*(entry("A", f"storm-{i}", at=T0 - day + i) for i in range(15)))
    await world.put(entry("A", "new fire", at=T0))
    order = [d.key for d in await world.lease(tokens=10)]
    assert order[4] == "new fire"
    assert order[9] == "storm-8"  # the oldest of all: the storm's


async def test_a_critical_event_in_the_middle_of_a_storm_takes_the_next_token(world: Woke) -> None:
    await world.put(*(entry("A", f"storm-{i}", at=T0 - 1_000) for i in range(15)))
    for _ in range(4):
        await world.lease()
    await world.put(entry("A", "fire", severity=Severity.CRITICAL))
    assert [d.key for d in await world.lease()] == ["fire"]


async def test_what_is_over_is_forgotten_by_and_by(world: Woke) -> None:
    def kept() -> set[str]:
        return set(world.spool._store.engine.shelf.find(("open", "closed")))

    await world.put(entry("A", "open"), entry("R", "closed"))
    await world.send()
    await world.send()
    world.clock.forward(59)
    await world.spool.records()
    assert kept() == {"open", "closed"}
    world.clock.forward(11)
    await world.spool.records()
    assert kept() == {"open"}


async def test_a_dead_letter_is_never_forgotten(world: Woke) -> None:
    await world.put(entry("A"))
    await world.send(DeadByRejection(400, "no"))
    world.clock.forward(40 * 86_400)
    await world.spool.records()
    assert (await world.spool.change(Replay(None), world.clock())).events == 1
    assert (await world.send()).key == "evt-1"


async def test_probes_go_round_all_lanes(world: Woke) -> None:
    await world.put(*(entry("A", key) for key in "abc"))
    probed = []
    for _ in range(6):
        leased = await world.spool.lease([Want("default", 1, 1, probe=True)], {}, world.clock())
        (delivery,) = leased.deliveries
        probed.append(delivery.key)
        world.clock.forward(10)
        again = Again(due_ms=world.clock() + 5_000, attempts=0, rejections=0, certain=True)
        await world.settle(delivery, again)
    assert "".join(probed) == "abcabc"


async def test_each_request_of_an_offer_is_taken_whole_or_not_at_all(world: Woke) -> None:
    puts = [
        [entry(key=f"a{i}") for i in range(15)],
        [entry(key=f"b{i}") for i in range(10)],
        [entry(key="a0"), entry(key="c0")],
        [],
    ]
    errors = await answer_of(partial(world.spool.offer, puts))
    assert [type(error) for error in errors] == [type(None), UnavailableError, type(None), type(None)]
    assert (world.spool.counts().accepted, world.spool.counts().lanes) == (17, 16)


async def test_offers_are_committed_in_their_order(world: Woke) -> None:
    told: list[int] = []
    for number in range(5):
        world.spool.offer([[entry(text=str(number))]], lambda _, number=number: told.append(number))  # type: ignore[misc]
    await world.spool.records()
    assert told == list(range(5))
    assert (await world.send()).payload == b"4"


async def test_a_flood_is_taken_in_slices_and_all_of_it_arrives(world: Woke) -> None:
    world.spool.use(Rules(max_pending=1_000_000))
    keys = [f"k{i % 700}" for i in range(40_000)]
    puts = [[entry(key=key, text="x") for key in keys[i : i + 500]] for i in range(0, len(keys), 500)]
    assert await answer_of(partial(world.spool.offer, puts)) == [None] * len(puts)
    fire = entry(key="fire", severity=Severity.CRITICAL)
    await world.put(fire)
    assert [d.key for d in await world.lease()] == ["fire"]
    while world.spool.counts().inbox:
        await world.spool.records()
    counts = world.spool.counts()
    assert (counts.accepted, counts.pending, counts.coalesced) == (40_001, 701, 39_300)


# What the target calls what is open ---------------------------------------------------------------------------


async def test_what_the_target_calls_it_comes_with_the_next_operation_until_it_is_closed(
    world: Woke,
) -> None:
    await world.put(entry("A", "k"))
    first = await world.send(Done("42"))
    assert (first.ref, first.unsure) == ("", False)
    await world.put(entry("C", "k"))
    second = await world.send(Done())
    assert (second.ref, second.unsure) == ("42", False)
    await world.put(entry("R", "k"))
    third = await world.send(Done(""))
    assert third.ref == "42"
    await world.put(entry("A", "k", text='{"again": 1}'))
    (fourth,) = await world.lease()
    assert (fourth.ref, fourth.unsure) == ("", False)


async def test_what_may_have_been_applied_is_told_with_the_next_attempt(world: Woke) -> None:
    await world.put(entry("A", "k"))
    await world.send(Again(0, 1, 0, certain=True))
    assert not (await world.send(Again(0, 1, 0, certain=False))).unsure
    assert (await world.send(Done("42"))).unsure
    await world.put(entry("A", "k", text='{"again": 1}'))
    assert not (await world.send(Done("42"))).unsure


async def test_an_open_alert_that_the_target_has_no_name_for_is_to_be_looked_for(world: Woke) -> None:
    await world.put(entry("A", "k"))
    await world.send(Done(""))
    await world.put(entry("R", "k"))
    (delivery,) = await world.lease()
    assert (delivery.ref, delivery.unsure) == ("", True)
