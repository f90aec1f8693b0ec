"""What one digest stands for: how many alerts, how severe, since when, and what the most telling of them say. Pure.

Its size is bounded whatever it stands for: a count for each severity and a few summaries.
"""

from bisect import bisect_left, bisect_right

import msgspec

from mcp_ilert.clock import rfc3339
from mcp_ilert.events import Kind, Severity

TOLD_KEPT = 20
"""Different summaries that are counted; a digest's text shows the first TOLD_SHOWN."""
TOLD_SHOWN = 5
SUMMARY_CHARACTERS = 200
KEY_PREFIX = "mcp-digest/"
KEY_CHARACTERS = 64
"""Of the group's name, in the digest's alert key."""
SOURCE = "mcp-ilert"
"""Whose a digest is that stands for several sources."""

Numbers = tuple[int, int, int, int]


class Brief(msgspec.Struct, frozen=True):
    """What a digest needs to know of an event."""

    group: str = ""
    summary: str = ""


class Telling(msgspec.Struct, frozen=True, array_like=True):
    """A summary, how many of the unresolved alerts say so, and the highest severity with which they did."""

    severity: Severity
    alerts: int
    summary: str

    def rank(self) -> tuple[int, int]:
        """The most telling first: the more severe, then the more frequent."""
        return self.severity, -self.alerts


class Gathering(msgspec.Struct, frozen=True, array_like=True):
    """The members of one digest, added up."""

    group: str
    """What they have in common; empty where a digest stands for all groups for which there was no place."""
    since_ms: int = 0
    """When the oldest of them was accepted."""
    unresolved: Numbers = (0, 0, 0, 0)
    """Members by severity, worst first."""
    resolved: int = 0
    """Members that were resolved while the digest stood for them."""
    told: tuple[Telling, ...] = ()
    discarded: bool = False
    """The target rejected the digest; its members are being given back."""

    def members(self) -> int:
        """Lanes for which the digest stands now."""
        return sum(self.unresolved)

    def worst(self) -> Severity:
        """The highest severity of the members."""
        critical, high, medium, _ = self.unresolved
        if critical:
            return Severity.CRITICAL
        return Severity.HIGH if high else Severity.MEDIUM if medium else Severity.LOW


def joined(gathering: Gathering, severity: Severity, summary: str, first_ms: int) -> Gathering:
    """One member more; the first one begins the digest anew."""
    if not gathering.members():
        gathering = Gathering(gathering.group, first_ms)
    return Gathering(
        gathering.group,
        min(gathering.since_ms, first_ms),
        _counted(gathering.unresolved, severity, 1),
        gathering.resolved,
        _said(gathering.told, severity, summary),
        gathering.discarded,
    )


def left(gathering: Gathering, severity: Severity, summary: str, *, resolved: bool = False) -> Gathering:
    """One member less; with the last one a discarded digest is done with."""
    unresolved = _counted(gathering.unresolved, severity, -1)
    return msgspec.structs.replace(
        gathering,
        unresolved=unresolved,
        resolved=gathering.resolved + resolved,
        told=_unsaid(gathering.told, summary),
        discarded=gathering.discarded and sum(unresolved) > 0,
    )


def changed(gathering: Gathering, old: tuple[Severity, str], new: tuple[Severity, str]) -> Gathering:
    """A member says something else now: its severity and summary before and after."""
    if old == new:
        return gathering
    return msgspec.structs.replace(
        gathering,
        unresolved=_counted(_counted(gathering.unresolved, old[0], -1), new[0], 1),
        told=_said(_unsaid(gathering.told, old[1]), *new),
    )


def _counted(numbers: Numbers, severity: Severity, by: int) -> Numbers:
    critical, high, medium, low = numbers
    match severity:
        case Severity.CRITICAL:
            return critical + by, high, medium, low
        case Severity.HIGH:
            return critical, high + by, medium, low
        case Severity.MEDIUM:
            return critical, high, medium + by, low
        case Severity.LOW:
            return critical, high, medium, low + by


