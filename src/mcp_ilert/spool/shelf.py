"""Where lanes are kept: the port that the engine works on, within one transaction, and its values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from mcp_ilert.events import Counts, Severity
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.rank import Turns


class Row(msgspec.Struct, frozen=True, gc=False):
    """A stored lane. `id` names it for good while anything of it is kept."""

    id: int
    target: int
    lane: Lane


class Placement(msgspec.Struct, frozen=True, gc=False):
    """What the indexes need of a lane."""

    state: State
    severity: Severity
    sent: bool
    oldest_ms: int
    due_ms: int
    letters: int
    digest: int = 0
    """As `digest.mark` has it: the member's digest, or one of ELIGIBLE, GATHERS, DISCARDED; 0: none of them."""


class TargetRow(msgspec.Struct, frozen=True):
    """A stored target."""

    id: int
    name: str
    paused: bool = False
    state: bytes = b""
    turns: Turns = Turns()
    lanes: int = 0
    """In which something waits alive or is in flight, digests not counted."""


class Shelf(Protocol):
    """Lanes, inbox, ledger and targets of one spool. All calls stand in the caller's transaction."""

    def ledger(self) -> Counts: ...
    def save_ledger(self, counts: Counts) -> None: ...
    def targets(self) -> Sequence[TargetRow]: ...
    def add_target(self, name: str) -> TargetRow: ...
    def save_target(self, target: TargetRow) -> None: ...

    def inbox(self) -> Iterable[tuple[int, bytes]]: ...
    def append(self, seq: int, events: int, blob: bytes) -> None: ...
    def append_alone(self, seq: int, events: int, blob: bytes, counts: Counts) -> None:
        """A row of the inbox and the ledger with it, as a transaction of its own."""

    def trim(self, seq: int) -> None:
        """Forget the rows up to this one, and what was folded ahead of them or in parts."""

    def fold_ahead(self, rows: Sequence[tuple[int, int]], keys: Sequence[str]) -> None:
        """Of these rows so many entries were folded ahead, all of these lower-cased keys: (seq, events)."""

    def folded_ahead(self) -> Sequence[tuple[int, Sequence[str]]]:
        """What was folded ahead, by row: (seq, keys)."""

    def places(self, keys: Iterable[str]) -> Mapping[str, int]:
        """Where lower-cased keys lie in the order in which a slice's are folded, the same as long as the spool lives.

        Signed numbers of 64 bits, evenly spread.
        """

    def fold_part(self, seq: int, events: int, place: int) -> None:
        """Of the rows up to this one so many entries more were folded: all whose keys lie at this place or before."""

    def folded_part(self) -> tuple[int, int] | None:
        """Of the slice that is folded in part: its last row, and the place up to which it is."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Sequence[Row]]:
        """The lanes of lower-cased keys, at every target; keys without a lane are absent."""

    def get(self, lane_id: int) -> Row | None: ...
    def add(self, lanes: Sequence[tuple[int, Lane, Placement]]) -> None:
        """New lanes: (target, lane, placement)."""

    def save(self, rows: Sequence[tuple[Row, Placement]]) -> None: ...
    def save_texts(self, rows: Sequence[Row]) -> None:
        """Lanes whose place in the indexes is as it was."""

    def remove(self, rows: Sequence[Row]) -> None: ...

    def extreme(
        self, state: State, target: int, severity: Severity, *, sent: bool, newest: bool
    ) -> tuple[int, int] | None:
        """The oldest (or newest) lane so placed: (id, oldest_ms)."""

    def alive(self, state: State, target: int) -> bool:
        """Whether any lane of the target is in this state (READY, BACKOFF or LEASED)."""

    def tried(self, target: int) -> int | None:
        """Of the ready lanes that have been sent before, the one that was due first."""

    def soonest(self, state: State, target: int, limit: int) -> Sequence[tuple[int, int]]:
        """The lanes in this state (IDLE, BACKOFF or DEAD) whose time comes first: (id, due_ms)."""

    def promote(self, target: int, now_ms: int, limit: int) -> int:
        """Make backed-off lanes ready whose time has come; returns how many."""

    def leased(self, limit: int) -> Sequence[int]: ...
    def dead(self, after: int, limit: int) -> Sequence[int]:
        """Lanes with dead letters of either sort, by id."""

    def waiting_at(self, targets: Sequence[int], limit: int, skip: int) -> Sequence[int]:
        """Lanes in which something waits (READY, BACKOFF or DEAD) at these targets, in a steady order."""

    def eligible(self, target: int, below: Severity, limit: int) -> Sequence[int]:
        """Lanes marked ELIGIBLE of a lower severity than `below`."""

    def marked(self, mark: int, limit: int) -> Sequence[int]:
        """Lanes with this mark (a digest's id: its members), in a steady order."""

    def digests(self, target: int, limit: int) -> Sequence[int]:
        """Lanes of a target marked GATHERS."""

    def seal(self, text: str) -> str:
        """A keyed hash of a text: the same for as long as the spool lives, and not to be guessed."""

    def message(self, name: str) -> tuple[int, int] | None:
        """What came of the message of this name, where it is remembered: (accepted, rejected)."""

    def add_message(self, name: str, at_ms: int, accepted: int, rejected: int) -> int:
        """Remember one; returns its number, one above the last that is remembered."""

    def oldest_messages(self, limit: int) -> Sequence[tuple[int, int]]:
        """The first that are remembered: (number, at_ms)."""

    def cut_messages(self, last: int) -> None:
        """Forget the messages up to this number."""

    def history_bytes(self) -> int:
        """What the history's rows cost, as counted."""

    def add_history(self, notes: Sequence[tuple[str, int, bytes]], history_bytes: int) -> None:
        """New notes: (lower-cased key, at_ms, body); and the count with them."""

    def oldest_history(self, limit: int) -> Sequence[tuple[int, int, int]]:
        """The first notes: (id, at_ms, bytes of the body)."""

    def cut_history(self, last: int, history_bytes: int) -> None:
        """Forget the notes up to this id; and keep the count without them."""

    def history(self, key: str, before: int, limit: int) -> Sequence[tuple[int, int, bytes]]:
        """The notes of a lower-cased key (or of one with the same hash), newest first: (id, at_ms, body)."""

    def assume_unknown_until(self) -> int:
        """Until then a key without a record counts as unknown (a damaged spool was set aside); 0 where not."""
