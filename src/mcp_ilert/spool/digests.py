"""Digests within a transaction: lanes enter and leave them, in slices, and the digests' own lanes follow.

What it changes it counts, and what it is not handed to store it stores. A digest is found by its target and group:
its alert key follows from these, and so does its lane.
"""

from collections.abc import Iterable, Sequence

import msgspec

from mcp_ilert.events import Entry, Kind, Settlement
from mcp_ilert.spool import digest, gathering
from mcp_ilert.spool.gathering import Gathering
from mcp_ilert.spool.history import Digested, Undigested, What
from mcp_ilert.spool.lane import Lane, Op, Remote
from mcp_ilert.spool.lanes import Lanes
from mcp_ilert.spool.shelf import Row, Shelf

SLICE = 200
GROUPS_AT_MOST = 10
"""Digests of groups at a target at once; what is of a further group goes into one for all others."""
OTHERS = ""
DIGESTS_AT_MOST = 100_000
"""Far more than there can be: GROUPS_AT_MOST and one at each target, and a few that give back their members."""
IDS_KEPT = 1_000

Entering = tuple[Row, str]
"""A lane on its way into a digest, and what its alert says."""


class Digests:
    """The digests of one spool."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._ids: dict[tuple[int, str], int] = {}
        """Lanes of digests by target and group, as last seen."""
        self._discarded: list[int] = []

    def load(self) -> None:
        """Read anew, as after a rollback."""
        self._ids.clear()
        self._discarded = list(self._lanes.shelf.marked(digest.DISCARDED, SLICE))

    # Entering -------------------------------------------------------------------------------------------------

    def gather(self, target: int, now_ms: int) -> int:
        """Put a slice of a target's lesser alerts into digests; returns how many."""
        lanes = self._lanes
        ids = lanes.shelf.eligible(target, lanes.rules.digest_below, SLICE)
        return self._enter(map(lanes.row, ids), target, now_ms)

    def take(self, row: Row, now_ms: int) -> bool:
        """Put the lane into the digest of its group, if it may go there."""
        return self._enter((row,), row.target, now_ms) > 0

    def _enter(self, rows: Iterable[Row], target: int, now_ms: int) -> int:
        """Put those lanes of a target that may go there into the digests of their groups; returns how many."""
        groups: dict[str, list[Entering]] = {}
        for row in rows:
            lane = row.lane
            if digest.eligible(lane) and lane.severity() > self._lanes.rules.digest_below:
                brief = self._lanes.rules.brief(lane.waiting[0].payload)
                groups.setdefault(brief.group, []).append((row, brief.summary))
        return sum(self._join(target, group, entering, now_ms) for group, entering in groups.items())

    def _join(self, target: int, group: str, entering: Sequence[Entering], now_ms: int) -> int:
        """Have the group's digest stand for these lanes, too; it is stored once for all of them."""
        lanes = self._lanes
        group, own = self._place(target, group)
        made = (own.lane.gathers if own is not None else None) or Gathering(group)
        if made.discarded:
            return 0
        for row, summary in entering:
            op = row.lane.waiting[0]
            made = gathering.joined(made, op.severity, summary, op.first_ms)
        own_lane = own.lane if own is not None else Lane(self._key(target, group))
        lanes.store(own, target, digest.tell(own_lane, made, now_ms), now_ms)
        found = own or self._find(target, group)
        if found is None:
            raise AssertionError("a digest with a member has a lane")
        lanes.store_all(
            ((row, target, digest.enter(row.lane, found.id, now_ms)) for row, _ in entering), now_ms
        )
        for row, _ in entering:
            self._note(target, row.lane, now_ms, Digested(1, found.lane.key))
        lanes.ledger.count("digested", len(entering))
        return len(entering)

    def _place(self, target: int, group: str) -> tuple[str, Row | None]:
        """The group's digest; where there are too many, that of all others."""
        found = self._find(target, group)
        if digest.mark(found.lane) if found is not None else False:
            return group, found
        if len(self._lanes.shelf.digests(target, GROUPS_AT_MOST)) < GROUPS_AT_MOST:
            return group, found
        return OTHERS, self._find(target, OTHERS)

    def _key(self, target: int, group: str) -> str:
        seal = self._lanes.shelf.seal(f"{self._lanes.targets.name_of(target)}\n{group}")
        return gathering.key_of(group, seal)

    def _find(self, target: int, group: str) -> Row | None:
        known = self._lanes.shelf.get(self._ids.get((target, group), 0))
        if known is not None and _is_digest(known, target, group):
            return known
        key = self._key(target, group).lower()
        rows = self._lanes.shelf.find((key,)).get(key, ())
        found = next((row for row in rows if _is_digest(row, target, group)), None)
        if len(self._ids) >= IDS_KEPT:
            self._ids.clear()
        if found is not None:
            self._ids[target, group] = found.id
        return found

    # Members --------------------------------------------------------------------------------------------------

    def arrive(self, lane: Lane, entry: Entry, now_ms: int) -> Lane:
        """Fold an event into a member; the caller stores the lane that comes back."""
        if digest.leaves_with(entry, self._lanes.rules.digest_below):
            return self.leave(lane, now_ms)
        arrived = digest.arrive(lane, entry, now_ms)
        self._lanes.ledger.count("digested", arrived.digested)
        self._lanes.ledger.count("coalesced", arrived.coalesced)
        if not arrived.lane.member:
            own = self._left(lane, now_ms, resolved=True)
            name = self._lanes.targets.name_of(own.target)
            self._lanes.history.resolved(lane.key, name, entry.accepted_ms, own.lane.key)
        elif entry.kind is Kind.ALERT:
            self._changed(lane, arrived.lane, now_ms)
        return arrived.lane

    def arrive_run(self, lane: Lane, run: Op, now_ms: int) -> Lane | None:
        """Fold a run of alerts into a member, whose digest hears of the last; None where it goes event by event."""
        if run.severity <= self._lanes.rules.digest_below:
            return None
        arrived = digest.arrive_run(lane, run, now_ms)
        if arrived is None:
            return None
        self._lanes.ledger.count("coalesced", arrived.coalesced)
        self._changed(lane, arrived.lane, now_ms)
        return arrived.lane

    def leave(self, lane: Lane, now_ms: int) -> Lane:
        """Have a member go its own way again; the caller stores the lane that comes back."""
        own = self._left(lane, now_ms, resolved=False)
        self._note(own.target, lane, now_ms, Undigested(len(lane.waiting)))
        self._lanes.ledger.count("digested", -len(lane.waiting))
        self._lanes.ledger.count("undigested", len(lane.waiting))
        return digest.leave(lane)

    def forget(self, lane: Lane, now_ms: int) -> Lane:
        """A member is forgotten, for nothing was heard of it for long. That is no news.

        The caller stores what is left of its lane: dead letters are kept for as long as it takes.
        """
        own = self._lanes.row(lane.member)
        made = self._without(own, lane, resolved=False)
        self._lanes.store(own, own.target, digest.hush(own.lane, made), now_ms)
        return msgspec.structs.replace(digest.leave(lane), waiting=(), attempts=0, rejections=0, due_ms=0)

    def _note(self, target: int, lane: Lane, now_ms: int, what: What) -> None:
        self._lanes.history.note(lane.key, self._lanes.targets.name_of(target), now_ms, what)

    def _left(self, lane: Lane, now_ms: int, *, resolved: bool) -> Row:
        """Tell a member's digest that it has left; returns the digest as it was."""
        own = self._lanes.row(lane.member)
        made = self._without(own, lane, resolved=resolved)
        self._lanes.store(own, own.target, digest.tell(own.lane, made, now_ms), now_ms)
        return own

    def _without(self, own: Row, lane: Lane, *, resolved: bool) -> Gathering:
        op = lane.waiting[0]
        brief = self._lanes.rules.brief(op.payload)
        return gathering.left(_gathering(own), op.severity, brief.summary, resolved=resolved)

    def _changed(self, before: Lane, after: Lane, now_ms: int) -> None:
        own = self._lanes.row(before.member)
        old, new = before.waiting[0], after.waiting[0]
        brief = self._lanes.rules.brief
        made = gathering.changed(
            _gathering(own),
            (old.severity, brief(old.payload).summary),
            (new.severity, brief(new.payload).summary),
        )
        if made != own.lane.gathers:
            self._lanes.store(own, own.target, digest.tell(own.lane, made, now_ms), now_ms)

    # The digests' own lanes -----------------------------------------------------------------------------------

    def settle(self, row: Row, settlement: Settlement, now_ms: int) -> None:
        """End the request of a digest; a rejected one begins to give its members back."""
        self._keep(row, digest.settle(row.lane, settlement.decision, settlement.at_ms), now_ms)

    def recover(self, row: Row, now_ms: int) -> None:
        """A digest was found leased at a start."""
        self._keep(row, digest.recover(row.lane, now_ms), now_ms)

    def dissolve(self, targets: Iterable[int], now_ms: int) -> bool:
        """Do a slice of giving back what digests at these targets stand for, if nobody was told of them.

        False where nothing is left to be done.
        """
        for target in targets:
            for lane_id in self._lanes.shelf.digests(target, SLICE):
                row = self._lanes.row(lane_id)
                if row.lane.flying is None and row.lane.remote in (Remote.NONE, Remote.CLOSED):
                    self._keep(row, digest.discard(row.lane, now_ms), now_ms)
        if not self.busy:
            return False
        self.give_back(now_ms)
        return True

    def _keep(self, row: Row, lane: Lane, now_ms: int) -> None:
        ended = lane if lane.flying is not None else msgspec.structs.replace(lane, taken=None)
        self._lanes.store(row, row.target, ended, now_ms)
        if digest.mark(lane) == digest.DISCARDED:
            self._discarded.append(row.id)

    @property
    def busy(self) -> bool:
        """Whether members wait to be given back."""
        return bool(self._discarded)

    def give_back(self, now_ms: int) -> None:
        """Have a slice of the members of a discarded digest go their own way."""
        lanes = self._lanes
        ids = lanes.shelf.marked(self._discarded[0], SLICE) if self._discarded else ()
        for row in map(lanes.row, ids):
            lanes.store(row, row.target, self.leave(row.lane, now_ms), now_ms)
        self._discarded = self._discarded if ids else self._discarded[1:]


def members(shelf: Shelf) -> int:
    """Lanes for which digests stand, added up over the digests."""
    ids = (i for mark in (digest.GATHERS, digest.DISCARDED) for i in shelf.marked(mark, DIGESTS_AT_MOST))
    rows = (shelf.get(lane_id) for lane_id in ids)
    return sum(row.lane.gathers.members() for row in rows if row is not None and row.lane.gathers is not None)


def _is_digest(row: Row, target: int, group: str) -> bool:
    return row.target == target and row.lane.gathers is not None and row.lane.gathers.group == group


def _gathering(own: Row) -> Gathering:
    if own.lane.gathers is None:
        raise AssertionError(f"lane {own.id} has members and is no digest")
    return own.lane.gathers
