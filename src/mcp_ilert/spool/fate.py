"""What becomes of a lane's operations once they are leased: delivered, again, dead, replayed, dropped. Pure."""

import msgspec

from mcp_ilert.events import Again, DeadByOutage, DeadByRejection, Decision, Done, Entry, Kind
from mcp_ilert.spool.lane import Folded, Lane, Letter, Op, Remote, Returning, digest, fold, merge

replace = msgspec.structs.replace

REMOTE_AFTER: dict[Kind, Remote] = {Kind.ALERT: Remote.OPEN, Kind.RESOLVE: Remote.CLOSED}
"""What a 2xx answer says of the key; an accept says nothing."""


class Settling(msgspec.Struct, frozen=True):
    """What a settlement made of a lane, in events."""

    lane: Lane
    delivered: int = 0
    coalesced: int = 0
    cancelled: int = 0
    outage: int = 0
    """Events that died of an outage now, not counting those that an automatic replay did not bring through."""
    rejected: int = 0


def take(lane: Lane) -> Lane:
    """Lease the head of the lane; what waits behind it stays, alive."""
    return replace(
        lane, flying=lane.waiting[0], waiting=lane.waiting[1:], sent=True, dead=False, trial=lane.revivals > 0
    )


def revive(lane: Lane) -> Lane:
    """Make a lane that is dead by outage alive by itself: it has one attempt."""
    return replace(lane, dead=False, attempts=0, due_ms=0, revivals=lane.revivals + 1)


def settle(lane: Lane, decision: Decision, at_ms: int, *, cancel_resolved: bool) -> Settling:
    """End the lane's request in flight as the decision says."""
    if isinstance(decision, Done):
        return _done(lane, decision, at_ms, cancel_resolved=cancel_resolved)
    if isinstance(decision, DeadByRejection):
        return _reject(lane, decision, at_ms, cancel_resolved=cancel_resolved)
    if isinstance(decision, DeadByOutage):
        return _die(lane, decision, at_ms, cancel_resolved=cancel_resolved)
    return _again(lane, decision, at_ms, cancel_resolved=cancel_resolved)


def recover(lane: Lane, at_ms: int, *, cancel_resolved: bool) -> Settling:
    """A lane found leased at a start: its request may have been applied, and cost no attempt."""
    again = Again(due_ms=0, attempts=lane.attempts, rejections=lane.rejections, certain=False)
    return _again(lane, again, at_ms, cancel_resolved=cancel_resolved)


def _flown(lane: Lane) -> Op:
    if lane.flying is None:
        raise ValueError("the lane has no request in flight")
    return lane.flying


def _done(lane: Lane, decision: Done, at_ms: int, *, cancel_resolved: bool) -> Settling:
    op = _flown(lane)
    letters, back, coalesced = _overtake(lane, op)
    lane = replace(
        lane,
        remote=REMOTE_AFTER.get(op.kind, lane.remote),
        flying=None,
        returning=(),
        letters=letters,
        attempts=0,
        rejections=0,
        due_ms=0,
        revivals=0,
        trial=False,
        digest=digest(op.payload),
        delivered_ms=at_ms,
        settled_ms=at_ms,
        ref=lane.ref if decision.ref is None else decision.ref,
    )
    folded = _at_head(lane, back, cancel_resolved=cancel_resolved)
    return Settling(folded.lane, 1, folded.coalesced + coalesced, folded.cancelled)


def _overtake(lane: Lane, op: Op) -> tuple[tuple[Letter, ...], tuple[Letter, ...], int]:
    """What the target has taken, or may have, supersedes older letters, those on their way back too.

    Returns the letters, those that return all the same, and how many letters were folded.
    """
    back = tuple(r.letter for r in lane.returning if r.forced or not _passed(r.letter, op))
    late = tuple(r.letter for r in lane.returning if r.letter not in back)
    letters, coalesced = _set_aside(lane.letters, late)
    marked = tuple(replace(x, superseded=x.superseded or _passed(x, op)) for x in letters)
    return marked, back, coalesced


