"""The token bucket, compiled and as plain Python, by the same tests."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fast import load_fast

SECONDS = st.floats(0, 300, allow_nan=False)


@pytest.fixture(params=["compiled", "pure"], scope="module")
def bucket_class(request: pytest.FixtureRequest) -> Any:
    return load_fast("token_bucket", pure=request.param == "pure").TokenBucket


def test_a_full_bucket_gives_its_capacity_at_once_and_then_tells_the_wait(bucket_class: Any) -> None:
    bucket = bucket_class(10, 0.5, 10, 100.0)
    assert [bucket.take(1, 100.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(1, 100.0) == pytest.approx(2.0)


def test_waiting_as_long_as_told_is_enough(bucket_class: Any) -> None:
    bucket = bucket_class(4, 0.25, 0, 0.0)
    wait = bucket.take(3, 0.0)
    assert wait == pytest.approx(12.0)
    assert bucket.take(3, wait - 0.01) > 0
    assert bucket.take(3, wait) == 0.0


def test_a_refused_take_takes_nothing(bucket_class: Any) -> None:
    bucket = bucket_class(5, 1, 2, 0.0)
    assert bucket.take(3, 0.0) > 0
    assert bucket.available(0.0) == 2


def test_more_than_the_capacity_is_never_there(bucket_class: Any) -> None:
    bucket = bucket_class(5, 1, 5, 0.0)
    assert bucket.take(6, 1e6) == float("inf")
    assert bucket.available(1e6) == 5


def test_without_a_refill_the_wait_is_endless(bucket_class: Any) -> None:
    bucket = bucket_class(1, 0, 1, 0.0)
    assert bucket.take(1, 0.0) == 0.0
    assert bucket.take(1, 10.0) == float("inf")


def test_a_clock_that_runs_backwards_grants_nothing_twice(bucket_class: Any) -> None:
    bucket = bucket_class(10, 1, 0, 1000.0)
    assert bucket.available(1005.0) == 5
    assert bucket.available(0.0) == 5
    assert bucket.available(1005.0) == 5
    assert bucket.available(1006.0) == 6
    assert bucket.wait(7, 1000.0) == pytest.approx(7.0), "the clock has to catch up first"


def test_spending_more_than_there_is_leaves_a_debt(bucket_class: Any) -> None:
    bucket = bucket_class(3, 1, 1, 0.0)
    bucket.spend(3, 0.0)
    assert bucket.tokens == -2
    assert bucket.take(1, 0.0) == pytest.approx(3.0)


def test_a_lower_limit_takes_what_is_above_it_and_a_higher_one_gives_nothing(bucket_class: Any) -> None:
    bucket = bucket_class(10, 1, 8, 0.0)
    bucket.limit(3, 0.5, 0.0)
    assert (bucket.tokens, bucket.capacity, bucket.per_second) == (3, 3, 0.5)
    bucket.limit(20, 1, 2.0)
    assert bucket.tokens == 3, "it was full until then"
    assert bucket.available(4.0) == 5


def test_more_tokens_than_the_capacity_are_not_taken_over(bucket_class: Any) -> None:
    assert bucket_class(3, 1, 100, 0.0).tokens == 3


@given(
    capacity=st.integers(1, 60),
    per_second=st.floats(0.01, 20),
    gaps=st.lists(st.tuples(SECONDS, st.integers(1, 5)), max_size=60),
)
def test_over_any_time_no_more_goes_than_capacity_and_refill(
    bucket_class: Any, capacity: int, per_second: float, gaps: list[tuple[float, int]]
) -> None:
    bucket = bucket_class(capacity, per_second, capacity, 0.0)
    now, taken = 0.0, []
    for gap, n in gaps:
        now += gap
        if bucket.take(n, now) == 0.0:
            taken.append((now, n))
    for i, (start, _) in enumerate(taken):
        going = 0
        for at, n in taken[i:]:
            going += n
            assert going <= capacity + per_second * (at - start) + 1e-6


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["take", "spend", "limit", "available"]), st.floats(-50, 50), st.integers(0, 9)
        ),
        max_size=40,
    )
)
@example(
    steps=[("limit", 0.0, 3), ("spend", 0.0, 2), ("available", 3.0, 0)]
)  # by a fused multiply-add: another bit
def test_compiled_and_plain_do_the_same(steps: list[tuple[str, float, int]]) -> None:
    compiled: Any = load_fast("token_bucket", pure=False).TokenBucket(5, 0.5, 5, 0.0)
    plain: Any = load_fast("token_bucket", pure=True).TokenBucket(5, 0.5, 5, 0.0)
    now = 0.0
    for act, gap, n in steps:
        now += gap
        said = []
        for bucket in (compiled, plain):
            match act:
                case "take":
                    said.append(bucket.take(n, now))
                case "spend":
                    said.append(bucket.spend(n, now))
                case "limit":
                    said.append(bucket.limit(n + 1, n / 7, now))
                case _:
                    said.append(bucket.available(now))
        assert said[0] == said[1]
        assert (compiled.tokens, compiled.stamp) == (plain.tokens, plain.stamp)
