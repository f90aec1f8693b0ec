"""Looks into a spool file, whether a bridge runs on it or not, by a read-only connection."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import msgspec

from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.config.files import found
from mcp_ilert.errors import SpoolError
from mcp_ilert.events import Counts, Severity
from mcp_ilert.spool.backup import backup
from mcp_ilert.spool.connection import migrations, queries
from mcp_ilert.spool.digest import DISCARDED, GATHERS
from mcp_ilert.spool.digests import members
from mcp_ilert.spool.history import DECODE
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.port import TargetRecord
from mcp_ilert.spool.read_model import Audit, Backlog, LaneView, NoteView, Stats, TargetView, lane_view
from mcp_ilert.spool.recount import Recount
from mcp_ilert.spool.searching import holding
from mcp_ilert.spool.shelf import Row
from mcp_ilert.spool.sqlite import LANE, SqliteShelf
from mcp_ilert.spool.urgency import FIRST, Place, Wanted, waiting

PAGE = 2_000
MEMBERS_SHOWN = 100
NEWEST = (1 << 63) - 1


class SpoolView:
    """A read-only look at the spool file at `path`; a context manager.

    Raises SpoolError where there is no spool, it cannot be read, or it is of a newer version.
    """

    def __init__(self, path: Path, now_ms: NowMs = wall_ms) -> None:
        self._path = path
        self._now_ms = now_ms
        self._sql = queries()
        try:
            there = found(path)
        except OSError as error:
            raise SpoolError(f"spool: {path} cannot be read ({error.strerror})") from error
        if there is None:
            raise SpoolError(
                f"spool: {path} does not exist: give the spool's file by --spool, or its config by --config"
            )
        try:
            self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(5_000)
            version = int(self._connection.pragma("user_version"))
        except apsw.Error as error:
            raise SpoolError(f"spool: {path} cannot be read ({error})") from error
        if version != (known := len(migrations())):
            mend = "start the bridge once to migrate it" if version < known else "use the newer mcp-ilert"
            raise SpoolError(f"spool: {path} is of version {version}; this mcp-ilert knows {known}: {mend}")
        self._shelf = SqliteShelf(self._connection)
        self._names = {t.id: t.name for t in self._shelf.targets()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def counts(self) -> Counts:
        """The counters of the last commit."""
        counts = self._shelf.ledger()
        inbox = self._connection.execute(self._sql["inbox_events"]).get
        return msgspec.structs.replace(counts, inbox=inbox, members=members(self._shelf))

    def stats(self) -> Stats:
        """Counters, targets, ages and size, of one moment."""
        with self._connection:
            targets = tuple(TargetView(t.name, t.paused) for t in self._shelf.targets())
            oldest = {severity.name.lower(): ms for severity, ms in self.oldest().items()}
            stats = Stats(self.counts(), targets, oldest, self._size(), self._shelf.history_bytes())
        return stats  # noqa: RET504 - apsw's block may swallow, as far as types know

    def backlog(self) -> Backlog:
        """Ages by severity and lanes by target, of one moment; by index and counters, whatever the backlog."""
        with self._connection:
            oldest = {severity.name.lower(): ms for severity, ms in self.oldest().items()}
            found = Backlog(oldest, {t.name: t.lanes for t in self._shelf.targets()})
        return found  # noqa: RET504 - as above

    def _size(self) -> int:
        files = (self._path.with_name(self._path.name + suffix) for suffix in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def oldest(self) -> Mapping[Severity, int]:
        """When the oldest event that waits alive was accepted, by severity; by index, whatever the backlog."""
        found: dict[Severity, int] = {}
        for target in self._shelf.targets():
            for state in (State.READY, State.BACKOFF, State.LEASED):
                for severity in Severity:
                    for sent in (False, True):
                        best = self._shelf.extreme(state, target.id, severity, sent=sent, newest=False)
                        if best is not None:
                            found[severity] = min(found.get(severity, best[1]), best[1])
        return found

    def lanes(self, limit: int, after: int = 0) -> list[LaneView]:
        """Lanes in which something waits, is in flight or is dead by outage, by id above `after`."""
        rows = self._connection.execute(self._sql["lanes"], (after, limit))
        return [self._view(lane_id, target, LANE.decode(body)) for lane_id, target, body in rows]

    def urgent(self, wanted: Wanted, limit: int, after: Place = FIRST) -> list[tuple[Place, LaneView]]:
        """Lanes in which something waits alive or is in flight, the most urgent first, behind `after`."""
        rows = ((place, self._shelf.get(place.lane)) for place in waiting(self._shelf, wanted, limit, after))
        return [(place, self._view(row.id, row.target, row.lane)) for place, row in rows if row is not None]

    def search(
        self, wanted: Wanted, part: str, limit: int, after: Place = FIRST
    ) -> tuple[list[Place], Iterator[tuple[Place, LaneView]]]:
        """The next places in the order of `urgent`; and the lanes there whose key has this lower-case part."""
        places = waiting(self._shelf, wanted, limit, after)
        hits = set(holding(self._shelf, [place.lane for place in places], part))
        rows = ((place, self._shelf.get(place.lane)) for place in places if place.lane in hits)
        return places, ((p, self._view(row.id, row.target, row.lane)) for p, row in rows if row is not None)

    def digests(self, limit: int, keys: int) -> list[LaneView]:
        """Digests that stand for lanes, each with so many of their keys."""
        ids = [i for mark in (GATHERS, DISCARDED) for i in self._shelf.marked(mark, limit)][:limit]
        rows = (self._shelf.get(lane_id) for lane_id in ids)
        views = (self._view(row.id, row.target, row.lane) for row in rows if row is not None)
        return [self._with_members(view, keys) for view in views if view.members is not None]

    def show(self, key: str) -> list[LaneView]:
        """The lanes of a key, at every target; of a digest's key, with the keys of MEMBERS_SHOWN members."""
        wanted = key.strip().lower()
        rows = self._shelf.find((wanted,)).get(wanted, ())
        views = (self._view(row.id, row.target, row.lane) for row in rows)
        return [view if view.members is None else self._with_members(view) for view in views]

    def _with_members(self, view: LaneView, keys: int = MEMBERS_SHOWN) -> LaneView:
        rows = (self._shelf.get(lane_id) for lane_id in self._shelf.marked(view.id, keys))
        return msgspec.structs.replace(view, member_keys=tuple(r.lane.key for r in rows if r is not None))

    def _view(self, lane_id: int, target: int, lane: Lane) -> LaneView:
        name = self._names.get(target, str(target))
        return lane_view(lane_id, name, lane, self._now_ms(), self._digest_key(lane))

    def _digest_key(self, lane: Lane) -> str | None:
        row = self._shelf.get(lane.member) if lane.member else None
        return row.lane.key if row is not None else None

    def dead(self, limit: int, after: int = 0) -> list[LaneView]:
        """Lanes with dead letters, by outage or by rejection, by id above `after`."""
        rows = (self._shelf.get(lane_id) for lane_id in self._shelf.dead(after, limit))
        return [self._view(row.id, row.target, row.lane) for row in rows if row is not None]

    def records(self) -> Mapping[str, TargetRecord]:
        """What is kept of each target, by name."""
        return {t.name: TargetRecord(t.paused, t.state) for t in self._shelf.targets()}

    def history(self, key: str, limit: int, before: int = NEWEST) -> list[NoteView]:
        """What happened to a key, newest first, by id below `before`."""
        wanted = key.strip().lower()
        notes = ((n, at, DECODE(body)) for n, at, body in self._shelf.history(wanted, before, limit))
        return [NoteView(n, at, note) for n, at, note in notes if note.concerns(wanted)]

    def recent(self, limit: int, before: int = NEWEST) -> list[NoteView]:
        """What happened to whatever key, newest first, by id below `before`."""
        rows = self._connection.execute(self._sql["recent"], (before, limit))
        return [NoteView(n, at, DECODE(body)) for n, at, body in rows]

    def audit(self) -> Audit:
        """Recount the law from every row on disk, in one moment."""
        with self._connection:
            counts = self.counts()
            pending, dead, lanes = counts.inbox, 0, 0
            digests = Recount()
            last: int | None = 0
            while last is not None:
                last, page = None, last
                rows = self._connection.execute(self._sql["all_lanes"], (page, PAGE))
                for lane_id, target, _state, body in rows:
                    lane = LANE.decode(body)
                    digests.add(Row(lane_id, target, lane))
                    pending += lane.pending()
                    dead += lane.dead_count()
                    lanes += bool(lane.pending())
                    last = lane_id
            targets = self._shelf.targets()
        recounted = msgspec.structs.replace(counts, pending=pending, dead=dead, lanes=lanes)
        wrong = int(recounted != counts) or digests.wrong(targets, counts.digested)
        return Audit(counts, recounted, recounted.error() or wrong)

    def backup(self, path: Path) -> None:
        """Copy the spool of one moment to `path`, mode 0600, synced; the file must not exist yet."""
        backup(self._connection, path)
