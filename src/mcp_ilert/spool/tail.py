"""What is accepted and not folded yet, as the writer has it in memory: slices of the inbox, by key, in order.

Always true: of a key, the entries in an earlier slice came before those in a later one; and what was folded ahead of
its turn is in no slice.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from mcp_ilert._fast.folding import group, sift
from mcp_ilert.events import Entry

HALF = 1 << 63
Places = Callable[[Iterable[str]], Mapping[str, int]]
"""`Shelf.places`."""
SLICE_EVENTS = 16_384
SLICE_KEYS = 6_144
SLICE_BYTES = 8 * 1024 * 1024
PART_KEYS = 1_024
PART_EVENTS = 4_096
"""So many of a slice, and not many more, are folded in one transaction: leases and commits wait for it."""


class Batch:
    """Entries that are accepted together, without those that a route drops."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.events = len(entries)
        """The dropped ones included."""
        self.kept: list[Entry] = []
        self.critical: set[str] = set()
        """The lower-cased keys of critical entries."""
        self.bytes = sift(entries, self.kept, self.critical)


def _last(part: int, parts: int) -> int:
    """The last place of a part."""
    return -(-(part + 1 << 64) // parts) - 1 - HALF


class Part(msgspec.Struct, frozen=True):
    """What of a slice is folded in one transaction."""

    by_key: Mapping[str, list[Entry]]
    events: int
    seq: int
    """The slice's last row."""
    place: int | None
    """Up to this place the slice is folded then; None: it is done."""


class Slice:
    """Rows of the inbox that are folded one after the other: a few keys as they came, many in the order of the shelf.

    A shelf's order is that of its pages, so that parts do not write the same pages; and a place in it tells what is
    folded already.
    """

    def __init__(self) -> None:
        self.by_key: dict[str, list[Entry]] = {}
        self.seq = 0
        """The last row."""
        self.events = 0
        """Not folded yet."""
        self.bytes = 0
        self.since = time.monotonic()
        self._rows: list[tuple[int, Sequence[Entry]]] = []
        self._taken: dict[str, int] = {}
        """By key: up to this row its entries are in the slice no more."""
        self.closed = False
        """The next row begins another slice."""
        self._parts: list[list[str]] = []
        """Its keys, the last part first, once it is folded in parts."""
        self._shares = 0
        """Of its parts."""

    def full(self) -> bool:
        """Whether the next row begins another slice."""
        many = len(self.by_key) >= SLICE_KEYS or self.events >= SLICE_EVENTS
        return self.closed or many or self.bytes >= SLICE_BYTES

    def append(self, seq: int, entries: Sequence[Entry], size: int) -> None:
        """Add a row."""
        self.seq = seq
        self.events += len(entries)
        self.bytes += size
        self._rows.append((seq, entries))
        group(entries, self.by_key)

    def part(self, places: Places) -> Part:
        """What is to be folded next, which is in it no more."""
        self.closed = True
        if not self._parts:
            self._divide(places)
        keys = self._parts.pop()
        by_key = {key: self.by_key.pop(key) for key in keys if key in self.by_key}  # else it was folded ahead
        events = sum(map(len, by_key.values()))
        self.events -= events
        place = _last(self._shares - len(self._parts) - 1, self._shares) if self._parts else None
        return Part(by_key, events, self.seq, place)

    def _divide(self, places: Places) -> None:
        """Give each part an equal share of all the places that there are."""
        self._shares = max(1, -(-len(self.by_key) // PART_KEYS), -(-self.events // PART_EVENTS))
        if self._shares == 1:
            self._parts = [list(self.by_key)]
            return
        self._parts = [[] for _ in range(self._shares)]
        for key, place in places(self.by_key).items():
            self._parts[~((place + HALF) * self._shares >> 64)].append(key)

    def take(self, keys: Collection[str]) -> tuple[dict[str, list[Entry]], list[tuple[int, int]]]:
        """The entries of these keys, which are in it no more; and how many of them each row has: (seq, events)."""
        taken = {key: self.by_key.pop(key) for key in keys}
        self.events -= sum(map(len, taken.values()))
        rows = [(seq, events) for seq, entries in self._rows if (events := self._count(seq, entries, taken))]
        self._taken.update(dict.fromkeys(keys, self.seq))
        return taken, rows

    def _count(self, seq: int, entries: Sequence[Entry], keys: Collection[str]) -> int:
        """How many of a row's entries are of these keys and have not been taken."""
        own = (entry.key.lower() for entry in entries)
        return sum(key in keys and seq > self._taken.get(key, 0) for key in own)


class Tail:
    """The slices, oldest first."""

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque()
        self.events = 0
        self.bytes = 0
        """Of the texts in its rows, those that were folded ahead included."""

    def __bool__(self) -> bool:
        return bool(self._slices)

    @property
    def age(self) -> float:
        """For how long the oldest slice has been waiting, in seconds."""
        return time.monotonic() - self._slices[0].since if self._slices else 0.0

    @property
    def begun(self) -> bool:
        """Whether some of the oldest slice is folded already."""
        return bool(self._slices) and self._slices[0].closed

    def targets(self) -> set[str]:
        """The targets that its entries name."""
        return {entry.target for one in self._slices for group in one.by_key.values() for entry in group}

    def append(self, seq: int, entries: Sequence[Entry], size: int) -> None:
        """Add a row of the inbox, whose texts have so many bytes."""
        if not self._slices or self._slices[-1].full():
            self._slices.append(Slice())
        self._slices[-1].append(seq, entries, size)
        self.events += len(entries)
        self.bytes += size

    def next_keys(self) -> list[str]:
        """The keys of the oldest slice."""
        return list(self._slices[0].by_key) if self._slices else []

    def close(self) -> None:
        """Have the next row begin another slice."""
        self._slices[-1].closed = True

    def part(self, places: Places) -> Part:
        """The next part of the oldest slice, which is in it no more."""
        oldest = self._slices[0]
        part = oldest.part(places)
        self.events -= part.events
        if part.place is None:
            self._slices.popleft()
            self.bytes -= oldest.bytes
        return part

    def take(self, keys: Collection[str]) -> Iterator[tuple[dict[str, list[Entry]], list[tuple[int, int]]]]:
        """Of each slice that has some of these keys: their entries, and how many each row has."""
        for one in self._slices:
            found = [key for key in keys if key in one.by_key]
            if found:
                taken, rows = one.take(found)
                self.events -= sum(events for _, events in rows)
                yield taken, rows
