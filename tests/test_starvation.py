"""Pace and starvation as properties, over any traffic; docs/reliability.md derives the bounds."""

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from dispatch_world import OK, FakeTarget, World, idle_world, running, world
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.events import Outcome, Severity, Throttled, Unavailable
from mcp_ilert.simulation.quiet import quiet
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.rank import CRITICAL_RUN, OLDEST_EVERY

ALONE = Rules(history_bytes=0, digest_below=Severity.LOW)
"""Each alert goes alone: a digest would take most of the traffic away."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
OTHERS = st.sampled_from([Severity.HIGH, Severity.MEDIUM, Severity.LOW])
ROUNDING = 0.01


def live(life: Callable[[], Awaitable[None]]) -> None:
    with quiet():
        trio.run(life, clock=MockClock(autojump_threshold=0))


# Pace -------------------------------------------------------------------------------------------------------------

ANSWERS = st.sampled_from([OK, OK, OK, Throttled(), Throttled(5.0), Unavailable("timeout", certain=False)])
LIVES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 40), st.floats(0, 50)), max_size=4),
        st.sampled_from(["crash", "stop"]),
        st.integers(-3_600_000, 3_600_000),
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(
    per_minute=st.integers(1, 120),
    whole_burst=st.booleans(),
    lives=LIVES,
    answers=st.lists(ANSWERS, min_size=1, max_size=20),
    seconds=st.sampled_from([0.0, 0.2, 9.0]),
)
def test_no_key_sees_more_than_per_minute_requests_in_any_60_seconds_whatever_happens(
    per_minute: int, whole_burst: bool, lives: list[Any], answers: list[Outcome], seconds: float
) -> None:
    """Through crashes, gentle stops, jumps of the wall clock, 429s and outages; the spool is a real file."""
    target = FakeTarget(seconds=seconds)
    target.answer = lambda _d: answers[len(target.ended) % len(answers)]

    async def life(folder: Path) -> None:
        async with idle_world(target, per_minute=per_minute, burst=per_minute if whole_burst else None) as w:
            for traffic, end, jump_ms in lives:
                async with open_spool(folder / "s.db", ALONE, w.wake, w.now_ms, inline=True) as spool:
                    w.spool = spool
                    await one(w, traffic, end)
                w.skew_ms += jump_ms

    async def one(w: World, traffic: list[Any], end: str) -> None:
        w.hire()
        async with running(w):
            for events, pause in traffic:
                await w.put(*(f"k{w.numbers + i}" for i in range(events)))
                await trio.sleep(pause)
            if end == "stop":
                await w.dispatcher.drain(1)

    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        live(lambda: life(Path(name)))
    times = target.times
    minute = 60 - 0.001  # a token counts as whole when a millionth is missing
    assert all(sum(1 for at in times if start <= at < start + minute) <= per_minute for start in times)


# Critical ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    per_minute=st.integers(2, 120),
    storm=st.integers(0, 200),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=CRITICAL_RUN),
    seconds=st.sampled_from([0.0, 0.3, 10.0]),
    places=st.sampled_from([1, 2, 8]),
)
def test_a_critical_event_waits_for_the_next_token_and_one_request_in_flight_at_most(
    per_minute: int, storm: int, gaps: list[float], seconds: float, places: int
) -> None:
    target = FakeTarget(seconds=seconds)

    async def life() -> None:
        async with world(target, rules=ALONE, per_minute=per_minute, max_in_flight=places) as w:
            await w.put(*(f"k{i}" for i in range(storm)))
            for number, gap in enumerate(gaps):
                await trio.sleep(gap)
                at, token = trio.current_time(), track_of(w.dispatcher).tempo.wait(trio.current_time())
                await w.put(f"fire {number}", severity=Severity.CRITICAL)
                while f"fire {number}" not in target.keys:  # noqa: ASYNC110 - virtual time costs nothing
                    await trio.sleep(0.2)
                sent = target.times[target.keys.index(f"fire {number}")]
                assert sent <= at + max(token, seconds) + ROUNDING

    live(life)


def track_of(dispatcher: Dispatcher) -> Any:
    return dispatcher._desk.tracks["default"]


# Starvation -------------------------------------------------------------------------------------------------------

STORMS = st.lists(
    st.tuples(st.integers(0, 8), st.lists(OTHERS, max_size=3), st.floats(0, 8)), min_size=1, max_size=6
)


@settings(max_examples=15, deadline=None)
@given(per_minute=st.integers(30, 120), storms=STORMS)
def test_every_lane_is_sent_within_the_bound_however_many_critical_ones_come(
    per_minute: int, storms: list[tuple[int, list[Severity], float]]
) -> None:
    target = FakeTarget(seconds=0.2)
    burst = max(1, per_minute // 5)
    per_second = max(1, per_minute - burst) / 60
    until: dict[str, float] = {}

    async def life() -> None:
        async with world(target, rules=ALONE, per_minute=per_minute) as w:
            await w.put(*(f"first {i}" for i in range(burst)))  # the burst is spent
            for criticals, others, pause in storms:
                await w.put(*(f"c{w.numbers + i}" for i in range(criticals)), severity=Severity.CRITICAL)
                for severity in others:
                    older = w.spool.counts().lanes
                    key = f"o{w.numbers}"
                    until[key] = trio.current_time() + bound(older, per_second) + ROUNDING
                    await w.put(key, severity=severity)
                await trio.sleep(pause)
            while trio.current_time() < max(until.values(), default=0):  # critical ones come without end
                await w.put(f"c{w.numbers}", f"d{w.numbers}", severity=Severity.CRITICAL)
                await trio.sleep(1 / per_second)

    live(life)
    sent = {delivery.key: at for at, delivery in reversed(target.came)}
    assert {key: until[key] for key in until if sent.get(key, 1e9) > until[key]} == {}


def bound(older: int, per_second: float) -> float:
    """Seconds within which a lane is sent before which so many others wait: docs/reliability.md."""
    tokens = OLDEST_EVERY * (older + 1) + CRITICAL_RUN
    return tokens / per_second
