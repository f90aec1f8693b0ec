"""What came of a simulation: each page, what was sent and what became of the rest."""

from collections import Counter
from collections.abc import Mapping

import msgspec

from mcp_ilert.events import (
    Counts,
    Delivered,
    Delivery,
    Event,
    Kind,
    Outcome,
    Rejected,
    Severity,
    Suspect,
    Throttled,
    Unavailable,
)

LISTED = 10
"""Invalid events that are listed one by one."""


class Page(msgspec.Struct, frozen=True):
    """An alert that iLert took. `delay` is seconds from the oldest event folded in to the answer."""

    at_ms: int
    target: str
    key: str
    severity: str
    source: str
    summary: str
    events: int
    first_ms: int
    delay: float
    attempts: int
    digest: bool = False
    """It is a digest, or what is new of one: `events` is how many alerts it stands for."""


class Waits(msgspec.Struct, frozen=True):
    """How long the pages of one severity took, in seconds."""

    pages: int
    median: float
    worst: float
    worst_key: str


class Requests(msgspec.Struct, frozen=True):
    """Attempts, by what came of them."""

    delivered: int = 0
    throttled: int = 0
    unavailable: int = 0
    rejected: int = 0
    refused: int = 0


class Report(msgspec.Struct, frozen=True):
    """A whole simulation. Times are wall-clock milliseconds."""

    events: int
    """Lines of the traffic."""
    invalid: int
    """Events that the bridge would have answered with 422, or 413."""
    problems: tuple[str, ...]
    """What was wrong with the first of these."""
    unavailable: int
    """Events that the bridge would have answered with 503: the spool was full."""
    begin_ms: int
    traffic_end_ms: int
    last_ms: int
    """When the last request was answered."""
    counts: Counts
    conservation_error: int
    requests: Requests
    throttled: Mapping[str, int]
    """Answers of 429, by target."""
    alerts: int
    accepts: int
    resolves: int
    """Operations that iLert took; together, what was delivered."""
    digest_alerts: int
    digest_resolves: int
    """The same of digests, which are ours and no events: counted apart."""
    waits: Mapping[str, Waits]
    """By severity."""
    pages: tuple[Page, ...]


OUTCOMES: dict[type[Outcome], str] = {
    Delivered: "delivered",
    Throttled: "throttled",
    Unavailable: "unavailable",
    Rejected: "rejected",
    Suspect: "rejected",
}


class Journal:
    """Takes down what happens, while it happens."""

    def __init__(self) -> None:
        self.events = self.invalid = self.unavailable = 0
        self.last_ms = 0
        self.problems: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.kinds: Counter[tuple[Kind, bool]] = Counter()
        """Operations that iLert took, and whether they were those of digests."""
        self.pages: list[Page] = []

    def refuse(self, line: int, why: str) -> None:
        """An event that the bridge would not take."""
        self.invalid += 1
        if len(self.problems) < LISTED:
            self.problems.append(f"line {line}: {why}")

    def attempted(self, delivery: Delivery, event: Event, outcome: Outcome, at_ms: int) -> None:
        """An attempt is over."""
        self.last_ms = at_ms
        self.outcomes[OUTCOMES.get(type(outcome), "refused")] += 1
        if isinstance(outcome, Throttled):
            self.throttled[delivery.target] += 1
        if not isinstance(outcome, Delivered):
            return
        self.kinds[delivery.kind, delivery.digest] += 1
        if delivery.kind is Kind.ALERT:
            self.pages.append(
                Page(
                    at_ms,
                    delivery.target,
                    delivery.key,
                    delivery.severity.name.lower(),
                    event.source,
                    event.summary,
                    delivery.count,
                    delivery.first_ms,
                    (at_ms - delivery.first_ms) / 1000,
                    delivery.attempts + delivery.rejections + 1,
                    delivery.digest,
                )
            )

    def report(self, counts: Counts, begin_ms: int, traffic_end_ms: int) -> Report:
        """All of it."""
        pages = tuple(sorted(self.pages, key=lambda page: (page.at_ms, page.target, page.key)))
        return Report(
            events=self.events,
            invalid=self.invalid,
            problems=tuple(self.problems),
            unavailable=self.unavailable,
            begin_ms=begin_ms,
            traffic_end_ms=traffic_end_ms,
            last_ms=self.last_ms or begin_ms,
            counts=counts,
            conservation_error=counts.error(),
            requests=Requests(**self.outcomes),
            throttled=dict(sorted(self.throttled.items())),
            alerts=self.kinds[Kind.ALERT, False],
            accepts=self.kinds[Kind.ACCEPT, False],
            resolves=self.kinds[Kind.RESOLVE, False],
            digest_alerts=self.kinds[Kind.ALERT, True],
            digest_resolves=self.kinds[Kind.RESOLVE, True],
            waits=waits_of(pages),
            pages=pages,
        )


def waits_of(pages: tuple[Page, ...]) -> dict[str, Waits]:
    """The waits by severity, worst severity first."""
    found: dict[str, Waits] = {}
    for severity in Severity:
        name = severity.name.lower()
        mine = sorted((p for p in pages if p.severity == name), key=lambda page: page.delay)
        if mine:
            found[name] = Waits(len(mine), mine[(len(mine) - 1) // 2].delay, mine[-1].delay, mine[-1].key)
    return found
