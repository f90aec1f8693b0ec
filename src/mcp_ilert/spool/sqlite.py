"""The shelf in SQLite: lanes as rows with a msgpack body, in WAL mode with every commit synced."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

import apsw
import msgspec

from mcp_ilert.errors import SpoolError
from mcp_ilert.events import Counts, Severity
from mcp_ilert.spool.digest import ELIGIBLE, GATHERS
from mcp_ilert.spool.lane import Lane, State
from mcp_ilert.spool.rank import Turns
from mcp_ilert.spool.shelf import Placement, Row, TargetRow

LANE = msgspec.msgpack.Decoder(Lane)
TURNS = msgspec.msgpack.Decoder(Turns)
SQLiteValue = None | int | float | str | bytes

ENCODE = msgspec.msgpack.Encoder().encode
APPLICATION_ID = 0x6D63706C
CACHE_KIB = 16_384
CHECKPOINT_PAGES = 2_000
"""The log is written through to the file when it has so many pages."""
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


@cache
def queries() -> Mapping[str, str]:
    """The named statements of queries.sql."""
    text = (files(__package__) / "queries.sql").read_text("utf-8")
    parts = (part.split("\n", 1) for part in text.split("-- name: ")[1:])
    return {name.strip(): sql.split(";", 1)[0] for name, sql in parts}


@cache
def migrations() -> Sequence[str]:
    """The scripts of schema/, in order; a spool of version N has had the first N."""
    folder = files(__package__) / "schema"
    return [
        f.read_text("utf-8")
        for f in sorted(folder.iterdir(), key=lambda f: f.name)
        if f.name.endswith(".sql")
    ]


def connect(path: Path | str) -> apsw.Connection:
    """Open (or make) a spool file with the pragmas that the promises need, migrated to this version.

    Closing it leaves the log as it is until `trust` is called: that of a damaged file would be deleted.
    Raises SpoolError where the file is from a newer version, apsw.Error where it is damaged or unusable.
    """
    connection = apsw.Connection(str(path))
    try:
        distrust(connection)
        connection.set_busy_timeout(5_000)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            f"cache_size = -{CACHE_KIB}",
            "journal_size_limit = 67108864",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.set_wal_hook(_checkpoint)
        migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def trust(connection: apsw.Connection) -> None:
    """The file is sound: closing it may write the log through and delete it."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def distrust(connection: apsw.Connection) -> None:
    """The file may be damaged: closing it leaves the log as it is."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _checkpoint(connection: apsw.Connection, name: str, pages: int) -> int:
    """Write the log through; unlike SQLite's own hook this one tells of a disk that fails meanwhile.

    The transaction is committed all the same. A full disk, or a reader in the way, only delays it.
    """
    if pages >= CHECKPOINT_PAGES:
        with suppress(apsw.FullError, apsw.BusyError, apsw.LockedError):
            connection.wal_checkpoint(name)
    return apsw.SQLITE_OK


def migrate(connection: apsw.Connection, path: Path | str) -> None:
    """Bring the schema to this version, one script a transaction."""
    found = int(connection.pragma("user_version"))
    known = len(migrations())
    if found > known:
        raise SpoolError(
            f"spool.path: {path} is of version {found}; this mcp-ilert knows {known}: "
            "start the newer mcp-ilert again, or give another spool.path"
        )
    for version, script in enumerate(migrations()[found:], start=found + 1):
        with connection:
            connection.execute(script)
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def lane_of(body: SQLiteValue) -> Lane:
    """A stored lane. Raises CorruptError where it is none."""
    try:
        return LANE.decode(body)  # type: ignore[arg-type]
    except (msgspec.DecodeError, TypeError) as error:
        raise apsw.CorruptError(f"a lane cannot be read: {error}") from error


class SqliteShelf:
    """A `Shelf` over one connection, which the writer alone uses."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._sql = queries()
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

    def inbox(self) -> Sequence[tuple[int, bytes]]:
        return list(self.connection.execute(self._sql["inbox"], (0,)))

    def append(self, seq: int, events: int, blob: bytes) -> None:
        self._one("inbox_add", seq, events, blob)

    def trim(self, seq: int) -> None:
        self._one("inbox_trim", seq)

    # Lanes --------------------------------------------------------------------------------------------------

    def find(self, keys: Sequence[str]) -> Mapping[str, Sequence[Row]]:
        hashes = "[" + ",".join(str(self._hash(key)) for key in keys) + "]"
        wanted = frozenset(keys)
        found: dict[str, list[Row]] = {}
        for lane_id, target, body in self.connection.execute(self._sql["find"], (hashes,)):
            lane = lane_of(body)
            key = lane.key.lower()
            if key in wanted:  # else another key has the same hash
                found.setdefault(key, []).append(Row(lane_id, target, lane))
        return found

    def get(self, lane_id: int) -> Row | None:
        for number, target, body in self.connection.execute(self._sql["get"], (lane_id,)):
            return Row(number, target, lane_of(body))
        return None

    def add(self, lanes: Sequence[tuple[int, Lane, Placement]]) -> None:
        self.connection.executemany(
            self._sql["add"],
            [
                (self._hash(lane.key.lower()), target, *_columns(placement), ENCODE(lane))
                for target, lane, placement in lanes
            ],
        )

    def save(self, rows: Sequence[tuple[Row, Placement]]) -> None:
        self.connection.executemany(
            self._sql["save"], [(*_columns(placement), ENCODE(row.lane), row.id) for row, placement in rows]
        )

    def remove(self, rows: Sequence[Row]) -> None:
        self.connection.executemany(self._sql["remove"], [(row.id,) for row in rows])

    def extreme(
        self, state: State, target: int, severity: Severity, *, sent: bool, newest: bool
    ) -> tuple[int, int] | None:
        name = "newest" if newest else "oldest"
        for lane_id, oldest in self.connection.execute(self._sql[name], (state, target, severity, sent)):
            return lane_id, oldest
        return None

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

    # History ------------------------------------------------------------------------------------------------

    def history_bytes(self) -> int:
        return msgspec.convert(self._meta("history_bytes") or 0, int)

    def add_history(self, notes: Sequence[tuple[str, int, bytes]], history_bytes: int) -> None:
        rows = [(self._hash(key), at_ms, body) for key, at_ms, body in notes]
        self.connection.executemany(self._sql["history_add"], rows)
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
