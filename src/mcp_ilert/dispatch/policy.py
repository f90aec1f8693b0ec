"""What becomes of an operation after an attempt, and of what we think of its target: pure, and in one place.

Only unavailable answers cost attempts, and not those to probes; only rejected ones cost rejections. An operation
that is not at fault itself waits for as long as it takes.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial

import msgspec

from mcp_ilert.dispatch import breaker, pace, park, recovery, storm
from mcp_ilert.dispatch.breaker import Closed, Open
from mcp_ilert.dispatch.rules import Chance, Rules
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Decision,
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
from mcp_ilert.spool.port import LONGEST_DEATH_MS

REJECTIONS_ALLOWED = 2
"""The first rejected answer earns one more attempt; the second is the last."""

_EXPONENT_AT_MOST = 63


class Reason(StrEnum):
    """Why an operation is sent again; labels `mcp_out_retries_total`."""

    UNAVAILABLE = "unavailable"
    THROTTLED = "throttled"
    REJECTED = "rejected"
    REFUSED = "refused"


class Moment(msgspec.Struct, frozen=True):
    """When an attempt ended: on the steady clock (seconds) and on the wall's; and when it left (steady)."""

    now: float
    wall_ms: int
    sent_at: float

    def due_ms(self, seconds: float) -> int:
        """The wall-clock time that is `seconds` from now."""
        return self.wall_ms + round(seconds * 1000)


class Verdict(msgspec.Struct, frozen=True):
    """The decision, the target's state after it, and the reason where the operation is sent again."""

    decision: Decision
    state: TargetState
    reason: Reason | None = None


def backoff(n: int, rules: Rules, random: Chance) -> float:
    """Seconds to wait after the n-th failure in a row, from 0: full jitter below a doubling ceiling."""
    return random() * min(rules.max_interval, rules.base_interval * 2.0 ** min(n, _EXPONENT_AT_MOST))


def decide(
    outcome: Outcome, delivery: Delivery, state: TargetState, rules: Rules, at: Moment, random: Chance
) -> Verdict:
    """What to do with the delivery, and what to think of its target from now on."""
    match outcome:
        case Unavailable():
            return _unavailable(outcome, delivery, state, rules, at, random)
        case Refused():
            return _refused(outcome.status, delivery, _reached(state), rules, at)
        case Rejected(status=0):  # never sent, so it says nothing of the target
            state = msgspec.structs.replace(state, breaker=breaker.resumed(state.breaker, at.now))
            return _rejected(outcome, delivery, state, at, backoff(delivery.rejections, rules, random))
        case Suspect() if park.suspicious(state.park, outcome.status, _lane(delivery), probe=delivery.probe):
            return _refused(outcome.status, delivery, _reached(state), rules, at)
        case _:
            state = _reached(state)
    if delivery.probe and state.park.parked:
        state = msgspec.structs.replace(state, park=park.resumed(state.park))
    match outcome:
        case Delivered(ref=ref):
            return Verdict(Done(ref), _delivered(state, delivery, at))
        case Throttled():
            return _throttled(outcome, delivery, state, rules, at)
        case Suspect():
            known = park.suspected(state.park, outcome.status, _lane(delivery))
            state = msgspec.structs.replace(state, park=known)
            return _rejected(outcome, delivery, state, at, backoff(delivery.rejections, rules, random))
        case Rejected():
            return _rejected(outcome, delivery, state, at, backoff(delivery.rejections, rules, random))


def _lane(delivery: Delivery) -> str:
    return delivery.key.lower()


def _reached(state: TargetState) -> TargetState:
    """The target answered, whatever it said: the row of unavailable answers ends."""
    return msgspec.structs.replace(state, breaker=breaker.answered(state.breaker))


def _again(delivery: Delivery, due_ms: int, *, certain: bool = True) -> Again:
    """Once more, at no cost."""
    return Again(due_ms, delivery.attempts, delivery.rejections, certain)


def _delivered(state: TargetState, delivery: Delivery, at: Moment) -> TargetState:
    return msgspec.structs.replace(
        state,
        learnt=pace.answered(state.learnt, at.now),
        park=park.trusted(state.park),
        recovery=recovery.delivered(state.recovery, revived=delivery.revivals > 0),
    )


