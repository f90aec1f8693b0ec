"""The spool file: opened, locked, transacted on, reopened after a fault, and set aside when it is damaged."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import apsw
import structlog

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import SpoolError, StartError
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.shelf_memory import MemoryShelf
from mcp_ilert.spool.sqlite import SqliteShelf, connect
from mcp_ilert.spool.tail import Batch

log = structlog.get_logger()


class FullError(Exception):
    """The disk is full; nothing of the transaction was kept."""


class FailedError(Exception):
    """The disk failed; whether the transaction was kept is not known until the file is reopened."""


class Store(Protocol):
    """An engine with transactions around it."""

    engine: Engine

    def transact(self, work: Callable[[Engine], object]) -> None:
        """Do the work and commit it, synced; on any error nothing of it is kept in the engine."""

    def append(self, batch: Batch) -> None:
        """Commit a batch to the inbox, and nothing else."""

    def reopen(self) -> None:
        """After FailedError: open and check the file anew; raises StartError where it stays unusable."""

    def free_bytes(self) -> int: ...
    def close(self) -> None: ...


class MemoryStore:
    """A store that forgets; its transactions cannot fail."""

    def __init__(self, rules: Rules) -> None:
        self.engine = Engine(MemoryShelf(), rules)

    def transact(self, work: Callable[[Engine], object]) -> None:
        work(self.engine)
        self.engine.save()

    def append(self, batch: Batch) -> None:
        self.engine.append(batch)

    def reopen(self) -> None:
        """Nothing to open."""

    def free_bytes(self) -> int:
        return 1 << 62

    def close(self) -> None:
        """Nothing to close."""


class SqliteStore:
    """A store on one SQLite file, used by one thread at a time."""

    def __init__(self, path: Path, rules: Rules, now_ms: NowMs) -> None:
        self._path = path
        self._now_ms = now_ms
        self._rules = rules
        self._connection, self.engine = self._open()

    def _open(self) -> tuple[apsw.Connection, Engine]:
        marker = damage_marker(self._path)
        if marker.exists():
            self._set_aside("it failed its check while running")
            marker.unlink()
        try:
            return self._open_file()
        except (apsw.NotADBError, apsw.CorruptError) as error:
            self._set_aside(str(error))
        connection, engine = self._open_file()
        until = self._now_ms() + self._rules.remember_open_ms
        with connection:
            SqliteShelf(connection).set_assume_unknown(until)
        engine.shelf = SqliteShelf(connection)
        return connection, engine

    def _open_file(self) -> tuple[apsw.Connection, Engine]:
        try:
            created = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            os.close(created)
            connection = connect(self._path)
        except (OSError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
            raise StartError(
                f"spool.path: {self._path} cannot be written ({error}): give the process's user the right to "
                "write the file and its folder, or set another spool.path"
            ) from error
        try:
            return connection, Engine(SqliteShelf(connection), self._rules)
        except BaseException:
            connection.close()
            raise

    def _set_aside(self, why: str) -> None:
        stamp = self._now_ms()
        for suffix in ("", "-wal", "-shm"):
            file = self._path.with_name(self._path.name + suffix)
            if file.exists():
                file.rename(file.with_name(f"{self._path.name}.damaged-{stamp}{suffix}"))
        log.error(
            "spool set aside",
            path=str(self._path),
            kept_as=f"{self._path.name}.damaged-{stamp}",
            why=why,
            what_to_do="the bridge goes on with a new spool; keep the old file to recover events from it",
        )

    def transact(self, work: Callable[[Engine], object]) -> None:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            work(self.engine)
            self.engine.save()
            self._connection.execute("COMMIT")

    def append(self, batch: Batch) -> None:
        with self._translated():
            self.engine.append(batch)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Around a transaction: what goes wrong leaves the engine as it was before, and has our name."""
        try:
            yield
        except apsw.FullError as error:
            self._undo()
            raise FullError(str(error)) from error
        except (
            apsw.IOError,
            apsw.CorruptError,
            apsw.NotADBError,
            apsw.CantOpenError,
            apsw.ReadOnlyError,
        ) as error:
            raise FailedError(str(error)) from error
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.engine.load()
        except apsw.Error as error:
            raise FailedError(str(error)) from error

    def reopen(self) -> None:
        """Open the file anew; what the log holds is written through to the file, synced, and checked."""
        try:
            self._connection.close(force=True)
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != ("ok",):
                damage_marker(self._path).touch()
                raise StartError(
                    f"spool.path: {self._path} is damaged ({verdict}): start again; it will be set aside"
                )
            rules = self.engine.rules
            self.engine = Engine(SqliteShelf(self._connection), rules)
        except (apsw.Error, OSError, SpoolError) as error:
            if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
                damage_marker(self._path).touch()
            raise StartError(
                f"spool.path: {self._path} failed twice in a row ({error}): check the disk, then start again"
            ) from error

    def free_bytes(self) -> int:
        stat = os.statvfs(self._path.parent)
        return stat.f_bavail * stat.f_frsize

    def close(self) -> None:
        self._connection.close()


def damage_marker(path: Path) -> Path:
    """The file beside a spool that says: set it aside at the next start."""
    return path.with_name(path.name + ".damaged")
