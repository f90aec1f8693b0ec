"""How a spool's file is opened at a start: what is damaged is set aside; what is wrong with the disk has its words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
import structlog

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import StartError
from mcp_ilert.spool.connection import connect, trust
from mcp_ilert.spool.damage import (
    bring_down,
    keep_log,
    lost_its_file,
    mark,
    mark_of,
    set_aside,
    unmark,
    unread_commits,
)
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.lanes import LostError
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.sqlite import SqliteShelf

log = structlog.get_logger()

DOUBT = (apsw.CorruptError, apsw.NotADBError, LostError)
DAMAGE = (*DOUBT, apsw.SQLError, apsw.MismatchError, apsw.ConstraintError, apsw.FormatError)
DAMAGE_AT_LOADING = (*DAMAGE, msgspec.DecodeError, ValueError, TypeError, LookupError)
"""What a spool may raise that is read for the first time; later these would be our own mistakes."""


def open_file(path: Path, rules: Rules, now_ms: NowMs) -> tuple[apsw.Connection, Engine]:
    """Open the spool at `path`; one that is damaged is set aside, and a new one opened in its place."""
    why = "it failed its check while running, or setting it aside was cut off"
    if not mark_of(path).exists():
        try:
            if not lost_its_file(path):
                return _open(path, rules, now_ms, unknown_until=_emptied(path, rules, now_ms))
            why = "there is a log without the file that it belongs to"
        except DAMAGE_AT_LOADING as error:
            why = repr(error)
        mark(path)
    kept_as = set_aside(path, now_ms())
    log.error(
        "spool set aside",
        path=str(path),
        kept_as=kept_as,
        why=why,
        what_to_do="the bridge goes on with a new spool; keep the old file to recover events from it",
    )
    opened = _open(path, rules, now_ms, unknown_until=now_ms() + rules.remember_open_ms)
    unmark(path)
    return opened


def _emptied(path: Path, rules: Rules, now_ms: NowMs) -> int:
    """An empty file is a start that was cut off, or a spool that was emptied: what it knew is not known."""
    if not path.exists() or path.stat().st_size:
        return 0
    log.warning("the spool's file is empty; keys count as unknown", path=str(path))
    return now_ms() + rules.remember_open_ms


def _log_unread(connection: apsw.Connection, path: Path, rules: Rules, now_ms: NowMs) -> int:
    """Keep a log that cannot be read to its end, before it is written over; until when keys then are unknown."""
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    commits = unread_commits(path, max(0, frames))
    if not commits:
        return 0
    log.error(
        "the end of the spool's log cannot be read",
        path=str(path),
        commits=commits,
        kept_as=keep_log(path, now_ms()),
        what_to_do="after a power failure one commit may be torn, which was not answered; else events are lost",
    )
    return now_ms() + rules.remember_open_ms if commits > 1 else 0


def _open(path: Path, rules: Rules, now_ms: NowMs, unknown_until: int) -> tuple[apsw.Connection, Engine]:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    bring_down(path)
    connection = connect(path)
    try:
        unknown_until = max(unknown_until, _log_unread(connection, path, rules, now_ms))
        shelf = SqliteShelf(connection)
        if unknown_until:
            with connection:
                shelf.set_assume_unknown(unknown_until)
        engine = Engine(shelf, rules)
        trust(connection)
    except BaseException:
        connection.close()
        raise
    return connection, engine


@contextmanager
def start_errors(path: Path) -> Iterator[None]:
    """What may be wrong with a disk at a start, as a line that says what to do."""
    try:
        yield
    except (OSError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise StartError(
            f"spool.path: {path} cannot be written ({error}): give the process's user the right to "
            "write the file and its folder, or set another spool.path"
        ) from error
    except apsw.FullError as error:
        raise StartError(
            f"spool.path: {path} has no room on its disk ({error}): make room, then start again"
        ) from error
    except apsw.BusyError as error:
        raise StartError(
            f"spool.path: {path} is held by another program ({error}): end it, then start again"
        ) from error
    except apsw.Error as error:
        raise StartError(
            f"spool.path: {path} cannot be opened ({error}): check the disk, then start again"
        ) from error