def _throttled(
    outcome: Throttled, delivery: Delivery, state: TargetState, rules: Rules, at: Moment
) -> Verdict:
    per_minute = rules.rate.per_minute
    learnt = pace.throttled(state.learnt, per_minute, outcome.retry_after_seconds, at.sent_at, at.now)
    state = msgspec.structs.replace(state, learnt=learnt)
    return Verdict(_again(delivery, at.wall_ms), state, Reason.THROTTLED)


def _refused(status: int, delivery: Delivery, state: TargetState, rules: Rules, at: Moment) -> Verdict:
    """The key's fault. A lane that was the probe lets another be the next one."""
    parked = park.refused(state.park, status, at.now, rules.max_interval)
    state = msgspec.structs.replace(state, park=parked)
    due_ms = at.due_ms(parked.next_at - at.now) + 1 if delivery.probe else at.wall_ms
    return Verdict(_again(delivery, due_ms), state, Reason.REFUSED)


def _rejected(
    outcome: Rejected | Suspect, delivery: Delivery, state: TargetState, at: Moment, delay: float
) -> Verdict:
    rejections = delivery.rejections + 1
    if rejections >= REJECTIONS_ALLOWED:
        dead = DeadByRejection(outcome.status, outcome.detail, outcome.correlation_id)
        if delivery.digest:
            state = msgspec.structs.replace(state, storm=storm.suspended(state.storm, at.now))
        return Verdict(dead, state)
    again = Again(at.due_ms(delay), delivery.attempts, rejections, certain=True)
    return Verdict(again, state, Reason.REJECTED)


def _unavailable(
    outcome: Unavailable, delivery: Delivery, state: TargetState, rules: Rules, at: Moment, random: Chance
) -> Verdict:
    delay: Callable[[int], float] = partial(backoff, rules=rules, random=random)
    circuit = breaker.unavailable(state.breaker, probe=delivery.probe, now=at.now, delay=delay)
    held = park.held(state.park, at.now, rules.max_interval) if delivery.probe else state.park
    state = msgspec.structs.replace(state, breaker=circuit, park=held)
    if delivery.revivals:
        return Verdict(_dead(delivery, rules, at, certain=outcome.certain), _died(state, at))
    if delivery.probe:
        due_ms = at.due_ms(_next_probe(state, at) or delay(delivery.attempts)) + 1
        return Verdict(_again(delivery, due_ms, certain=outcome.certain), state, Reason.UNAVAILABLE)
    attempts = delivery.attempts + 1
    if attempts >= rules.max_attempts:
        return Verdict(DeadByOutage(at.wall_ms, outcome.certain), _died(state, at))
    again = Again(at.due_ms(delay(delivery.attempts)), attempts, delivery.rejections, outcome.certain)
    return Verdict(again, state, Reason.UNAVAILABLE)


def _next_probe(state: TargetState, at: Moment) -> float:
    """Seconds until the next probe, at which another lane shall have its turn; 0 where none is needed."""
    circuit = state.breaker.next_at if isinstance(state.breaker, Open) else at.now
    return max(circuit, state.park.next_at if state.park.parked else at.now) - at.now


def _died(state: TargetState, at: Moment) -> TargetState:
    return msgspec.structs.replace(state, recovery=recovery.died(state.recovery, at.now))


def _dead(delivery: Delivery, rules: Rules, at: Moment, *, certain: bool) -> DeadByOutage:
    """A lane that had been dead and was tried: by itself (each time later), or as the probe (at the next one)."""
    doublings = 0 if delivery.probe else min(delivery.revivals, _EXPONENT_AT_MOST)
    seconds = min(LONGEST_DEATH_MS / 1000, rules.max_interval * 2.0**doublings)
    return DeadByOutage(at.due_ms(seconds), certain)


def may_send(state: TargetState) -> bool:
    """Whether more than probes may go to the target (a pause for a while aside)."""
    return isinstance(state.breaker, Closed) and not state.park.parked
