"""Outages and refused keys on virtual time: circuits, probes, deaths, recovery, parking."""

from itertools import pairwise
from typing import Any

import trio
from trio.testing import MockClock

from dispatch_world import EPOCH_MS, OK, FakeTarget, idle_world, running, world
from mcp_ilert.events import Delivery, Kind, Refused, Rejected, Severity, Suspect, Unavailable

DOWN = Unavailable("connect error", certain=True)
REFUSED = Refused(401, "no such key")
SUSPECT = Suspect(403, "<html>forbidden")


def refuse(_delivery: Delivery) -> Any:
    return REFUSED


def down(_delivery: Delivery) -> Any:
    return DOWN


def fine(_delivery: Delivery) -> Any:
    return OK


async def test_the_fifth_unavailable_answer_in_a_row_opens_the_circuit(autojump_clock: MockClock) -> None:
    async with world(per_minute=600, max_attempts=9) as w:
        w.target.script(*[DOWN] * 4, OK, *[DOWN] * 4, OK)
        await w.put("a")
        await trio.sleep(120)
        await w.put("b")
        await trio.sleep(120)
        assert w.spool.counts().delivered == 2, "any other answer ends the row"
        w.target.answer = down
        await w.put("c")
        await trio.sleep(600)
        assert w.metrics.value("circuit", target="default") == 2
        assert w.dispatcher.notes() == [
            "target default: circuit open, iLert does not answer; its events wait",
        ]


async def test_in_an_outage_nothing_dies_while_the_circuit_is_open_and_all_is_sent_after_it(
    autojump_clock: MockClock,
) -> None:
    async with world(per_minute=600, max_attempts=5) as w:
        w.target.answer = down
        await w.put(*(f"k{i}" for i in range(100)))
        await trio.sleep(86_400)
        assert w.spool.counts().pending == 100
        assert w.metrics.value("out_failed_total", reason="outage") == 0
        day = w.target.times[-1]
        assert len(w.target.came) < 100 + 86_400 / 100, "only probes, in backoff"
        w.target.answer = fine
        await trio.sleep(900)
        assert w.spool.counts().delivered == 100
        assert w.metrics.value("circuit", target="default") == 0
        assert day > 0


async def test_probes_go_one_at_a_time_each_time_another_lane_and_cost_no_attempt(
    autojump_clock: MockClock,
) -> None:
    async with world(FakeTarget(seconds=1), per_minute=600) as w:
        w.target.answer = down
        await w.put("a", "b", "c")
        await trio.sleep(20_000)
        probes = [(at, d) for at, d in w.target.came if d.probe]
        assert len(probes) > 20
        keys = [d.key for _, d in probes]
        assert all(one != next_one for one, next_one in pairwise(keys))
        assert len({(d.key, d.attempts) for _, d in probes}) == 3, "each has its turn, and its attempts stay"
        assert all(b - a >= 1 for (a, _), (b, _) in pairwise(probes))


async def test_a_lane_dies_after_its_attempts_and_is_counted_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.target.answer = down
        await w.put("a")
        await trio.sleep(100)
        assert [d.attempts for _, d in w.target.came] == [0, 1, 2, 3, 4]
        counts = w.spool.counts()
        assert (counts.dead, counts.pending) == (1, 0)
        assert w.metrics.value("out_failed_total", reason="outage") == 1
        await trio.sleep(86_400)
        assert w.metrics.value("out_failed_total", reason="outage") == 1


async def test_where_only_dead_letters_are_left_the_oldest_is_the_probe_each_max_interval(
    autojump_clock: MockClock,
) -> None:
    async with world(max_interval_seconds=300) as w:
        w.target.answer = down
        await w.put("a")
        await trio.sleep(100)
        died = w.target.times[-1]
        await trio.sleep(3000)
        probes = [at for at in w.target.times if at > died]
        assert len(probes) in {9, 10}
        assert all(299 < b - a < 302 for a, b in pairwise([died, *probes]))
        w.target.answer = fine
        await trio.sleep(301)
        assert w.spool.counts().delivered == 1
        assert w.spool.counts().error() == 0


async def test_of_several_dead_letters_the_one_that_died_first_is_the_first_probe_and_then_each_in_turn(
    autojump_clock: MockClock,
) -> None:
    async with world(max_attempts=1, max_interval_seconds=300) as w:
        w.target.answer = down
        for key in ("a", "b", "c"):
            await w.put(key)
            await trio.sleep(1)
        assert w.spool.counts().dead == 3
        await trio.sleep(6 * 300 + 10)
        assert w.target.keys[3:] == ["a", "b", "c"] * 2
        assert all(d.probe for _, d in w.target.came[3:])
        assert w.metrics.value("out_failed_total", reason="outage") == 3, "not counted again"


