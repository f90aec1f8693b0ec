"""Lanes and digests: which lane a digest may stand for, what happens to its members, what its own lane sends. Pure.

Two kinds of lane take part. A *member* is a lane whose events wait in a digest: they are counted as digested, and
nothing of it is sent. The *digest's lane* is ours: it says what its members are, as an alert that is sent again
when they change, and a resolve when none is left; it folds, waits, fails and dies by outage like any lane.
"""

import msgspec

from mcp_ilert.events import DeadByRejection, Decision, Done, Entry, Kind, Severity
from mcp_ilert.spool import fate
from mcp_ilert.spool.gathering import Gathering
from mcp_ilert.spool.lane import Lane, Op, Remote, fold, merge
from mcp_ilert.spool.lane import arrive_run as lane_arrive_run

replace = msgspec.structs.replace

UPDATE_MS = 60_000
"""A digest says what is new at most so often; that none is left it says at once."""
COLLECT_MS = 5_000
"""So long a digest waits for more before it says anything."""

ELIGIBLE, GATHERS, DISCARDED = -1, -2, -3
"""Marks of lanes: a digest could stand for it, it is a digest with members, it is one that gives them back."""


def mark(lane: Lane) -> int:
    """What the index of digests has of a lane: the id of its digest, a mark, or 0."""
    if lane.gathers is not None:
        return (DISCARDED if lane.gathers.discarded else GATHERS) if lane.gathers.members() else 0
    return lane.member or (ELIGIBLE if eligible(lane) else 0)


def eligible(lane: Lane) -> bool:
    """Whether the lane waits as an alert alone, of which the target surely knows nothing."""
    return (
        len(lane.waiting) == 1
        and lane.waiting[0].kind is Kind.ALERT
        and lane.flying is None
        and lane.remote in (Remote.NONE, Remote.CLOSED)
        and not (lane.dead or lane.member or lane.gathers is not None)
    )


# Members ---------------------------------------------------------------------------------------------------------


def enter(lane: Lane, digest: int, now_ms: int) -> Lane:
    """Have the digest of this lane id stand for what waits."""
    return replace(lane, member=digest, member_ms=now_ms)


def leave(lane: Lane) -> Lane:
    """What waits goes its own way again."""
    return replace(lane, member=0, member_ms=0)


def leaves_with(entry: Entry, below: Severity) -> bool:
    """Whether a member goes its own way again when this arrives."""
    return entry.kind is Kind.ALERT and entry.severity <= below


class Arrived(msgspec.Struct, frozen=True):
    """What an event made of a member that stays one, or is resolved (`lane.member` is 0); in events."""

    lane: Lane
    digested: int = 0
    coalesced: int = 0


def arrive(lane: Lane, entry: Entry, now_ms: int) -> Arrived:
    """Fold an event into a member: a further alert is coalesced, accept and resolve are digested too."""
    seq = lane.seq + 1
    if entry.kind is Kind.RESOLVE:
        return Arrived(
            replace(leave(lane), seq=seq, waiting=(), attempts=0, rejections=0, due_ms=0), digested=1
        )
    op = Op(entry.kind, entry.severity, 1, entry.accepted_ms, entry.accepted_ms, seq, entry.payload)
    lane = fold(replace(lane, seq=seq, member_ms=now_ms), op, cancel_resolved=True).lane
    accept = entry.kind is Kind.ACCEPT
    return Arrived(lane, digested=int(accept), coalesced=int(not accept))


def arrive_run(lane: Lane, run: Op, now_ms: int) -> Arrived | None:
    """Fold a run of alerts into a member in one step; None where that cannot be done (`lane.arrive_run`)."""
    folded = lane_arrive_run(leave(lane), run, dedupe_ms=0)
    if folded is None or not lane.waiting:
        return None
    return Arrived(replace(folded.lane, member=lane.member, member_ms=now_ms), coalesced=folded.coalesced)


# The digest's own lane -------------------------------------------------------------------------------------------


