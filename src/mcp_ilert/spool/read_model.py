"""What a look into a spool shows: lanes, the history's notes, the spool at a glance. Values, made without looking."""

import msgspec

from mcp_ilert.events import Counts, Kind, Severity
from mcp_ilert.spool.gathering import payload
from mcp_ilert.spool.history import Note
from mcp_ilert.spool.lane import Lane, Op, Remote


class OpView(msgspec.Struct, frozen=True):
    """One operation of a lane."""

    kind: Kind
    severity: Severity
    count: int
    first_ms: int
    last_ms: int
    payload: bytes


class LetterView(msgspec.Struct, frozen=True):
    """One rejected dead letter."""

    op: OpView
    status: int
    detail: str
    correlation_id: str | None
    at_ms: int
    superseded: bool


class LaneView(msgspec.Struct, frozen=True):
    """One lane, as a person wants to see it."""

    id: int
    target: str
    key: str
    state: str
    """idle, ready, backoff, leased, dead, or digested: in a digest."""
    remote: str
    """none, open, closed or unknown."""
    severity: Severity
    attempts: int
    rejections: int
    due_ms: int
    in_flight: OpView | None
    waiting: tuple[OpView, ...]
    letters: tuple[LetterView, ...]
    digest: str | None = None
    """The alert key of the digest that stands for the lane."""
    members: int | None = None
    """Of a digest: how many lanes it stands for, and the keys of the first of them."""
    member_keys: tuple[str, ...] = ()
    incident: str | None = None
    """The id of the incident that is open for the key, where its target opens incidents."""


class NoteView(msgspec.Struct, frozen=True):
    """One note of the history."""

    id: int
    at_ms: int
    note: Note


class TargetView(msgspec.Struct, frozen=True):
    """One target as the spool knows it."""

    name: str
    paused: bool


class Stats(msgspec.Struct, frozen=True):
    """The spool at a glance."""

    counts: Counts
    targets: tuple[TargetView, ...]
    oldest_ms: dict[str, int]
    """When the oldest event that waits was accepted, by severity; absent where nothing waits."""
    file_bytes: int
    history_bytes: int = 0
    """Of the history, as counted."""


class Backlog(msgspec.Struct, frozen=True):
    """What waits alive, at a glance."""

    oldest_ms: dict[str, int]
    """As in Stats."""
    lanes: dict[str, int]
    """Lanes, by target."""


class Audit(msgspec.Struct, frozen=True):
    """The conservation law, as counted and as recounted from the lanes, the inbox and the letters on disk."""

    counts: Counts
    recounted: Counts
    error: int
    """0 where the law holds with the recounted terms and these are the counted ones."""


def lane_view(lane_id: int, target: str, lane: Lane, now_ms: int, digest: str | None) -> LaneView:
    """One lane; `digest` is the key of the one that stands for it."""
    return LaneView(
        lane_id,
        target,
        lane.key,
        "digested" if lane.member else lane.state(now_ms).name.lower(),
        lane.remote.name.lower(),
        min((op.severity for op in _ops(lane)), default=Severity.LOW),
        lane.attempts,
        lane.rejections,
        lane.due_ms,
        _op_view(_worded(lane, lane.flying)) if lane.flying is not None else None,
        tuple(_op_view(_worded(lane, op)) for op in (*(r.letter.op for r in lane.returning), *lane.waiting)),
        tuple(
            LetterView(_op_view(x.op), x.status, x.detail, x.correlation_id, x.at_ms, x.superseded)
            for x in lane.letters
        ),
        digest,
        lane.gathers.members() if lane.gathers is not None else None,
        incident=lane.ref if lane.ref and lane.remote is not Remote.CLOSED else None,
    )


def _ops(lane: Lane) -> tuple[Op, ...]:
    return lane.waiting if lane.flying is None else (lane.flying, *lane.waiting)


def _worded(lane: Lane, op: Op) -> Op:
    """The operation; a digest's with the words that it would be sent with now."""
    if lane.gathers is None:
        return op
    return msgspec.structs.replace(op, count=1, payload=payload(lane.gathers, lane.key, op.kind))


def _op_view(op: Op) -> OpView:
    return OpView(op.kind, op.severity, op.count, op.first_ms, op.last_ms, op.payload)
