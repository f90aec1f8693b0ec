"""Sees when a secret's file or a certificate changes; by looking, for that works on every file system."""

from collections.abc import Callable, Iterable
from pathlib import Path

import trio

WATCH_SECONDS = 5.0

Stamp = tuple[int, int, int]
"""Time of the last change (ns), bytes, inode; zeros where there is no file."""


async def watch(files: Callable[[], Iterable[Path]], changed: Callable[[], None]) -> None:
    """Call `changed` each time that one of the files differs from the last look; runs until cancelled."""
    seen = stamps(files())
    while True:
        await trio.sleep(WATCH_SECONDS)
        now = stamps(files())
        if any(now[path] != seen[path] for path in now.keys() & seen.keys()):
            changed()
        seen = now


def stamps(files: Iterable[Path]) -> dict[Path, Stamp]:
    return {path: stamp(path) for path in files}


def stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
