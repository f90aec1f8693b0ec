"""Writes the history: notes gathered in a transaction are stored with it, and as many old ones are forgotten.

Always true after a transaction: what is kept costs no more than `Rules.history_bytes`, as counted, and what is
older than `Rules.history_ms` goes first. Nothing here grows with the backlog or is found by scanning.
"""

from collections.abc import Sequence

from mcp_ilert.events import Entry
from mcp_ilert.spool.history import ENCODE, KEY_CHARS, Cancelled, Note, Repeated, Resolved, What
from mcp_ilert.spool.lane import Lane, Op
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.shelf import Shelf

ROW_BYTES = 64
"""What a row costs beside its body: id, hash, time, headers, its entry in the index (54 measured), some to spare."""
FOLD_NOTES = 64
"""Notes that folding writes in one transaction; a flood of what is folded away at once is told by its beginning."""
TRIM_SLICE = 64
TRIM_PER_NOTE = 64
"""Notes forgotten for each one written, at most: more than the longest costs in the shortest."""
PRUNE_SLICE = 1_000


class Chronicle:
    """The history of one spool, within the engine's transaction."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._new: list[tuple[str, int, Note]] = []
        self._folded = 0
        self._repeats: dict[tuple[str, str], Repeated] = {}
        self._bytes = 0
        self.muted = False
        """Nothing is written: where room on the disk is scarce it is kept for deliveries."""
        self.load()

    def load(self) -> None:
        """Begin anew, as after a rollback."""
        self._clear()
        self._bytes = self._shelf.history_bytes()

    def _clear(self) -> None:
        self._new.clear()
        self._repeats.clear()
        self._folded = 0

    def note(self, key: str, target: str, at_ms: int, what: What) -> None:
        """Have this written at the end of the transaction."""
        self._new.append((key.lower(), at_ms, Note(key[:KEY_CHARS], target, what)))

    # While folding, where a flood may pass ---------------------------------------------------------------------

    def cancelled(self, lane: Lane, target: str, entry: Entry) -> None:
        """The entry cancelled all that waited in the lane."""
        if self._folded < FOLD_NOTES:
            self._folded += 1
            events = sum(op.count for op in lane.waiting) + 1
            first_ms = first(lane.waiting, entry.accepted_ms)
            self.note(lane.key, target, entry.accepted_ms, Cancelled(events, first_ms, entry.accepted_ms))

    def resolved(self, key: str, target: str, at_ms: int, digest: str) -> None:
        """A resolve came for a member of this digest."""
        if self._folded < FOLD_NOTES:
            self._folded += 1
            self.note(key, target, at_ms, Resolved(digest[:KEY_CHARS]))

    def repeated(self, lane: Lane, target: str, entry: Entry) -> None:
        """The entry repeats what was just delivered; told once a transaction."""
        known = self._repeats.get((lane.key, target))
        if known is not None:
            more = Repeated(known.events + 1, known.first_ms, entry.accepted_ms)
            self._repeats[lane.key, target] = more
        elif self._folded < FOLD_NOTES:
            self._folded += 1
            self._repeats[lane.key, target] = Repeated(1, entry.accepted_ms, entry.accepted_ms)

    # At the end of the transaction -----------------------------------------------------------------------------

    def flush(self, rules: Rules) -> None:
        """Write what was gathered, and forget what there is no room or no time for."""
        for (key, target), repeated in self._repeats.items():
            self.note(key, target, repeated.last_ms, repeated)
        new = () if self.muted or not rules.history_bytes else tuple(self._new)
        self._clear()
        if not new:
            return
        rows = [(key, at_ms, ENCODE(note)) for key, at_ms, note in new]
        self._bytes += sum(cost(len(body)) for _, _, body in rows)
        self._shelf.add_history(rows, self._bytes)
        self._trim(rules, max(at_ms for _, at_ms, _ in rows), TRIM_PER_NOTE * len(rows))

    def prune(self, rules: Rules, now_ms: int) -> None:
        """Forget a slice of what is too old, or of what a smaller bound has no room for."""
        self._trim(rules, now_ms, PRUNE_SLICE)

    def _trim(self, rules: Rules, now_ms: int, limit: int) -> None:
        while limit > 0:
            found = self._shelf.oldest_history(min(limit, TRIM_SLICE))
            gone = self._gone(found, rules, now_ms)
            if not gone:
                return
            self._bytes -= sum(cost(size) for _, _, size in gone)
            self._shelf.cut_history(gone[-1][0], self._bytes)
            limit -= len(gone)

    def _gone(
        self, found: Sequence[tuple[int, int, int]], rules: Rules, now_ms: int
    ) -> Sequence[tuple[int, int, int]]:
        """Those at the beginning that must go."""
        left = self._bytes
        for i, (_, at_ms, size) in enumerate(found):
            if at_ms > now_ms - rules.history_ms and left <= rules.history_bytes:
                return found[:i]
            left -= cost(size)
        return found


def cost(body_bytes: int) -> int:
    """What a note is counted as."""
    return body_bytes + ROW_BYTES


def first(ops: Sequence[Op], otherwise: int) -> int:
    """When the oldest event in these was accepted."""
    return min((op.first_ms for op in ops), default=otherwise)