def tell(lane: Lane, gathering: Gathering, now_ms: int) -> Lane:
    """Have the digest's lane say what it stands for now; like any arrival, that makes a dead lane alive."""
    was_discarded = lane.gathers is not None and lane.gathers.discarded
    lane = replace(lane, gathers=gathering)
    if was_discarded or not _worth_telling(lane):
        return lane
    if lane.dead or lane.revivals:
        lane = replace(lane, dead=False, revivals=0, attempts=0, due_ms=0)
    kind = Kind.ALERT if gathering.members() else Kind.RESOLVE
    first_ms = now_ms if lane.sent else gathering.since_ms
    op = Op(kind, gathering.worst(), 1, first_ms, now_ms, lane.seq + 1, b"")
    if (
        kind is Kind.ALERT and len(lane.waiting) == 1 and lane.waiting[0].kind is kind
    ):  # mostly: only more to tell
        return replace(lane, seq=op.seq, waiting=(merge(kind, (lane.waiting[0], op)),))
    told = fold(replace(lane, seq=lane.seq + 1), op, cancel_resolved=True).lane
    failed = told.attempts or told.rejections  # then it waits as it was told to
    anew = not lane.waiting or (kind is Kind.RESOLVE and not failed)
    return _paced(told, now_ms) if anew else told


def hush(lane: Lane, gathering: Gathering) -> Lane:
    """Have the digest's lane stand for this without saying so; with nothing left, what waits is void."""
    lane = replace(lane, gathers=gathering)
    return lane if gathering.members() else replace(lane, waiting=(), dead=False, due_ms=0)


def _worth_telling(lane: Lane) -> bool:
    """An alert always; a resolve only where the target may know of an alert, or one waits."""
    gathering = lane.gathers
    if gathering is not None and gathering.members():
        return True
    return bool(lane.waiting or lane.flying) or lane.remote in (Remote.OPEN, Remote.UNKNOWN)


def _paced(lane: Lane, now_ms: int) -> Lane:
    """Due when its time comes: an alert COLLECT_MS from now, but UPDATE_MS after the last one; a resolve at once."""
    if not lane.waiting or lane.waiting[0].kind is not Kind.ALERT:
        return replace(lane, due_ms=0)
    last_ms = min(lane.delivered_ms, now_ms)  # a clock that was set back holds nothing up
    return replace(lane, due_ms=max(now_ms + COLLECT_MS, last_ms + UPDATE_MS))


def settle(lane: Lane, decision: Decision, at_ms: int) -> Lane:
    """End the request of a digest's lane as the decision says."""
    if isinstance(decision, DeadByRejection):
        return _rejected(lane, at_ms)
    settled = fate.settle(lane, decision, at_ms, cancel_resolved=True).lane
    return _paced(settled, at_ms) if isinstance(decision, Done) else settled


def recover(lane: Lane, at_ms: int) -> Lane:
    """A digest's lane found leased at a start."""
    return fate.recover(lane, at_ms, cancel_resolved=True).lane


def _rejected(lane: Lane, at_ms: int) -> Lane:
    """A rejected alert: the digest gives its members back, and closes what the target knows of it, if anything.

    A rejected resolve is given up; what waits behind it goes on.
    """
    op, gathering = lane.flying, lane.gathers
    lane = replace(
        lane, flying=None, attempts=0, rejections=0, due_ms=0, revivals=0, trial=False, settled_ms=at_ms
    )
    if op is None or gathering is None or op.kind is Kind.RESOLVE:
        return _paced(lane, at_ms)
    return discard(lane, at_ms)


def discard(lane: Lane, at_ms: int) -> Lane:
    """Give the digest up: it sends nothing more but a resolve of what the target may know of it."""
    gathering = lane.gathers
    if gathering is None:
        raise ValueError("only the lane of a digest can be given up")
    lane = replace(lane, waiting=(), dead=False, attempts=0, rejections=0, due_ms=0, revivals=0)
    lane = replace(lane, gathers=replace(gathering, discarded=gathering.members() > 0))
    if lane.remote not in (Remote.OPEN, Remote.UNKNOWN):
        return lane
    op = Op(Kind.RESOLVE, gathering.worst(), 1, at_ms, at_ms, lane.seq + 1, b"")
    return fold(replace(lane, seq=lane.seq + 1), op, cancel_resolved=True).lane
