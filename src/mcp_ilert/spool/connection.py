"""A connection to a spool's file: in WAL mode, every commit synced, its schema of this version; and its statements."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import apsw

from mcp_ilert.errors import SpoolError

APPLICATION_ID = 0x6D63706C
CACHE_KIB = 16_384


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
            "wal_autocheckpoint = 0",  # checkpoints.py does it
            "journal_size_limit = 67108864",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection, path)
        connection.execute((files(__package__) / "connection.sql").read_text("utf-8"))
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
