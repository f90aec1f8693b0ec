"""The shelf in memory, for tests and simulations: dictionaries, and an index for each thing asked while delivering."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from zlib import crc32

import msgspec

from mcp_ilert.events import Counts, Severity
from mcp_ilert.spool.digest import ELIGIBLE, GATHERS
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.ranking import Ends, Ranking
from mcp_ilert.spool.shelf import Placement, Row, TargetRow

TIMED = frozenset({State.IDLE, State.BACKOFF, State.DEAD})
"""States in which something happens to a lane by itself when its time comes."""
Ids = dict[int, None]


class MemoryShelf:
    """A `Shelf` whose searches at a start, at a reload and for an operator go through all lanes; no others do."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._targets: dict[int, TargetRow] = {}
        self._inbox: dict[int, bytes] = {}
        self._ahead: list[tuple[int, Sequence[str]]] = []
        self._part: tuple[int, int] | None = None
        self._rows: dict[int, Row] = {}
        self._placements: dict[int, Placement] = {}
        self._by_key: dict[str, dict[int, Row]] = {}
        self._by_age: defaultdict[tuple[int, Severity, bool], Ends] = defaultdict(Ends)
        """Lanes that are ready."""
        self._tried: defaultdict[int, Ranking] = defaultdict(Ranking)
        """Of these, those sent before, by when they were due."""
        self._by_due: defaultdict[tuple[State, int], Ranking] = defaultdict(Ranking)
        self._leased: defaultdict[int, Ids] = defaultdict(dict)
        self._eligible: defaultdict[tuple[int, Severity], Ids] = defaultdict(dict)
        self._marked: defaultdict[int, Ids] = defaultdict(dict)
        """Lanes with any other mark."""
        self._next = 1
        self._history: dict[int, tuple[str, int, bytes]] = {}
        self._history_bytes = 0
        self._next_note = 1
        self._messages: dict[str, tuple[int, int, int, int]] = {}
        self.unknown_until = 0

    def ledger(self) -> Counts:
        return self._counts

    def save_ledger(self, counts: Counts) -> None:
        self._counts = counts

    def targets(self) -> Sequence[TargetRow]:
        return list(self._targets.values())

    def add_target(self, name: str) -> TargetRow:
        target = TargetRow(len(self._targets) + 1, name)
        self._targets[target.id] = target
        return target

    def save_target(self, target: TargetRow) -> None:
        self._targets[target.id] = target

    def inbox(self) -> Sequence[tuple[int, bytes]]:
        return sorted(self._inbox.items())

    def append(self, seq: int, events: int, blob: bytes) -> None:  # noqa: ARG002 - the port counts events
        self._inbox[seq] = blob

    def append_alone(self, seq: int, events: int, blob: bytes, counts: Counts) -> None:  # noqa: ARG002 - as above
        self._inbox[seq] = blob
        self._counts = counts

    def trim(self, seq: int) -> None:
        self._inbox = {s: blob for s, blob in self._inbox.items() if s > seq}
        self._ahead = [(s, keys) for s, keys in self._ahead if s > seq]
        self._part = None

    def fold_ahead(self, rows: Sequence[tuple[int, int]], keys: Sequence[str]) -> None:
        self._ahead += [(seq, keys) for seq, _ in rows]

    def folded_ahead(self) -> Sequence[tuple[int, Sequence[str]]]:
        return self._ahead

    def places(self, keys: Iterable[str]) -> Mapping[str, int]:
        return {key: (crc32(key.encode()) << 32) - (1 << 63) for key in keys}

    def fold_part(self, seq: int, events: int, place: int) -> None:  # noqa: ARG002 - as above
        self._part = (seq, place)

    def folded_part(self) -> tuple[int, int] | None:
        return self._part

    def find(self, keys: Sequence[str]) -> Mapping[str, Sequence[Row]]:
        return {key: list(rows.values()) for key in keys if (rows := self._by_key.get(key))}

    def get(self, lane_id: int) -> Row | None:
        return self._rows.get(lane_id)

    def add(self, lanes: Sequence[tuple[int, Lane, Placement]]) -> None:
        for target, lane, placement in lanes:
            self._by_key.setdefault(lane.key.lower(), {})
            self.save([(Row(self._next, target, lane), placement)])
            self._next += 1

    def save(self, rows: Sequence[tuple[Row, Placement]]) -> None:
        for row, placement in rows:
            self._rows[row.id] = self._by_key[row.lane.key.lower()][row.id] = row
            self._place(row, placement)

    def save_texts(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows[row.id] = self._by_key[row.lane.key.lower()][row.id] = row

    def remove(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._unplace(row, self._placements.pop(row.id))
            del self._rows[row.id]
            key = row.lane.key.lower()
            del self._by_key[key][row.id]
            if not self._by_key[key]:
                del self._by_key[key]

    def _place(self, row: Row, placement: Placement) -> None:
        before = self._placements.get(row.id)
        if before == placement:
            return
        if before is not None:
            self._unplace(row, before)
        self._placements[row.id] = placement
        state, target = placement.state, row.target
        if state is State.READY:
            self._by_age[target, placement.severity, placement.sent].put(row.id, placement.oldest_ms)
            if placement.sent:
                self._tried[target].put(row.id, placement.due_ms)
        elif state in TIMED:
            self._by_due[state, target].put(row.id, placement.due_ms)
        else:
            self._leased[target][row.id] = None
        if placement.digest:
            self._with_mark(target, placement)[row.id] = None

    def _unplace(self, row: Row, placement: Placement) -> None:
        state, target = placement.state, row.target
        if state is State.READY:
            self._by_age[target, placement.severity, placement.sent].drop(row.id)
            if placement.sent:
                self._tried[target].drop(row.id)
        elif state in TIMED:
            self._by_due[state, target].drop(row.id)
        else:
            del self._leased[target][row.id]
        if placement.digest:
            del self._with_mark(target, placement)[row.id]

    def _with_mark(self, target: int, placement: Placement) -> Ids:
        if placement.digest == ELIGIBLE:
            return self._eligible[target, placement.severity]
        return self._marked[placement.digest]

    def _where(self, state: State, target: int) -> Iterator[int]:
        for lane_id, placement in self._placements.items():
            if placement.state is state and target == self._rows[lane_id].target:
                yield lane_id

    def extreme(
        self, state: State, target: int, severity: Severity, *, sent: bool, newest: bool
    ) -> tuple[int, int] | None:
        if state is not State.READY:
            raise ValueError(f"{state.name} lanes are not ranked by their age")
        ranking = self._by_age[target, severity, sent]
        found = ranking.last() if newest else ranking.first()
        return (found[1], found[0]) if found is not None else None

    def alive(self, state: State, target: int) -> bool:
        if state is State.READY:
            raise ValueError("ready lanes are asked for by their severity")
        return len(self._leased[target] if state is State.LEASED else self._by_due[state, target]) > 0

    def tried(self, target: int) -> int | None:
        found = self._tried[target].first()
        return found[1] if found is not None else None

    def soonest(self, state: State, target: int, limit: int) -> Sequence[tuple[int, int]]:
        return [(lane_id, due_ms) for due_ms, lane_id in self._by_due[state, target].firsts(limit)]

    def promote(self, target: int, now_ms: int, limit: int) -> int:
        first = self._by_due[State.BACKOFF, target].first()
        if first is None or first[0] > now_ms:
            return 0
        due = [i for i, due_ms in self.soonest(State.BACKOFF, target, limit) if due_ms <= now_ms]
        for lane_id in due:
            ready = msgspec.structs.replace(self._placements[lane_id], state=State.READY)
            self._place(self._rows[lane_id], ready)
        return len(due)

    def leased(self, limit: int) -> Sequence[int]:
        return sorted(lane_id for leased in self._leased.values() for lane_id in leased)[:limit]

    def dead(self, after: int, limit: int) -> Sequence[int]:
        return sorted(
            i for i, row in self._rows.items() if i > after and (row.lane.dead or row.lane.letters)
        )[:limit]

    def waiting_at(self, targets: Sequence[int], limit: int, skip: int) -> Sequence[int]:
        states = (State.READY, State.BACKOFF, State.DEAD)
        found = [i for target in targets for state in states for i in self._where(state, target)]
        return found[skip : skip + limit]

    def eligible(self, target: int, below: Severity, limit: int) -> Sequence[int]:
        found = (i for severity in Severity if severity > below for i in self._eligible[target, severity])
        return list(islice(found, limit))

    def marked(self, mark: int, limit: int) -> Sequence[int]:
        return list(islice(self._marked[mark], limit))

    def digests(self, target: int, limit: int) -> Sequence[int]:
        found = (lane_id for lane_id in self._marked[GATHERS] if self._rows[lane_id].target == target)
        return list(islice(found, limit))

    def seal(self, text: str) -> str:
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def message(self, name: str) -> tuple[int, int] | None:
        return self._messages[name][2:] if name in self._messages else None

    def add_message(self, name: str, at_ms: int, accepted: int, rejected: int) -> int:
        number = 1 + max((n for n, *_ in self._messages.values()), default=0)
        self._messages[name] = number, at_ms, accepted, rejected
        return number

    def oldest_messages(self, limit: int) -> Sequence[tuple[int, int]]:
        return sorted((number, at_ms) for number, at_ms, *_ in self._messages.values())[:limit]

    def cut_messages(self, last: int) -> None:
        self._messages = {name: kept for name, kept in self._messages.items() if kept[0] > last}

    def history_bytes(self) -> int:
        return self._history_bytes

    def add_history(self, notes: Sequence[tuple[str, int, bytes]], history_bytes: int) -> None:
        for note in notes:
            self._history[self._next_note] = note
            self._next_note += 1
        self._history_bytes = history_bytes

    def oldest_history(self, limit: int) -> Sequence[tuple[int, int, int]]:
        first = sorted(self._history)[:limit]
        return [(i, self._history[i][1], len(self._history[i][2])) for i in first]

    def cut_history(self, last: int, history_bytes: int) -> None:
        self._history = {i: note for i, note in self._history.items() if i > last}
        self._history_bytes = history_bytes

    def history(self, key: str, before: int, limit: int) -> Sequence[tuple[int, int, bytes]]:
        found = [(i, at, body) for i, (k, at, body) in self._history.items() if k == key and i < before]
        return sorted(found, reverse=True)[:limit]

    def assume_unknown_until(self) -> int:
        return self.unknown_until
