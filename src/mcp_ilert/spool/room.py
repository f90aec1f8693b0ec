"""How much room there is for events: on the disk, and in the spool's file, which keeps its size when it empties."""

import os
from pathlib import Path

HEADER = 100
PAGE_SIZE, FREE_PAGES = slice(16, 18), slice(36, 40)
"""Of SQLite's file header; a page size of 1 stands for 65,536."""


def free_bytes(path: Path, enough: int) -> int:
    """The free bytes; what the file does not use counts where the disk alone has not `enough`."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return 0  # who cannot even say has no room for events
    room = disk.f_bavail * disk.f_frsize
    return room if room >= enough else room + _unused(path)


def _unused(path: Path) -> int:
    try:
        with path.open("rb") as file:
            header = file.read(HEADER)
    except OSError:
        return 0
    size = int.from_bytes(header[PAGE_SIZE], "big")
    return int.from_bytes(header[FREE_PAGES], "big") * (65_536 if size == 1 else size)
