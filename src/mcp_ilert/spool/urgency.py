"""Lanes in which something waits, the most urgent first: by severity, then by age. Page by page, by index alone."""

import re
from heapq import merge
from itertools import islice
from typing import Final

import msgspec

from mcp_ilert.events import Severity
from mcp_ilert.spool.lane import State
from mcp_ilert.spool.sqlite import SqliteShelf

ALIVE: Final = (State.READY, State.BACKOFF, State.LEASED)


class Place(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Where a lane stands in this order; a page goes on behind the last one of the page before."""

    severity: int
    oldest_ms: int
    lane: int


CURSOR: Final = re.compile(r"([1-4])-([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
FIRST: Final = Place(0, 0, 0)


class Wanted(msgspec.Struct, frozen=True):
    """Which lanes; None: of whatever severity, at whatever target."""

    severity: Severity | None = None
    target: str | None = None


def waiting(shelf: SqliteShelf, wanted: Wanted, limit: int, after: Place = FIRST) -> list[Place]:
    """The next places behind `after`."""
    targets = [t.id for t in shelf.targets() if wanted.target in {None, t.name}]
    found: list[Place] = []
    for severity in Severity if wanted.severity is None else (wanted.severity,):
        if severity < after.severity or len(found) >= limit:
            continue
        begin = (after.oldest_ms, after.lane) if severity == after.severity else (-1, 0)
        runs = [
            [
                Place(severity, oldest, lane)
                for lane, oldest in shelf.behind(state, target, severity, begin, limit, sent=sent)
            ]
            for target in targets
            for state in ALIVE
            for sent in (False, True)
        ]
        found += islice(merge(*runs), limit - len(found))
    return found


def written(place: Place) -> str:
    """As a cursor: `1-1700000000000-42`."""
    return f"{place.severity}-{place.oldest_ms}-{place.lane}"


def place_of(cursor: str) -> Place | None:
    """What `written` wrote; None where it is nothing of the kind."""
    found = CURSOR.fullmatch(cursor)
    return Place(*map(int, found.groups())) if found else None
