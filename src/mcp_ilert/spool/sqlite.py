"""The shelf in SQLite: lanes as rows with a msgpack body."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate

import apsw
import msgspec

from mcp_ilert.events import Counts, Severity
from mcp_ilert.spool.connection import queries
from mcp_ilert.spool.digest import ELIGIBLE, GATHERS
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.rank import Turns
from mcp_ilert.spool.shelf import Placement, Row, TargetRow

LANE = msgspec.msgpack.Decoder(Lane)
LANES = msgspec.msgpack.Decoder(list[Lane])
KEYS = msgspec.msgpack.Decoder(list[str])
NUMBERS = msgspec.json.Decoder(list[int])
JSON = msgspec.json.Encoder().encode
TURNS = msgspec.msgpack.Decoder(Turns)
SQLiteValue = None | int | float | str | bytes

ENCODE = msgspec.msgpack.Encoder().encode
PARTS = 16
PART = (1 << 64) // PARTS
"""Hashes in each of the parts in which they leave the table of new lanes."""
AGE_EVERY = 4_096
"""New lanes to each part that leaves; so that table holds some 65,000 at most."""
LEDGER = (
    "accepted",
    "fanned_out",
    "delivered",
    "coalesced",
    "cancelled",
    "digested",
    "dropped_by_route",
    "dropped_by_operator",
    "dead",
    "pending",
    "lanes",
    "undigested",
)


def lane_of(body: SQLiteValue) -> Lane:
    """A stored lane. Raises CorruptError where it is none."""
    try:
        return LANE.decode(body)  # type: ignore[arg-type]
    except (msgspec.DecodeError, TypeError) as error:
        raise apsw.CorruptError(f"a lane cannot be read: {error}") from error


def lanes_of(number: int, bodies: bytes) -> list[Lane]:
    """So many stored lanes, one behind the other. Raises CorruptError where they are not."""
    try:
        return LANES.decode(_array(number, bodies))
    except (msgspec.DecodeError, TypeError) as error:
        raise apsw.CorruptError(f"a lane cannot be read: {error}") from error


class SqliteShelf:
    """A `Shelf` over one connection, which the writer alone uses."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._sql = queries()
        self._hashes: Mapping[str, int] = {}
        """Of the keys that were looked for last: those of the lanes that are added next."""
        self._places: Mapping[str, int] = {}
        """Of the keys of the slice that is being folded."""
        with connection:
            self._hash_key = self._meta_bytes("hash_key") or self._make_hash_key()
        self._unknown_until = int(self._meta("assume_unknown_until") or 0)

    def _one(self, name: str, *values: SQLiteValue) -> tuple[SQLiteValue, ...] | None:
        row: tuple[SQLiteValue, ...] | None = self.connection.execute(self._sql[name], values).fetchone()
        return row

    def _all(self, name: str, *values: SQLiteValue) -> list[tuple[SQLiteValue, ...]]:
        rows: list[tuple[SQLiteValue, ...]] = self.connection.execute(self._sql[name], values).fetchall()
        return rows

    def _meta(self, name: str) -> SQLiteValue:
        row = self._one("meta", name)
        return row[0] if row else None

    def _meta_bytes(self, name: str) -> bytes:
        value = self._meta(name)
        return value if isinstance(value, bytes) else b""

    def _make_hash_key(self) -> bytes:
        key = secrets.token_bytes(16)
        self._one("meta_save", "hash_key", key)
        return key

    def _hash(self, key: str) -> int:
        digest = blake2b(key.encode(), digest_size=8, key=self._hash_key).digest()
        return int.from_bytes(digest, "little", signed=True)

    # Ledger, targets, inbox ---------------------------------------------------------------------------------

    def ledger(self) -> Counts:
        row = self._one("ledger")
        if row is None:
            raise apsw.CorruptError("the ledger has no row")
        return msgspec.convert(dict(zip(LEDGER, row, strict=True)), Counts)

    def save_ledger(self, counts: Counts) -> None:
        self._one("ledger_save", *(getattr(counts, term) for term in LEDGER))

    def targets(self) -> Sequence[TargetRow]:
        return [
            TargetRow(number, name, bool(paused), state, TURNS.decode(turns) if turns else Turns(), lanes)
            for number, name, paused, state, turns, lanes in self.connection.execute(self._sql["targets"])
        ]

    def add_target(self, name: str) -> TargetRow:
        row = self._one("target_add", name)
        if row is None:
            raise apsw.CorruptError("a target was not stored")
        return TargetRow(msgspec.convert(row[0], int), name)

    def save_target(self, target: TargetRow) -> None:
        turns = ENCODE(target.turns)
        self._one("target_save", target.paused, target.state, turns, target.lanes, target.id)

    def inbox(self) -> Iterable[tuple[int, bytes]]:
        return self.connection.execute(self._sql["inbox"], (0,))

    def append(self, seq: int, events: int, blob: bytes) -> None:
        self._one("inbox_add", seq, events, blob)

    def append_alone(self, seq: int, events: int, blob: bytes, counts: Counts) -> None:
        self._one("append_alone", seq, events, blob, *(getattr(counts, term) for term in LEDGER))

    def trim(self, seq: int) -> None:
        self._one("inbox_trim", seq)
        self._one("ahead_trim", seq)

    def fold_ahead(self, rows: Sequence[tuple[int, int]], keys: Sequence[str]) -> None:
        for seq, events in rows:
            self._one("ahead_add", seq, events, ENCODE(keys))

    def folded_ahead(self) -> Sequence[tuple[int, Sequence[str]]]:
        return [(seq, KEYS.decode(keys)) for seq, keys in self.connection.execute(self._sql["ahead"])]

    def places(self, keys: Iterable[str]) -> Mapping[str, int]:
        self._places = {key: self._hash(key) for key in keys}
        return self._places

    def fold_part(self, seq: int, events: int, place: int) -> None:
        self._one("part_add", seq, events, place)

    def folded_part(self) -> tuple[int, int] | None:
        seq, place = self._one("part") or (None, None)
        return (seq, place) if isinstance(seq, int) and isinstance(place, int) else None

    # Lanes --------------------------------------------------------------------------------------------------

    def find(self, keys: Sequence[str]) -> Mapping[str, Sequence[Row]]:
        places = self._places
        self._hashes = {key: places.get(key) or self._hash(key) for key in keys}
        hashes = JSON(sorted(self._hashes.values())).decode()
        found: dict[str, list[Row]] = {}
        row = self.connection.execute(self._sql["find"], (hashes,)).get
        ids, targets = NUMBERS.decode(row[0]), NUMBERS.decode(row[1])
        lanes = lanes_of(len(ids), row[2] or b"")
        wanted = frozenset(keys)
        for lane_id, target, lane in zip(ids, targets, lanes, strict=True):
            key = lane.key.lower()
            if key in wanted:  # else another key has the same hash
                found.setdefault(key, []).append(Row(lane_id, target, lane))
        return found

    def get(self, lane_id: int) -> Row | None:
        for number, target, body in self.connection.execute(self._sql["get"], (lane_id,)):
            return Row(number, target, lane_of(body))
        return None

    def add(self, lanes: Sequence[tuple[int, Lane, Placement]]) -> None:
        if lanes:
            first = self.connection.execute(self._sql["last_id"]).get + 1
            keys = [(self._known_hash(lane.key.lower()), i) for i, (_, lane, _) in enumerate(lanes, first)]
            places = [
                (lane_id, hashed, target, *_columns(placement))
                for (hashed, lane_id), (target, _, placement) in zip(keys, lanes, strict=True)
            ]
            self._write("add", places, [ENCODE(lane) for _, lane, _ in lanes])
            self._one("add_keys", JSON(sorted(keys)).decode())
            self._age(first, len(lanes))

    def _known_hash(self, key: str) -> int:
        return self._hashes.get(key) or self._hash(key)

    def _age(self, first: int, lanes: int) -> None:
        """Of each AGE_EVERY new lanes on, have a part of the hashes leave the small table; each part in its turn."""
        for turn in range(first // AGE_EVERY, (first + lanes) // AGE_EVERY):
            least = PART * (turn % PARTS) - (1 << 63)
            self._one("age_keys", least, least + PART - 1)
            self._one("aged_keys", least, least + PART - 1)

    def save(self, rows: Sequence[tuple[Row, Placement]]) -> None:
        if rows:
            places = [(row.id, *_columns(placement)) for row, placement in rows]
            self._write("save", places, [ENCODE(row.lane) for row, _ in rows])

    def save_texts(self, rows: Sequence[Row]) -> None:
        if rows:
            rows = sorted(rows, key=_id_of)
            self._write("save_texts", [(row.id,) for row in rows], [ENCODE(row.lane) for row in rows])

    def remove(self, rows: Sequence[Row]) -> None:
        if rows:
            gone = JSON([(self._hash(row.lane.key.lower()), row.id) for row in rows]).decode()
            for name in ("remove", "remove_young", "remove_old"):
                self._one(name, gone)

    def _write(self, name: str, rows: Sequence[tuple[int, ...]], bodies: Sequence[bytes]) -> None:
        """One statement for all rows, each with its body's place in one blob before its other values."""
        ends = list(accumulate(map(len, bodies), initial=1))
        values = [(start, len(body), *row) for start, body, row in zip(ends, bodies, rows, strict=False)]
        self._one(name, JSON(values).decode(), b"".join(bodies))

    def extreme(
        self, state: State, target: int, severity: Severity, *, sent: bool, newest: bool
    ) -> tuple[int, int] | None:
        name = "newest" if newest else "oldest"
        for lane_id, oldest in self.connection.execute(self._sql[name], (state, target, severity, sent)):
            return lane_id, oldest
        return None

    def behind(
        self, state: State, target: int, severity: Severity, after: tuple[int, int], limit: int, *, sent: bool
    ) -> Sequence[tuple[int, int]]:
        """Id and age of what ranks behind `after` (age and id), the oldest first; for a reader alone."""
        given = (state, target, severity, sent, *after, limit)
        return list(self.connection.execute(self._sql["waiting"], given))

    def bodies(self, lanes: str) -> Iterator[tuple[int, bytes]]:
        """Of a JSON list of ids, each that is there with its body; for a reader alone."""
        return self.connection.execute(self._sql["bodies"], (lanes,))

    def alive(self, state: State, target: int) -> bool:
        return self._one("any_alive", state, target) is not None

    def tried(self, target: int) -> int | None:
        for (lane_id,) in self.connection.execute(self._sql["tried"], (target,)):
            return int(lane_id)
        return None

    def soonest(self, state: State, target: int, limit: int) -> Sequence[tuple[int, int]]:
        return list(self.connection.execute(self._sql["soonest"], (state, target, limit)))

    def promote(self, target: int, now_ms: int, limit: int) -> int:
        return len(self._all("promote", target, now_ms, limit))

    def leased(self, limit: int) -> Sequence[int]:
        return [lane_id for (lane_id,) in self.connection.execute(self._sql["leased"], (limit,))]

    def dead(self, after: int, limit: int) -> Sequence[int]:
        return [lane_id for (lane_id,) in self.connection.execute(self._sql["dead"], (after, limit))]

    def waiting_at(self, targets: Sequence[int], limit: int, skip: int) -> Sequence[int]:
        wanted = "[" + ",".join(map(str, targets)) + "]"
        rows = self.connection.execute(self._sql["waiting_at"], (wanted, limit, skip))
        return [lane_id for (lane_id,) in rows]

    # Digests ------------------------------------------------------------------------------------------------

    def eligible(self, target: int, below: Severity, limit: int) -> Sequence[int]:
        rows = self.connection.execute(self._sql["eligible"], (ELIGIBLE, target, below, limit))
        return [lane_id for (lane_id,) in rows]

    def marked(self, mark: int, limit: int) -> Sequence[int]:
        return [lane_id for (lane_id,) in self.connection.execute(self._sql["marked"], (mark, limit))]

    def digests(self, target: int, limit: int) -> Sequence[int]:
        rows = self.connection.execute(self._sql["digests"], (GATHERS, target, limit))
        return [lane_id for (lane_id,) in rows]

    def seal(self, text: str) -> str:
        return blake2b(text.encode(), digest_size=8, key=self._hash_key, person=b"digest").hexdigest()

    # Messages -----------------------------------------------------------------------------------------------

    def _named(self, name: str) -> bytes:
        text = name.encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=16, key=self._hash_key, person=b"message").digest()

    def message(self, name: str) -> tuple[int, int] | None:
        for accepted, rejected in self.connection.execute(self._sql["message"], (self._named(name),)):
            return accepted, rejected
        return None

    def add_message(self, name: str, at_ms: int, accepted: int, rejected: int) -> int:
        return int(
            self.connection.execute(
                self._sql["message_add"], (self._named(name), at_ms, accepted, rejected)
            ).get
        )

    def oldest_messages(self, limit: int) -> Sequence[tuple[int, int]]:
        return list(self.connection.execute(self._sql["message_oldest"], (limit,)))

    def cut_messages(self, last: int) -> None:
        self._one("message_cut", last)

    # History ------------------------------------------------------------------------------------------------

    def history_bytes(self) -> int:
        return msgspec.convert(self._meta("history_bytes") or 0, int)

    def add_history(self, notes: Sequence[tuple[str, int, bytes]], history_bytes: int) -> None:
        rows = [(self._hash(key), at_ms) for key, at_ms, _ in notes]
        self._write("history_add", rows, [body for _, _, body in notes])
        self._one("meta_save", "history_bytes", history_bytes)

    def oldest_history(self, limit: int) -> Sequence[tuple[int, int, int]]:
        return list(self.connection.execute(self._sql["history_oldest"], (limit,)))

    def cut_history(self, last: int, history_bytes: int) -> None:
        self._one("history_cut", last)
        self._one("meta_save", "history_bytes", history_bytes)

    def history(self, key: str, before: int, limit: int) -> Sequence[tuple[int, int, bytes]]:
        return list(self.connection.execute(self._sql["history"], (self._hash(key), before, limit)))

    def read_all(self) -> None:
        """Read every lane. Raises CorruptError at the first that is none."""
        for _, _, _, body in self.connection.execute(self._sql["all_lanes"], (0, -1)):
            lane_of(body)

    def assume_unknown_until(self) -> int:
        return self._unknown_until

    def set_assume_unknown(self, until_ms: int) -> None:
        """From now to `until_ms` a key without a record counts as unknown: a spool was set aside."""
        self._one("meta_save", "assume_unknown_until", until_ms)
        self._unknown_until = until_ms


def _array(number: int, bodies: bytes) -> bytes:
    """So many values in msgpack, one behind the other, as one array."""
    return b"\xdd" + number.to_bytes(4, "big") + bodies


def _id_of(row: Row) -> int:
    return row.id


def _columns(placement: Placement) -> tuple[int, int, bool, int, int, int, int]:
    return (
        placement.state,
        placement.severity,
        placement.sent,
        placement.oldest_ms,
        placement.due_ms,
        placement.letters,
        placement.digest,
    )
