"""What a spool does within a transaction: accept, fold, lease, settle, change. It knows lanes, not SQL, not threads.

Log first, fold after: `accept` appends to the inbox; `fold` moves it into lanes, in order.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from mcp_ilert._fast.folding import group
from mcp_ilert.events import DROP, Counts, Entry, Kind, Settlement
from mcp_ilert.spool import pruning
from mcp_ilert.spool.digests import Digests, members
from mcp_ilert.spool.folder import CHUNK, Folder
from mcp_ilert.spool.inbox import Inbox
from mcp_ilert.spool.lanes import Lanes
from mcp_ilert.spool.leases import Leases
from mcp_ilert.spool.messages import Messages
from mcp_ilert.spool.port import Leased, Rules, Settled, Want
from mcp_ilert.spool.shelf import Shelf
from mcp_ilert.spool.tail import Batch


class Engine:
    """One spool's parts, over a shelf. Not thread-safe: one writer owns it."""

    def __init__(self, shelf: Shelf, rules: Rules) -> None:
        self.shelf = shelf
        self.lanes = Lanes(shelf, rules)
        self.ledger = self.lanes.ledger
        self.targets = self.lanes.targets
        self.history = self.lanes.history
        self.inbox = Inbox(shelf, self.ledger)
        self.digests = Digests(self.lanes)
        self.leases = Leases(self.lanes, self.digests)
        self.messages = Messages(shelf)
        self._folder = Folder(self.lanes, self.digests)
        self.load()

    def load(self) -> None:
        """Read all that is stored anew, as after a rollback or a reopening."""
        self.lanes.load()
        self.inbox.load()
        self.digests.load()
        self.leases.load()
        self.ledger.terms["members"] = members(self.shelf)

    def resume(self, flying: frozenset[int], touched: Collection[int] = ()) -> None:
        """Go on where another engine over the same spool ended: somebody has these lanes, nobody was told of those."""
        self.leases.resume(flying)
        self.lanes.wakes.touched.update(self.targets.ids.intersection(touched))

    def save(self) -> None:
        """Write what stands in memory alone; the last act of each transaction."""
        self.lanes.save()

    def committed(self) -> None:
        """What this transaction did is there for good."""
        self.leases.committed()

    def counts(self) -> Counts:
        """The ledger as it stands in this transaction."""
        return self.ledger.counts()

    def take_touched(self) -> frozenset[str]:
        """The names of the targets at which something became ready, once."""
        return frozenset(map(self.targets.name_of, self.lanes.wakes.take()))

    # Accepting and folding ------------------------------------------------------------------------------------

    def accept(self, entries: Sequence[Entry], now_ms: int, *, fold: bool) -> None:
        """Count the entries and append them to the inbox; what is of a key for which something critical came is folded.

        With `fold` all of them are, where nothing is before them.
        """
        batch = Batch(entries)
        self.ledger.accept(batch)
        if fold and not self.inbox.tail:
            groups: dict[str, list[Entry]] = {}
            group(batch.kept, groups)
            self._folder.fold(groups, now_ms)
            return
        kept = self._fold_critical(batch, now_ms) if batch.critical else batch.kept
        if kept:
            self.inbox.append(kept, batch.bytes)

    def take(self, entry: Entry, now_ms: int) -> None:
        """Accept and fold one entry, before which nothing waits in the inbox."""
        terms = self.ledger.terms
        terms["accepted"] += 1
        if entry.target == DROP and entry.kind is Kind.ALERT:
            terms["dropped_by_route"] += 1
            return
        terms["pending"] += 1
        self._folder.fold({entry.key.lower(): [entry]}, now_ms)

    def append(self, batch: Batch) -> None:
        """Accept entries of which none is critical, as a transaction of its own that does nothing else."""
        self.ledger.accept(batch)
        if batch.kept:
            self.inbox.append_alone(batch)
        else:
            self.ledger.save()

    def _fold_critical(self, batch: Batch, now_ms: int) -> list[Entry]:
        """Fold what is of the critical entries' keys, in the inbox and in the batch; returns the other entries."""
        keys = batch.critical
        groups = self.inbox.take(keys)
        others: list[Entry] = []
        for entry in batch.kept:
            key = entry.key.lower()
            (groups[key] if key in keys else others).append(entry)
        self._folder.fold(groups, now_ms)
        return others

    def fold(self, now_ms: int) -> None:
        """Fold the next part of the inbox, if there is one."""
        if self.inbox.tail:
            self._folder.fold(self.inbox.take_part(), now_ms)

    def kept(self, keys: Collection[str]) -> set[str]:
        """Those lower-cased keys of which something waits, or is in a digest; the inbox is folded."""
        wanted, kept = iter(keys), set[str]()
        while chunk := tuple(islice(wanted, CHUNK)):
            found = self.shelf.find(chunk).items()
            kept |= {key for key, rows in found if any(r.lane.member or r.lane.pending() for r in rows)}
        return kept

    # For aside.py, which finds what cannot be folded

    def fold_keys(self, keys: Collection[str], now_ms: int) -> None:
        """Fold what the inbox has of these lower-cased keys."""
        self._folder.fold(self.inbox.take(keys), now_ms)

    def keep(self, entries: Sequence[Entry]) -> None:
        """Accept the entries and fold nothing; they are the inbox's last."""
        batch = Batch(entries)
        self.ledger.accept(batch)
        if batch.kept:
            self.inbox.append(batch.kept, batch.bytes)

    def out_of_inbox(self, key: str) -> Sequence[Entry]:
        """What the inbox has of a lower-cased key, which the caller folds or sets aside, each in its turn."""
        return self.inbox.take((key,))[key]

    def fold_one(self, entry: Entry, now_ms: int) -> None:
        """Fold one event that was taken from the inbox."""
        self._folder.fold({entry.key.lower(): [entry]}, now_ms)

    def set_aside(self, entry: Entry, why: str, now_ms: int) -> None:
        """Keep as a dead letter an event that was taken from the inbox and cannot be folded."""
        self._folder.set_aside(entry, why, now_ms)

    # In flight, and over --------------------------------------------------------------------------------------

    def lease(self, wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
        """Choose and lease what the wants allow, in order."""
        return self.leases.lease(wants, states, now_ms)

    def settle(self, settlements: Sequence[Settlement], states: Mapping[str, bytes], now_ms: int) -> Settled:
        """End deliveries; one that is not in flight any more (settled twice) is passed over."""
        return self.leases.settle(settlements, states, now_ms)

    def recover(self, now_ms: int) -> bool:
        """Return a slice of the lanes found leased that nobody has; True while there are more."""
        return self.leases.recover(now_ms)

    def prune(self, now_ms: int) -> None:
        """Forget a slice of what is over."""
        pruning.prune(self.lanes, self.digests, now_ms)
        self.messages.prune(now_ms)
        self.history.prune(self.lanes.rules, now_ms)
