"""An engine with transactions around it, in memory or on a spool's file, which is opened anew after a fault."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol

import apsw
import structlog

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import SpoolError, StartError
from mcp_ilert.spool.checkpoints import Checkpoints
from mcp_ilert.spool.connection import connect, distrust, trust
from mcp_ilert.spool.damage import bring_down, mark
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.identity import FileIdentity
from mcp_ilert.spool.opening import DAMAGE_AT_LOADING, DOUBT, open_file, start_errors
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.room import free_bytes
from mcp_ilert.spool.shelf_memory import MemoryShelf
from mcp_ilert.spool.sqlite import SqliteShelf
from mcp_ilert.spool.tail import Batch

log = structlog.get_logger()

DISK = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)


class FullError(Exception):
    """The disk is full; nothing of the transaction was kept."""


class FailedError(Exception):
    """The disk failed; whether the transaction was kept is not known until the file is reopened."""


class DamagedError(StartError):
    """The file is damaged, and marked: the next opening sets it aside."""


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
    def in_place(self) -> bool:
        """Whether the file is where the next start will look for it; one look at the disk, from any thread."""

    def close(self) -> None: ...


class MemoryStore:
    """A store that forgets; its transactions cannot fail."""

    def __init__(self, rules: Rules) -> None:
        self.engine = Engine(MemoryShelf(), rules)

    def transact(self, work: Callable[[Engine], object]) -> None:
        work(self.engine)
        self.engine.save()
        self.engine.committed()

    def append(self, batch: Batch) -> None:
        self.engine.append(batch)

    def reopen(self) -> None:
        """Nothing to open."""

    def free_bytes(self) -> int:
        return 1 << 62

    def in_place(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing to close."""


class SqliteStore:
    """A store on one SQLite file, used by one thread at a time."""

    def __init__(self, path: Path, rules: Rules, now_ms: NowMs) -> None:
        self._path = path
        self._now_ms = now_ms
        self._doubtful = False
        """The last failure was that something stored makes no sense."""
        self._doubts = 0
        with start_errors(path):
            self._connection, self.engine = open_file(path, rules, now_ms)
        self._checkpoints = Checkpoints(self._connection)
        self._identity = FileIdentity(path)

    def transact(self, work: Callable[[Engine], object]) -> None:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            work(self.engine)
            self.engine.save()
            self._connection.execute("COMMIT")
            self._checkpoints.committed()  # before: where it fails, nobody is told of what was committed
            self.engine.committed()

    def append(self, batch: Batch) -> None:
        with self._translated():
            self.engine.append(batch)
            self._checkpoints.committed()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Around a transaction: what goes wrong leaves the engine as it was before, and has our name."""
        try:
            yield
        except apsw.FullError as error:
            self._undo()
            raise FullError(str(error)) from error
        except (*DISK, *DOUBT) as error:
            self._doubtful = isinstance(error, DOUBT)
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
        """Open the file anew; it is checked, and what the log holds is written through to it and synced.

        What failed may have been kept all the same: lanes that it leased, and that nobody got, become unknown.
        """
        before = self.engine
        try:
            distrust(self._connection)  # what is damaged is kept as it was found
            self._connection.close(force=True)
            bring_down(self._path)
            self._connection = connect(self._path)
            self._checkpoints = Checkpoints(self._connection)
            self._identity.renew()
            self._check()
            self.engine = Engine(SqliteShelf(self._connection), before.lanes.rules)
            self.engine.resume(before.leases.flying, before.lanes.wakes.touched)
            self.recover()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            trust(self._connection)
        except (*DAMAGE_AT_LOADING, apsw.Error, OSError, SpoolError, FullError, FailedError) as error:
            if isinstance(error, DAMAGE_AT_LOADING):
                self._give_up(error)
            raise StartError(
                f"spool.path: {self._path} failed twice in a row ({error}): check the disk, then start again"
            ) from error
        log.warning("spool reopened after a fault of the disk", path=str(self._path))

    def recover(self) -> None:
        """Make the lanes unknown that are found leased and that nobody has."""
        more = [True]
        while more[-1]:
            self.transact(lambda engine: more.append(engine.recover(self._now_ms())))

    def _check(self) -> None:
        """Raise one of DAMAGE where the file is not sound; where something made no sense, look at everything."""
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone() or ("no answer",)
        if verdict == "ok" and self._doubtful:
            (verdict,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone() or ("no answer",)
            SqliteShelf(self._connection).read_all()
            self._doubts += 1
            if self._doubts > 1:  # a check that finds nothing helps nobody twice
                raise apsw.CorruptError("what is stored made no sense again")
        self._doubtful = False
        if verdict != "ok":
            raise apsw.CorruptError(str(verdict))

    def _give_up(self, error: Exception) -> NoReturn:
        with suppress(OSError):
            mark(self._path)
        raise DamagedError(
            f"spool.path: {self._path} is damaged ({error}): start again; it will be set aside"
        ) from error

    def in_place(self) -> bool:
        return self._identity.in_place()

    def free_bytes(self) -> int:
        enough = self.engine.lanes.rules.min_free_bytes
        room = free_bytes(self._path, enough)
        if room < enough:  # what deliveries have freed may stand in the log alone
            with suppress(apsw.Error):
                self._connection.wal_checkpoint()
            room = free_bytes(self._path, enough)
        return room

    def close(self) -> None:
        with suppress(apsw.Error):  # what the file did not get is in the log
            self._connection.close()


def open_store(path: Path, rules: Rules, now_ms: NowMs) -> SqliteStore:
    """Open the spool for a start: what was leased is unknown, and what is found damaged now is set aside now.

    Raises StartError, and SpoolError where the file is of a newer version.
    """
    store = SqliteStore(path, rules, now_ms)
    try:
        _start(store, path)
    except DamagedError:
        store.close()
        return SqliteStore(path, rules, now_ms)
    except BaseException:
        store.close()
        raise
    return store


def _start(store: SqliteStore, path: Path) -> None:
    with start_errors(path):
        os.chmod(path, 0o600)  # noqa: PTH101 - beside os.open
    try:
        store.recover()
    except FailedError:
        store.reopen()  # which recovers
    except FullError as error:
        raise StartError(
            f"spool.path: {path} has no room on its disk ({error}): make room, then start again"
        ) from error
