"""What is known to go wrong elsewhere, by name, and what happens here instead (docs/reliability.md has the table)."""

import pytest
import trio
from trio.testing import MockClock

from dispatch_world import OK, FakeTarget, idle_world, running, world
from mcp_ilert.events import Delivered, Kind, Outcome, Refused, Suspect, Throttled, Unavailable

DAY = 86_400.0
DOWN = Unavailable("timeout", certain=False)


async def test_an_event_is_kept_through_hundreds_of_failed_attempts_and_delivered_in_the_end(
    autojump_clock: MockClock,
) -> None:
    """Elsewhere it is deleted after 100 tries."""
    async with world(max_interval_seconds=60) as w:
        w.target.answer = lambda _: DOWN
        await w.put("a")
        await trio.sleep(DAY / 2)
        assert len(w.target.came) > 300
        w.target.answer = lambda _: OK
        await trio.sleep(2 * DAY)
        counts = w.spool.counts()
        assert (counts.delivered, counts.dead, counts.pending, counts.error()) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    "answer",
    [Refused(401, "no such key"), Refused(403, "KEY_ERROR"), Refused(404, "unknown"), Suspect(404, "")],
)
async def test_no_event_is_given_up_because_the_key_is_refused(
    autojump_clock: MockClock, answer: Outcome
) -> None:
    """Elsewhere a 401, 403 or 404 deletes the event at once."""
    async with world(max_interval_seconds=60) as w:
        w.target.answer = lambda _: answer
        await w.put("a", "b", "c")
        await trio.sleep(DAY)
        assert w.spool.counts().delivered == 0
        w.target.answer = lambda _: OK
        await trio.sleep(DAY)
        counts = w.spool.counts()
        assert (counts.delivered, counts.dead, counts.pending, counts.error()) == (3, 0, 0, 0)


async def test_a_resolve_waits_for_its_alert_that_fails_again_and_again(autojump_clock: MockClock) -> None:
    """Elsewhere the resolve overtakes the alert, which then opens an alert that nobody resolves."""
    async with world(max_interval_seconds=60) as w:
        w.target.answer = lambda d: DOWN if d.kind is Kind.ALERT else OK
        await w.put("a")
        await trio.sleep(1)
        await w.put("a", kind=Kind.RESOLVE)
        await trio.sleep(DAY)
        kinds = [delivery.kind for _, delivery in w.target.came]
        assert kinds[-1] is Kind.RESOLVE
        assert Kind.ALERT not in kinds[kinds.index(Kind.RESOLVE) :]
        counts = w.spool.counts()
        assert (counts.pending, counts.dead, counts.error()) == (0, 0, 0)


async def test_no_retry_after_is_too_long_and_no_429_too_many(autojump_clock: MockClock) -> None:
    """Elsewhere a long Retry-After, or a 429 at all, drops what was to be sent."""
    async with world() as w:
        w.target.script(*[Throttled(36_000.0)] * 20)
        await w.put("a")
        await trio.sleep(2 * DAY)
        assert [delivery.attempts for _, delivery in w.target.came] == [0] * 21, "none costs an attempt"
        assert w.spool.counts().delivered == 1


@pytest.mark.parametrize("answer", [Throttled(36_000.0), Refused(401, "no such key"), DOWN])
async def test_one_key_that_gets_nothing_through_holds_up_no_other(
    autojump_clock: MockClock, answer: Outcome
) -> None:
    """Elsewhere one limited key blocks all others."""
    limited, free = FakeTarget("default"), FakeTarget("ops")
    limited.answer = lambda _: answer
    async with world(limited, free, per_minute=600) as w:
        for i in range(50):
            await w.put(f"a{i}")
            await w.put(f"b{i}", target="ops")
        await trio.sleep(60)
        assert sum(isinstance(free.answer(d), Delivered) for _, d in free.came) == 50
        assert w.spool.counts().delivered == 50


async def test_no_event_is_dropped_because_an_outage_is_long(autojump_clock: MockClock) -> None:
    """Elsewhere what could not be sent for five minutes is dropped, and a restart forgets what was only in memory."""
    async with idle_world(per_minute=600) as w:
        w.target.answer = lambda _: DOWN
        async with running(w):
            await w.put(*(f"k{i}" for i in range(40)))
            await trio.sleep(2 * DAY)
        w.hire()
        w.target.answer = lambda _: OK
        async with running(w):
            await trio.sleep(DAY)
        counts = w.spool.counts()
        assert (counts.delivered, counts.dead, counts.pending, counts.error()) == (40, 0, 0, 0)
