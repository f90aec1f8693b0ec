"""Answers as a program gets them, from the commands with --json and from the API: one shape for both. Pure."""

from collections.abc import Sequence

import msgspec

from mcp_ilert.console.words import clock, story
from mcp_ilert.events import Counts
from mcp_ilert.spool.history import Attempt, Note, Told
from mcp_ilert.spool.read_model import Audit, LaneView, LetterView, NoteView, OpView, Stats, TargetView


class Page(msgspec.Struct, frozen=True):
    """Lanes as the spool has them; `after` asks for the next page, None where there is none."""

    lanes: Sequence[LaneView]
    after: int | None


class Operation(msgspec.Struct, frozen=True):
    """One operation of a lane, with the newest event folded into it."""

    kind: str
    severity: str
    count: int
    first_ms: int
    last_ms: int
    event: msgspec.Raw


class RejectedLetter(msgspec.Struct, frozen=True):
    """An operation that iLert rejected."""

    kind: str
    severity: str
    count: int
    first_ms: int
    last_ms: int
    event: msgspec.Raw
    status: int
    detail: str
    correlation_id: str | None
    at_ms: int
    superseded: bool


class Lane(msgspec.Struct, frozen=True):
    """One alert key at one target."""

    id: int
    key: str
    target: str
    state: str
    severity: str
    remote: str
    attempts: int
    rejections: int
    due_ms: int
    in_flight: Operation | None
    waiting: tuple[Operation, ...]
    letters: tuple[RejectedLetter, ...]
    digest: str | None = None
    """The alert key of the digest that stands for it."""
    members: int | None = None
    """Of a digest: how many alerts it stands for."""
    member_keys: tuple[str, ...] = ()
    """Of a digest that is shown by its key: the first of them."""
    incident: str | None = None
    """The id of the incident that is open for the key, where its target opens incidents."""


class LanePage(msgspec.Struct, frozen=True):
    """Lanes by id; `after` asks for the next page, null where there is none."""

    lanes: tuple[Lane, ...]
    after: int | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A lane in which something waits or is in flight, without its events' texts."""

    key: str
    target: str
    state: str
    severity: str
    kinds: tuple[str, ...]
    """Of its operations, in the order in which they go."""
    count: int
    """Events folded in."""
    first_ms: int
    attempts: int
    summary: str
    source: str
    says: tuple[str, ...]
    members: int | None = None
    """Of a digest: how many alerts it stands for."""


class WaitingPage(msgspec.Struct, frozen=True):
    """The most urgent first; `after` asks for the next page, null where there is none.

    A page may be short, or empty, where a part of a key is looked for: `looked` lanes were looked at, `of` all that
    wait at the targets asked for. Who is called just that comes first.
    """

    lanes: tuple[Waiting, ...]
    after: str | None
    looked: int
    of: int = 0


class Digests(msgspec.Struct, frozen=True):
    """Digests that stand for alerts, each with some of their keys; `more`: there are others."""

    digests: tuple[Lane, ...]
    more: bool


class SpoolStats(msgspec.Struct, frozen=True):
    """The spool at a glance. Times are wall-clock milliseconds since 1970."""

    counts: Counts
    conservation_error: int
    targets: tuple[TargetView, ...]
    oldest_ms: dict[str, int]
    file_bytes: int
    history_bytes: int


class Audited(msgspec.Struct, frozen=True):
    """The conservation law, as counted and as recounted from disk; `error` is 0 where it holds."""

    holds: bool
    error: int
    counts: Counts
    recounted: Counts


class Sentence(msgspec.Struct, frozen=True):
    """A time and what happened then, in plain words."""

    at_ms: int
    at: str
    says: str