async def test_the_last_dead_letter_is_tried_even_where_the_circuit_never_opened(
    autojump_clock: MockClock,
) -> None:
    async with world(max_attempts=2, max_interval_seconds=100) as w:
        w.target.script(DOWN, DOWN)
        await w.put("a")
        await trio.sleep(50)
        assert w.spool.counts().dead == 1
        await trio.sleep(100)
        assert w.spool.counts().delivered == 1


async def test_after_recovery_outage_dead_letters_come_back_slowly_at_first(
    autojump_clock: MockClock,
) -> None:
    async with world(
        FakeTarget(seconds=1), per_minute=6000, burst=3000, max_attempts=1, max_in_flight=64
    ) as w:
        w.target.answer = down
        for i in range(40):  # one after the other, so that each has its only attempt before the circuit opens
            w.target.answer = down if i % 4 else (lambda d: Rejected(400, "no") if d.key == "r" else DOWN)
            await w.put("r" if i % 4 == 0 else f"k{i}")
            await trio.sleep(3)
        dead = w.spool.counts().dead
        assert dead > 20
        w.target.answer = fine
        await w.put("new")
        start = trio.current_time()
        await trio.sleep(60)
        waves: dict[int, int] = {}
        for at, delivery in w.target.came:
            if at >= start and delivery.revivals:
                waves[round(at - start)] = waves.get(round(at - start), 0) + 1
        assert list(waves.values())[:4] == [1, 2, 4, 8]
        assert w.spool.counts().error() == 0
        assert w.spool.counts().dead <= 1


async def test_an_automatic_replay_is_one_attempt_and_comes_later_each_time(
    autojump_clock: MockClock,
) -> None:
    async with world(max_attempts=1, max_interval_seconds=100, per_minute=600) as w:
        poison = "poison"
        w.target.answer = lambda d: DOWN if d.key == poison else OK
        await w.put(poison)
        await trio.sleep(1)
        for i in range(400):
            await w.put(f"k{i}")
            await trio.sleep(10)
        tries = [at for at, d in w.target.came if d.key == poison]
        gaps = [b - a for a, b in pairwise(tries)]
        assert len(tries) == 6
        assert [round(gap, -1) for gap in gaps[1:]] == [200, 400, 800, 1600]
        assert w.metrics.value("out_failed_total", reason="outage") == 1


async def test_a_new_event_makes_a_dead_lane_alive_with_all_its_attempts(autojump_clock: MockClock) -> None:
    async with world(max_attempts=2) as w:
        w.target.answer = down
        await w.put("a")
        await trio.sleep(60)
        assert w.spool.counts().dead == 1
        w.target.answer = fine
        await w.put("a")
        await trio.sleep(1)
        assert w.spool.counts().delivered == 1
        assert w.target.came[-1][1].count == 2


async def test_an_open_circuit_survives_a_restart(autojump_clock: MockClock) -> None:
    async with idle_world(per_minute=600) as w:
        w.target.answer = down
        async with running(w):
            await w.put(*(f"k{i}" for i in range(20)))
            await trio.sleep(3600)
        before = len(w.target.came)
        w.hire()
        async with running(w):
            await trio.sleep(600)
            assert w.metrics.value("circuit", target="default") == 2
            assert len(w.target.came) - before < 20, "probes only"


async def test_an_outage_at_one_target_leaves_the_other_alone(autojump_clock: MockClock) -> None:
    async with world(FakeTarget("default"), FakeTarget("ops"), per_minute=600) as w:
        w.target.answer = down
        await w.put(*(f"k{i}" for i in range(20)))
        await w.put(*(f"k{i}" for i in range(20)), target="ops")
        await trio.sleep(120)
        assert len(w.targets["ops"].came) == 20


async def test_while_the_circuit_is_open_a_resolve_still_does_not_overtake_its_alert(
    autojump_clock: MockClock,
) -> None:
    async with world(per_minute=600, max_interval_seconds=20) as w:
        w.target.script(OK)
        await w.put("a")
        await trio.sleep(1)
        w.target.answer = down
        await w.put("a", "b", "c", "d", "e", "f")
        await trio.sleep(60)
        await w.put("a", kind=Kind.RESOLVE)
        await trio.sleep(60)
        w.target.answer = fine
        await trio.sleep(600)
        assert [d.kind for _, d in w.target.came if d.key == "a"][-1] is Kind.RESOLVE
        assert w.spool.counts().pending == 0


# Refused keys ----------------------------------------------------------------------------------------------------


async def test_a_refused_key_is_parked_costs_no_attempt_and_only_probes_go(autojump_clock: MockClock) -> None:
    async with world(max_interval_seconds=300) as w:
        w.target.answer = refuse
        await w.put("a", "b", "c")
        await trio.sleep(1)
        first = len(w.target.came)
        assert first <= 3
        assert w.metrics.value("parked", target="default") == 1
        (note,) = w.dispatcher.notes()
        assert "refuses the integration key (status 401)" in note
        await w.put("d")
        await trio.sleep(3600)
        probes = w.target.came[first:]
        assert len(probes) == 12
        assert all(d.probe and d.attempts == 0 for _, d in probes)
        assert w.spool.counts().pending == 4
        assert w.metrics.value("out_retries_total", reason="refused") == len(w.target.came)