def _said(told: tuple[Telling, ...], severity: Severity, summary: str) -> tuple[Telling, ...]:
    """Count a summary, behind its equals; where there is no place for another one, the least telling goes."""
    summary = shortened(summary, SUMMARY_CHARACTERS)
    known, rest = _taken_out(told, summary)
    more = Telling(severity, 1, summary)
    if known is not None:
        more = Telling(min(known.severity, severity), known.alerts + 1, summary)
    rest.insert(bisect_right(rest, more.rank(), key=Telling.rank), more)
    return tuple(rest[:TOLD_KEPT])


def _unsaid(told: tuple[Telling, ...], summary: str) -> tuple[Telling, ...]:
    """Count a summary once less; it goes before those that are its equals then."""
    known, rest = _taken_out(told, shortened(summary, SUMMARY_CHARACTERS))
    if known is None:
        return told
    if known.alerts > 1:
        less = Telling(known.severity, known.alerts - 1, known.summary)
        rest.insert(bisect_left(rest, less.rank(), key=Telling.rank), less)
    return tuple(rest)


def _taken_out(told: tuple[Telling, ...], summary: str) -> tuple[Telling | None, list[Telling]]:
    """What is counted of a summary, if anything, and the others, in their order."""
    rest = list(told)
    for i, telling in enumerate(rest):
        if telling.summary == summary:
            del rest[i]
            return telling, rest
    return None, rest


def shortened(text: str, characters: int) -> str:
    """The text, cut visibly where it is too long."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


# In words --------------------------------------------------------------------------------------------------------


def key_of(group: str, seal: str) -> str:
    """The alert key of a group's digest. `seal` cannot be guessed, so no producer's key is the same."""
    name = shortened(group, KEY_CHARACTERS).strip() or "others"
    return f"{KEY_PREFIX}{name}/{seal}"


def payload(gathering: Gathering, key: str, kind: Kind) -> bytes:
    """The digest as an event of our own, as it stands now."""
    resolves = kind is Kind.RESOLVE
    event = {
        "mcp_id": key,
        "source": gathering.group or SOURCE,
        "summary": _resolved_words(gathering) if resolves else _summary(gathering),
        "status": "resolved" if resolves else "firing",
        "digest": {
            "unresolved": gathering.members(),
            "resolved": gathering.resolved,
            "severities": _severities(gathering),
            "since": rfc3339(gathering.since_ms),
        },
    }
    return msgspec.json.encode(event if resolves else event | {"details": _details(gathering, key)})


def _whose(gathering: Gathering) -> str:
    return f"of {gathering.group}" if gathering.group else "of other sources"


def _alerts(number: int) -> str:
    return f"{number:,} alert" + "s" * (number != 1)


def _severities(gathering: Gathering) -> dict[str, int]:
    numbers = zip(Severity, gathering.unresolved, strict=True)
    return {severity.name.lower(): number for severity, number in numbers if number}


def _severity_words(gathering: Gathering) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in _severities(gathering).items())


def _summary(gathering: Gathering) -> str:
    whole = f"Storm digest: {_alerts(gathering.members())} {_whose(gathering)} ({_severity_words(gathering)})"
    first = gathering.told[0].summary if gathering.told else ""
    return f"{whole}: {first}" if first else whole


def _resolved_words(gathering: Gathering) -> str:
    return f"Storm digest {_whose(gathering)}: {_alerts(gathering.resolved)} resolved, none is left"


def _details(gathering: Gathering, key: str) -> str:
    shown = gathering.told[:TOLD_SHOWN]
    whole = f"{_alerts(gathering.members())} {_whose(gathering)}"
    lines = [
        f"{whole} since {rfc3339(gathering.since_ms)}: {_severity_words(gathering)}.",
        f"{gathering.resolved:,} more resolved meanwhile." if gathering.resolved else "",
        "They would have waited too long one by one. The most telling:",
        *(f"- {t.severity.name.lower()}, {_alerts(t.alerts)}: {t.summary}" for t in shown),
        f"All of them: mcp-ilert queue show '{key}'",
    ]
    return "\n".join(line for line in lines if line)
