"""What the history says of a lane: how a request was leased, and how it ended. Pure."""

from mcp_ilert.events import Said, Settlement
from mcp_ilert.spool.history import (
    ENDS,
    Attempt,
    Cancelled,
    End,
    Stop,
    Taken,
    Told,
    bounded,
    certain_of,
    next_of,
)
from mcp_ilert.spool.lane import Lane, Op
from mcp_ilert.spool.port import Want
from mcp_ilert.spool.rank import Pick


def taken(lane: Lane, want: Want, now_ms: int, turn: Pick, told: Told) -> Taken:
    """How the head of the lane is being leased."""
    op = lane.waiting[0]
    ready_ms = min(now_ms, max(op.first_ms, lane.due_ms, lane.settled_ms))
    stop, stop_ms = _stop(want, ready_ms, now_ms)
    return Taken(
        now_ms,
        ready_ms,
        turn,
        backed_off=lane.due_ms > 0 and lane.due_ms == ready_ms,
        probe=want.probe,
        revived=lane.revivals > 0,
        stop=stop,
        stop_ms=stop_ms,
        told=told,
    )


def _stop(want: Want, ready_ms: int, now_ms: int) -> tuple[Stop | None, int]:
    """What held the target up while the lane was ready, and for how long."""
    stopped = want.stopped
    if stopped is None:
        return None, 0
    held_ms = min(stopped.until_ms, now_ms) - max(stopped.since_ms, ready_ms)
    return (stopped.why, held_ms) if held_ms > 0 else (None, 0)


def attempt(lane: Lane, settlement: Settlement) -> Attempt:
    """How the request in flight ended."""
    decision = settlement.decision
    return _attempt(
        lane,
        ENDS[type(decision)],
        bounded(settlement.said),
        next_ms=next_of(decision),
        certain=certain_of(decision),
    )


def interrupted(lane: Lane) -> Attempt:
    """The request in flight was not seen to end."""
    return _attempt(lane, End.INTERRUPTED, Said(), next_ms=0, certain=False)


def cancelled(lane: Lane, events: int) -> Cancelled:
    """What was in the lane was cancelled by a resolve in it, once the request in flight had ended."""
    ops = _ops(lane)
    return Cancelled(events, min(op.first_ms for op in ops), max(op.last_ms for op in ops))


def _ops(lane: Lane) -> tuple[Op, ...]:
    returning = tuple(r.letter.op for r in lane.returning)
    letters = tuple(letter.op for letter in lane.letters)
    return (*lane.waiting, *((lane.flying,) if lane.flying is not None else ()), *returning, *letters)


def _attempt(lane: Lane, end: End, said: Said, *, next_ms: int, certain: bool) -> Attempt:
    op = lane.flying
    if op is None:
        raise AssertionError("an attempt ends in a lane that flies")
    number = lane.attempts + lane.rejections + 1
    return Attempt(
        end,
        op.kind,
        op.severity,
        op.count,
        op.first_ms,
        op.last_ms,
        number,
        lane.taken,
        said,
        next_ms,
        certain,
    )