async def test_a_probe_that_is_answered_otherwise_resumes_the_key(autojump_clock: MockClock) -> None:
    async with world(max_interval_seconds=300) as w:
        w.target.answer = refuse
        await w.put("a", "b", "c")
        await trio.sleep(10)
        w.target.answer = fine
        await trio.sleep(301)
        assert w.spool.counts().delivered == 3
        assert w.metrics.value("parked", target="default") == 0
        assert w.dispatcher.notes() == []


async def test_a_probe_that_does_not_get_through_resumes_nothing(autojump_clock: MockClock) -> None:
    async with world(max_interval_seconds=300) as w:
        w.target.answer = refuse
        await w.put("a", "b")
        await trio.sleep(10)
        w.target.answer = down
        await trio.sleep(900)
        assert w.metrics.value("parked", target="default") == 1
        assert len(w.target.came) <= 5


async def test_a_reload_resumes_a_parked_key_at_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.target.answer = refuse
        await w.put("a")
        await trio.sleep(1)
        w.target.answer = fine
        w.dispatcher.replace(w.targets, w.settings)
        await trio.sleep(0.01)
        assert w.spool.counts().delivered == 1


async def test_a_restart_tries_a_parked_key_with_one_probe_at_once(autojump_clock: MockClock) -> None:
    async with idle_world() as w:
        w.target.answer = refuse
        async with running(w):
            await w.put("a", "b", "c")
            await trio.sleep(1)
        before = len(w.target.came)
        w.hire()
        async with running(w):
            await trio.sleep(1)
            assert len(w.target.came) == before + 1


async def test_a_403_without_a_code_is_the_events_fault_while_one_lane_alone_gets_it(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.target.answer = lambda d: SUSPECT if d.key == "bad" else OK
        await w.put("bad", "good")
        await trio.sleep(60)
        assert w.spool.counts().dead == 1
        assert w.metrics.value("parked", target="default") == 0
        assert [d.key for _, d in w.target.came].count("bad") == 2


async def test_a_403_without_a_code_to_a_second_lane_parks_the_key_and_returns_dead_letters(
    autojump_clock: MockClock,
) -> None:
    async with world(max_interval_seconds=300) as w:
        w.target.answer = lambda _d: SUSPECT
        await w.put("a")
        await trio.sleep(60)
        assert w.spool.counts().dead == 1
        await w.put("b")
        await trio.sleep(1)
        assert w.metrics.value("parked", target="default") == 1
        assert w.spool.counts().dead == 0
        assert w.spool.counts().pending == 2
        await trio.sleep(3600)
        assert w.spool.counts().dead == 0, "the same answer to a probe is a refusal now"
        w.target.answer = fine
        await trio.sleep(301)
        assert w.spool.counts().delivered == 2
        assert w.spool.counts().error() == 0


async def test_dead_letters_owed_at_a_crash_return_after_the_restart(autojump_clock: MockClock) -> None:
    async with idle_world() as w:
        change = w.spool.change

        async def never(*_args: Any) -> None:
            await trio.sleep_forever()

        w.target.answer = lambda _d: SUSPECT
        w.patch(change=never)
        async with running(w):
            await w.put("a")
            await trio.sleep(60)
            await w.put("b")
            await trio.sleep(1)
            assert w.spool.counts().dead == 1
        w.patch(change=change)
        w.hire()
        async with running(w):
            await trio.sleep(1)
            assert w.spool.counts().dead == 0


async def test_a_critical_event_waits_like_all_at_a_parked_key_and_goes_first_when_it_resumes(
    autojump_clock: MockClock,
) -> None:
    async with world(max_interval_seconds=300, per_minute=50) as w:
        w.target.answer = refuse
        await w.put(*(f"k{i}" for i in range(60)))
        await trio.sleep(1)
        await w.put("fire", severity=Severity.CRITICAL)
        w.target.answer = fine
        before = len(w.target.came)
        await trio.sleep(310)
        assert w.target.keys[before] == "fire"
        assert w.target.came[before][1].probe


async def test_outages_over_weeks_of_traffic_conserve_every_event(autojump_clock: MockClock) -> None:
    async with world(per_minute=50, max_attempts=3, max_interval_seconds=3000) as w:
        for day in range(15):
            w.target.answer = down if day % 3 == 1 else fine
            await w.put(*(f"d{day}-{i}" for i in range(20)))
            await trio.sleep(86_400)
        w.target.answer = fine
        await trio.sleep(2 * 86_400)
        counts = w.spool.counts()
        assert counts.error() == 0
        assert (counts.delivered, counts.dead, counts.pending) == (300, 0, 0)
        assert w.now_ms() > EPOCH_MS
