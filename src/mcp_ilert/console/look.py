"""Reads of a spool for whoever asks, each bounded: a page holds so many lanes and, lanes being large, so many bytes.

Synchronous, by a read-only connection that lives as long as the read: call it in a thread where others wait.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.console import shown
from mcp_ilert.console.now import Tell, now_words
from mcp_ilert.console.shown import Page
from mcp_ilert.spool.history import Attempt, Told
from mcp_ilert.spool.port import TargetRecord
from mcp_ilert.spool.read_model import Audit, Backlog, LaneView, Stats
from mcp_ilert.spool.urgency import ALIVE, FIRST, Place, Wanted, written
from mcp_ilert.spool.view import NEWEST, SpoolView

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends behind the lane whose events bring it here."""
SLICE = 50
LOOKED = 2_000
"""Of notes, so many are looked at for a page in which only some of them belong."""
SEARCHED = 40_000
"""So many keys are looked at for a part of them, some 0.1 s."""
SEARCH_SLICE = 2_000
DIGEST_KEYS = 20
MAX_KEYS_TARGETS = 100
"""Lanes of one key that are shown: there is one a target."""

Pager = Callable[[SpoolView, int, int], list[LaneView]]


class Look:
    """Looks into the spool at `path`. Raises SpoolError where it cannot be read."""

    def __init__(self, path: Path, now_ms: NowMs = wall_ms, tell: Tell | None = None) -> None:
        """`tell` says what an event says and which route it matches now, where the configuration is known."""
        self._path = path
        self._now_ms = now_ms
        self._tell = tell

    def stats(self) -> Stats:
        """The terms of the law, the targets, the sizes."""
        with SpoolView(self._path, self._now_ms) as view:
            found = view.stats()
        return found  # noqa: RET504 - a context manager may swallow, as far as types know

    def audit(self) -> Audit:
        """The law, recounted from every row on disk; takes as long as there are lanes."""
        with SpoolView(self._path, self._now_ms) as view:
            found = view.audit()
        return found  # noqa: RET504 - as above

    def lanes(self, limit: int, after: int = 0) -> Page:
        """Lanes in which something waits, is in flight or is dead by an outage."""
        return self._page(lambda view, n, last: view.lanes(n, last), limit, after)

    def dead(self, limit: int, after: int = 0) -> Page:
        """Lanes with dead letters."""
        return self._page(lambda view, n, last: view.dead(n, last), limit, after)

    def backlog(self) -> Backlog:
        """Ages and lanes of what waits, whatever the backlog."""
        with SpoolView(self._path, self._now_ms) as view:
            found = view.backlog()
        return found  # noqa: RET504 - as above

    def waiting(self, wanted: Wanted, part: str, limit: int, after: Place = FIRST) -> shown.WaitingPage:
        """What waits, the most urgent first; `part` is found in a key, whatever its case.

        The key that is just that comes first, by its hash; of the others SEARCHED lanes are looked at.
        """
        with SpoolView(self._path, self._now_ms) as view:
            records = view.records()
            of = sum(n for name, n in view.backlog().lanes.items() if wanted.target in {None, name})
            if part := part.strip().lower():
                lanes, last, looked = _search(view, wanted, part, limit, after)
            else:
                found = view.urgent(wanted, limit, after)
                lanes, looked = [lane for _, lane in found], len(found)
                last = found[-1][0] if len(found) == limit else None
            rows = tuple(self._waiting(lane, records) for lane in lanes)
        return shown.WaitingPage(rows, written(last) if last is not None else None, looked, of)

    def _waiting(self, lane: LaneView, records: Mapping[str, TargetRecord]) -> shown.Waiting:
        ops = (*lane.waiting, *((lane.in_flight,) if lane.in_flight else ()))
        told = self._tell(ops[0].payload) if ops and self._tell is not None else Told()
        says = now_words(lane, records.get(lane.target, TargetRecord()), self._now_ms(), None)
        return shown.waiting(lane, told, says)

    def digests(self, limit: int) -> shown.Digests:
        """Digests that stand for alerts, each with DIGEST_KEYS of their keys."""
        with SpoolView(self._path, self._now_ms) as view:
            found = view.digests(limit + 1, DIGEST_KEYS)
        return shown.Digests(tuple(map(shown.lane, found[:limit])), len(found) > limit)

    def deliveries(self, limit: int, before: int = NEWEST) -> shown.Deliveries:
        """The last attempts of whatever key. Looks at LOOKED notes."""
        found: list[shown.Sent] = []
        looked = 0
        with SpoolView(self._path, self._now_ms) as view:
            while looked < LOOKED:
                notes = view.recent(SLICE, before)
                for note in notes:
                    looked, before = looked + 1, note.id
                    if isinstance(note.note.what, Attempt):
                        found.append(shown.Sent(note.note.key, shown.history([note])[0]))
                    if len(found) == limit:
                        return shown.Deliveries(tuple(found), before)
                if len(notes) < SLICE:
                    return shown.Deliveries(tuple(found))
        return shown.Deliveries(tuple(found), before)

    def show(self, key: str) -> Page:
        """The lanes of a key."""
        with SpoolView(self._path, self._now_ms) as view:
            found = view.show(key)
        return Page(found[:MAX_KEYS_TARGETS], None)

    def why(self, key: str, limit: int, before: int = NEWEST) -> shown.Life:
        """What happened to a key, and how it stands now."""
        with SpoolView(self._path, self._now_ms) as view:
            notes, lanes = view.history(key, limit, before), view.show(key)[:MAX_KEYS_TARGETS]
            records = view.records()
        now_ms = self._now_ms()
        return shown.Life(
            lanes[0].key if lanes else notes[0].note.key if notes else key.strip(),
            shown.history(notes),
            tuple(
                line
                for lane in lanes
                for line in now_words(lane, records.get(lane.target, TargetRecord()), now_ms, self._tell)
            ),
            tuple(map(shown.lane, lanes)),
            notes[-1].id if len(notes) == limit else None,
        )

    def _page(self, pager: Pager, limit: int, after: int) -> Page:
        found: list[LaneView] = []
        size = 0
        with SpoolView(self._path, self._now_ms) as view:
            while len(found) < limit:
                wanted = min(SLICE, limit - len(found))
                lanes = pager(view, wanted, after)
                for lane in lanes:
                    found.append(lane)
                    after, size = lane.id, size + weight(lane)
                    if size > PAGE_BYTES:
                        return Page(found, after)
                if len(lanes) < wanted:
                    return Page(found, None)
        return Page(found, after)


def _search(
    view: SpoolView, wanted: Wanted, part: str, limit: int, after: Place
) -> tuple[list[LaneView], Place | None, int]:
    """Lanes found, where to go on (None: nowhere), and how many were looked at."""
    found = [lane for lane in view.show(part) if _is_wanted(lane, wanted)] if after == FIRST else []
    looked, last = 0, after
    while looked < SEARCHED:
        places, hits = view.search(wanted, part, SEARCH_SLICE, last)
        for last, lane in hits:
            found += [lane] if lane.key.lower() != part else []
            if len(found) >= limit:
                return found, last, looked + places.index(last) + 1
        looked += len(places)
        if len(places) < SEARCH_SLICE:
            return found, None, looked
        last = places[-1]
    return found, last, looked


def _is_wanted(lane: LaneView, wanted: Wanted) -> bool:
    alive = lane.state in {state.name.lower() for state in ALIVE}
    return alive and wanted.severity in {None, lane.severity} and wanted.target in {None, lane.target}


def weight(lane: LaneView) -> int:
    """Of the events in it, in bytes."""
    ops = (*lane.waiting, *((lane.in_flight,) if lane.in_flight else ()), *(x.op for x in lane.letters))
    return sum(len(op.payload) for op in ops)
