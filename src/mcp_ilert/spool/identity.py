"""Which file a spool is: whether it still is where the next start will look for it, or another is there, or none."""

import os
from pathlib import Path

import structlog

log = structlog.get_logger()


class FileIdentity:
    """The file that was opened at a path. May be asked from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = _identity(path)
        self._missed = False
        """The file was not there when it was looked for last."""

    def renew(self) -> None:
        """The file that is there now was opened."""
        self._opened = _identity(self._path)

    def in_place(self) -> bool:
        """Whether it is there; tells the log once where it is not any more."""
        there = _identity(self._path) == self._opened
        if not there and not self._missed:
            log.error(
                "the spool's file is not where it was",
                path=str(self._path),
                what_to_do="nothing is accepted until it is back; a deleted one is in /proc/PID/fd while this runs",
            )
        self._missed = not there
        return there


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another that takes its name."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at each commit
    except OSError:
        return None
    return found.st_dev, found.st_ino
