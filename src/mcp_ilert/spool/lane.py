"""A lane: one alert key at one target, what waits in it, and how what arrives folds into it. Pure.

Three things are always true. A lane has at most one request in flight. What waits is one of the shapes in FOLDS.
And each event of a lane stands in exactly one place: waiting, in flight, returning, or a letter.
"""

from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b

import msgspec

from mcp_ilert.events import Entry, Kind, Severity
from mcp_ilert.spool.gathering import Gathering
from mcp_ilert.spool.history import Taken


class Remote(IntEnum):
    """What the target may know of the key."""

    NONE = 0
    OPEN = 1
    CLOSED = 2
    UNKNOWN = 3


class State(IntEnum):
    """Where a lane stands for the scheduler; derived from the lane and the time."""

    __hash__ = int.__hash__  # as of Kind

    IDLE = 0
    READY = 1
    BACKOFF = 2
    LEASED = 3
    DEAD = 4


class Op(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One operation that waits, with what was folded into it."""

    kind: Kind
    severity: Severity
    count: int
    first_ms: int
    last_ms: int
    seq: int
    """The lane's number of the newest event folded in: the order of acceptance, where clocks may tie."""
    payload: bytes
    returned: bool = False
    """A dead letter that was brought back, and into which nothing has folded since."""


class Letter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An operation set aside because the target rejected it, or because it could not be folded."""

    op: Op
    status: int
    detail: str
    correlation_id: str | None
    at_ms: int
    superseded: bool = False
    """Something newer of the lane has been delivered since."""
    unfolded: bool = False
    """It is an event that could not be folded: what waited in the lane then is older than it."""


class Returning(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A replayed letter that waits for the outcome of the request in flight."""

    letter: Letter
    forced: bool


class Lane(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that is kept of one key at one target."""

    key: str
    """The first spelling, which is the one sent."""
    remote: Remote = Remote.NONE
    waiting: tuple[Op, ...] = ()
    flying: Op | None = None
    returning: tuple[Returning, ...] = ()
    letters: tuple[Letter, ...] = ()
    """At most one of a kind."""
    dead: bool = False
    """Dead by outage: all that waits counts as dead."""
    attempts: int = 0
    rejections: int = 0
    due_ms: int = 0
    """Not sent before this; where dead, not revived by itself before this."""
    revivals: int = 0
    trial: bool = False
    """The request in flight is an automatic replay."""
    sent: bool = False
    seq: int = 0
    digest: bytes = b""
    """Of the text of the last delivered operation, for `dedupe_seconds`."""
    delivered_ms: int = 0
    """When that operation was delivered."""
    settled_ms: int = 0
    """When a request of the lane last ended, however."""
    taken: Taken | None = None
    """How the request in flight was leased."""
    member: int = 0
    """The lane of the digest that stands for what waits here (digest.py); 0 where none does."""
    member_ms: int = 0
    """When something last happened to the lane as a member."""
    gathers: Gathering | None = None
    """In the lane of a digest: what it stands for. Such a lane is ours: nothing in it counts as an event."""
    ref: str = ""
    """What the target calls that which it has open for the key, where it tells (an incident's id)."""

    def state(self, now_ms: int) -> State:
        """Where the lane stands at `now_ms`."""
        if self.flying is not None:
            return State.LEASED
        if not self.waiting or self.member:
            return State.IDLE
        if self.dead:
            return State.DEAD
        return State.BACKOFF if self.due_ms > now_ms else State.READY

    def severity(self) -> Severity:
        """The highest of what waits."""
        if len(self.waiting) == 1:
            return self.waiting[0].severity
        return min((op.severity for op in self.waiting), default=Severity.LOW)

    def oldest_ms(self) -> int:
        """When the oldest event that waits was accepted."""
        if len(self.waiting) == 1:
            return self.waiting[0].first_ms
        return min((op.first_ms for op in self.waiting), default=0)

    def pending(self) -> int:
        """Events that wait alive or are in flight."""
        if self.member or self.gathers is not None:
            return 0
        waiting = 0 if self.dead else len(self.waiting)
        return waiting + len(self.returning) + (self.flying is not None)

    def dead_count(self) -> int:
        """Events that are dead letters, by outage or by rejection."""
        if self.gathers is not None:
            return 0
        return len(self.letters) + (len(self.waiting) if self.dead else 0)

    def concerns(self) -> bool:
        """Whether an accept or a resolve of the key is for this lane."""
        return bool(
            self.remote in (Remote.OPEN, Remote.UNKNOWN) or self.waiting or self.flying or self.returning
        )


class Folded(msgspec.Struct, frozen=True, gc=False):
    """What came of folding one event into a lane."""

    lane: Lane
    coalesced: int = 0
    cancelled: int = 0


# A slot of the folded lane: the kind of its operation, and which operations go into it. Waiting operations are
# numbered from 0, NEW is the one that arrives.
NEW = -1
Slot = tuple[Kind, tuple[int, ...]]
A, C, R = Kind.ALERT, Kind.ACCEPT, Kind.RESOLVE
Shape = tuple[Kind, ...]

FOLDS: dict[tuple[Shape, Kind], tuple[Slot, ...]] = {
    ((), A): ((A, (NEW,)),),
    ((), C): ((C, (NEW,)),),
    ((), R): ((R, (NEW,)),),
    ((A,), A): ((A, (0, NEW)),),
    ((A,), C): ((A, (0,)), (C, (NEW,))),
    ((A,), R): ((R, (0, NEW)),),
    ((C,), A): ((C, (0,)), (A, (NEW,))),
    ((C,), C): ((C, (0, NEW)),),
    ((C,), R): ((R, (0, NEW)),),
    ((R,), A): ((R, (0,)), (A, (NEW,))),
    ((R,), C): ((R, (0, NEW)),),
    ((R,), R): ((R, (0, NEW)),),
    ((A, C), A): ((A, (0, NEW)), (C, (1,))),
    ((A, C), C): ((A, (0,)), (C, (1, NEW))),
    ((A, C), R): ((R, (0, 1, NEW)),),
    ((C, A), A): ((C, (0,)), (A, (1, NEW))),
    ((C, A), C): ((A, (1,)), (C, (0, NEW))),
    ((C, A), R): ((R, (0, 1, NEW)),),
    ((R, A), A): ((R, (0,)), (A, (1, NEW))),
    ((R, A), C): ((R, (0,)), (A, (1,)), (C, (NEW,))),
    ((R, A), R): ((R, (0, 1, NEW)),),
    ((R, A, C), A): ((R, (0,)), (A, (1, NEW)), (C, (2,))),
    ((R, A, C), C): ((R, (0,)), (A, (1,)), (C, (2, NEW))),
    ((R, A, C), R): ((R, (0, 1, 2, NEW)),),
    ((A, R), A): ((A, (0, 1, NEW)),),
    ((A, R), C): ((A, (0,)), (R, (1, NEW))),
    ((A, R), R): ((A, (0,)), (R, (1, NEW))),
}
"""The table of spec S5, "What happens in a lane", where nothing is cancelled."""

CANCELS: dict[Shape, tuple[Slot, ...]] = {
    (A,): ((A, (0,)), (R, (NEW,))),
    (A, C): ((A, (0, 1)), (R, (NEW,))),
    (C, A): ((A, (0, 1)), (R, (NEW,))),
}
"""Shapes that a resolve cancels where the target knows of no open alert; with `cancel_resolved: false`, what they
become instead."""
CLOSED = (Remote.NONE, Remote.CLOSED)
"""The target knows of no open alert."""


def digest(payload: bytes) -> bytes:
    """What stands for an event's text when it is compared with the last one delivered."""
    return blake2b(payload, digest_size=16).digest()


def arrive(lane: Lane, entry: Entry, *, dedupe_ms: int, cancel_resolved: bool) -> Folded:
    """Fold an accepted event into its lane; an arrival makes a dead lane alive, with no attempts spent."""
    if _is_repeat(lane, entry, dedupe_ms):
        return Folded(lane, coalesced=1)
    op = Op(entry.kind, entry.severity, 1, entry.accepted_ms, entry.accepted_ms, lane.seq + 1, entry.payload)
    fresh = lane.dead or lane.revivals > 0
    lane = msgspec.structs.replace(
        lane,
        seq=lane.seq + 1,
        dead=False,
        revivals=0,
        attempts=0 if fresh else lane.attempts,
        due_ms=0 if fresh else lane.due_ms,
    )
    return fold(lane, op, cancel_resolved=cancel_resolved)


def arrive_run(lane: Lane, run: Op, dedupe_ms: int) -> Folded | None:
    """Fold a run of alerts as `arrive` would, one after the other; `run` is what they make of an empty lane.

    None where it cannot be done in one step.
    """
    waiting = lane.waiting
    if lane.dead or lane.revivals or lane.rejections or lane.member or len(waiting) > 1:
        return None
    if waiting and waiting[0].kind is not A:
        return None
    idle = not (waiting or lane.flying or lane.returning)
    if idle and lane.digest and run.first_ms - lane.delivered_ms < dedupe_ms:
        return None  # some of it may repeat what was delivered
    seq = lane.seq + run.count
    if waiting:
        old = waiting[0]
        severity = min(old.severity, run.severity)
        count, first_ms = old.count + run.count, min(old.first_ms, run.first_ms)
        op = Op(A, severity, count, first_ms, max(old.last_ms, run.last_ms), seq, run.payload)
    else:
        op = Op(A, run.severity, run.count, run.first_ms, run.last_ms, seq, run.payload)
    coalesced = run.count - (not waiting)
    return Folded(msgspec.structs.replace(lane, seq=seq, waiting=(op,)), coalesced=coalesced)


def _is_repeat(lane: Lane, entry: Entry, dedupe_ms: int) -> bool:
    if not lane.digest or lane.waiting or lane.flying is not None or lane.returning:
        return False
    since = abs(entry.accepted_ms - lane.delivered_ms)  # one long before it comes after a clock was put back
    return since < dedupe_ms and digest(entry.payload) == lane.digest


def fold(lane: Lane, op: Op, *, cancel_resolved: bool) -> Folded:
    """Fold one operation behind what waits, by the table.

    While a request is in flight, what the target knows counts as unknown: nothing is cancelled.
    """
    shape = tuple([o.kind for o in lane.waiting])  # a list is quicker than a generator, and this is hot
    slots = FOLDS[shape, op.kind]
    if op.kind is R and shape in CANCELS and lane.flying is None and lane.remote in CLOSED:
        if cancel_resolved:
            empty = msgspec.structs.replace(lane, waiting=(), attempts=0, rejections=0, due_ms=0)
            return Folded(empty, cancelled=len(lane.waiting) + 1)
        slots = CANCELS[shape]
    waiting = tuple([_merge(kind, lane.waiting, sources, op) for kind, sources in slots])
    coalesced = len(lane.waiting) + 1 - len(waiting)
    rejections = lane.rejections if _same_text(lane.waiting, waiting) else 0
    return Folded(msgspec.structs.replace(lane, waiting=waiting, rejections=rejections), coalesced=coalesced)


def _same_text(before: tuple[Op, ...], after: tuple[Op, ...]) -> bool:
    return bool(before) and before[0].kind is after[0].kind and before[0].payload == after[0].payload


def _merge(kind: Kind, waiting: tuple[Op, ...], sources: tuple[int, ...], new: Op) -> Op:
    if len(sources) == 1:
        return new if sources[0] == NEW else waiting[sources[0]]
    return merge(kind, [new if i == NEW else waiting[i] for i in sources])


def merge(kind: Kind, ops: Sequence[Op]) -> Op:
    """One operation out of several: the newest text of its kind, the highest severity, the whole span."""
    head = ops[0]
    severity, count, first_ms, last_ms, seq = head.severity, 0, head.first_ms, head.last_ms, head.seq
    text_seq, payload = -1, b""
    for op in ops:  # one pass, for folding is as hot as accepting
        if op.severity < severity:  # noqa: PLR1730 - min and max are calls
            severity = op.severity
        if op.first_ms < first_ms:  # noqa: PLR1730 - min and max are calls
            first_ms = op.first_ms
        if op.last_ms > last_ms:  # noqa: PLR1730 - min and max are calls
            last_ms = op.last_ms
        if op.seq > seq:  # noqa: PLR1730 - min and max are calls
            seq = op.seq
        count += op.count
        if op.kind is kind and op.seq > text_seq:
            text_seq, payload = op.seq, op.payload
    return Op(kind, severity, count, first_ms, last_ms, seq, payload)
