"""What a spool does within a transaction: accept, fold, lease, settle, change. It knows lanes, not SQL, not threads.

Log first, fold after: `accept` appends to the inbox and to `tail`; `fold` moves the tail into lanes, in order.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from mcp_ilert._fast.folding import group
from mcp_ilert.events import DROP, Counts, Delivery, Entry, Kind, Settlement, Severity
from mcp_ilert.spool import fate, past
from mcp_ilert.spool.chronicle import Chronicle
from mcp_ilert.spool.digest import mark
from mcp_ilert.spool.digests import Digests, members
from mcp_ilert.spool.folder import CHUNK, Changed, Folder
from mcp_ilert.spool.gathering import payload
from mcp_ilert.spool.history import Attempt, Forgotten, What
from mcp_ilert.spool.lane import Lane, Remote, State
from mcp_ilert.spool.messages import Messages
from mcp_ilert.spool.picker import Picker
from mcp_ilert.spool.port import Agenda, Leased, Rules, Settled, Want
from mcp_ilert.spool.rank import Pick
from mcp_ilert.spool.shelf import Placement, Row, Shelf, TargetRow
from mcp_ilert.spool.tail import Batch, Tail

ENCODE = msgspec.msgpack.Encoder().encode
ENTRIES = msgspec.msgpack.Decoder(list[Entry])
PRUNE_SLICE = 200
PRUNE_FEW = 8
RECOVER_SLICE = 500
NEVER_MS = 1 << 62
TERMS = (
    "accepted",
    "fanned_out",
    "delivered",
    "coalesced",
    "cancelled",
    "digested",
    "dropped_by_route",
    "dropped_by_operator",
    "undigested",
)


class LostError(LookupError):
    """What an index or another lane speaks of is not in the spool."""


class Engine:
    """One spool's lanes and ledger, over a shelf. Not thread-safe: one writer owns it."""

    def __init__(self, shelf: Shelf, rules: Rules) -> None:
        self.shelf = shelf
        self.rules = rules
        self.tail = Tail()
        self.touched: set[int] = set()
        """Targets at which something became ready since `take_touched` that the dispatcher does not know of."""
        self.history = Chronicle(shelf)
        self.digests = Digests(self)
        self.messages = Messages(shelf)
        self.flying: frozenset[int] = frozenset()
        """Lanes leased since the start and not settled, as committed: somebody has them."""
        self._folder = Folder(self)
        self.load()

    def load(self) -> None:
        """Read the ledger, the targets and the inbox's tail anew, as after a rollback or a reopening."""
        self._terms = msgspec.structs.asdict(self.shelf.ledger())
        self._targets = {t.name: t for t in self.shelf.targets()}
        self._names = {t.id: t.name for t in self._targets.values()}
        self.touched &= self._names.keys()  # a target that was made in what is rolled back is not there
        self._load_tail()
        self.history.load()
        self._lanes = {t.id: t.lanes for t in self._targets.values()}
        self._known: dict[int, Agenda] = {}
        """What the dispatcher was told of each target, by a lease and since: it comes for that by itself."""
        self.digests.load()
        self._leases = set(self.flying)
        self._terms["members"] = members(self.shelf)

    def resume(self, flying: frozenset[int], touched: Collection[int] = ()) -> None:
        """Go on where another engine over the same spool ended: somebody has these lanes, nobody was told of those."""
        self.flying, self._leases = flying, set(flying)
        self.touched.update(self._names.keys() & touched)

    def committed(self) -> None:
        """What this transaction did is there for good."""
        self.flying = frozenset(self._leases)

    def _load_tail(self) -> None:
        self.tail = Tail()
        self._seq = 0
        ahead: defaultdict[int, set[str]] = defaultdict(set)
        for seq, keys in self.shelf.folded_ahead():
            ahead[seq].update(keys)
        parted, place = self.shelf.folded_part() or (0, 0)
        for seq, blob in self.shelf.inbox():
            self._seq = seq
            entries = [e for e in ENTRIES.decode(blob) if e.key.lower() not in ahead[seq]]
            if seq <= parted:
                places = self.shelf.places({e.key.lower() for e in entries})
                entries = [e for e in entries if places[e.key.lower()] > place]
            self.tail.append(seq, entries, len(blob))
            if seq == parted:
                self.tail.close()
        self._terms["inbox"] = self.tail.events

    def counts(self) -> Counts:
        """The ledger as it stands in this transaction."""
        return Counts(**self._terms)

    @property
    def occupied(self) -> int:
        """What `Rules.max_pending` bounds: lanes in which something waits or may come to, each event in the inbox."""
        terms: Mapping[str, int] = self._terms
        return terms["lanes"] + terms["members"] + terms["inbox"]

    def save(self) -> None:
        """Write the history, the targets' numbers of lanes and the ledger; the last act of each transaction."""
        self.history.flush(self.rules)
        for target in tuple(self._targets.values()):
            if target.lanes != self._lanes[target.id]:
                self._save_target(msgspec.structs.replace(target, lanes=self._lanes[target.id]))
        self.shelf.save_ledger(self.counts())

    def take_touched(self) -> frozenset[str]:
        """The names of the targets at which something became ready, once."""
        names = frozenset(self._names[i] for i in self.touched)
        self.touched.clear()
        return names

    # Accepting and folding ------------------------------------------------------------------------------------

    def accept(self, entries: Sequence[Entry], now_ms: int, *, fold: bool) -> None:
        """Count the entries and append them to the inbox; what is of a key for which something critical came is folded.

        With `fold` all of them are, where nothing is before them.
        """
        batch = Batch(entries)
        self._count_batch(batch)
        if fold and not self.tail:
            groups: dict[str, list[Entry]] = {}
            group(batch.kept, groups)
            self._folder.fold(groups, now_ms)
            return
        kept = self._fold_critical(batch, now_ms) if batch.critical else batch.kept
        if kept:
            self.shelf.append(self._follow(kept, batch.bytes), len(kept), ENCODE(kept))

    def take(self, entry: Entry, now_ms: int) -> None:
        """Accept and fold one entry, before which nothing waits in the inbox."""
        self._terms["accepted"] += 1
        if entry.target == DROP and entry.kind is Kind.ALERT:
            self._terms["dropped_by_route"] += 1
            return
        self._terms["pending"] += 1
        self._folder.fold({entry.key.lower(): [entry]}, now_ms)

    def append(self, batch: Batch) -> None:
        """Accept entries of which none is critical, as a transaction of its own that does nothing else."""
        self._count_batch(batch)
        if batch.kept:
            seq = self._follow(batch.kept, batch.bytes)
            self.shelf.append_alone(seq, len(batch.kept), ENCODE(batch.kept), self.counts())
        else:
            self.shelf.save_ledger(self.counts())

    def _count_batch(self, batch: Batch) -> None:
        self._terms["accepted"] += batch.events
        self._terms["dropped_by_route"] += batch.events - len(batch.kept)
        self._terms["pending"] += len(batch.kept)

    def _follow(self, entries: Sequence[Entry], size: int) -> int:
        """Put the entries at the end of the tail; returns their row in the inbox."""
        self._seq += 1
        self.tail.append(self._seq, entries, size)
        self._terms["inbox"] = self.tail.events
        return self._seq

    def _fold_critical(self, batch: Batch, now_ms: int) -> list[Entry]:
        """Fold what is of the critical entries' keys, in the tail and in the batch; returns the other entries."""
        keys = batch.critical
        groups = self._ahead(keys)
        others: list[Entry] = []
        for entry in batch.kept:
            key = entry.key.lower()
            (groups[key] if key in keys else others).append(entry)
        self._folder.fold(groups, now_ms)
        return others

    def _ahead(self, keys: Collection[str]) -> dict[str, list[Entry]]:
        """What the tail has of these lower-cased keys, in order; it is folded ahead of its turn."""
        groups: dict[str, list[Entry]] = {key: [] for key in keys}
        for taken, rows in self.tail.take(keys):
            self.shelf.fold_ahead(rows, tuple(taken))
            for key, earlier in taken.items():
                groups[key] += earlier
        self._terms["inbox"] = self.tail.events
        return groups

    # For aside.py, which finds what cannot be folded

    def fold_keys(self, keys: Collection[str], now_ms: int) -> None:
        """Fold what the tail has of these lower-cased keys."""
        self._folder.fold(self._ahead(keys), now_ms)

    def keep(self, entries: Sequence[Entry]) -> None:
        """Accept the entries and fold nothing; they are the tail's last."""
        batch = Batch(entries)
        self._count_batch(batch)
        if batch.kept:
            self.shelf.append(self._follow(batch.kept, batch.bytes), len(batch.kept), ENCODE(batch.kept))

    def out_of_tail(self, key: str) -> Sequence[Entry]:
        """What the tail has of a lower-cased key, which the caller folds or sets aside, each in its turn."""
        return self._ahead((key,))[key]

    def fold_one(self, entry: Entry, now_ms: int) -> None:
        """Fold one event that was taken from the tail."""
        self._folder.fold({entry.key.lower(): [entry]}, now_ms)

    def set_aside(self, entry: Entry, why: str, now_ms: int) -> None:
        """Keep as a dead letter an event that was taken from the tail and cannot be folded."""
        self._folder.set_aside(entry, why, now_ms)

    def fold(self, now_ms: int) -> None:
        """Fold the next part of the tail, if there is one."""
        if not self.tail:
            return
        part = self.tail.part(self.shelf.places)
        if part.place is None:
            self.shelf.trim(part.seq)
        else:
            self.shelf.fold_part(part.seq, part.events, part.place)
        self._terms["inbox"] = self.tail.events
        self._folder.fold(part.by_key, now_ms)

    def kept(self, keys: Collection[str]) -> set[str]:
        """Those lower-cased keys of which something waits, or is in a digest; the inbox is folded."""
        wanted, kept = iter(keys), set[str]()
        while chunk := tuple(islice(wanted, CHUNK)):
            found = self.shelf.find(chunk).items()
            kept |= {key for key, rows in found if any(r.lane.member or r.lane.pending() for r in rows)}
        return kept

    # Leasing and settling -------------------------------------------------------------------------------------

    def lease(self, wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
        """Choose and lease what the wants allow, in order."""
        self.save_states(states)
        deliveries: list[Delivery] = []
        agenda: dict[str, Agenda] = {}
        for want in wants:
            target = self.target(want.target)
            picker = Picker(self.shelf, target, now_ms)
            self._revive(target, want.revive, now_ms)
            divert = self._diverter(now_ms) if want.digest else _nothing_diverted
            chosen = picker.probe(dead=want.probe_dead) if want.probe else picker.choose(want, divert)
            for lane_id in chosen:  # one by one: the choice follows what was taken
                delivery = self._take(lane_id, want, now_ms, picker.turn)
                deliveries.append(delivery)
            if picker.turns != target.turns:
                self._save_target(msgspec.structs.replace(self.target(want.target), turns=picker.turns))
            agenda[target.name] = self._known[target.id] = msgspec.structs.replace(
                picker.agenda(), backlog=self._lanes[target.id], digested=picker.diverted
            )
            self.touched.discard(target.id)
        return Leased(tuple(deliveries), agenda)

    def _diverter(self, now_ms: int) -> Callable[[int], bool]:
        return lambda lane_id: self.digests.take(self.row(lane_id), now_ms)

    def _revive(self, target: TargetRow, limit: int, now_ms: int) -> None:
        for lane_id, due_ms in self.shelf.soonest(State.DEAD, target.id, limit) if limit > 0 else ():
            if due_ms <= now_ms:
                row = self.row(lane_id)
                self.store(row, row.target, fate.revive(row.lane), now_ms)

    def _take(self, lane_id: int, want: Want, now_ms: int, turn: Pick) -> Delivery:
        row = self.row(lane_id)
        lane = fate.revive(row.lane) if row.lane.dead else row.lane
        gathers, head = lane.gathers, lane.waiting[0]
        text = head.payload if gathers is None else payload(gathers, lane.key, head.kind)
        taken = past.taken(lane, want, now_ms, turn, self.rules.tell(text))
        lane = msgspec.structs.replace(fate.take(lane), taken=taken)
        self.store(row, row.target, lane, now_ms)
        self._leases.add(row.id)
        op = lane.flying
        if op is None:
            raise AssertionError("a taken lane flies")
        return Delivery(
            lease=row.id,
            target=want.target,
            key=lane.key,
            kind=op.kind,
            severity=op.severity if gathers is None or not gathers.members() else gathers.worst(),
            payload=text,
            count=op.count if gathers is None else max(1, gathers.members()),
            first_ms=op.first_ms,
            last_ms=op.last_ms,
            attempts=lane.attempts,
            rejections=lane.rejections,
            revivals=lane.revivals,
            probe=want.probe,
            digest=gathers is not None,
            ref=lane.ref,
            unsure=lane.remote is Remote.UNKNOWN or (lane.remote is Remote.OPEN and not lane.ref),
        )

    def settle(self, settlements: Sequence[Settlement], states: Mapping[str, bytes], now_ms: int) -> Settled:
        """End deliveries; one that is not in flight any more (settled twice) is passed over."""
        self.save_states(states)
        outage = rejected = 0
        for settlement in settlements:
            self._leases.discard(settlement.lease)
            row = self.shelf.get(settlement.lease)
            if row is None or row.lane.flying is None:
                continue
            if row.lane.gathers is not None:
                self.note(row, past.attempt(row.lane, settlement), now_ms)
                self.digests.settle(row, settlement, now_ms)
                continue
            made = fate.settle(
                row.lane,
                settlement.decision,
                settlement.at_ms,
                cancel_resolved=self.rules.cancel_resolved,
            )
            self._end(row, made, past.attempt(row.lane, settlement), now_ms)
            outage += made.outage
            rejected += made.rejected
        return Settled(outage, rejected)

    def recover(self, now_ms: int) -> bool:
        """Return a slice of the lanes found leased that nobody has; True while there are more."""
        found = self.shelf.leased(RECOVER_SLICE + len(self.flying))
        ids = [lane_id for lane_id in found if lane_id not in self.flying]
        for lane_id in ids:
            row = self.row(lane_id)
            if row.lane.gathers is not None:
                self.note(row, past.interrupted(row.lane), now_ms)
                self.digests.recover(row, now_ms)
                continue
            made = fate.recover(row.lane, now_ms, cancel_resolved=self.rules.cancel_resolved)
            self._end(row, made, past.interrupted(row.lane), now_ms)
        return len(ids) >= RECOVER_SLICE

    def _end(self, row: Row, made: fate.Settling, attempt: Attempt, now_ms: int) -> None:
        """Store what became of a request in flight, and tell of it."""
        self.note(row, attempt, now_ms)
        ended = msgspec.structs.replace(made.lane, taken=None)
        self.apply(row, msgspec.structs.replace(made, lane=ended), now_ms)

    def prune(self, now_ms: int) -> None:
        """Forget a slice of the idle lanes whose time is over."""
        for target in self._targets.values():
            for row in map(self.row, self._over(target.id, now_ms)):
                lane = row.lane
                if lane.member:
                    lane = self.digests.forget(lane, now_ms)
                if lane.remote in (Remote.OPEN, Remote.UNKNOWN):
                    self.note(row, Forgotten(lane.settled_ms), now_ms)
                self.store(row, target.id, lane, now_ms)
        self.messages.prune(now_ms)
        self.history.prune(self.rules, now_ms)

    def _over(self, target: int, now_ms: int) -> list[int]:
        """A slice of the target's idle lanes whose time is over; mostly these are few."""
        over: list[int] = []
        for limit in (PRUNE_FEW, PRUNE_SLICE):
            over = [i for i, due_ms in self.shelf.soonest(State.IDLE, target, limit) if due_ms <= now_ms]
            if len(over) < limit:
                break
        return over

    # Shared by all, and by changes.py -------------------------------------------------------------------------

    def target(self, name: str) -> TargetRow:
        """The stored target of this name, made where it is new."""
        target = self._targets.get(name)
        if target is None:
            target = self.shelf.add_target(name)
            self._targets[name] = target
            self._names[target.id] = name
            self._lanes[target.id] = 0
        return target

    def targets(self) -> Mapping[str, TargetRow]:
        """All stored targets, by name."""
        return self._targets

    def name_of(self, target: int) -> str:
        """The name of a stored target."""
        return self._names[target]

    def save_states(self, states: Mapping[str, bytes]) -> None:
        """Keep the dispatcher's state of targets."""
        for name, state in states.items():
            target = self.target(name)
            if target.state != state:
                self._save_target(msgspec.structs.replace(target, state=state))

    def pause(self, name: str, *, paused: bool) -> None:
        """Keep the operator's pause of a target."""
        self._save_target(msgspec.structs.replace(self.target(name), paused=paused))

    def _save_target(self, target: TargetRow) -> None:
        self.shelf.save_target(target)
        self._targets[target.name] = target

    def count(self, term: str, events: int) -> None:
        """Add to one of TERMS."""
        if term not in TERMS:
            raise ValueError(f"{term} is not a term that is counted by hand")
        self._terms[term] += events

    def add_to(self, term: str, events: int) -> None:
        """Add to any term, where its place is known."""
        self._terms[term] += events

    def begun(self, target: int, placement: Placement) -> None:
        """One lane more waits, there."""
        self._terms["lanes"] += 1
        self._lanes[target] += 1
        self._touch(target, placement)

    def note(self, row: Row, what: What, now_ms: int) -> None:
        """Write down what happened to a lane."""
        self.history.note(row.lane.key, self.name_of(row.target), now_ms, what)

    def apply(self, row: Row, made: fate.Settling, now_ms: int) -> None:
        """Store what a settlement or a replay made of a lane, and count it."""
        if made.cancelled:
            self.note(row, past.cancelled(row.lane, made.cancelled), now_ms)
        self._terms["delivered"] += made.delivered
        self._terms["coalesced"] += made.coalesced
        self._terms["cancelled"] += made.cancelled
        self.store(row, row.target, made.lane, now_ms)

    def store(self, row: Row | None, target: int, lane: Lane, now_ms: int) -> None:
        """Store a new or changed lane; pending, dead and lanes follow from its structure."""
        self.store_all([(row, target, lane)], now_ms)

    def store_all(self, changed: Iterable[Changed], now_ms: int) -> None:
        """Store many."""
        adds: list[tuple[int, Lane, Placement]] = []
        saves: list[tuple[Row, Placement]] = []
        removes: list[Row] = []
        for row, target, lane in changed:
            self._count_change(row.lane if row is not None else None, lane, target)
            placement = self._placement(lane, now_ms)
            if placement is None:
                removes += [row] if row is not None else []
                continue
            if placement.state in (State.READY, State.BACKOFF):
                self._touch(target, placement)
            if row is None:
                adds.append((target, lane, placement))
            else:
                saves.append((Row(row.id, target, lane), placement))
        if adds:
            self.shelf.add(adds)
        if saves:
            self.shelf.save(saves)
        if removes:
            self.shelf.remove(removes)

    def _touch(self, target: int, placement: Placement) -> None:
        """Something is ready, or has a time at which it will be; wakes only where that is news."""
        known = self._known.get(target, Agenda())
        now = news(known, placement)
        if now is not known:
            self._known[target] = now
            self.touched.add(target)

    def _count_change(self, before: Lane | None, after: Lane, target: int) -> None:
        if before is not None and _counted_alike(before, after):
            return
        terms = self._terms
        pending, dead = after.pending(), after.dead_count()
        waited = died = member = 0
        if before is not None:
            waited, died, member = before.pending(), before.dead_count(), before.member
        if pending != waited:
            more = (pending > 0) - (waited > 0)
            terms["pending"] += pending - waited
            terms["lanes"] += more
            self._lanes[target] += more
        terms["members"] += (after.member > 0) - (member > 0)
        terms["dead"] += dead - died

    def _placement(self, lane: Lane, now_ms: int) -> Placement | None:
        """Where the indexes have the lane; None where nothing of it needs keeping."""
        if len(lane.waiting) == 1 and lane.flying is None and not (lane.dead or lane.member):  # mostly
            op, due_ms = lane.waiting[0], lane.due_ms
            state = State.BACKOFF if due_ms > now_ms else State.READY
            return Placement(
                state, op.severity, lane.sent, op.first_ms, due_ms, len(lane.letters), mark(lane)
            )
        forget = fate.forget_ms(
            lane, dedupe_ms=self.rules.dedupe_ms, remember_open_ms=self.rules.remember_open_ms
        )
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

    def row(self, lane_id: int) -> Row:
        """The lane of this id, which must be there."""
        row = self.shelf.get(lane_id)
        if row is None:
            raise LostError(f"lane {lane_id} is not in the spool")
        return row


def news(known: Agenda, placement: Placement) -> Agenda:
    """What is known of a target with this lane in it; the same where that adds nothing."""
    if placement.state is State.BACKOFF:
        if known.next_due_ms is not None and known.next_due_ms <= placement.due_ms:
            return known
        return msgspec.structs.replace(known, next_due_ms=placement.due_ms)
    if placement.severity is Severity.CRITICAL:
        return known if known.critical_ready else msgspec.structs.replace(known, critical_ready=True)
    return known if known.others_ready else msgspec.structs.replace(known, others_ready=True)


def _counted_alike(before: Lane, after: Lane) -> bool:
    """Whether a lane's change is surely none to the ledger: most are of texts and times."""
    return (
        len(before.waiting) == len(after.waiting)
        and before.letters is after.letters
        and before.dead is after.dead
        and before.member == after.member
        and not (before.flying or after.flying or before.returning or after.returning)
        and (before.gathers is None) is (after.gathers is None)
    )


def _nothing_diverted(_lane_id: int) -> bool:
    return False


def _due_ms(lane: Lane, forget: int | None) -> int:
    """When something happens to the lane by itself; a lane that keeps letters waits for an operator."""
    if forget is not None:
        return forget
    return lane.due_ms if lane.waiting else NEVER_MS
