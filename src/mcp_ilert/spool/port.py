"""The spool as everybody else sees it: eight methods, and the values they take and give."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from mcp_ilert.callback import answer_of
from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Counts, Delivery, Entry, Message, Settlement, Severity
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.history import Stop, Told

LONGEST_DEATH_MS: Final = 86_400_000
"""Nothing dead by outage waits longer to be revived; what seems to, died before the wall clock was put back."""


class Stopped(msgspec.Struct, frozen=True):
    """Why and when nothing but probes went to a target last; `until_ms` is now where it goes on."""

    why: Stop
    since_ms: int
    until_ms: int


class Want(msgspec.Struct, frozen=True):
    """What the dispatcher may send to one target now; each operation costs one of `tokens`."""

    target: str
    tokens: int
    others: int
    """Of `tokens`, at most so many for lanes that are not critical (a place in flight is kept for critical)."""
    revive: int = 0
    """Lanes dead by outage, oldest first, to be made alive before choosing."""
    probe: bool = False
    """One token for one lane, each time another: one never sent, else the one tried longest ago, else, where
    `probe_dead`, the oldest that is dead by outage and may be revived."""
    probe_dead: bool = False
    stopped: Stopped | None = None
    """For the history: what the target's lanes had to wait for."""
    digest: bool = False
    """A storm is on: a lane that a digest may stand for is put there in place of being sent."""
    longest_wait_ms: int = 1 << 62
    """No back-off reaches further. What is due later was put down before the wall clock was put back: it is due."""


def revivable(revive_ms: int, now_ms: int) -> bool:
    """Whether what is dead by outage may be revived: its time has come, or is further off than any is set."""
    return revive_ms <= now_ms or revive_ms > now_ms + LONGEST_DEATH_MS


class Agenda(msgspec.Struct, frozen=True):
    """What is left to do at one target after a lease; tells the dispatcher how long it may sleep."""

    critical_ready: bool = False
    others_ready: bool = False
    next_due_ms: int | None = None
    """When the next backed-off lane becomes ready."""
    next_revive_ms: int | None = None
    """When the next lane that is dead by outage may be revived; None where there is none."""
    waiting: bool = False
    """Whether anything at all waits alive (ready, backed off or leased)."""
    backlog: int = 0
    """Lanes in which something waits alive or is in flight, digests not counted."""
    digested: int = 0
    """Lanes that this lease put into digests."""


class Leased(msgspec.Struct, frozen=True):
    """The answer to `lease`: in the order to be sent, and the agenda of each target asked for."""

    deliveries: tuple[Delivery, ...]
    agenda: Mapping[str, Agenda]


class Settled(msgspec.Struct, frozen=True):
    """What a settlement moved: how many events died anew, by reason, as `mcp_out_failed_total` counts them."""

    outage: int = 0
    rejected: int = 0


class Replay(msgspec.Struct, frozen=True, tag="replay"):
    """Make dead letters of these keys (None: of all) alive; superseded ones only with `force`."""

    keys: tuple[str, ...] | None
    force: bool = False


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Drop what waits or is dead of one key, at one target or at all; what is in flight has its outcome."""

    key: str
    target: str | None = None


class ReturnRefused(msgspec.Struct, frozen=True, tag="return_refused"):
    """Make the rejected letters of this target with one of these statuses alive: the key was at fault."""

    target: str
    statuses: tuple[int, ...]


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Remember that an operator paused (or resumed) a target."""

    target: str
    paused: bool


class Retarget(msgspec.Struct, frozen=True, tag="retarget"):
    """The targets that exist now, after a start or a reload; lanes of others move or stay parked."""

    targets: tuple[str, ...]


class Gather(msgspec.Struct, frozen=True, tag="gather"):
    """Put a slice of a target's lesser alerts into digests, as a storm is on; nothing moved: there is none left."""

    target: str


Change = Replay | Drop | ReturnRefused | Pause | Retarget | Gather


class Changed(msgspec.Struct, frozen=True):
    """How many events a change moved."""

    events: int = 0


class TargetRecord(msgspec.Struct, frozen=True):
    """What is kept of a target over restarts: the operator's pause, and the dispatcher's state as written."""

    paused: bool = False
    state: bytes = b""


class Rules(msgspec.Struct, frozen=True):
    """The configuration that folding needs; replaced whole on a reload."""

    cancel_resolved: bool = True
    dedupe_ms: int = 60_000
    remember_open_ms: int = 30 * 86_400_000
    max_pending: int = 1_000_000
    min_free_bytes: int = 0
    """Below so much free disk nothing more is accepted, so that deliveries can still be settled."""
    route: Callable[[bytes], str] = lambda _payload: "default"
    """Which target (or DROP) the routes give an event now; for lanes whose target is gone."""
    digest_below: Severity = Severity.HIGH
    """Only alerts of lower severity are put into digests; one that is not takes its lane out again."""
    brief: Callable[[bytes], Brief] = lambda payload: Brief("", payload.decode("utf-8", "replace"))
    """An event's group and summary, for digests. Must not raise, and give the same again for the same event."""
    history_ms: int = 7 * 86_400_000
    history_bytes: int = 268_435_456
    """Bounds of what is kept of the past; 0 bytes: nothing is."""
    tell: Callable[[bytes], Told] = lambda _payload: Told()
    """What an event says and which route it matches, for the history. Must not raise."""


Done = Callable[[Sequence[McpIlertError | None]], None]


class Spool(Protocol):
    """Durable lanes. Every method is safe to cancel: what was committed stays, what was not never was."""

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done, message: Message | None = None) -> None:
        """Commit these requests' entries, in this order and after what was offered before; of each all or none.

        `done` is told once, in the Trio thread, perhaps before this returns: for each request None, once its
        entries are synced to disk, or why nothing of it is kept: UnavailableError (spool full, disk full, disk
        failing, closing), SpoolError where the spool itself is at fault. `message` says what the only request is:
        it is remembered in the same transaction, and refused with RepeatedError where it was before.
        """

    async def lease(self, wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
        """Commit leases for what is to be sent now, together with the targets' `states`, and give it out."""

    async def settle(
        self, settlements: Sequence[Settlement], states: Mapping[str, bytes], now_ms: int
    ) -> Settled:
        """Commit what came of deliveries, together with the targets' `states`."""

    async def change(self, change: Change, now_ms: int) -> Changed:
        """Commit an operator's or the dispatcher's change, in slices."""

    async def records(self) -> Mapping[str, TargetRecord]:
        """What is kept of each target, by name."""

    def counts(self) -> Counts:
        """The counters as of the last commit; never waits."""

    async def backup(self, path: Path) -> None:
        """Copy the spool, consistently, to a file that must not exist yet, while it runs."""

    def use(self, rules: Rules) -> None:
        """Take these rules from the next transaction on."""


Wake = Callable[[frozenset[str]], None]
"""Called in the Trio thread with the targets at which a fold, a settlement or a change made something ready (or gave
it a time) that neither the target's last agenda nor a call since has told of."""


class Offered(Protocol):
    """What takes offers: a `Spool`, or what stands for one."""

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done, message: Message | None = None) -> None: ...


async def put(spool: Offered, entries: Sequence[Entry], message: Message | None = None) -> None:
    """Offer one request and wait for its answer; raises what it was refused for."""
    (error,) = await answer_of(partial(spool.offer, (entries,), message=message))
    if error is not None:
        raise error
