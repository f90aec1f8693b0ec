"""What is accepted and not folded yet: rows on the shelf, and the same by key in the tail. Log first, fold after."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import msgspec

from mcp_ilert.events import Entry
from mcp_ilert.spool.ledger import Ledger
from mcp_ilert.spool.shelf import Shelf
from mcp_ilert.spool.tail import Batch, Tail

ENCODE = msgspec.msgpack.Encoder().encode
ENTRIES = msgspec.msgpack.Decoder(list[Entry])


class Inbox:
    """One spool's. What is taken from it is to be folded, or set aside, in the same transaction."""

    def __init__(self, shelf: Shelf, ledger: Ledger) -> None:
        self._shelf = shelf
        self._ledger = ledger
        self.tail = Tail()
        self._seq = 0
        """Its last row."""

    def load(self) -> None:
        """Read the rows, but for what was folded ahead of its turn or in part."""
        shelf = self._shelf
        self.tail = Tail()
        self._seq = 0
        ahead: defaultdict[int, set[str]] = defaultdict(set)
        for seq, keys in shelf.folded_ahead():
            ahead[seq].update(keys)
        parted, place = shelf.folded_part() or (0, 0)
        for seq, blob in shelf.inbox():
            self._seq = seq
            entries = [e for e in ENTRIES.decode(blob) if e.key.lower() not in ahead[seq]]
            if seq <= parted:
                places = shelf.places({e.key.lower() for e in entries})
                entries = [e for e in entries if places[e.key.lower()] > place]
            self.tail.append(seq, entries, len(blob))
            if seq == parted:
                self.tail.close()
        self._count()

    def _count(self) -> None:
        self._ledger.terms["inbox"] = self.tail.events

    def append(self, entries: Sequence[Entry], size: int) -> None:
        """Append a row; the texts of its batch have so many bytes."""
        self._shelf.append(self._follow(entries, size), len(entries), ENCODE(entries))

    def append_alone(self, batch: Batch) -> None:
        """Append a row, and save the ledger, as a transaction of its own."""
        seq = self._follow(batch.kept, batch.bytes)
        self._shelf.append_alone(seq, len(batch.kept), ENCODE(batch.kept), self._ledger.counts())

    def _follow(self, entries: Sequence[Entry], size: int) -> int:
        """Put the entries at the end of the tail; returns their row."""
        self._seq += 1
        self.tail.append(self._seq, entries, size)
        self._count()
        return self._seq

    def take(self, keys: Collection[str]) -> dict[str, list[Entry]]:
        """Take out all that is of these lower-cased keys, in order, ahead of its turn."""
        groups: dict[str, list[Entry]] = {key: [] for key in keys}
        for taken, rows in self.tail.take(keys):
            self._shelf.fold_ahead(rows, tuple(taken))
            for key, earlier in taken.items():
                groups[key] += earlier
        self._count()
        return groups

    def take_part(self) -> Mapping[str, list[Entry]]:
        """Take out the next part, by lower-cased key; there must be one."""
        part = self.tail.part(self._shelf.places)
        if part.place is None:
            self._shelf.trim(part.seq)
        else:
            self._shelf.fold_part(part.seq, part.events, part.place)
        self._count()
        return part.by_key
