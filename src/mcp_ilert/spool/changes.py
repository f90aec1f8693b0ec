"""Changes by operators and by the dispatcher, in slices, so that no transaction grows with the backlog."""

from collections.abc import Iterable, Sequence

import msgspec

from mcp_ilert.events import DROP
from mcp_ilert.spool import fate
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.history import Dropped, Moved, Replayed, Returned
from mcp_ilert.spool.lane import Lane, Op, Remote, fold
from mcp_ilert.spool.port import Change, Drop, Gather, Pause, Replay, Retarget, ReturnRefused
from mcp_ilert.spool.shelf import Row

SLICE = 200


class Step(msgspec.Struct, frozen=True):
    """What one slice moved, in events, and where the next one begins; None when the change is complete."""

    events: int
    cursor: int | None = None


def step(engine: Engine, change: Change, cursor: int, now_ms: int) -> Step:
    """Do one slice of a change, beginning at `cursor` (0 at first)."""
    match change:
        case Replay():
            return _replay(engine, change, cursor, now_ms)
        case Drop():
            return _drop(engine, change, now_ms)
        case ReturnRefused():
            return _return_refused(engine, change, cursor, now_ms)
        case Pause():
            engine.targets.pause(change.target, paused=change.paused)
            return Step(0)
        case Retarget():
            return _retarget(engine, change, cursor, now_ms)
        case Gather():
            return Step(engine.digests.gather(engine.targets.of(change.target).id, now_ms))


def _replay(engine: Engine, change: Replay, cursor: int, now_ms: int) -> Step:
    if change.keys is None:
        ids = engine.shelf.dead(cursor, SLICE)
        rows: Iterable[Row] = [engine.lanes.row(i) for i in ids]
        following = ids[-1] if len(ids) == SLICE else None
    else:
        keys = tuple(lane_key(key) for key in change.keys[cursor : cursor + SLICE])
        rows = [row for found in engine.shelf.find(keys).values() for row in found]
        following = cursor + SLICE if len(change.keys) > cursor + SLICE else None
    events = 0
    for row in rows:
        lane = _own(engine, row.lane, now_ms) if row.lane.letters else row.lane
        made = fate.replay(lane, force=change.force, cancel_resolved=engine.lanes.rules.cancel_resolved)
        alive = lane.dead_count() - made.lane.dead_count()
        if alive:
            engine.lanes.note(row, Replayed(alive, change.force), now_ms)
        events += alive
        engine.lanes.apply(row, made, now_ms)
    return Step(events, following)


def lane_key(key: str) -> str:
    """The form of a key under which lanes are found."""
    return key.strip().lower()


def lanes_of(engine: Engine, key: str) -> Sequence[Row]:
    """The lanes of one key, at every target; a digest's own lane is nobody's."""
    rows = engine.shelf.find((lane_key(key),)).get(lane_key(key), ())
    return [row for row in rows if row.lane.gathers is None]


def _own(engine: Engine, lane: Lane, now_ms: int) -> Lane:
    """The lane outside of any digest: what an operator does to it is about it alone."""
    return engine.digests.leave(lane, now_ms) if lane.member else lane


def _drop(engine: Engine, change: Drop, now_ms: int) -> Step:
    events = 0
    for row in lanes_of(engine, change.key):
        if change.target is None or engine.targets.name_of(row.target) == change.target:
            lane, dropped = fate.drop(_own(engine, row.lane, now_ms))
            engine.ledger.count("dropped_by_operator", dropped)
            if dropped:
                engine.lanes.note(row, Dropped(dropped), now_ms)
            engine.lanes.store(row, row.target, lane, now_ms)
            events += dropped
    return Step(events)


def _return_refused(engine: Engine, change: ReturnRefused, cursor: int, now_ms: int) -> Step:
    ids = engine.shelf.dead(cursor, SLICE)
    target = engine.targets.of(change.target).id
    events = 0
    for row in map(engine.lanes.row, ids):
        if row.target == target:
            lane = _own(engine, row.lane, now_ms)
            made = fate.return_refused(
                lane, change.statuses, cancel_resolved=engine.lanes.rules.cancel_resolved
            )
            alive = lane.dead_count() - made.lane.dead_count()
            if alive:
                engine.lanes.note(row, Returned(alive), now_ms)
            events += alive
            engine.lanes.apply(row, made, now_ms)
    return Step(events, ids[-1] if len(ids) == SLICE else None)


def _retarget(engine: Engine, change: Retarget, cursor: int, now_ms: int) -> Step:
    """Move what waits at targets that are gone to where the routes send it now.

    A lane that the target knows an open alert of stays: it is parked until the target returns. The cursor counts
    those that stay. Nothing but the lanes of gone targets is looked at, so a start does not read the backlog.
    """
    if engine.inbox.tail.targets() - {*change.targets, DROP}:
        engine.fold(now_ms)  # accepted under the old configuration: to be moved, it must lie in its lane
        return Step(0, cursor)
    gone = [t.id for name, t in engine.targets.by_name.items() if name not in change.targets]
    if engine.digests.dissolve(gone, now_ms):
        return Step(0, cursor)
    ids = engine.shelf.waiting_at(gone, SLICE, cursor)
    events = 0
    for row in map(engine.lanes.row, ids):
        if row.lane.remote in (Remote.NONE, Remote.CLOSED) and row.lane.gathers is None:
            events += _move(engine, row, now_ms)
        else:
            cursor += 1
    return Step(events, cursor if len(ids) == SLICE else None)


def _move(engine: Engine, row: Row, now_ms: int) -> int:
    ops = row.lane.waiting
    emptied = msgspec.structs.replace(
        row.lane, waiting=(), dead=False, attempts=0, rejections=0, due_ms=0, revivals=0
    )
    engine.lanes.store(row, row.target, emptied, now_ms)
    names = [engine.lanes.rules.route(op.payload) for op in ops]
    engine.lanes.note(
        row, Moved(len(ops), tuple(dict.fromkeys(name for name in names if name != DROP))), now_ms
    )
    for op, name in zip(ops, names, strict=True):
        if name == DROP:
            engine.ledger.count("dropped_by_route", 1)
        else:
            _fold_moved(engine, row.lane.key, op, engine.targets.of(name).id, now_ms)
    return len(ops)


def _fold_moved(engine: Engine, key: str, op: Op, target: int, now_ms: int) -> None:
    row = next((r for r in lanes_of(engine, key) if r.target == target), None)
    lane = _own(engine, row.lane, now_ms) if row is not None else Lane(key)
    lane = msgspec.structs.replace(lane, seq=lane.seq + 1, dead=False, revivals=0)
    folded = fold(
        lane, msgspec.structs.replace(op, seq=lane.seq), cancel_resolved=engine.lanes.rules.cancel_resolved
    )
    engine.ledger.count("coalesced", folded.coalesced)
    engine.ledger.count("cancelled", folded.cancelled)
    engine.lanes.store(row, target, folded.lane, now_ms)
