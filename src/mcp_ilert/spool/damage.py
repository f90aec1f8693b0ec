"""What is done to a spool's files around SQLite: set aside where damaged, and brought down to the disk after a fault.

A mark is made first and goes last. So a crash at any point of setting aside is followed by the same again at the next
start, a file is never opened beside a log that is not its own, and the new spool knows that it does not know.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where lock.py owns no spool
    fcntl = None  # type: ignore[assignment]

PARTS = ("-wal", "-shm", "")
CHUNK = 1 << 20
WAL_HEADER, WAL_FRAME = 32, 24
WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
PAGE_SIZES = tuple(1 << n for n in range(9, 17))


def mark_of(path: Path) -> Path:
    """The file beside a spool that says: set it aside at the next start."""
    return path.with_name(path.name + ".damaged")


def mark(path: Path) -> None:
    """Have the spool set aside at the next start, if this one does not get to it."""
    os.close(os.open(mark_of(path), os.O_CREAT | os.O_RDWR, 0o600))
    sync_folder(path.parent)


def unmark(path: Path) -> None:
    """The spool is set aside, and a new one is in its place."""
    os.unlink(mark_of(path))  # noqa: PTH108 - beside os.open


def set_aside(path: Path, stamp: int) -> str:
    """Give the spool's files another name, never one that is taken; returns it."""
    present = [part for part in PARTS if _with(path, part).exists()]
    while any(_with(path, f".damaged-{stamp}{part}").exists() for part in PARTS):
        stamp += 1
    for part in present:
        os.rename(_with(path, part), _with(path, f".damaged-{stamp}{part}"))  # noqa: PTH104 - as above
    sync_folder(path.parent)
    return f"{path.name}.damaged-{stamp}"


def lost_its_file(path: Path) -> bool:
    """Whether there is a log and no file that it belongs to: SQLite would delete the log."""
    return not _bytes(path) and _bytes(_with(path, "-wal")) > 0


def bring_down(path: Path) -> None:
    """Write the log's bytes once more, where they are, and sync them.

    After a failed fsync the system may hold as clean what is not on the disk: it can be read, and no later fsync
    brings it down. What is committed behind it would be lost with it in a power failure.
    """
    wal = _with(path, "-wal")
    if not _bytes(wal):
        return
    descriptor = os.open(wal, os.O_RDWR)
    try:
        offset = 0
        while chunk := os.pread(descriptor, CHUNK, offset):
            offset += os.pwrite(descriptor, chunk, offset)
        sync(descriptor)
    finally:
        os.close(descriptor)


def unread_commits(path: Path, frames: int) -> int:
    """How many commits the log holds behind the `frames` that SQLite could read, and will write over.

    Each commit is synced before the next is begun, so only the last can be torn by a power failure, and was not
    answered then; more than one, or a header that makes no sense, is damage.
    """
    wal = _with(path, "-wal")
    if _bytes(wal) <= WAL_HEADER:
        return 0
    with wal.open("rb") as log:
        header = log.read(WAL_HEADER)
        size = int.from_bytes(header[8:12], "big")
        salts = header[16:24]
        if not any(header):
            return 1
        if header[:4] not in WAL_MAGIC or size not in PAGE_SIZES:
            return 2
        commits, at = 0, WAL_HEADER + frames * (WAL_FRAME + size)
        while len(frame := os.pread(log.fileno(), WAL_FRAME, at)) == WAL_FRAME:
            commits += frame[8:16] == salts and frame[4:8] != bytes(4)
            at += WAL_FRAME + size
    return commits


def keep_log(path: Path, stamp: int) -> str:
    """Copy the log to a name that is not taken; returns it."""
    while (copy := _with(path, f".damaged-{stamp}-wal")).exists():
        stamp += 1
    copy.touch(mode=0o600)
    shutil.copyfile(_with(path, "-wal"), copy)
    sync_folder(path.parent)
    return copy.name


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, so that a power failure does not take them away."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Have a file's bytes, or a folder's names, on the disk itself; raises OSError."""
    stronger = getattr(fcntl, "F_FULLFSYNC", None)  # macOS, whose fsync stops at the disk's own cache
    if stronger is not None:
        with suppress(OSError):  # a file system that does not know it
            fcntl.fcntl(descriptor, stronger)
            return
    os.fsync(descriptor)


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
