"""A copy of a spool that runs, as of one moment, in a file of its own."""

import os
from contextlib import suppress
from pathlib import Path

import apsw

from mcp_ilert.errors import SpoolError

BESIDE = ("-journal", "-wal", "-shm")


def backup(connection: apsw.Connection, path: Path) -> None:
    """Copy the spool to `path`, mode 0600, synced; the file must not exist yet. Raises SpoolError."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        copy = apsw.Connection(str(path))
        try:
            copying = copy.backup("main", connection, "main")
            try:
                copying.step(-1)
            finally:
                copying.finish()
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        if left := [part for part in BESIDE if _beside(path, part).exists()]:
            raise OSError(f"{path.name}{left[0]} could not be removed")  # noqa: TRY301 - told as the others
    except FileExistsError as error:
        raise SpoolError(f"backup: {path} exists already: give the path of a new file") from error
    except (OSError, apsw.Error) as error:
        _remove(path)  # half a copy is none
        raise SpoolError(f"backup: {path} cannot be written ({error})") from error


def _remove(path: Path) -> None:
    for part in (*BESIDE, ""):
        with suppress(OSError):
            _beside(path, part).unlink()


def _beside(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)
