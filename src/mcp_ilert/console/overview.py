"""Is the bridge well? One sentence, and the figures behind it, whatever the backlog. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from mcp_ilert.console.words import events, lasting
from mcp_ilert.dispatch.standing import Standing
from mcp_ilert.events import Counts
from mcp_ilert.spool.read_model import Backlog

GOOD: Final = "good"
NOTE: Final = "note"
BAD: Final = "bad"
LATE_MS: Final[Mapping[str, int]] = {"critical": 60_000, "high": 300_000}
"""A wait beyond this is worth a look, whatever the reason."""


class TargetNow(Standing, frozen=True):
    """How a target stands, and how many alert keys wait for it."""

    lanes: int = 0
    says: str = ""
    level: str = GOOD


class Facts(msgspec.Struct, frozen=True):
    """What the process knows without a look at the spool's file."""

    version: str
    started_ms: int
    at_ms: int
    reasons: Sequence[str]
    """Why nothing is accepted; empty where the bridge is ready."""
    notes: Sequence[str]
    counts: Counts
    full: bool
    """`spool.max_pending` is reached."""
    in_flight: int
    standings: Sequence[Standing]


class Overview(msgspec.Struct, frozen=True):
    """The bridge at a glance. Times are wall-clock milliseconds since 1970."""

    version: str
    started_ms: int
    at_ms: int
    level: str
    """good; note: somebody should look, by day; bad: somebody should look now."""
    says: str
    accepting: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    counts: Counts
    conservation_error: int
    oldest_ms: dict[str, int]
    in_flight: int
    targets: tuple[TargetNow, ...]
    read_only: str | None = None
    """Why whoever asks may change nothing; null: it may."""


def overview(facts: Facts, backlog: Backlog) -> Overview:
    """The facts, with words."""
    targets = tuple(_target(s, backlog.lanes.get(s.name, 0), facts.at_ms) for s in facts.standings)
    told = list(_told(facts, backlog, targets))
    level = max((level for level, _ in told), key=_worse)
    return Overview(
        facts.version,
        facts.started_ms,
        facts.at_ms,
        level,
        " ".join(text for _, text in told),
        not facts.reasons,
        tuple(facts.reasons),
        tuple(facts.notes),
        facts.counts,
        facts.counts.error(),
        backlog.oldest_ms,
        facts.in_flight,
        targets,
    )


Told = Iterator[tuple[str, str]]


def _told(facts: Facts, backlog: Backlog, targets: Sequence[TargetNow]) -> Told:
    yield _flows(facts, targets)
    yield from _waits(facts, backlog)
    if any(target.storm for target in targets):
        yield NOTE, "A storm is on: lesser alerts go into digests."
    dead, lost = facts.counts.dead, facts.counts.error()
    if dead:
        yield NOTE, f"{events(dead)} {_are(dead)} dead letters."
    if lost:
        yield BAD, f"The counts do not add up by {abs(lost):,}: keep the spool and report it."


def _flows(facts: Facts, targets: Sequence[TargetNow]) -> tuple[str, str]:
    """What comes in and what goes out."""
    held = [t for t in targets if t.level != GOOD]
    worst = max((t.level for t in held), key=_worse, default=GOOD)
    if facts.reasons:
        out = f"{_held(held, targets)}." if held else "What waits is delivered."
        return BAD, f"Nothing is accepted: {facts.reasons[0]}. {out[0].upper()}{out[1:]}"
    taken = "The spool is full: new alert keys are refused" if facts.full else "Events are accepted"
    level = BAD if facts.full else worst
    if held:
        return level, f"{taken}{', and' if facts.full else ' and kept, but'} {_held(held, targets)}."
    return level, f"{taken}, what waits is delivered." if facts.full else f"{taken} and delivered."


def _held(held: Sequence[TargetNow], targets: Sequence[TargetNow]) -> str:
    worst = max(held, key=lambda t: _worse(t.level))
    where = f" to {worst.name}" if len(held) == 1 and len(targets) > 1 else ""
    if len(held) > 1:
        where = f" to {len(held)} of {len(targets)} targets"
    return f"nothing is delivered{where}: {_why(worst)}"


def _waits(facts: Facts, backlog: Backlog) -> Told:
    pending = facts.counts.pending
    if not pending:
        yield GOOD, "Nothing waits."
        return
    ages = {severity: max(0, facts.at_ms - ms) for severity, ms in backlog.oldest_ms.items()}
    oldest = f", the oldest for {lasting(max(ages.values()))}" if ages else ""
    yield GOOD, f"{events(pending)} {'waits' if pending == 1 else 'wait'}{oldest}."
    late = next((s for s, limit in LATE_MS.items() if ages.get(s, 0) > limit), None)
    if late is not None:
        level = BAD if late == "critical" else NOTE
        yield level, f"Something {late} has waited for {lasting(ages[late])}."


def _worse(level: str) -> int:
    return (GOOD, NOTE, BAD).index(level)


def _why(at: Standing) -> str:
    return STRANGE if _strange(at) else WHY.get(at.held or "", "it is held")


def _strange(at: Standing) -> bool:
    """Whether the key is parked by an answer that is none of iLert's published incident model."""
    return at.held == "parked" and at.parked is not None and at.parked // 100 == 2


STRANGE: Final = "iLert's answers are not of its published incident model"
WHY: Final[Mapping[str, str]] = {
    "paused": "an operator has paused it",
    "throttled": "iLert asked for a pause (429)",
    "parked": "iLert refuses the key",
    "circuit": "iLert does not answer",
}
LEVEL: Final[Mapping[str, str]] = {"paused": NOTE, "throttled": NOTE, "parked": BAD, "circuit": BAD}
KEPT: Final = "what waits is kept"
SOON_MS: Final = 2_000
"""What comes sooner is not worth a word."""


def _target(at: Standing, lanes: int, now_ms: int) -> TargetNow:
    held = at.held or ""
    says = ", ".join(_target_words(at, held, now_ms))
    fields = msgspec.structs.asdict(at)
    return TargetNow(**fields, lanes=lanes, says=says, level=LEVEL.get(held, GOOD))


def _target_words(at: Standing, held: str, now_ms: int) -> Iterator[str]:
    soon = f"in {lasting(at.next_ms - now_ms)}" if at.next_ms is not None else ""
    if held == "paused":
        yield "Paused by an operator; what waits is kept until it is resumed"
    elif held == "throttled":
        yield f"iLert asked for a pause (429), going on {soon or 'soon'}"
    elif held == "parked":
        mend = "use target: alert in its routes" if _strange(at) else "set a valid one"
        why = STRANGE if _strange(at) else f"iLert refuses the key (status {at.parked})"
        yield f"{why}; {KEPT}: {mend} and reload"
        yield f"tried again {soon}" if soon else "being tried again"
    elif held == "circuit":
        yield f"iLert does not answer (circuit open); {KEPT}"
        yield f"next probe {soon}" if soon else "a probe is on its way"
    else:
        yield "Delivering"
        if at.storm:
            yield "a storm is on: lesser alerts go into digests"
        if not at.tokens and at.next_ms is not None:
            far = at.next_ms - now_ms >= SOON_MS
            yield "at the pace of the key" + (f", going on {soon}" if far else "")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
