"""Several targets by one key: one pace, one park; and attempts that take more than one request."""

from math import inf

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from dispatch_world import OK, FakeTarget, idle_world, running, world
from mcp_ilert.events import Refused, Severity, Throttled, Unavailable
from mcp_ilert.targets.port import seal

REFUSED = Refused(403, "KEY_ERROR: bad key")


def most_in_a_minute(times: list[float]) -> int:
    """The most requests in any 60 seconds."""
    return max(sum(1 for t in times if at <= t < at + 60) for at in times)


def requests(*targets: FakeTarget) -> list[float]:
    return sorted(at for target in targets for at in (*target.times, *target.left))


@pytest.mark.parametrize(("per_minute", "burst"), [(50, None), (6, None), (6, 6), (3, 1), (50, 50)])
async def test_no_minute_sees_more_requests_than_the_rate_however_many_an_attempt_takes(
    autojump_clock: MockClock, per_minute: int, burst: int | None
) -> None:
    async with world(FakeTarget(requests=3, seconds=0.3), per_minute=per_minute, burst=burst) as w:
        await w.put(*(f"k{i}" for i in range(300)))
        await trio.sleep(600)
        times = requests(w.target)
        assert most_in_a_minute(times) <= per_minute
        refill = max(1, per_minute - (burst or max(1, per_minute // 5)))
        assert len(times) >= 0.9 * refill * 10, "and the pace is used"


async def test_an_attempt_that_takes_fewer_requests_gives_the_tokens_back(autojump_clock: MockClock) -> None:
    target = FakeTarget(requests=3)
    async with world(target, per_minute=60, burst=12) as w:
        target.requests = 1  # what it takes, not what it says: planned with 3 until the next round
        await w.put(*(f"k{i}" for i in range(12)))
        await trio.sleep(0.1)
        assert len(target.times) == 12


async def test_targets_of_one_key_share_its_pace(autojump_clock: MockClock) -> None:
    a, b = (FakeTarget(name, key="api", requests=2) for name in "ab")
    async with world(a, b, FakeTarget("c"), per_minute=20, burst=10) as w:
        for name in ("a", "b", "c"):
            await w.put(*(f"{name}{i}" for i in range(60)), target=name)
        await trio.sleep(300)
        assert most_in_a_minute(requests(a, b)) <= 20
        assert min(len(a.times), len(b.times)) > 10, "and neither starves"
        assert most_in_a_minute(w.targets["c"].times) > 15, "another key has its own"


async def test_the_shared_pace_survives_restarts_whichever_target_was_sent_to(
    autojump_clock: MockClock,
) -> None:
    a, b = FakeTarget("a", key="api"), FakeTarget("b", key="api")
    async with idle_world(a, b, per_minute=20, burst=20) as w:
        await w.put(*(f"a{i}" for i in range(40)), target="a")
        for seconds in (1, 1, 5, 30, 2, 40):
            w.hire()
            async with running(w):
                await w.put(*(f"b{trio.current_time()}-{i}" for i in range(10)), target="b")
                await trio.sleep(seconds)
        assert most_in_a_minute(requests(a, b)) <= 20


async def test_a_key_that_is_refused_parks_all_of_its_targets_and_no_other(autojump_clock: MockClock) -> None:
    a, b, other = FakeTarget("a", key="api"), FakeTarget("b", key="api"), FakeTarget("c")
    async with world(a, b, other) as w:
        a.answer = b.answer = lambda _delivery: REFUSED
        await w.put("k1", target="a")
        await trio.sleep(1)
        await w.put("k2", target="b")
        await w.put("k3", target="c")
        await trio.sleep(1)
        assert (b.times, other.keys) == ([], ["k3"])
        assert [w.metrics.value("parked", target=name) for name in ("a", "b", "c")] == [1, 1, 0]
        a.answer = b.answer = lambda _delivery: OK
        await trio.sleep(700)
        assert w.spool.counts().delivered == 3
        assert w.metrics.value("parked", target="b") == 0


async def test_a_429_pauses_all_targets_of_the_key(autojump_clock: MockClock) -> None:
    a, b = FakeTarget("a", key="api"), FakeTarget("b", key="api")
    async with world(a, b) as w:
        a.script(Throttled(30))
        await w.put("k1", target="a")
        await trio.sleep(1)
        await w.put("k2", target="b")
        await trio.sleep(100)
        assert b.times == pytest.approx([30], abs=0.1)


async def test_circuits_stay_with_their_targets(autojump_clock: MockClock) -> None:
    a, b = FakeTarget("a", key="api"), FakeTarget("b", key="api")
    async with world(a, b) as w:
        a.answer = lambda _delivery: Unavailable("down", certain=True)
        await w.put(*(f"k{i}" for i in range(6)), target="a")
        await trio.sleep(1)
        await w.put("x", target="b")
        await trio.sleep(1)
        assert b.keys == ["x"]
        assert w.metrics.value("circuit", target="b") == 0


async def test_attempts_that_wait_for_tokens_do_not_keep_critical_ones_of_another_key_back(
    autojump_clock: MockClock,
) -> None:
    slow, quick = FakeTarget("slow", requests=3), FakeTarget("quick")
    async with world(slow, quick, per_minute=6, burst=3, max_in_flight=2) as w:
        await w.put(*(f"k{i}" for i in range(20)), target="slow")
        await trio.sleep(100)
        now = trio.current_time()
        await w.put("fire", target="quick", severity=Severity.CRITICAL)
        await trio.sleep(0.1)
        assert min((at for at in quick.times), default=inf) - now < 0.1


async def test_a_target_that_goes_by_another_key_after_a_reload_shares_that_keys_pace(
    autojump_clock: MockClock,
) -> None:
    a, b, moved = FakeTarget("a"), FakeTarget("b", key="api"), FakeTarget("a", key="api")
    async with world(a, b, per_minute=20, burst=20) as w:
        await w.put(*(f"b{i}" for i in range(40)), target="b")
        await trio.sleep(1)
        w.dispatcher.replace({"a": moved, "b": b}, w.settings)
        await w.put(*(f"a{i}" for i in range(40)), target="a")
        await trio.sleep(300)
        assert a.closed == 1
        assert len(moved.times) > 1
        assert most_in_a_minute(requests(b, moved)) <= 20


# A key whose target has another name ------------------------------------------------------------------------------


async def test_a_route_that_is_renamed_over_a_restart_goes_on_at_the_pace_of_its_key(
    autojump_clock: MockClock,
) -> None:
    targets = {name: FakeTarget(name, secret="the key") for name in ("old", "new", "newer")}
    async with idle_world(targets["old"], per_minute=20, burst=20) as w:
        for name in ("old", "new", "newer", "old", "new"):
            w.targets = {name: targets[name]}
            w.hire()
            async with running(w):
                await w.put(*(f"{name}{trio.current_time()}-{i}" for i in range(30)), target=name)
                await trio.sleep(7)
        times = requests(*targets.values())
        assert most_in_a_minute(times) <= 20
        assert len(times) >= 20


async def test_a_route_that_is_renamed_by_a_reload_goes_on_at_the_pace_of_its_key(
    autojump_clock: MockClock,
) -> None:
    targets = {name: FakeTarget(name, secret="the key") for name in ("old", "new")}
    async with world(targets["old"], per_minute=20, burst=20) as w:
        for name in ("new", "old", "new"):
            await w.put(*(f"{trio.current_time()}-{i}" for i in range(30)), target=next(iter(w.targets)))
            await trio.sleep(5)
            w.targets = {name: targets[name]}
            w.dispatcher.replace(w.targets, w.settings)
        await w.put(*(f"last-{i}" for i in range(30)), target="new")
        await trio.sleep(120)
        assert most_in_a_minute(requests(*targets.values())) <= 20


async def test_what_a_renamed_key_was_taught_by_its_429s_is_kept(autojump_clock: MockClock) -> None:
    old, new = FakeTarget("old", secret="the key"), FakeTarget("new", secret="the key")
    old.script(Throttled(30.0))
    async with idle_world(old, per_minute=60) as w:
        await w.put("k", target="old")
        async with running(w):
            await trio.sleep(1)
        w.targets = {"new": new}
        w.hire()
        async with running(w):
            await w.put("k", target="new")
            await trio.sleep(28)
            assert new.times == []
            await trio.sleep(10)
            assert len(new.times) == 1


async def test_a_late_429_under_the_old_name_pauses_the_new_one(autojump_clock: MockClock) -> None:
    old, new = FakeTarget("old", seconds=5, secret="the key"), FakeTarget("new", secret="the key")
    old.script(Throttled(30.0))
    async with world(old, per_minute=60) as w:
        await w.put("k", target="old")
        await trio.sleep(1)
        w.dispatcher.replace({"new": new}, w.settings)
        await w.put("before", target="new")
        await trio.sleep(5)
        assert new.keys == ["before"]
        await w.put("after", target="new")
        await trio.sleep(28)
        assert new.keys == ["before"]
        (known,) = w.dispatcher.standings()
        assert (known.held, known.per_minute) == ("throttled", 30)
        await trio.sleep(10)
        assert new.keys == ["before", "after"]


async def test_what_the_new_name_was_taught_is_not_forgotten_by_an_answer_under_the_old_one(
    autojump_clock: MockClock,
) -> None:
    old, new = FakeTarget("old", seconds=10, secret="the key"), FakeTarget("new", secret="the key")
    new.script(Throttled(60.0))
    async with world(old, per_minute=60) as w:
        await w.put("k", target="old")
        await trio.sleep(1)
        w.dispatcher.replace({"new": new}, w.settings)
        await w.put("x", target="new")
        await trio.sleep(12)
        assert old.ended == ["k"]
        (known,) = w.dispatcher.standings()
        assert (known.held, known.per_minute) == ("throttled", 30)


async def test_a_late_answer_under_the_old_name_teaches_no_other_key(autojump_clock: MockClock) -> None:
    old, other = FakeTarget("old", seconds=5, secret="the key"), FakeTarget("other", secret="another key")
    old.script(Throttled(30.0))
    async with world(old, per_minute=60) as w:
        await w.put("k", target="old")
        await trio.sleep(1)
        w.dispatcher.replace({"other": other}, w.settings)
        await trio.sleep(6)
        await w.put("x", target="other")
        await trio.sleep(1)
        assert "x" in other.keys


async def test_a_key_refused_late_under_the_old_name_is_parked_under_the_new_one(
    autojump_clock: MockClock,
) -> None:
    old, new = FakeTarget("old", seconds=5, secret="the key"), FakeTarget("new", secret="the key")
    old.script(Refused(401, ""))
    async with world(old) as w:
        await w.put("k", target="old")
        await trio.sleep(1)
        w.dispatcher.replace({"new": new}, w.settings)
        await trio.sleep(5)
        (known,) = w.dispatcher.standings()
        assert known.parked == 401
        assert (w.metrics.value("parked", target="new"), w.metrics.value("parked", target="old")) == (1, 0)


async def test_a_new_key_begins_with_its_whole_burst_and_an_old_name_no_later_than_it_would(
    autojump_clock: MockClock,
) -> None:
    old, other = FakeTarget("old", secret="the key"), FakeTarget("other", secret="another key")
    async with idle_world(old, per_minute=20, burst=20) as w:
        async with running(w):
            await w.put(*(f"k{i}" for i in range(30)), target="old")
            await trio.sleep(1)
        w.targets = {"other": other}
        w.hire()
        async with running(w):
            await w.put(*(f"o{i}" for i in range(30)), target="other")
            await trio.sleep(0.1)
            assert len(other.times) == 20


async def test_of_a_key_the_spool_has_two_bytes_that_nobody_can_check_a_guess_by() -> None:
    async with idle_world(FakeTarget("a", secret="abc")) as w:
        async with running(w):
            await w.put("k", target="a")
            await trio.testing.wait_all_tasks_blocked()
        saved = msgspec.msgpack.decode((await w.spool.records())["a"].state)
        assert (len(saved["key"]), len(saved["salt"])) == (2, 16)
        assert saved["key"] == seal("abc", saved["salt"])[:2]
        assert sum(seal(f"guess {i}", saved["salt"])[:2] == saved["key"] for i in range(300_000)) > 1
