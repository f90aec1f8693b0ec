"""When the log is written through to the spool's file: by a count of what was committed, kept on our side.

SQLite's own hooks would be called within each commit, where Python code waits for the interpreter's lock, and would
not tell of a disk that fails meanwhile.
"""

from contextlib import suppress

import apsw

CHECKPOINT_PAGES = 2_000


class Checkpoints:
    """Those of one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._begun = self._written()
        """The pages that had been written when the log was written through last."""

    def _written(self) -> int:
        """Pages that this connection has written to the log; asking costs no system call, nor the lock."""
        pages, _ = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        return pages

    def committed(self) -> None:
        """Something was; write the log through where it has become long. Raises apsw.Error where the disk fails.

        A full disk, or a reader in the way, only delays it.
        """
        written = self._written()
        if written - self._begun < CHECKPOINT_PAGES:
            return
        self._begun = written
        with suppress(apsw.FullError, apsw.BusyError, apsw.LockedError):
            self._connection.wal_checkpoint()
