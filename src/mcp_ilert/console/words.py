"""How the past of a key reads, in plain words and with times. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from mcp_ilert.events import Kind, Said
from mcp_ilert.spool.history import (
    Attempt,
    Cancelled,
    Digested,
    Dropped,
    End,
    Forgotten,
    Moved,
    Note,
    Repeated,
    Replayed,
    Resolved,
    Returned,
    SetAside,
    Stop,
    Taken,
    Undigested,
    What,
)
from mcp_ilert.spool.rank import Pick
from mcp_ilert.spool.read_model import NoteView

AT_ONCE_MS = 100
"""What is shorter was no wait."""

STOPPED: dict[Stop, str] = {
    Stop.PAUSED: "while an operator had paused the target",
    Stop.THROTTLED: "while a 429 had paused the integration key",
    Stop.PARKED: "while iLert refused the integration key",
    Stop.CIRCUIT: "while iLert did not answer (circuit open)",
}
TURN: dict[Pick, str] = {
    Pick.CRITICAL: "critical goes first",
    Pick.DEADLINE: "by age and severity",
    Pick.OLDEST: "every tenth goes to the oldest",
    Pick.NEWEST: "every fifth goes to the newest",
}
DELIVERED: dict[Kind, str] = {
    Kind.ALERT: "delivered: the alert is open at iLert",
    Kind.ACCEPT: "delivered: the alert is acknowledged at iLert",
    Kind.RESOLVE: "delivered: the alert is resolved at iLert",
}
ARTICLE: dict[Kind, str] = {Kind.ALERT: "an alert", Kind.ACCEPT: "an accept", Kind.RESOLVE: "a resolve"}


class Line(msgspec.Struct, frozen=True):
    """A sentence, and the time that it tells of (wall-clock ms)."""

    at_ms: int
    text: str


class Past(msgspec.Struct, frozen=True):
    """What was told before of a key at a target: the last attempt, and when dead letters were last made alive."""

    attempt: Attempt | None = None
    alive_ms: int = 0


def story(notes: Sequence[NoteView]) -> list[tuple[NoteView, list[Line]]]:
    """Each note with its lines, the oldest note first; each knows what was told before it."""
    told: list[tuple[NoteView, list[Line]]] = []
    pasts: dict[str, Past] = {}
    for view in sorted(notes, key=lambda n: n.id):
        target, what = view.note.target, view.note.what
        past = pasts.get(target, Past())
        told.append((view, list(_lines(view.note, view.at_ms, past))))
        if isinstance(what, Attempt):
            pasts[target] = Past(what)
        elif isinstance(what, Replayed | Returned):
            pasts[target] = Past(past.attempt, view.at_ms)
        elif isinstance(what, Moved):
            pasts |= dict.fromkeys(what.targets, Past(None, view.at_ms))
    return told


def _lines(note: Note, at_ms: int, past: Past) -> Iterator[Line]:
    if isinstance(note.what, Attempt):
        yield from _came(note.what, past.attempt)
        yield from _left(note.target, note.what, past)
        yield Line(at_ms, _ended(note.what))
    else:
        yield Line(at_ms, _sentence(note.what, note.target))


def _came(attempt: Attempt, before: Attempt | None) -> Iterator[Line]:
    """Why there was something to send; of a further attempt, only what was folded in meanwhile."""
    if before is not None and _same(before, attempt):
        more = attempt.count - before.count
        if more > 0:
            yield Line(attempt.last_ms, f"{events(more)} more came and {was(more)} folded in")
        return
    told = attempt.taken.told if attempt.taken is not None else None
    source = f" from {told.source}" if told is not None and told.source else ""
    summary = f': "{told.summary}"' if told is not None and told.summary else ""
    severity = attempt.severity.name.lower()
    # What was tried before, and told, was folded into this one: then the newest of it is what came.
    known = before.count if before is not None and _holds(attempt, before) else 0
    at_ms, more = (attempt.last_ms if known else attempt.first_ms), attempt.count - known - 1
    yield Line(at_ms, f"{ARTICLE[attempt.kind]} came ({severity}){source}{summary}")
    if more > 0:
        yield Line(attempt.last_ms, f"{events(more)} more came until then and {was(more)} folded in")


def _same(before: Attempt, attempt: Attempt) -> bool:
    """Whether an attempt is a further one of what was tried before."""
    ids = (before.kind, before.first_ms) == (attempt.kind, attempt.first_ms)
    return ids and before.end is not End.DELIVERED


def _holds(attempt: Attempt, before: Attempt) -> bool:
    """Whether what was tried before, as another kind, is part of this."""
    return before.end is not End.DELIVERED and before.first_ms == attempt.first_ms and attempt.count > 1


def _left(target: str, attempt: Attempt, past: Past) -> Iterator[Line]:
    taken = attempt.taken
    if taken is None:
        return
    route = f"{taken.told.route} matched" if taken.told.route else "no route matched"
    how = "as a probe, whether the target works again, " if taken.probe else ""
    how += "brought back by itself after an outage, " if taken.revived else ""
    waited = _waited(attempt, taken, past)
    yield Line(taken.at_ms, f"sent to {target} ({route}), {how}attempt {attempt.number}; {waited}")


def _waited(attempt: Attempt, taken: Taken, past: Past) -> str:
    parts, ready_ms = _kept(attempt, taken, past)
    if taken.stop is not None:
        parts.append(f"{lasting(taken.stop_ms)} {STOPPED[taken.stop]}")
    rest = taken.at_ms - ready_ms - taken.stop_ms
    if rest > AT_ONCE_MS and not taken.probe:
        parts.append(f"{lasting(rest)} for its turn at the pace of the key ({TURN[taken.turn]})")
    return f"it waited {', then '.join(parts)}" if parts else "it did not wait"


def _kept(attempt: Attempt, taken: Taken, past: Past) -> tuple[list[str], int]:
    """What kept it back in its own lane, and until when."""
    died = past.attempt is not None and past.attempt.end is End.DEAD_BY_OUTAGE
    if taken.revived:
        return [f"until {clock(taken.at_ms)}, dead by an outage"], taken.at_ms
    if past.alive_ms > taken.ready_ms:
        return [f"until {clock(past.alive_ms)}, when it was made alive"], past.alive_ms
    if died and attempt.last_ms > taken.ready_ms:
        return [f"until {clock(attempt.last_ms)}, dead by an outage until more came"], attempt.last_ms
    if taken.ready_ms - attempt.first_ms <= AT_ONCE_MS:
        return [], taken.ready_ms
    why = "after the attempt before" if taken.backed_off else "for the request before it to end"
    return [f"until {clock(taken.ready_ms)} {why}"], taken.ready_ms


def _ended(attempt: Attempt) -> str:
    said = said_words(attempt.said)
    again = f"it may be sent again from {clock(attempt.next_ms)} on"
    lost = "" if attempt.certain else "; iLert may have taken it all the same"
    match attempt.end:
        case End.DELIVERED:
            return f"{said}; {DELIVERED[attempt.kind]}"
        case End.AGAIN:
            return f"{said}; {again}{lost}"
        case End.DEAD_BY_OUTAGE:
            return f"{said}; a dead letter by outage: it comes back by itself once iLert answers{lost}"
        case End.DEAD_BY_REJECTION:
            return f"{said}; a dead letter: iLert does not take it; mend the cause, then queue replay"
        case End.INTERRUPTED:
            return "the bridge ended before an answer came; iLert may have taken it, it is sent again"


def said_words(said: Said) -> str:
    """What iLert answered."""
    cid = f" (correlation id {said.correlation_id})" if said.correlation_id else ""
    if not said.status:
        return f"no answer: {said.text}{cid}" if said.text else "no answer is known"
    text = f": {said.text}" if said.text and said.text != f"answered {said.status}" else ""
    return f"iLert answered {said.status}{text}{cid}"


def _sentence(what: What, target: str) -> str:
    match what:
        case Cancelled(events=n, first_ms=first, last_ms=last):
            return (
                f"resolved before anything was sent to {target}: {events(n)} between {clock(first)} and "
                f"{clock(last)} cancelled each other; nobody was paged for them"
            )
        case Repeated(events=n, first_ms=first):
            return (
                f"{events(n)}, the first at {clock(first)}, repeated word for word what had just been "
                f"delivered to {target}; folded into it, nothing was sent"
            )
        case Replayed(events=n, forced=forced):
            return f"an operator replayed {letters(n)} at {target}{' by force' if forced else ''}"
        case Returned(events=n):
            return f"{letters(n)} at {target} came back: the integration key had been at fault"
        case Dropped(events=n):
            return f"an operator dropped {events(n)} at {target}"
        case Moved(events=n, targets=targets):
            where = " and ".join(targets) or "nowhere: a route drops it"
            return f"the target {target} is gone from the configuration; {events(n)} moved to {where}"
        case Forgotten(settled_ms=settled):
            return (
                f"the key is not remembered at {target} any more: nothing came since {clock(settled)} "
                "(delivery.remember_open_days)"
            )
        case Digested(digest=digest):
            return f"a storm was on: the digest {digest} stands for it at {target}; it was not sent alone"
        case Undigested(events=n):
            return f"left its digest at {target} with {events(n)}, and goes alone"
        case Resolved(digest=digest):
            return f"resolved while the digest {digest} stood for it at {target}; nothing was sent alone"
        case SetAside(why=why):
            return f"1 event for {target} was set aside as a dead letter: {why}; queue replay sends it"
        case Attempt():
            return _ended(what)


def events(n: int) -> str:
    """`1 event`, `1,200 events`."""
    return "1 event" if n == 1 else f"{n:,} events"


def letters(n: int) -> str:
    """`1 dead letter`, `12 dead letters`."""
    return "1 dead letter" if n == 1 else f"{n:,} dead letters"


def was(n: int) -> str:
    """`was` or `were`."""
    return "was" if n == 1 else "were"


def clock(ms: int) -> str:
    """A time of the wall clock, UTC: `2026-11-24 03:31:05.120`; clamped to what a calendar has."""
    at = datetime.fromtimestamp(min(max(ms, 0), 253_402_300_799_000) / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03}"


def lasting(ms: int) -> str:
    """A time span: `120 ms`, `3.2 s`, `12 min`, `5 h`, `3 d`."""
    if ms < 1_000:
        return f"{max(0, ms)} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    for size, unit in ((86_400_000, "d"), (3_600_000, "h")):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms // 60_000} min"
