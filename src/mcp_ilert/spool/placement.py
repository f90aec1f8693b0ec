"""Where the indexes have a lane: its state, its rank, and when something happens to it by itself. Pure."""

from mcp_ilert.spool import fate
from mcp_ilert.spool.digest import mark
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.shelf import Placement

NEVER_MS = 1 << 62


def placement_of(lane: Lane, rules: Rules, now_ms: int) -> Placement | None:
    """The place of a lane; None where nothing of it needs keeping."""
    if len(lane.waiting) == 1 and lane.flying is None and not (lane.dead or lane.member):  # mostly
        op, due_ms = lane.waiting[0], lane.due_ms
        state = State.BACKOFF if due_ms > now_ms else State.READY
        return Placement(state, op.severity, lane.sent, op.first_ms, due_ms, len(lane.letters), mark(lane))
    forget = fate.forget_ms(lane, dedupe_ms=rules.dedupe_ms, remember_open_ms=rules.remember_open_ms)
    if forget is not None and forget <= now_ms:
        return None
    flying = lane.flying
    return Placement(
        lane.state(now_ms),
        flying.severity if flying is not None else lane.severity(),
        lane.sent,
        flying.first_ms if flying is not None else lane.oldest_ms(),
        _due_ms(lane, forget),
        len(lane.letters),
        mark(lane),
    )


def _due_ms(lane: Lane, forget: int | None) -> int:
    """When something happens to the lane by itself; a lane that keeps letters waits for an operator."""
    if forget is not None:
        return forget
    return lane.due_ms if lane.waiting else NEVER_MS
