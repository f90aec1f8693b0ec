"""The dispatcher on virtual time: an event is on its way at once, in order, at the pace, first things first."""

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dispatch_world import OK, FakeTarget, idle_world, running, world
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.errors import McpIlertError, UnavailableError
from mcp_ilert.events import Delivery, Kind, Rejected, Severity, Throttled, Unavailable
from mcp_ilert.spool.port import Replay, Retarget, TargetRecord

DOWN = Unavailable("connect error", certain=True)


async def test_an_event_is_on_its_way_in_the_instant_of_its_commit(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(1000)
        await w.put("a")
        await trio.sleep(0.001)
        assert w.target.times == [1000]
        assert w.spool.counts().delivered == 1


async def test_nothing_is_asked_of_the_spool_while_nothing_happens(autojump_clock: MockClock) -> None:
    async with world() as w:
        await w.put("a")
        await trio.sleep(1)
        asked = 0
        lease = w.spool.lease

        async def counted(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            return await lease(*args)

        w.patch(lease=counted)
        await trio.sleep(80_000)
        assert asked == 0


async def test_what_waited_before_the_start_is_sent(autojump_clock: MockClock) -> None:
    async with idle_world() as w:
        await w.put("a", "b")
        async with running(w):
            await trio.sleep(1)
            assert sorted(w.target.keys) == ["a", "b"]


async def test_operations_of_a_lane_go_one_at_a_time_and_in_order(autojump_clock: MockClock) -> None:
    async with world(FakeTarget(seconds=3)) as w:
        await w.put("a")
        await trio.sleep(1)
        await w.put("a", kind=Kind.RESOLVE)
        await trio.sleep(10)
        assert [(at, d.kind) for at, d in w.target.came] == [(0, Kind.ALERT), (3, Kind.RESOLVE)]
        assert w.target.most_flying == 1


async def test_the_burst_goes_at_once_and_the_rest_at_the_refill(autojump_clock: MockClock) -> None:
    async with world(per_minute=50) as w:
        await w.put(*(f"k{i}" for i in range(30)))
        await trio.sleep(120)
        assert w.target.times[:10] == [0] * 10
        gaps = [b - a for a, b in zip(w.target.times[9:], w.target.times[10:], strict=False)]
        assert gaps == pytest.approx([1.5] * 20, abs=0.01)


async def test_no_minute_sees_more_requests_than_the_rate_even_over_restarts(
    autojump_clock: MockClock,
) -> None:
    async with idle_world(per_minute=20, burst=20) as w:
        await w.put(*(f"k{i}" for i in range(100)))
        for seconds in (1, 1, 20, 5, 61, 3):
            w.hire()
            async with running(w):
                await trio.sleep(seconds)
            w.skew_ms += 3_600_000
        times = w.target.times
        assert len(times) >= 20
        assert max(sum(1 for t in times if s <= t < s + 60) for s in times) <= 20


async def test_no_more_than_max_in_flight_at_once_and_one_place_is_kept_for_critical(
    autojump_clock: MockClock,
) -> None:
    async with world(FakeTarget(seconds=30), max_in_flight=4, per_minute=600) as w:
        await w.put(*(f"k{i}" for i in range(20)))
        await trio.sleep(1)
        assert w.target.flying == 3
        await w.put("fire", severity=Severity.CRITICAL)
        await trio.sleep(0.01)
        assert w.target.keys[-1] == "fire"
        assert w.target.times[-1] == 1
        await trio.sleep(600)
        assert w.target.most_others == 3
        assert w.spool.counts().delivered == 21


async def test_with_a_single_place_everything_still_goes(autojump_clock: MockClock) -> None:
    async with world(max_in_flight=1) as w:
        await w.put("a", "b")
        await w.put("c", severity=Severity.CRITICAL)
        await trio.sleep(10)
        assert sorted(w.target.keys) == ["a", "b", "c"]
        assert w.target.most_flying == 1


async def test_a_critical_event_in_a_storm_takes_the_next_free_token(autojump_clock: MockClock) -> None:
    async with world(per_minute=50) as w:
        await w.put(*(f"k{i}" for i in range(500)))
        await trio.sleep(60.1)
        await w.put("fire", severity=Severity.CRITICAL)
        before = len(w.target.came)
        await trio.sleep(1.5)
        assert w.target.keys[before] == "fire"


async def test_targets_have_a_pace_each(autojump_clock: MockClock) -> None:
    async with world(FakeTarget("default"), FakeTarget("ops"), per_minute=10) as w:
        await w.put("a", "b", "c", "d")
        await w.put("a", "b", "c", "d", target="ops")
        await trio.sleep(0.5)
        assert [len(t.came) for t in w.targets.values()] == [2, 2]


async def test_all_targets_together_stay_below_the_limit_of_the_address(autojump_clock: MockClock) -> None:
    targets = [FakeTarget("default"), *(FakeTarget(f"t{i}") for i in range(4))]
    async with world(*targets, per_minute=600, burst=600, max_in_flight=64) as w:
        for target in w.targets:
            await w.put(*(f"k{i}" for i in range(160)), target=target)
        await trio.sleep(55)
        assert 600 < sum(len(target.came) for target in targets) < 700
        await trio.sleep(60)
        assert w.spool.counts().delivered == 800


async def test_what_was_spent_of_the_limit_of_the_address_survives_restarts(
    autojump_clock: MockClock,
) -> None:
    targets = [FakeTarget("default"), *(FakeTarget(f"t{i}") for i in range(4))]
    async with idle_world(*targets, per_minute=600, burst=600, max_in_flight=64) as w:
        for target in w.targets:
            await w.put(*(f"k{i}" for i in range(400)), target=target)
        for seconds in (5, 1, 20, 1, 1, 40, 60):
            w.hire()
            async with running(w):
                await trio.sleep(seconds)
            w.skew_ms += 3_600_000
        times = sorted(at for target in targets for at in target.times)
        assert len(times) > 700
        assert all(sum(1 for at in times if start <= at < start + 60) < 700 for start in times)


async def test_one_target_that_hangs_does_not_hold_up_another_for_ever(autojump_clock: MockClock) -> None:
    slow, quick = FakeTarget("default", seconds=10), FakeTarget("ops")
    slow.answer = lambda _d: Unavailable("timeout", certain=False)
    async with world(slow, quick, per_minute=600) as w:
        await w.put(*(f"k{i}" for i in range(50)))
        await trio.sleep(1)
        await w.put("x", target="ops")
        await trio.sleep(30)
        assert quick.keys == ["x"]


async def test_a_target_that_fails_slowly_leaves_another_its_share_of_the_places(
    autojump_clock: MockClock,
) -> None:
    """The failing one looks urgent each time that it gives a place back; the other has a backlog and nothing new."""
    slow, quick = FakeTarget("default", seconds=10), FakeTarget("ops")
    slow.answer = lambda _d: Rejected(400, "no")
    async with world(slow, quick, per_minute=600, burst=600) as w:
        for i in range(120):  # one by one, so that its places come free one by one
            await w.put(f"k{i}")
            await trio.sleep(0.43)
        before = len(slow.came)
        await w.put(*(f"x{i}" for i in range(40)), target="ops")
        await trio.sleep(100)
        assert len(quick.came) >= 35
        assert len(slow.came) - before >= 35


async def test_a_failed_attempt_is_made_again_after_its_backoff(autojump_clock: MockClock) -> None:
    async with world(chance=0.5) as w:
        w.target.script(DOWN, DOWN)
        await w.put("a")
        await trio.sleep(60)
        assert w.target.times == pytest.approx([0, 1, 3], abs=0.01)
        assert [d.attempts for _, d in w.target.came] == [0, 1, 2]
        assert w.metrics.value("out_retries_total", reason="unavailable") == 2


async def test_a_rejected_operation_has_one_more_attempt_and_is_then_a_dead_letter(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.target.answer = lambda _d: Rejected(400, "no")
        await w.put("a")
        await trio.sleep(60)
        assert len(w.target.came) == 2
        assert w.spool.counts().dead == 1
        assert w.metrics.value("out_failed_total", reason="rejected") == 1
        assert w.metrics.value("out_retries_total", reason="rejected") == 1


async def test_a_dead_letter_that_is_replayed_is_sent_at_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.target.answer = lambda _d: Rejected(400, "no")
        await w.put("a")
        await trio.sleep(60)
        w.target.answer = lambda _d: OK
        await w.spool.change(Replay(None), w.now_ms())
        await trio.sleep(0.1)
        assert w.spool.counts().dead == 0
        assert w.spool.counts().delivered == 1


async def test_a_429_pauses_the_key_costs_no_attempt_and_halves_the_pace(autojump_clock: MockClock) -> None:
    async with world(per_minute=50) as w:
        w.target.script(Throttled())
        await w.put("a")
        await trio.sleep(59.9)
        assert len(w.target.came) == 1
        assert w.metrics.value("rate_limited_total", target="default") == 1
        await trio.sleep(0.2)
        assert w.target.came[1][1].attempts == 0
        assert w.spool.counts().delivered == 1
        await w.put(*(f"k{i}" for i in range(8)))
        await trio.sleep(0.1)
        assert len(w.target.came) - 2 == 4, (
            "the burst of the learnt budget (25 // 5), less the one just spent"
        )


async def test_a_429_at_one_target_does_not_pause_another(autojump_clock: MockClock) -> None:
    async with world(FakeTarget("default"), FakeTarget("ops")) as w:
        w.target.script(Throttled(600.0))
        await w.put("a")
        await trio.sleep(1)
        await w.put("b", target="ops")
        await w.put("c")
        await trio.sleep(1)
        assert w.targets["ops"].keys == ["b"]
        assert w.target.keys == ["a"]
        await trio.sleep(600)
        assert sorted(w.target.keys) == ["a", "a", "c"]


async def test_the_learnt_budget_and_the_pause_survive_a_restart(autojump_clock: MockClock) -> None:
    async with idle_world(per_minute=50) as w:
        await w.put("a")
        w.target.script(Throttled(100.0))
        async with running(w):
            await trio.sleep(10)
        w.hire()
        async with running(w):
            await trio.sleep(89)
            assert len(w.target.came) == 1
            await trio.sleep(2)
            assert len(w.target.came) == 2
            await w.put(*(f"k{i}" for i in range(20)))
            await trio.sleep(0.1)
            assert len(w.target.came) <= 2 + 5


async def test_a_jump_of_the_wall_clock_holds_up_nothing_that_waits_for_the_steady_one(
    autojump_clock: MockClock,
) -> None:
    async with world(per_minute=50) as w:
        w.target.script(Throttled(30.0))
        await w.put("a")
        await trio.sleep(1)
        w.skew_ms -= 86_400_000
        await trio.sleep(30)
        assert len(w.target.came) == 2


async def test_a_paused_target_sends_nothing_until_it_is_resumed_even_over_a_restart(
    autojump_clock: MockClock,
) -> None:
    async with idle_world() as w:
        async with running(w):
            await w.dispatcher.pause("default")
            await w.put("a")
            await trio.sleep(100)
            assert w.dispatcher.notes() == [
                "target default: paused by an operator; resume it to deliver",
            ]
        w.hire()
        async with running(w):
            await trio.sleep(100)
            assert w.target.came == []
            await w.dispatcher.resume("default")
            await trio.sleep(0.1)
            assert w.target.keys == ["a"]
            assert w.dispatcher.notes() == []


async def test_a_target_that_is_paused_while_its_record_is_being_read_stays_paused(
    autojump_clock: MockClock,
) -> None:
    async with idle_world() as w:
        read = w.spool.records

        async def read_slowly() -> Mapping[str, TargetRecord]:
            records = await read()
            await trio.sleep(5)
            return records

        w.patch(records=read_slowly)
        async with running(w):
            await w.dispatcher.pause("default")
            await w.put("a")
            await trio.sleep(100)
            assert w.target.came == []
            await w.dispatcher.resume("default")
            await trio.sleep(0.1)
            assert w.target.keys == ["a"]


async def test_pausing_a_target_that_does_not_exist_says_which_do(autojump_clock: MockClock) -> None:
    async with world() as w:
        with pytest.raises(McpIlertError, match="target nope: there is none of this name; known are default"):
            await w.dispatcher.pause("nope")


async def test_draining_lets_attempts_end_and_starts_no_more(autojump_clock: MockClock) -> None:
    async with world(FakeTarget(seconds=5), max_in_flight=3) as w:
        await w.put("a", "b", "c", "d")
        await trio.sleep(1)
        await w.dispatcher.drain(8)
        assert trio.current_time() == 5
        assert sorted(w.target.ended) == ["a", "b"]
        assert w.spool.counts().delivered == 2
        await w.put("e")
        await trio.sleep(10)
        assert len(w.target.came) == 2


async def test_draining_gives_up_on_an_attempt_that_outlasts_the_grace_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with idle_world(FakeTarget(seconds=60)) as w:
        async with running(w):
            await w.put("a")
            await trio.sleep(1)
            await w.dispatcher.drain(8)
            assert trio.current_time() <= 10.1
        assert w.spool.counts().pending == 1
        assert w.target.closed == 1


async def test_a_stop_while_a_lease_is_being_committed_ends_quietly_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with idle_world() as w:
        lease = w.spool.lease

        async def slowly(*asked: Any) -> Any:
            with trio.CancelScope(shield=True):  # as in the spool: who is cancelled gets it all the same
                await trio.sleep(5)
                return await lease(*asked)

        w.patch(lease=slowly)
        async with running(w):
            await w.put("a")
            await trio.sleep(1)
        assert w.spool.counts().pending == 1
        assert w.target.ended == []


async def test_a_drained_dispatcher_ends_its_run(autojump_clock: MockClock) -> None:
    async with idle_world() as w, trio.open_nursery() as nursery:
        nursery.start_soon(w.dispatcher.run)
        await trio.testing.wait_all_tasks_blocked()
        await w.dispatcher.drain(8)
    assert w.target.closed == 1


async def test_a_dispatcher_that_is_not_running_has_nothing_to_drain(autojump_clock: MockClock) -> None:
    async with idle_world() as w:
        await w.dispatcher.drain(8)
        assert trio.current_time() == 0


async def test_a_spool_that_cannot_lease_or_settle_for_a_while_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        ill = True
        spool = w.spool
        lease, settle = spool.lease, spool.settle

        async def failing_lease(*args: Any) -> Any:
            if ill:
                raise UnavailableError("disk full")
            return await lease(*args)

        async def failing_settle(*args: Any) -> Any:
            if ill:
                raise UnavailableError("disk full")
            return await settle(*args)

        w.patch(lease=failing_lease)
        await w.put("a")
        await trio.sleep(30)
        assert w.target.came == []
        w.patch(lease=lease, settle=failing_settle)
        await trio.sleep(30)
        assert w.target.keys == ["a"]
        assert w.metrics.value("out_success_total") == 0, "counted when it is on disk"
        ill = False
        await trio.sleep(10)
        assert w.target.keys == ["a"]
        assert w.spool.counts().delivered == 1
        assert w.metrics.value("out_success_total") == 1


async def test_tokens_of_a_lease_that_failed_are_not_lost(autojump_clock: MockClock) -> None:
    async with world(per_minute=50) as w:
        lease = w.spool.lease
        failures = iter([True] * 5)

        async def failing(*args: Any) -> Any:
            if next(failures, False):
                raise UnavailableError("disk full")
            return await lease(*args)

        w.patch(lease=failing)
        await w.put(*(f"k{i}" for i in range(10)))
        await trio.sleep(10)
        assert len(w.target.came) == 10


async def test_settlements_that_arrive_during_a_commit_go_together_in_the_next(
    autojump_clock: MockClock,
) -> None:
    async with world(max_in_flight=8) as w:
        batches = []
        settle = w.spool.settle

        async def slow(settlements: Any, *args: Any) -> Any:
            batches.append(len(settlements))
            await trio.sleep(1)
            return await settle(settlements, *args)

        w.patch(settle=slow)
        w.target.seconds = 0.1
        await w.put("a")
        await trio.sleep(0.5)
        await w.put("b", "c", "d")
        await trio.sleep(10)
        assert batches == [1, 3]


async def test_a_mistake_in_a_target_neither_ends_the_bridge_nor_loses_the_operation(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        answers = iter([ZeroDivisionError("oops")])

        def answer(_delivery: Delivery) -> Any:
            for error in answers:
                raise error
            return OK

        w.target.answer = answer
        await w.put("a")
        await trio.sleep(10)
        assert w.target.keys == ["a", "a"]
        assert w.spool.counts().delivered == 1


async def test_a_reload_takes_new_targets_and_closes_old_ones_behind_their_last_attempt(
    autojump_clock: MockClock,
) -> None:
    old = FakeTarget(seconds=5)
    async with world(old) as w:
        await w.put("a")
        await trio.sleep(1)
        new, more = FakeTarget(), FakeTarget("ops")
        w.dispatcher.replace({"default": new, "ops": more}, w.settings)
        await w.put("b")
        await w.put("c", target="ops")
        await trio.sleep(1)
        assert (new.keys, more.keys, old.closed) == (["b"], ["c"], 0)
        await trio.sleep(10)
        assert (old.ended, old.closed, new.closed) == (["a"], 1, 0)


async def test_a_reload_keeps_what_was_spent(autojump_clock: MockClock) -> None:
    async with world(per_minute=50) as w:
        await w.put(*(f"k{i}" for i in range(10)))
        await trio.sleep(0.1)
        w.dispatcher.replace(w.targets, w.settings)
        await w.put("late")
        await trio.sleep(1)
        assert len(w.target.came) == 10


async def test_a_removed_target_gets_nothing_more(autojump_clock: MockClock) -> None:
    async with world(FakeTarget("default"), FakeTarget("ops")) as w:
        gone = w.targets["ops"]
        w.dispatcher.replace({"default": w.target}, w.settings)
        await w.put("a", target="ops")
        await trio.sleep(100)
        assert (gone.came, gone.closed) == ([], 1)


async def test_what_a_removed_target_had_in_flight_moves_if_it_is_not_delivered(
    autojump_clock: MockClock,
) -> None:
    gone = FakeTarget("ops", seconds=5)
    gone.answer = lambda _d: DOWN
    async with world(FakeTarget("default"), gone) as w:
        await w.put("a", target="ops")
        await trio.sleep(1)
        w.dispatcher.replace({"default": w.target}, w.settings)
        await w.spool.change(Retarget(("default",)), w.now_ms())
        await trio.sleep(10)
        assert (gone.keys, w.target.keys) == (["a"], ["a"])
        assert w.spool.counts().delivered == 1


async def test_what_came_behind_the_last_request_of_a_removed_target_moves(
    autojump_clock: MockClock,
) -> None:
    gone = FakeTarget("ops", seconds=5)
    async with world(FakeTarget("default"), gone) as w:
        await w.put("a", target="ops", kind=Kind.RESOLVE)
        await trio.sleep(1)
        w.dispatcher.replace({"default": w.target}, w.settings)
        await w.spool.change(Retarget(("default",)), w.now_ms())
        await w.put("a", target="ops")
        await trio.sleep(10)
        assert [(d.key, d.kind) for _, d in w.target.came] == [("a", Kind.ALERT)]


async def test_latency_is_told_from_the_acceptance_of_the_oldest_event(autojump_clock: MockClock) -> None:
    async with world(FakeTarget(seconds=2)) as w:
        await w.put("a")
        await trio.sleep(10)
        assert w.metrics.value("latency_sum") == pytest.approx(2, abs=0.01)


async def test_the_gauge_of_tokens_tells_the_present_also_when_nothing_happens(
    autojump_clock: MockClock,
) -> None:
    async with world(per_minute=50) as w:
        await w.put(*(f"k{i}" for i in range(10)))
        await trio.sleep(0.1)
        assert w.metrics.value("tokens", target="default") == 0
        await trio.sleep(60)
        assert w.metrics.value("tokens", target="default") == 10


async def test_an_unreadable_state_is_replaced_and_the_pace_starts_from_nothing(
    autojump_clock: MockClock,
) -> None:
    async with idle_world(per_minute=50) as w:
        await w.spool.settle((), {"default": b"\xc1 from elsewhere"}, w.now_ms())
        await w.put("a")
        async with running(w):
            await trio.sleep(1)
            assert w.target.came == []
            await trio.sleep(1)
            assert w.target.keys == ["a"]


async def test_a_wake_before_the_run_is_not_lost(autojump_clock: MockClock) -> None:
    async with idle_world() as w:
        assert isinstance(w.dispatcher, Dispatcher)
        w.dispatcher.wake(frozenset({"default", "unknown"}))
        await w.put("a")
        async with running(w):
            await trio.sleep(1)
            assert w.target.keys == ["a"]
