"""The circuit of a target: closed, open, half-open."""

from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.dispatch import breaker
from mcp_ilert.dispatch.breaker import GAUGE, OPENS_AT, Closed, HalfOpen, Open


def delay(n: int) -> float:
    return 10.0 * (n + 1)


def fail(circuit: breaker.Breaker, *, probe: bool = False, now: float = 100.0) -> breaker.Breaker:
    return breaker.unavailable(circuit, probe=probe, now=now, delay=delay)


def test_the_fifth_unavailable_answer_in_a_row_opens_it() -> None:
    circuit: breaker.Breaker = Closed()
    for row in range(1, OPENS_AT):
        circuit = fail(circuit)
        assert circuit == Closed(row)
    assert fail(circuit) == Open(0, 110.0)


def test_any_other_answer_ends_the_row_and_closes_it() -> None:
    for circuit in (Closed(4), Open(3, 500.0), HalfOpen(3)):
        assert breaker.answered(circuit) == Closed(0)


def test_a_probe_makes_it_half_open_and_its_failure_opens_it_for_longer() -> None:
    circuit = breaker.probing(Open(2, 90.0))
    assert circuit == HalfOpen(2)
    assert fail(circuit, probe=True) == Open(3, 140.0)


def test_answers_to_what_left_before_it_opened_change_no_probe() -> None:
    assert fail(Open(2, 90.0)) == Open(2, 90.0)
    assert fail(HalfOpen(2)) == HalfOpen(2)


def test_a_probe_of_a_closed_circuit_counts_in_the_row() -> None:
    assert breaker.probing(Closed(1)) == Closed(1)
    assert fail(Closed(1), probe=True) == Closed(2)


def test_a_new_life_may_probe_at_once_where_a_probe_was_on_its_way() -> None:
    assert breaker.resumed(HalfOpen(2), 100.0) == Open(2, 100.0)
    assert breaker.resumed(Open(2, 500.0), 100.0) == Open(2, 500.0)
    assert breaker.resumed(Closed(3), 100.0) == Closed(3)


def test_the_gauge_shows_what_the_contract_says() -> None:
    assert {Closed: 0, HalfOpen: 1, Open: 2} == GAUGE


@given(st.lists(st.sampled_from(["down", "probe down", "answer", "probe"]), max_size=60))
def test_it_is_open_exactly_while_the_last_five_answers_were_unavailable(steps: list[str]) -> None:
    circuit: breaker.Breaker = Closed()
    row = 0
    for step in steps:
        match step:
            case "answer":
                circuit, row = breaker.answered(circuit), 0
            case "probe":
                circuit = breaker.probing(circuit)
            case _:
                circuit, row = fail(circuit, probe=step == "probe down"), row + 1
        assert isinstance(circuit, Closed) is (row < OPENS_AT)
