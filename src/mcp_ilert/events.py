"""The values that travel: bytes → Event → Entry → (spool) → Delivery → Outcome → Decision → Settlement.

All are frozen. Times ending in `_ms` are wall-clock milliseconds since 1970. An *operation* is what is sent to
a target for a key: alert, accept or resolve. A *lane* is one alert key at one target.
"""

from enum import IntEnum, StrEnum
from typing import Final, Literal

import msgspec


class Kind(IntEnum):
    """What an operation does to the alert of its key."""

    __hash__ = (
        int.__hash__
    )  # Enum's own hashes the name, in Python, and these are in keys that folding looks up

    ALERT = 0
    ACCEPT = 1
    RESOLVE = 2


class Severity(IntEnum):
    """Our four classes, worst first; the order is the rank."""

    __hash__ = int.__hash__  # as above

    CRITICAL = 1
    HIGH = 2
    MEDIUM = 3
    LOW = 4


Status = Literal["firing", "acknowledged", "resolved"]
KIND_OF_STATUS: dict[str, Kind] = {
    "firing": Kind.ALERT,
    "acknowledged": Kind.ACCEPT,
    "resolved": Kind.RESOLVE,
}


class Link(msgspec.Struct, frozen=True):
    """A link that the alert shows."""

    href: str
    text: str = ""


class Event(msgspec.Struct, frozen=True):
    """One MCP event, decoded and validated (spec of the fields: README, "The event").

    `details` is a string, or the JSON text of the object that was sent. `extra` holds the fields we do not know,
    each as the JSON text received, so that numbers keep their digits.
    """

    mcp_id: str
    source: str
    summary: str
    priority: int | None = None
    severity: str | None = None
    details: str | msgspec.Raw | None = None
    tags: tuple[str, ...] = ()
    status: Status = "firing"
    timestamp: str | None = None
    links: tuple[Link, ...] = ()
    labels: dict[str, str] = {}
    extra: dict[str, msgspec.Raw] = {}


DROP = ""
"""The target name that stands for "a route says drop"."""


class Message(msgspec.Struct, frozen=True):
    """A request that says who it is, and is taken once: a name of its own, and what comes of it, in events."""

    name: str
    accepted: int
    rejected: int = 0


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the spool accepts: an event with its key, kind, rank and the target that the routes gave it.

    `key` is trimmed, in the producer's spelling. `target` is a target's name or DROP; the spool itself finds the
    lanes of an accept or a resolve and uses `target` only where there is none. `payload` is the event's JSON text
    as received.
    """

    accepted_ms: int
    kind: Kind
    severity: Severity
    target: str
    key: str
    payload: bytes


class Delivery(msgspec.Struct, frozen=True):
    """An operation leased to a sender. Its lane sends nothing else until it is settled."""

    lease: int
    """Names the lane for the settlement; unique among what is leased."""
    target: str
    key: str
    kind: Kind
    severity: Severity
    payload: bytes
    count: int
    """Events folded into the operation, itself included."""
    first_ms: int
    """When the oldest event folded in was accepted."""
    last_ms: int
    """When the newest event folded in was accepted."""
    attempts: int
    """Attempts spent before this one (Unavailable answers only)."""
    rejections: int
    """Rejected answers before this one."""
    revivals: int
    """How often the lane has been revived by itself from an outage death; 0 for an ordinary lane."""
    probe: bool = False
    """Sent to learn whether the target or the key works again; costs no attempt."""
    digest: bool = False
    """Ours, not an event: it stands for lanes that wait in a digest, `count` of them."""
    ref: str = ""
    """What the target calls that which it has open for the key, as an earlier answer said; "" where none did."""
    unsure: bool = False
    """Whether something may be open for the key that `ref` does not name: an earlier request may have been applied."""


# What came of one attempt ---------------------------------------------------------------------------------------


class Delivered(msgspec.Struct, frozen=True, tag=True):
    """A 2xx answer."""

    status: int
    correlation_id: str | None = None
    ref: str | None = None
    """What the target calls that which is open for the key now ("": nothing is); None: it does not tell."""
    note: str = ""
    """What else is worth telling of the moment: who was on call."""


class Unavailable(msgspec.Struct, frozen=True, tag=True):
    """The target could not be reached or did not work. `certain` is true where the request was surely not applied."""

    reason: str
    certain: bool
    status: int | None = None
    correlation_id: str | None = None


class Throttled(msgspec.Struct, frozen=True, tag=True):
    """429: the key's budget is spent."""

    retry_after_seconds: float | None = None
    correlation_id: str | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The key's fault: the target does not take it (401, 402, coded 403 and 404)."""

    status: int
    detail: str
    correlation_id: str | None = None