class Happened(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to a key; of an attempt also the facts behind the words."""

    id: int
    at_ms: int
    target: str
    what: str
    """delivered, again, dead_by_outage, dead_by_rejection, interrupted (these are attempts), cancelled, repeated,
    replayed, returned, dropped, moved, forgotten, digested, undigested, resolved (in a digest)."""
    says: tuple[Sentence, ...]
    events: int | None = None
    kind: str | None = None
    severity: str | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    leased_ms: int | None = None
    attempt: int | None = None
    status: int | None = None
    answer: str | None = None
    correlation_id: str | None = None
    next_ms: int | None = None
    route: str | None = None
    source: str | None = None
    summary: str | None = None


class Sent(msgspec.Struct, frozen=True):
    """An attempt, and whose it was."""

    key: str
    happened: Happened


class Deliveries(msgspec.Struct, frozen=True):
    """The last attempts, newest first; `before` asks for earlier ones."""

    attempts: tuple[Sent, ...]
    before: int | None = None


class Life(msgspec.Struct, frozen=True):
    """What happened to one key, oldest first, and how it stands now; `before` asks for what was earlier."""

    key: str
    history: tuple[Happened, ...]
    now: tuple[str, ...]
    lanes: tuple[Lane, ...]
    before: int | None = None


def operation(op: OpView) -> Operation:
    return Operation(
        op.kind.name.lower(),
        op.severity.name.lower(),
        op.count,
        op.first_ms,
        op.last_ms,
        msgspec.Raw(op.payload),
    )


def letter(view: LetterView) -> RejectedLetter:
    op = view.op
    return RejectedLetter(
        op.kind.name.lower(),
        op.severity.name.lower(),
        op.count,
        op.first_ms,
        op.last_ms,
        msgspec.Raw(op.payload),
        view.status,
        view.detail,
        view.correlation_id,
        view.at_ms,
        view.superseded,
    )


def lane(view: LaneView) -> Lane:
    return Lane(
        view.id,
        view.key,
        view.target,
        view.state,
        view.severity.name.lower(),
        view.remote,
        view.attempts,
        view.rejections,
        view.due_ms,
        operation(view.in_flight) if view.in_flight else None,
        tuple(map(operation, view.waiting)),
        tuple(map(letter, view.letters)),
        view.digest,
        view.members,
        view.member_keys,
        view.incident,
    )


def waiting(view: LaneView, told: Told, says: Sequence[str]) -> Waiting:
    ops = (*((view.in_flight,) if view.in_flight else ()), *view.waiting)
    return Waiting(
        view.key,
        view.target,
        view.state,
        view.severity.name.lower(),
        tuple(op.kind.name.lower() for op in ops),
        sum(op.count for op in ops),
        min((op.first_ms for op in ops), default=0),
        view.attempts,
        told.summary,
        told.source,
        tuple(says),
        view.members,
    )


def page(found: Page) -> LanePage:
    return LanePage(tuple(map(lane, found.lanes)), found.after)


def stats(found: Stats) -> SpoolStats:
    return SpoolStats(
        found.counts,
        found.counts.error(),
        found.targets,
        found.oldest_ms,
        found.file_bytes,
        found.history_bytes,
    )


def audited(found: Audit) -> Audited:
    return Audited(found.error == 0, found.error, found.counts, found.recounted)


def history(notes: Sequence[NoteView]) -> tuple[Happened, ...]:
    """The notes with their words, the oldest first."""
    return tuple(
        _happened(view, tuple(Sentence(line.at_ms, clock(line.at_ms), line.text) for line in lines))
        for view, lines in story(notes)
    )


def _happened(view: NoteView, says: tuple[Sentence, ...]) -> Happened:
    note: Note = view.note
    what = note.what
    if not isinstance(what, Attempt):
        name = type(what).__name__.lower()
        return Happened(view.id, view.at_ms, note.target, name, says, getattr(what, "events", None))
    taken = what.taken
    return Happened(
        view.id,
        view.at_ms,
        note.target,
        what.end.name.lower(),
        says,
        what.count,
        what.kind.name.lower(),
        what.severity.name.lower(),
        what.first_ms,
        what.last_ms,
        taken.at_ms if taken else None,
        what.number,
        what.said.status,
        what.said.text or None,
        what.said.correlation_id,
        what.next_ms or None,
        taken.told.route if taken else None,
        taken.told.source if taken else None,
        taken.told.summary if taken else None,
    )
