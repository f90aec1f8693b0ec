"""Folds what was accepted into lanes, by key: each lane is read once and written once, however much came for it.

Runs of alerts, of which a storm is made, go in one step a lane; all else goes event by event.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from mcp_ilert._fast.folding import Run, run_of
from mcp_ilert.events import DROP, Entry, Kind
from mcp_ilert.spool import fate
from mcp_ilert.spool.digest import ELIGIBLE, leaves_with
from mcp_ilert.spool.digests import Digests
from mcp_ilert.spool.history import SetAside
from mcp_ilert.spool.lane import Lane, Op, Remote, State, arrive, arrive_run
from mcp_ilert.spool.lanes import Changed, Lanes
from mcp_ilert.spool.shelf import Placement, Row

CHUNK = 1_024
"""Keys whose lanes are in memory at once."""
Groups = Mapping[str, list[Entry]]


class Folder:
    """Folds for one spool, within its transaction."""

    def __init__(self, lanes: Lanes, digests: Digests) -> None:
        self._lanes = lanes
        self._digests = digests

    def fold(self, groups: Groups, now_ms: int) -> None:
        """Fold the entries of each lower-cased key, in their order."""
        items = iter(groups.items())
        while chunk := list(islice(items, CHUNK)):
            found = self._lanes.shelf.find([key for key, _ in chunk])
            _Chunk(self._lanes, self._digests).fold(chunk, found, now_ms)

    def set_aside(self, entry: Entry, why: str, now_ms: int) -> None:
        """Keep an event that cannot be folded as a dead letter, wherever it would have gone."""
        key = entry.key.lower()
        found = self._lanes.shelf.find((key,)).get(key, ())
        _Chunk(self._lanes, self._digests).set_aside(entry, why, found, now_ms)


class _Chunk:
    """Some keys' lanes on their way."""

    def __init__(self, lanes: Lanes, digests: Digests) -> None:
        self._lanes = lanes
        self._digests = digests
        self._changed: list[Changed] = []
        self._new: list[tuple[int, Lane, Placement]] = []
        self._texts: list[Row] = []
        """Lanes of which nothing has changed that an index knows."""
        self._coalesced = 0
        self._unknown_until = lanes.shelf.assume_unknown_until()

    def fold(
        self, groups: Iterable[tuple[str, list[Entry]]], found: Mapping[str, Sequence[Row]], now_ms: int
    ) -> None:
        """Fold the groups into the lanes that were found, and store them."""
        events = 0
        for key, group in groups:
            events += len(group)
            rows = {row.target: row for row in found.get(key, ()) if row.lane.gathers is None}
            run = run_of(group)
            alike = run is not None and run[0] != DROP
            if run is None or not alike or not self._fold_run(group[0].key, run, rows, now_ms):
                self._changed += self._fold_key(rows, group, now_ms, alike=alike)
        lanes = self._lanes
        lanes.ledger.terms["pending"] += len(self._new) - events
        if self._coalesced:
            lanes.ledger.terms["coalesced"] += self._coalesced
        if self._new:
            lanes.shelf.add(self._new)
        if self._texts:
            lanes.shelf.save_texts(self._texts)
        if self._changed:
            lanes.store_all(self._changed, now_ms)

    # A run of alerts ------------------------------------------------------------------------------------------

    def _fold_run(self, key: str, run: Run, rows: Mapping[int, Row], now_ms: int) -> bool:
        """Fold the run in one step, where that may be done."""
        name, severity, count, first_ms, last_ms, payload = run
        target = self._lanes.targets.of(name).id
        op = Op(Kind.ALERT, severity, count, first_ms, last_ms, count, payload)
        row = rows.get(target)
        if row is None:
            return self._begin(key, target, op)
        if row.lane.member:
            lane = self._digests.arrive_run(row.lane, op, now_ms)
            self._changed += [(row, target, lane)] if lane is not None else []
            return lane is not None
        folded = arrive_run(row.lane, op, self._lanes.rules.dedupe_ms)
        if folded is None:
            return False
        self._coalesced += folded.coalesced
        before, after = row.lane.waiting, folded.lane.waiting
        if before and before[0].severity == after[0].severity and before[0].first_ms == after[0].first_ms:
            self._texts.append(Row(row.id, target, folded.lane))
        else:
            self._changed.append((row, target, folded.lane))
        return True

    def _begin(self, key: str, target: int, op: Op) -> bool:
        """A lane that was not there, which such a run makes ready."""
        if op.first_ms < self._unknown_until:
            return False
        placement = Placement(State.READY, op.severity, False, op.first_ms, 0, 0, ELIGIBLE)
        self._new.append((target, Lane(key, waiting=(op,), seq=op.seq), placement))
        self._coalesced += op.count - 1
        self._lanes.begun(target, placement)
        return True

    # Event by event -------------------------------------------------------------------------------------------

    def _fold_key(
        self, rows: Mapping[int, Row], group: list[Entry], now_ms: int, *, alike: bool
    ) -> Iterator[Changed]:
        """Fold each by itself; of those that are `alike`, a run, only as many as need it."""
        own = {target: row.lane for target, row in rows.items()}
        for i, entry in enumerate(group, 1):
            self._fold_entry(entry, own, now_ms)
            if alike and i < len(group) and own[target := self._lanes.targets.of(entry.target).id].waiting:
                if self._fold_rest(group[i:], target, own):
                    break
                alike = False  # what is in the way stays there
        for target, lane in own.items():
            row = rows.get(target)
            if row is None or row.lane is not lane:
                yield row, target, lane

    def _fold_rest(self, group: list[Entry], target: int, own: dict[int, Lane]) -> bool:
        """Fold the rest of a run in one step, behind what waits and is therefore no repeat."""
        run = run_of(group)
        if run is None:
            return False
        _, severity, count, first_ms, last_ms, payload = run
        op = Op(Kind.ALERT, severity, count, first_ms, last_ms, count, payload)
        folded = arrive_run(own[target], op, self._lanes.rules.dedupe_ms)
        if folded is None:
            return False
        self._coalesced += folded.coalesced
        own[target] = folded.lane
        return True

    def _fold_entry(self, entry: Entry, own: dict[int, Lane], now_ms: int) -> None:
        lanes = self._lanes
        targets = self._targets_of(entry, own)
        if not targets:
            lanes.ledger.terms["dropped_by_route"] += 1
            return
        if len(targets) > 1:
            lanes.ledger.terms["fanned_out"] += len(targets) - 1
        for target in targets:
            lane = own.get(target) or self._new_lane(entry)
            if lane.member:
                lane = self._digests.arrive(lane, entry, now_ms)
                if not leaves_with(entry, lanes.rules.digest_below):
                    own[target] = lane
                    continue
            folded = arrive(
                lane, entry, dedupe_ms=lanes.rules.dedupe_ms, cancel_resolved=lanes.rules.cancel_resolved
            )
            if folded.coalesced:
                lanes.ledger.terms["coalesced"] += folded.coalesced
            if folded.cancelled:
                lanes.ledger.terms["cancelled"] += folded.cancelled
                lanes.history.cancelled(lane, lanes.targets.name_of(target), entry)
            elif folded.lane is lane:
                lanes.history.repeated(lane, lanes.targets.name_of(target), entry)
            own[target] = folded.lane

    def set_aside(self, entry: Entry, why: str, found: Sequence[Row], now_ms: int) -> None:
        lanes = self._lanes
        rows = {row.target: row for row in found if row.lane.gathers is None}
        own = {target: row.lane for target, row in rows.items()}
        targets = self._targets_of(entry, own)
        lanes.ledger.terms["pending"] -= 1
        if not targets:
            lanes.ledger.terms["dropped_by_route"] += 1
        lanes.ledger.terms["fanned_out"] += max(0, len(targets) - 1)
        for target in targets:
            lane = own.get(target) or self._new_lane(entry)
            made, merged = fate.set_aside(lane, entry, why, now_ms)
            lanes.ledger.terms["coalesced"] += merged
            lanes.history.note(lane.key, lanes.targets.name_of(target), now_ms, SetAside(why))
            self._changed.append((rows.get(target), target, made))
        lanes.store_all(self._changed, now_ms)

    def _targets_of(self, entry: Entry, own: Mapping[int, Lane]) -> list[int]:
        """An alert goes where its route says; an accept or a resolve to every target that knows the key."""
        if entry.kind is not Kind.ALERT:
            known = [target for target, lane in own.items() if lane.concerns()]
            if known:
                return known
        return [] if entry.target == DROP else [self._lanes.targets.of(entry.target).id]

    def _new_lane(self, entry: Entry) -> Lane:
        unknown = entry.accepted_ms < self._unknown_until
        return Lane(entry.key, remote=Remote.UNKNOWN if unknown else Remote.NONE)