def _passed(letter: Letter, sent: Op) -> bool:
    """Whether what was sent has passed a letter: all do but another letter, brought back, and older.

    What was in the lane before the letter may come behind it, where that could not be folded.
    """
    return sent.seq > letter.op.seq or not (sent.returned or letter.unfolded)


def _again(lane: Lane, decision: Again, at_ms: int, *, cancel_resolved: bool) -> Settling:
    op = _flown(lane)
    folded = _landed(lane, op, at_ms, certain=decision.certain, cancel_resolved=cancel_resolved)
    lane = folded.lane
    if lane.waiting:
        same = lane.waiting[0].kind is op.kind and lane.waiting[0].payload == op.payload
        lane = replace(
            lane,
            attempts=decision.attempts,
            rejections=decision.rejections if same else 0,
            due_ms=decision.due_ms,
        )
    return Settling(lane, 0, folded.coalesced, folded.cancelled)


def _die(lane: Lane, decision: DeadByOutage, at_ms: int, *, cancel_resolved: bool) -> Settling:
    op, trial = _flown(lane), lane.trial
    folded = _landed(lane, op, at_ms, certain=decision.certain, cancel_resolved=cancel_resolved)
    lane = folded.lane
    if trial and lane.revivals == 0:  # something arrived during the replay: it has attempts of its own
        return Settling(
            replace(lane, attempts=1 if lane.waiting else 0), 0, folded.coalesced, folded.cancelled
        )
    if lane.waiting:
        lane = replace(lane, dead=True, attempts=0, rejections=0, due_ms=decision.revive_ms)
    died = 0 if trial else len(lane.waiting)
    return Settling(lane, 0, folded.coalesced, folded.cancelled, outage=died)


def _reject(lane: Lane, decision: DeadByRejection, at_ms: int, *, cancel_resolved: bool) -> Settling:
    op = _flown(lane)
    letter = Letter(
        replace(op, returned=False), decision.status, decision.detail, decision.correlation_id, at_ms
    )
    letters, merged = _set_aside(lane.letters, (letter,))
    back = tuple(r.letter for r in lane.returning)
    lane = replace(
        lane, flying=None, returning=(), letters=letters, trial=False, revivals=0, settled_ms=at_ms
    )
    folded = _at_head(lane, back, cancel_resolved=cancel_resolved)
    lane = replace(folded.lane, attempts=0, rejections=0, due_ms=0)
    return Settling(lane, 0, folded.coalesced + merged, folded.cancelled, rejected=1 - merged)


def _landed(lane: Lane, op: Op, at_ms: int, *, certain: bool, cancel_resolved: bool) -> Folded:
    """Put a failed request's operation back at the head, behind the letters that returned meanwhile.

    Where the request may have been applied, an older letter would be sent behind it: that one stays where it is.
    """
    letters, returning, merged = lane.letters, tuple(r.letter for r in lane.returning), 0
    if not certain:
        letters, returning, merged = _overtake(lane, op)
    before = tuple(x for x in returning if _passed(x, op))
    after = tuple(x for x in returning if x not in before)
    lane = replace(
        lane,
        remote=lane.remote if certain else Remote.UNKNOWN,
        flying=None,
        returning=(),
        letters=letters,
        trial=False,
        settled_ms=at_ms,
    )
    folded = _at_head(lane, (*before, op, *after), cancel_resolved=cancel_resolved)
    return Folded(folded.lane, folded.coalesced + merged, folded.cancelled)


