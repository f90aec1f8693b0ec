"""What two configurations make of the same traffic, page by page.

A page is the same in both where it speaks for the same first event of the same key at the same target.
"""

import msgspec

from mcp_ilert.simulation.report import Page, Report

SAME_SECONDS = 0.001
TERMS = ("delivered", "coalesced", "cancelled", "digested", "dropped_by_route", "dead", "pending")


class Moved(msgspec.Struct, frozen=True):
    """A page that both have, at different times or of different severity."""

    old: Page
    new: Page

    @property
    def seconds(self) -> float:
        """How much later it comes in the new one."""
        return self.new.delay - self.old.delay


class Difference(msgspec.Struct, frozen=True):
    """New against old; numbers are (old, new)."""

    terms: dict[str, tuple[int, int]]
    worst: dict[str, tuple[float, float]]
    """The worst wait by severity, seconds; 0 where there is no page."""
    same: int
    """Pages that are the same in both, to the millisecond."""
    moved: tuple[Moved, ...]
    """By how much, most first."""
    only_old: tuple[Page, ...]
    only_new: tuple[Page, ...]


def difference(old: Report, new: Report) -> Difference:
    """Compare two reports of the same traffic."""
    before, after = _by_identity(old), _by_identity(new)
    both = [Moved(before[i], after[i]) for i in before.keys() & after.keys()]
    moved = [m for m in both if _differs(m)]
    return Difference(
        terms=_terms(old, new),
        worst={
            name: (_worst(old, name), _worst(new, name))
            for name in ("critical", "high", "medium", "low")
            if name in old.waits or name in new.waits
        },
        same=len(both) - len(moved),
        moved=tuple(sorted(moved, key=lambda m: (-abs(m.seconds), m.new.at_ms, m.new.key))),
        only_old=tuple(page for i, page in before.items() if i not in after),
        only_new=tuple(page for i, page in after.items() if i not in before),
    )


def _by_identity(report: Report) -> dict[tuple[str, str, int, int], Page]:
    found: dict[tuple[str, str, int, int], Page] = {}
    for page in report.pages:
        nth = 0
        while (identity := (page.target, page.key.lower(), page.first_ms, nth)) in found:
            nth += 1
        found[identity] = page
    return found


def _differs(moved: Moved) -> bool:
    return abs(moved.seconds) >= SAME_SECONDS or moved.old.severity != moved.new.severity


def _worst(report: Report, severity: str) -> float:
    waits = report.waits.get(severity)
    return waits.worst if waits is not None else 0.0


def _terms(old: Report, new: Report) -> dict[str, tuple[int, int]]:
    terms = {
        "pages": (old.alerts + old.digest_alerts, new.alerts + new.digest_alerts),
        "of digests": (old.digest_alerts, new.digest_alerts),
        "requests": (_requests(old), _requests(new)),
        "throttled": (old.requests.throttled, new.requests.throttled),
        "invalid": (old.invalid, new.invalid),
    }
    return terms | {name: (getattr(old.counts, name), getattr(new.counts, name)) for name in TERMS}


def _requests(report: Report) -> int:
    return sum(msgspec.structs.asdict(report.requests).values())