class Suspect(msgspec.Struct, frozen=True, tag=True):
    """403 or 404 without a code: the event's fault, until a second lane of the key gets the same."""

    status: int
    detail: str
    correlation_id: str | None = None


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """The event's fault: the target will never take it so."""

    status: int
    detail: str
    correlation_id: str | None = None


Outcome = Delivered | Unavailable | Throttled | Refused | Suspect | Rejected


# What the policy makes of it ------------------------------------------------------------------------------------


class Done(msgspec.Struct, frozen=True, tag=True):
    """The operation is delivered."""

    ref: str | None = None
    """As in Delivered: kept with the lane; None keeps what was known."""


class Again(msgspec.Struct, frozen=True, tag=True):
    """The operation returns to the head of its lane and is ready at `due_ms`."""

    due_ms: int
    attempts: int
    rejections: int
    certain: bool
    """False where the request may have been applied: the lane becomes unknown."""


LONGEST_DEATH_MS: Final = 86_400_000
"""Nothing dead by outage waits longer to be revived; what seems to, died before the wall clock was put back."""


class DeadByOutage(msgspec.Struct, frozen=True, tag=True):
    """The operation returns to its lane, and the lane is dead until it is revived, replayed or added to."""

    revive_ms: int
    """Not revived by itself before this."""
    certain: bool


def revivable(revive_ms: int, now_ms: int) -> bool:
    """Whether what is dead by outage may be revived: its time has come, or is further off than any is set."""
    return revive_ms <= now_ms or revive_ms > now_ms + LONGEST_DEATH_MS


class DeadByRejection(msgspec.Struct, frozen=True, tag=True):
    """The operation is set aside as a dead letter; newer ones pass it."""

    status: int
    detail: str
    correlation_id: str | None = None


Decision = Done | Again | DeadByOutage | DeadByRejection


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What the target answered, for the history: `status` is None where no answer came, `text` then says why."""

    status: int | None = None
    text: str = ""
    correlation_id: str | None = None


class Settlement(msgspec.Struct, frozen=True):
    """The decision on one delivery, handed back to the spool, and what the target said."""

    lease: int
    decision: Decision
    at_ms: int
    said: Said = Said()


class DeadReason(StrEnum):
    """Why a dead letter was made; labels `mcp_out_failed_total`."""

    OUTAGE = "outage"
    REJECTED = "rejected"


class Counts(msgspec.Struct, frozen=True):
    """The conservation law's terms, in events, and what else the spool knows at once.

    accepted + fanned_out = delivered + coalesced + cancelled + digested + dropped + dead + pending
    """

    accepted: int = 0
    fanned_out: int = 0
    delivered: int = 0
    coalesced: int = 0
    cancelled: int = 0
    digested: int = 0
    dropped_by_route: int = 0
    dropped_by_operator: int = 0
    dead: int = 0
    pending: int = 0
    lanes: int = 0
    """Lanes in which something waits (dead ones not counted)."""
    inbox: int = 0
    """Events in the inbox, not folded yet; part of pending."""
    undigested: int = 0
    """Events that have left a digest, which `digested` does not have any more; no term of the law."""
    members: int = 0
    """Lanes for which a digest stands; with `lanes`, what `spool.max_pending` bounds."""

    def error(self) -> int:
        """Left side minus right side of the law: 0 when it holds."""
        right = self.delivered + self.coalesced + self.cancelled + self.digested + self.dropped_by_route
        right += self.dropped_by_operator + self.dead + self.pending
        return self.accepted + self.fanned_out - right
