"""What is kept of the past of a key: one small note for each thing that happened to it. Pure.

A note is written in the transaction of what it tells of. It says what was true then, so that it can be read
without the configuration of that time.
"""

from enum import IntEnum

import msgspec

from mcp_ilert.events import Again, DeadByOutage, DeadByRejection, Decision, Done, Kind, Said, Severity
from mcp_ilert.spool.rank import Pick

KEY_CHARS = 255
SUMMARY_CHARS = 120
SOURCE_CHARS = 60
TEXT_CHARS = 200


class Stop(IntEnum):
    """Why nothing but probes went to a target for a time."""

    PAUSED = 1
    THROTTLED = 2
    PARKED = 3
    CIRCUIT = 4


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What an event says, cut short, and the route that it matched; empty where nobody could tell."""

    route: str = ""
    source: str = ""
    summary: str = ""


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """How an operation was leased."""

    at_ms: int
    ready_ms: int
    """Since when it might have gone, as far as its own lane goes."""
    turn: Pick
    """What the token was for."""
    backed_off: bool = False
    """It became ready by waiting after a failed attempt, and not by the end of the request before it."""
    probe: bool = False
    revived: bool = False
    """An automatic replay of what an outage had killed."""
    stop: Stop | None = None
    stop_ms: int = 0
    """How long, between ready and leased, only probes went to the target."""
    told: Told = Told()


class End(IntEnum):
    """What became of an attempt."""

    DELIVERED = 0
    AGAIN = 1
    DEAD_BY_OUTAGE = 2
    DEAD_BY_REJECTION = 3
    INTERRUPTED = 4


class Attempt(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A request left, and this is how it ended."""

    end: End
    kind: Kind
    severity: Severity
    count: int
    first_ms: int
    last_ms: int
    number: int
    """Of the attempts and rejections of this operation, from 1."""
    taken: Taken | None
    said: Said = Said()
    next_ms: int = 0
    """When it may be sent again, where it may."""
    certain: bool = True
    """Whether it is known what the target did."""


class Cancelled(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A resolve came before the alert was sent: nothing is sent."""

    events: int
    first_ms: int
    last_ms: int


class Repeated(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """What had just been delivered came again, word for word, and was folded into it."""

    events: int
    first_ms: int
    last_ms: int


class Replayed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """An operator made dead letters alive."""

    events: int
    forced: bool = False


class Returned(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Dead letters became alive by themselves: the key had been at fault."""

    events: int


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """An operator dropped what waited or was dead."""

    events: int


class Moved(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The target is gone from the configuration: what waited went to these, or was dropped by a route."""

    events: int
    targets: tuple[str, ...]


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The key's alert was open, or may have been, for so long that it is not remembered any more."""

    settled_ms: int


class Digested(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """In a storm, a digest of this key began to stand for what waited."""

    events: int
    digest: str


class Undigested(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """What waited goes its own way again, out of its digest."""

    events: int


class Resolved(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """A resolve came while a digest stood for the key, which has one less since."""

    digest: str


class SetAside(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """An event that could not be folded became a dead letter."""

    why: str


What = (
    Attempt
    | Cancelled
    | Repeated
    | Replayed
    | Returned
    | Dropped
    | Moved
    | Forgotten
    | Digested
    | Undigested
    | Resolved
    | SetAside
)


class Note(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened to a key at a target."""

    key: str
    """In the spelling that is sent; the first KEY_CHARS of it."""
    target: str
    what: What

    def concerns(self, key: str) -> bool:
        """Whether it is about this lower-cased key; of a long one the beginning decides, and its hash."""
        mine = self.key.lower()
        return mine == key if len(self.key) < KEY_CHARS else key.startswith(mine[:-1])


ENCODE = msgspec.msgpack.Encoder().encode
DECODE = msgspec.msgpack.Decoder(Note).decode

ENDS: dict[type[Decision], End] = {
    Done: End.DELIVERED,
    Again: End.AGAIN,
    DeadByOutage: End.DEAD_BY_OUTAGE,
    DeadByRejection: End.DEAD_BY_REJECTION,
}


def told(route: str, source: str, summary: str) -> Told:
    """What is kept of an event, bounded."""
    return Told(cut(route, SOURCE_CHARS), cut(source, SOURCE_CHARS), cut(summary, SUMMARY_CHARS))


def bounded(said: Said) -> Said:
    """What is kept of an answer, bounded."""
    correlation_id = said.correlation_id
    return Said(said.status, cut(said.text, TEXT_CHARS), correlation_id and cut(correlation_id, TEXT_CHARS))


def cut(text: str, limit: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def next_of(decision: Decision) -> int:
    """When the operation may be sent again after this decision; 0 where it is over."""
    match decision:
        case Again(due_ms=ms) | DeadByOutage(revive_ms=ms):
            return ms
        case _:
            return 0


def certain_of(decision: Decision) -> bool:
    """Whether it is known what the target did."""
    return decision.certain if isinstance(decision, Again | DeadByOutage) else True