def _at_head(lane: Lane, head: tuple[Op | Letter, ...], *, cancel_resolved: bool) -> Folded:
    """Fold the operations of the head in their order, and then what waits, by the table.

    A letter that could not be folded goes by its age: what waits may be older.
    """
    if not head:
        return Folded(lane)
    ops = [*(x.op if isinstance(x, Letter) else x for x in head), *lane.waiting]
    if any(isinstance(x, Letter) and x.unfolded for x in head):
        ops.sort(key=lambda op: op.seq)
    lane, coalesced, cancelled = replace(lane, waiting=()), 0, 0
    for op in ops:
        folded = fold(lane, op, cancel_resolved=cancel_resolved)
        lane = folded.lane
        coalesced += folded.coalesced
        cancelled += folded.cancelled
    return Folded(lane, coalesced, cancelled)


def _set_aside(letters: tuple[Letter, ...], more: tuple[Letter, ...]) -> tuple[tuple[Letter, ...], int]:
    """Add letters, folding a second of a kind into the first; returns how many were folded."""
    kept = {letter.op.kind: letter for letter in letters}
    for letter in more:
        old = kept.get(letter.op.kind)
        kept[letter.op.kind] = (
            letter if old is None else replace(letter, op=merge(letter.op.kind, (old.op, letter.op)))
        )
    return tuple(kept.values()), len(letters) + len(more) - len(kept)


def set_aside(lane: Lane, entry: Entry, why: str, at_ms: int) -> tuple[Lane, int]:
    """Keep an event that cannot be folded as a letter; returns how many letters it was folded with."""
    seq, at = lane.seq + 1, entry.accepted_ms
    op = Op(entry.kind, entry.severity, 1, at, at, seq, entry.payload)
    letters, merged = _set_aside(lane.letters, (Letter(op, 0, why, None, at_ms, unfolded=True),))
    return replace(lane, seq=seq, letters=letters), merged


def replay(lane: Lane, *, force: bool, cancel_resolved: bool) -> Settling:
    """Make an operator's choice of dead letters alive; superseded ones only where forced."""
    if lane.dead:
        lane = replace(lane, dead=False, attempts=0, due_ms=0, revivals=0)
    chosen = tuple(x for x in lane.letters if force or not x.superseded)
    return _bring_back(lane, chosen, force=force, cancel_resolved=cancel_resolved)


def return_refused(lane: Lane, statuses: tuple[int, ...], *, cancel_resolved: bool) -> Settling:
    """Make alive the letters that one of these answers made: the key was at fault, not the event."""
    chosen = tuple(x for x in lane.letters if x.status in statuses and not x.superseded)
    return _bring_back(lane, chosen, force=False, cancel_resolved=cancel_resolved)


def _bring_back(lane: Lane, chosen: tuple[Letter, ...], *, force: bool, cancel_resolved: bool) -> Settling:
    lane = replace(lane, letters=tuple(x for x in lane.letters if x not in chosen))
    chosen = tuple(replace(x, op=replace(x.op, returned=True)) for x in chosen)
    if lane.flying is not None:
        back = tuple(Returning(letter, force) for letter in chosen)
        return Settling(replace(lane, returning=lane.returning + back))
    folded = _at_head(lane, chosen, cancel_resolved=cancel_resolved)
    return Settling(folded.lane, 0, folded.coalesced, folded.cancelled)


def drop(lane: Lane) -> tuple[Lane, int]:
    """Drop all but the request in flight; returns how many events that were."""
    dropped = len(lane.waiting) + len(lane.letters) + len(lane.returning)
    lane = replace(
        lane, waiting=(), letters=(), returning=(), dead=False, attempts=0, rejections=0, due_ms=0, revivals=0
    )
    return lane, dropped


def forget_ms(lane: Lane, *, dedupe_ms: int, remember_open_ms: int) -> int | None:
    """When an idle lane may be forgotten; None while anything of it is kept."""
    if lane.member:
        return lane.member_ms + remember_open_ms
    if lane.gathers is not None and lane.gathers.members():
        return None
    if lane.waiting or lane.flying is not None or lane.letters or lane.returning:
        return None
    if lane.remote in (Remote.OPEN, Remote.UNKNOWN):
        return lane.settled_ms + remember_open_ms
    return lane.delivered_ms + dedupe_ms if lane.delivered_ms else 0
