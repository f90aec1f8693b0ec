"""How fast requests may leave for a key: the contract's pace, over any life of the process."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert.dispatch import pace
from mcp_ilert.dispatch.pace import Learnt, Pace, Rate, limits, rate
from mcp_ilert.dispatch.state import TargetState, decode, encode

RATES = st.integers(1, 120).flatmap(
    lambda n: st.builds(rate, st.just(n), st.one_of(st.none(), st.integers(1, n)))
)


class Life:
    """One key over many lives of the process, with a steady clock within each and a wall clock that jumps."""

    def __init__(self, chosen: Rate) -> None:
        self.rate = chosen
        self.now = 0.0
        self.wall_ms = 10**12
        self.learnt = Learnt()
        self.pace = Pace(*limits(chosen, self.learnt, self.now), None, self.now)
        self.blob = self.save()
        self.planned = 0
        self.left: list[float] = []

    def save(self) -> bytes:
        state = TargetState(learnt=self.learnt)
        return encode(state, self.pace.saved(self.now), 0.0, self.now, self.wall_ms)

    def plan(self, n: int) -> None:
        """As the scheduler does: reserve, then commit, then send what was leased."""
        self.pace.limit(*limits(self.rate, self.learnt, self.now), self.now)
        n = min(n, self.pace.available(self.now))
        self.pace.reserve(n)
        self.blob = self.save()
        self.planned += n

    def send(self) -> None:
        for _ in range(self.planned):
            self.pace.depart(self.now)
            self.left.append(self.now)
        self.planned = 0

    def unused(self) -> None:
        self.pace.release(self.planned)
        self.planned = 0

    def answer(self, *, throttle: bool, retry_after: float | None) -> None:
        if throttle:
            self.learnt = pace.throttled(self.learnt, self.rate.per_minute, retry_after, self.now, self.now)
        else:
            self.learnt = pace.answered(self.learnt, self.now)
        self.blob = self.save()

    def restart(self) -> None:
        saved = decode(self.blob, self.now, self.wall_ms)
        assert saved is not None
        self.learnt = saved.state.learnt
        self.pace = Pace(*limits(self.rate, self.learnt, self.now), saved.tokens, self.now)
        self.planned = 0

    def most_in_a_minute(self) -> int:
        return max(
            (sum(1 for at in self.left[i:] if at < start + 60 - 1e-6) for i, start in enumerate(self.left)),
            default=0,
        )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.one_of(st.floats(0, 5), st.floats(0, 130))),
        st.tuples(st.just("plan"), st.integers(1, 60)),
        st.tuples(st.just("send"), st.none()),
        st.tuples(st.just("unused"), st.none()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("jump"), st.integers(-(10**8), 10**8)),
        st.tuples(st.just("429"), st.one_of(st.none(), st.floats(0, 10))),
        st.tuples(st.just("2xx"), st.none()),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(chosen=RATES, steps=STEPS)
def test_never_more_than_per_minute_leave_in_any_60_seconds(
    chosen: Rate, steps: list[tuple[str, Any]]
) -> None:
    life = Life(chosen)
    for act, value in steps:
        match act:
            case "wait":
                life.now += value
                life.wall_ms += round(value * 1000)
            case "plan":
                life.plan(value)
            case "send":
                life.send()
            case "unused":
                life.unused()
            case "restart":
                life.restart()
            case "jump":
                life.wall_ms += value
            case _:
                life.answer(throttle=act == "429", retry_after=value)
    assert life.most_in_a_minute() <= chosen.per_minute


@given(chosen=RATES)
def test_a_key_that_never_rests_gets_its_whole_rate_over_time(chosen: Rate) -> None:
    life = Life(chosen)
    while life.now < 600:
        life.plan(1000)
        life.send()
        life.now += life.pace.wait(life.now)
    refill = max(1, chosen.per_minute - chosen.burst)
    assert len(life.left) >= chosen.burst + refill * 10 - 1


@given(chosen=RATES)
def test_what_was_spent_survives_a_crash_before_the_request_left(chosen: Rate) -> None:
    life = Life(chosen)
    life.plan(1000)
    life.wall_ms += 10**10
    life.restart()
    assert life.pace.available(life.now) == 0


def test_a_bucket_waits_for_what_is_reserved_too() -> None:
    bucket = Pace(10, 1.0, None, 0.0)
    bucket.reserve(10)
    assert bucket.available(0.0) == 0
    assert bucket.wait(0.0) == math.inf, "not before something leaves or is given back"
    bucket.depart(0.0)
    assert bucket.wait(0.0) == pytest.approx(1.0)


def test_defaults_follow_the_contract() -> None:
    assert rate(50) == Rate(50, 10)
    assert rate(3) == Rate(3, 1)
    assert limits(rate(50), Learnt(), 0.0) == (10, 40 / 60)
    assert limits(rate(50, 50), Learnt(), 0.0) == (50, 1 / 60)


def test_a_429_pauses_for_a_minute_where_it_does_not_say_how_long() -> None:
    assert pace.throttled(Learnt(), 50, None, 100.0, 101.0).paused_until == 161.0


@pytest.mark.parametrize(("said", "pause"), [(30.0, 30.0), (0.0, 1.0), (1e9, 3600.0)])
def test_a_retry_after_is_kept_within_bounds(said: float, pause: float) -> None:
    assert pace.throttled(Learnt(), 50, said, 100.0, 100.0).paused_until == 100.0 + pause


def test_the_budget_is_halved_by_a_429() -> None:
    learnt = pace.throttled(Learnt(), 50, None, 0.0, 0.0)
    assert pace.budget(learnt, 50, 0.0) == 25
    assert limits(rate(50), learnt, 0.0) == (5, 20 / 60)


def test_the_budget_is_not_below_what_was_answered_2xx_in_the_minute_before() -> None:
    learnt = Learnt()
    for second in range(100):
        learnt = pace.answered(learnt, float(second))
    learnt = pace.throttled(learnt, 200, None, 99.0, 99.0)
    assert pace.budget(learnt, 200, 99.0) == 100, "half is more than the 60"
    learnt = Learnt()
    for second in range(40):
        learnt = pace.answered(learnt, float(second))
    assert pace.budget(pace.throttled(learnt, 50, None, 40.0, 40.0), 50, 40.0) == 40


def test_the_budget_never_falls_below_one_and_then_the_burst_is_one() -> None:
    learnt, now = Learnt(), 0.0
    for _ in range(20):
        learnt = pace.throttled(learnt, 50, None, now, now)
        now += 1.0
    assert pace.budget(learnt, 50, now) == 1
    assert limits(rate(50), learnt, now) == (1, 1 / 60)


def test_each_minute_without_a_429_gives_back_a_tenth_of_the_rate() -> None:
    learnt = pace.throttled(Learnt(), 50, None, 0.0, 0.0)
    assert [pace.budget(learnt, 50, t) for t in (59.9, 60.0, 120.0, 299.0, 300.0, 9999.0)] == [
        25,
        30,
        35,
        45,
        50,
        50,
    ]


def test_429s_to_requests_that_had_left_before_the_pause_count_once() -> None:
    learnt = pace.throttled(Learnt(), 50, None, 10.0, 11.0)
    learnt = pace.throttled(learnt, 50, 90.0, 10.5, 12.0)
    assert learnt.budget == 25
    assert learnt.paused_until == 102.0, "but the longer pause holds"
    learnt = pace.throttled(learnt, 50, None, 103.0, 103.5)
    assert pace.budget(learnt, 50, 103.5) == 15, "a request that left after it halves what has grown since"


@given(before=st.floats(1, 50), at=st.floats(0, 1000))
def test_the_budget_only_grows_between_429s(before: float, at: float) -> None:
    learnt = Learnt(budget=before, since=0.0)
    assert before <= pace.budget(learnt, 50, at) <= pace.budget(learnt, 50, at + 60) <= 50


def test_the_shared_bucket_of_the_address_stays_below_700_a_minute() -> None:
    capacity, per_second = limits(rate(pace.ADDRESS_PER_MINUTE), Learnt(), 0.0)
    assert capacity + per_second * 60 < 700
