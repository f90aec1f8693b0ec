"""Idle lanes are forgotten when their time is over, a slice at a time."""

from collections.abc import Sequence

from mcp_ilert.spool.digests import Digests
from mcp_ilert.spool.history import Forgotten
from mcp_ilert.spool.lane import Remote, State
from mcp_ilert.spool.lanes import Lanes
from mcp_ilert.spool.shelf import Shelf

SLICE = 200
FEW = 8


def prune(lanes: Lanes, digests: Digests, now_ms: int) -> None:
    """Forget a slice of each target's idle lanes whose time is over."""
    for target in lanes.targets:
        for row in map(lanes.row, _over(lanes.shelf, target.id, now_ms)):
            lane = row.lane
            if lane.member:
                lane = digests.forget(lane, now_ms)
            if lane.remote in (Remote.OPEN, Remote.UNKNOWN):
                lanes.note(row, Forgotten(lane.settled_ms), now_ms)
            lanes.store(row, target.id, lane, now_ms)


def _over(shelf: Shelf, target: int, now_ms: int) -> Sequence[int]:
    """A slice of the target's idle lanes whose time is over; mostly these are few."""
    over: Sequence[int] = ()
    for limit in (FEW, SLICE):
        over = [i for i, due_ms in shelf.soonest(State.IDLE, target, limit) if due_ms <= now_ms]
        if len(over) < limit:
            break
    return over
