"""What becomes of an operation, and of its target, after each answer: the contract's rules, for all inputs."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilert_world import T0, delivery
from mcp_ilert.dispatch import policy, state
from mcp_ilert.dispatch.breaker import Closed, HalfOpen, Open
from mcp_ilert.dispatch.pace import Learnt, rate
from mcp_ilert.dispatch.park import Park
from mcp_ilert.dispatch.policy import Moment, Reason, backoff, decide
from mcp_ilert.dispatch.recovery import Recovery
from mcp_ilert.dispatch.rules import Rules
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Delivered,
    Delivery,
    Done,
    Outcome,
    Refused,
    Rejected,
    Suspect,
    Throttled,
    Unavailable,
)

RULES = Rules(rate(50), max_attempts=5, base_interval=2.0, max_interval=300.0, max_in_flight=8)
AT = Moment(1000.0, T0, 999.0)
DOWN = Unavailable("timeout", certain=False)

TIMES = st.floats(0, 2000, allow_nan=False)
OUTCOMES = st.one_of(
    st.just(Delivered(202)),
    st.builds(Unavailable, st.just("down"), st.booleans()),
    st.builds(Throttled, st.one_of(st.none(), st.floats(0, 1e5))),
    st.builds(Refused, st.sampled_from([401, 402, 403, 404]), st.just("no")),
    st.builds(Suspect, st.sampled_from([403, 404]), st.just("no")),
    st.builds(Rejected, st.sampled_from([302, 400, 413, 422]), st.just("no")),
)
STATES = st.builds(
    TargetState,
    learnt=st.builds(Learnt, st.one_of(st.none(), st.floats(1, 50)), TIMES, TIMES, TIMES),
    breaker=st.one_of(
        st.builds(Closed, st.integers(0, 4)),
        st.builds(Open, st.integers(0, 99), TIMES),
        st.builds(HalfOpen, st.integers(0, 99)),
    ),
    park=st.builds(
        Park,
        st.one_of(st.none(), st.sampled_from([401, 403])),
        TIMES,
        st.dictionaries(st.sampled_from([403, 404]), st.sampled_from(["evt-1", "other"])),
    ),
    recovery=st.builds(Recovery, st.booleans(), st.integers(0, 9), TIMES, TIMES),
)
DELIVERIES = st.builds(
    lambda attempts, rejections, revivals, probe: delivery(
        attempts=attempts, rejections=rejections, revivals=revivals, probe=probe
    ),
    st.integers(0, 4),
    st.integers(0, 1),
    st.integers(0, 70),
    st.booleans(),
)
CHANCE = st.floats(0, 1, exclude_max=True)


def judged(outcome: Outcome, target: TargetState = TargetState(), chance: float = 0.5, **values: Any) -> Any:  # noqa: B008 - frozen
    return decide(outcome, delivery(**values), target, RULES, AT, lambda: chance)


@given(OUTCOMES, DELIVERIES, STATES, CHANCE)
def test_whatever_comes_there_is_a_decision_within_bounds(
    outcome: Outcome, one: Delivery, target: TargetState, chance: float
) -> None:
    verdict = decide(outcome, one, target, RULES, AT, lambda: chance)
    match verdict.decision:
        case Done():
            assert isinstance(outcome, Delivered)
        case Again(due_ms=due_ms, attempts=attempts, rejections=rejections):
            assert T0 <= due_ms <= T0 + 3_600_000 + 1
            assert 0 <= attempts - one.attempts <= 1
            assert 0 <= rejections - one.rejections <= 1
            assert attempts < RULES.max_attempts
            assert verdict.reason is not None
        case DeadByOutage(revive_ms=revive_ms):
            assert isinstance(outcome, Unavailable)
            assert T0 <= revive_ms <= T0 + 86_400_000
            assert verdict.state.recovery.mourning
        case DeadByRejection(status=status):
            assert isinstance(outcome, Rejected | Suspect)
            assert status == outcome.status


@given(OUTCOMES, DELIVERIES, STATES, CHANCE)
def test_only_unavailable_costs_an_attempt_and_never_one_of_a_probe(
    outcome: Outcome, one: Delivery, target: TargetState, chance: float
) -> None:
    decision = decide(outcome, one, target, RULES, AT, lambda: chance).decision
    if isinstance(decision, Again) and decision.attempts != one.attempts:
        assert isinstance(outcome, Unavailable)
        assert not one.probe


@given(OUTCOMES, DELIVERIES, STATES, CHANCE)
def test_only_an_uncertain_outage_leaves_the_target_in_doubt(
    outcome: Outcome, one: Delivery, target: TargetState, chance: float
) -> None:
    decision = decide(outcome, one, target, RULES, AT, lambda: chance).decision
    if isinstance(decision, Again | DeadByOutage):
        assert decision.certain is (not isinstance(outcome, Unavailable) or outcome.certain)


@given(STATES, OUTCOMES, DELIVERIES)
def test_every_state_survives_its_writing_and_a_restart_long_after(
    target: TargetState, outcome: Outcome, one: Delivery
) -> None:
    verdict = decide(outcome, one, target, RULES, AT, lambda: 0.5)
    blob = state.encode(verdict.state, 3.5, 7.25, 1000.0, T0)
    saved = state.decode(blob, 50.0, T0 + 10_000)
    assert saved is not None
    assert (saved.tokens, saved.address_tokens) == (3.5, 7.25)
    assert saved.state.learnt.paused_until == pytest.approx(
        verdict.state.learnt.paused_until - 1000 + 50 - 10
    )
    assert saved.state.park.status == verdict.state.park.status
    assert saved.state.recovery.mourning == verdict.state.recovery.mourning


@given(STATES, st.integers(-(10**10), 0))
def test_a_wall_clock_that_jumped_back_lengthens_no_pause(target: TargetState, jump: int) -> None:
    saved = state.decode(state.encode(target, 0, 0, 1000.0, T0), 0.0, T0 + jump)
    assert saved is not None
    assert saved.state.learnt.paused_until == pytest.approx(target.learnt.paused_until - 1000)


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x93\x01\x02\x03", msgspec.msgpack.encode({"version": 1})])
def test_a_state_that_cannot_be_read_is_none(blob: bytes) -> None:
    assert state.decode(blob, 0.0, T0) is None


def test_a_state_of_another_version_is_none() -> None:
    newer = state.Saved(T0, 1.0, 1.0, TargetState(), version=2)
    assert state.decode(msgspec.msgpack.encode(newer), 0.0, T0) is None


@given(st.integers(0, 10**6), CHANCE)
def test_backoff_is_full_jitter_below_a_doubling_ceiling(n: int, chance: float) -> None:
    assert 0 <= backoff(n, RULES, lambda: chance) <= min(300.0, 2.0 * 2.0 ** min(n, 60))


def test_the_ceiling_doubles_from_the_base_to_the_maximum() -> None:
    assert [backoff(n, RULES, lambda: 1.0) for n in range(9)] == [2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_an_unavailable_answer_costs_an_attempt_and_waits_its_backoff() -> None:
    assert judged(DOWN, attempts=2, rejections=1).decision == Again(T0 + 4000, 3, 1, certain=False)


def test_the_last_attempt_makes_a_death_that_may_be_revived_at_recovery() -> None:
    verdict = judged(DOWN, attempts=4)
    assert verdict.decision == DeadByOutage(T0, certain=False)
    assert verdict.state.recovery.mourning


def test_a_probes_failure_costs_no_attempt_and_makes_room_for_another_lane() -> None:
    target = TargetState(breaker=HalfOpen(2))
    verdict = judged(DOWN, target, attempts=3, probe=True)
    assert isinstance(verdict.state.breaker, Open)
    assert verdict.state.breaker.next_at == 1008.0
    assert verdict.decision == Again(T0 + 8001, 3, 0, certain=False)


@pytest.mark.parametrize(
    ("revivals", "seconds"), [(1, 600), (2, 1200), (8, 76_800), (9, 86_400), (60, 86_400)]
)
def test_an_automatic_replay_that_fails_is_dead_again_for_twice_as_long(revivals: int, seconds: int) -> None:
    assert judged(DOWN, revivals=revivals).decision == DeadByOutage(T0 + seconds * 1000, certain=False)


def test_a_dead_lane_that_was_the_probe_may_be_it_again_at_the_next() -> None:
    assert judged(DOWN, revivals=7, probe=True).decision == DeadByOutage(T0 + 300_000, certain=False)


def test_the_first_2xx_after_a_death_begins_the_recovery_and_revived_ones_double_it() -> None:
    target = judged(Delivered(202), TargetState(recovery=Recovery(mourning=True))).state
    assert (target.recovery.mourning, target.recovery.credit) == (False, 1)
    target = judged(Delivered(202), target).state
    assert target.recovery.credit == 1, "an ordinary delivery earns nothing"
    assert judged(Delivered(202), target, revivals=1).state.recovery.credit == 3


def test_a_429_is_sent_again_as_soon_as_the_key_may() -> None:
    verdict = judged(Throttled(), attempts=3, rejections=1)
    assert verdict.decision == Again(T0, 3, 1, certain=True)
    assert verdict.reason is Reason.THROTTLED
    assert verdict.state.learnt.paused_until == 1060.0


@pytest.mark.parametrize("outcome", [Refused(401, "x"), Refused(404, "x")])
def test_a_refusal_parks_the_key_and_costs_nothing(outcome: Outcome) -> None:
    verdict = judged(outcome, attempts=4, rejections=1)
    assert verdict.decision == Again(T0, 4, 1, certain=True)
    assert verdict.reason is Reason.REFUSED
    assert verdict.state.park.parked
    assert verdict.state.park.next_at == 1300.0


def test_the_first_rejection_earns_one_more_attempt_and_the_second_is_the_last() -> None:
    assert judged(Rejected(400, "no", "c-1")).decision == Again(T0 + 1000, 0, 1, certain=True)
    assert judged(Rejected(400, "no", "c-1"), rejections=1).decision == DeadByRejection(400, "no", "c-1")


def test_a_suspect_is_rejected_until_a_second_lane_gets_the_same() -> None:
    first = judged(Suspect(403, "no"), key="Lane")
    assert first.reason is Reason.REJECTED
    same = judged(Suspect(403, "no"), first.state, key="LANE", rejections=1)
    assert isinstance(same.decision, DeadByRejection)
    assert not same.state.park.parked
    other_status = judged(Suspect(404, "no"), same.state, key="b")
    assert not other_status.state.park.parked
    second = judged(Suspect(403, "no"), same.state, key="b")
    assert second.decision == Again(T0, 0, 0, certain=True)
    assert second.state.park.parked
    assert second.state.park.owed == (403,)


def test_a_2xx_in_between_clears_the_suspicion() -> None:
    target = judged(Suspect(403, "no"), key="a").state
    target = judged(Delivered(202), target, key="b").state
    assert not judged(Suspect(403, "no"), target, key="c").state.park.parked


@pytest.mark.parametrize(
    ("outcome", "parked"),
    [
        (Delivered(202), False),
        (Throttled(), False),
        (Rejected(400, "no"), False),
        (Suspect(404, "no"), False),
        (Suspect(403, "no"), True),
        (Refused(401, "no"), True),
        (DOWN, True),
    ],
)
def test_a_probe_resumes_the_key_by_any_answer_but_refused_or_unavailable(
    outcome: Outcome, parked: bool
) -> None:
    target = TargetState(park=Park(403, 900.0))
    assert judged(outcome, target, probe=True).state.park.parked is parked


def test_what_left_before_the_key_was_parked_does_not_resume_it() -> None:
    target = TargetState(park=Park(401, 1200.0))
    assert judged(Delivered(202), target).state.park.parked
    assert judged(Suspect(403, "no"), target).decision == Again(T0, 0, 0, certain=True)


def test_any_answer_but_unavailable_closes_the_circuit() -> None:
    target = TargetState(breaker=Open(3, 5000.0))
    for outcome in (Delivered(202), Throttled(), Refused(401, "x"), Suspect(403, "x"), Rejected(400, "x")):
        assert judged(outcome, target).state.breaker == Closed(0)
    assert policy.may_send(TargetState())
    assert not policy.may_send(target)


def test_an_operation_that_could_not_be_sent_says_nothing_of_the_target() -> None:
    target = TargetState(breaker=HalfOpen(3), park=Park(401, 900.0))
    verdict = judged(Rejected(0, "not valid any more"), target, probe=True)
    assert verdict.reason is Reason.REJECTED
    assert verdict.state.breaker == Open(3, 1000.0)
    assert verdict.state.park.parked


def test_a_reload_lets_the_key_and_the_circuit_be_tried_at_once() -> None:
    target = state.unparked(TargetState(breaker=Open(3, 5000.0), park=Park(401, 5000.0, owed=(403,))))
    assert target.breaker == Open(3, 0.0)
    assert not target.park.parked
    assert target.park.owed == (403,), "what the key's fault made is still to be returned"
