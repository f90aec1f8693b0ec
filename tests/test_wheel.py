"""The wheel of deadlines, held against a plain list."""

import math

from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.doors.wheel import TICKS, Wheel

ITEMS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("by"), ITEMS, st.floats(0, 20)),
        st.tuples(st.just("remove"), ITEMS, st.just(0.0)),
        st.tuples(st.just("due"), st.just(0), st.floats(0, 3)),
    ),
    max_size=60,
)


@given(STEPS)
def test_what_is_in_comes_out_once_and_within_a_tick_of_its_earliest_time(steps):
    wheel: Wheel[int] = Wheel()
    model: dict[int, float] = {}
    now = 0.0
    for step, item, number in steps:
        if step == "by":
            wheel.by(item, now + number)
            model[item] = min(model.get(item, math.inf), now + number)
        elif step == "remove":
            wheel.remove(item)
            model.pop(item, None)
        else:
            now += number
            found = wheel.due(now)
            assert len(found) == len(set(found))
            for one in found:
                assert model.pop(one) <= now
            assert all(time + 1 / TICKS > now for time in model.values())
        assert len(wheel) == len(model)
        assert wheel.next <= min(model.values(), default=math.inf) + 1 / TICKS


def test_an_empty_wheel_is_due_never():
    assert Wheel().next == math.inf
    assert Wheel().due(1e9) == []
