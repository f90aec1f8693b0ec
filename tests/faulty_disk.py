"""A disk that fails, fills up, loses what was not synced, and goes dark: an apsw VFS and the os calls of the spool.

What is written reaches the real file at once, as it reaches the page cache; beside it is kept what a real disk would
hold: for each file the bytes as last synced and the writes since, and for the folder the names as last synced and the
changes since. `power_cut` puts that back, with as much of the unsynced as the dice say. A sync that fails loses the
writes it was to bring down, while they can still be read (as Linux does it).
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from mcp_ilert.spool.view import SpoolView

SECTOR = 512
OPS = ("open", "write", "sync", "truncate", "delete", "rename")
NEW_WAL = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


class File:
    """What is on the disk, and what was written since, in order: (offset, data), or (size, None) for a cut."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = bytearray(durable)
        self.unsynced: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        for change in self.unsynced:
            apply(self.durable, change)
        self.unsynced.clear()

    def after(self, dice: Random) -> bytes:
        """What a power cut leaves: nothing of the unsynced, all, a beginning, or any of it, torn at sectors."""
        content, fate = bytearray(self.durable), dice.choice(("none", "all", "first", "any", "torn"))
        kept = dice.randrange(len(self.unsynced) + 1)
        for i, (at, data) in enumerate(self.unsynced):
            whole = {
                "none": False,
                "all": True,
                "first": i < kept,
                "any": dice.random() < 0.5,
                "torn": data is None,
            }
            if whole[fate]:
                apply(content, (at, data))
            elif fate == "torn" and data is not None:
                for sector in sectors(at, data):
                    if dice.random() < 0.5:
                        apply(content, sector)
        return bytes(content)


def apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    at, data = change
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


def sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(data), SECTOR):
        yield offset + start, data[start : start + SECTOR]


class Disk:
    """What shall go wrong, what was asked of the disk, and what is really on it."""

    def __init__(self) -> None:
        self.failing_syncs = 0
        self.full = False
        self.syncs = 0
        self.dark = False
        """The power is off, or the process is gone: nothing more is done, whatever is called."""
        self.asked: Counter[str] = Counter()
        self.faults = 0
        self.judge: Callable[[str, str], int | None] = lambda _op, _name: None
        """Says for an operation of OPS on a file of this name which errno it shall fail with, if any."""
        self.folder: Path | None = None
        self.lies = False
        """Syncs are answered and not done."""
        self._files: dict[str, File] = {}
        self._on_disk: dict[str, File] = {}
        self._renamed: list[tuple[str, File | None]] = []
        """Changes of names since the folder was synced: (name, the file it has now)."""

    # Faults ---------------------------------------------------------------------------------------------------

    def ask(self, op: str, path: str) -> int | None:
        """Count an operation; the errno that it shall fail with."""
        self.asked[op] += 1
        self.syncs += op == "sync"
        if self.dark:
            return errno.EIO
        code = self.judge(op, Path(path).name)
        if op == "sync" and self.failing_syncs:
            self.failing_syncs -= 1
            code = errno.EIO
        if op == "write" and self.full:
            code = errno.ENOSPC
        self.faults += code is not None
        return code

    # What is on the disk ----------------------------------------------------------------------------------------

    def knows(self, path: str) -> bool:
        return self.folder is not None and Path(path).parent == self.folder and not path.endswith("-shm")

    def watch(self, folder: Path) -> None:
        """From now on remember what is on the disk in this folder; what is there is synced."""
        self.folder = folder
        self._files = {str(p): File(p.read_bytes()) for p in folder.iterdir() if self.knows(str(p))}
        self._on_disk = dict(self._files)
        self._renamed.clear()

    def opened(self, path: str) -> None:
        if self.knows(path) and path not in self._files:
            self._name(path, File())

    def written(self, path: str, offset: int, data: bytes) -> None:
        if self.knows(path):
            self._files[path].unsynced.append((offset, bytes(data)))

    def cut(self, path: str, size: int) -> None:
        if self.knows(path):
            self._files[path].unsynced.append((size, None))

    def synced(self, path: str) -> None:
        if self.knows(path) and not self.lies:
            self._files[path].sync()

    def not_synced(self, path: str) -> None:
        """What was to be brought down is in memory as if it were, and never will be."""
        if self.knows(path) and not self.dark:
            self._files[path].unsynced.clear()

    def deleted(self, path: str) -> None:
        if self.knows(path):
            self._name(path, None)

    def renamed(self, old: str, new: str) -> None:
        if self.knows(old):
            file = self._files[old]
            self._name(old, None)
            self._name(new, file)

    def folder_synced(self) -> None:
        for name, file in self._renamed if not self.lies else ():
            self._put(self._on_disk, name, file)
        self._renamed.clear()

    def _name(self, path: str, file: File | None) -> None:
        self._put(self._files, path, file)
        self._renamed.append((path, file))

    @staticmethod
    def _put(names: dict[str, File], path: str, file: File | None) -> None:
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file

    def power_cut(self, dice: Random) -> None:
        """Put into the folder what the disk holds; whoever had files open must have let go of them."""
        folder, self.folder = self.folder, None  # what is done now is not asked of the disk
        assert folder is not None
        for name, file in self._renamed[: dice.randrange(len(self._renamed) + 1)]:  # a journal: in order
            self._put(self._on_disk, name, file)
        for path in folder.iterdir():
            path.unlink()
        for name, file in self._on_disk.items():
            Path(name).write_bytes(file.after(dice))
        self.dark = False
        self.watch(folder)

    def killed(self) -> None:
        """The process is gone and the machine runs on: what was written stays, unsynced as it is."""
        self.dark = False


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = str(name if name is None or isinstance(name, str) else name.filename())
        self._new = bool(flags[0] & NEW_WAL and flags[0] & apsw.SQLITE_OPEN_CREATE)
        if code := disk.ask("open", self._path):
            raise apsw.CantOpenError(f"planned: {os.strerror(code)}")
        super().__init__("unix", name, flags)
        disk.opened(self._path)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite names it
        code = self._disk.ask("write", self._path)
        if code == errno.ENOSPC:
            raise apsw.FullError("planned: disk full")
        if code:
            raise apsw.IOError("planned: write failed")
        super().xWrite(data, offset)
        self._disk.written(self._path, offset, data)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite names it
        if self._disk.ask("truncate", self._path):
            raise apsw.IOError("planned: truncate failed")
        super().xTruncate(size)
        self._disk.cut(self._path, size)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite names it; the real disk need not be waited for
        if self._disk.ask("sync", self._path):
            self._disk.not_synced(self._path)
            raise apsw.IOError("planned: fsync failed")
        self._disk.synced(self._path)
        if self._new:  # SQLite syncs the folder with the first sync of a log or journal that it opens so
            self._new = False
            self._disk.folder_synced()

    def excepthook(self, kind: Any, error: Any, trace: Any) -> bool:
        """Planned errors where SQLite takes none are no news."""
        return True


class FaultyVFS(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return FaultyFile(self._disk, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802 - SQLite's
        if self._disk.ask("delete", name):
            raise apsw.IOError("planned: unlink failed")
        if not Path(name).exists():
            return  # SQLite does not mind; an exception would come up all the same
        super().xDelete(name, sync)
        self._disk.deleted(name)
        if sync:
            self._disk.folder_synced()

    def excepthook(self, kind: Any, error: Any, trace: Any) -> bool:
        """As of the file."""
        return True


class FaultyOs:
    """The calls of `os` that the spool makes itself, for files in the disk's folder; by the real ones for others."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._open: dict[int, str] = {}
        self._real = {name: getattr(os, name) for name in PATCHED}

    def _ask(self, op: str, path: str) -> None:
        if code := self._disk.ask(op, path):
            raise OSError(code, f"planned: {os.strerror(code)}", path)

    def open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        name = str(path)
        inside = self._inside(name)
        if inside:
            self._ask("open", name)
        descriptor = int(self._real["open"](path, flags, mode, **more))
        if inside:
            self._open[descriptor] = name
            if name != str(self._disk.folder):
                self._disk.opened(name)
        return descriptor

    def _inside(self, name: str) -> bool:
        return self._disk.knows(name) or (self._disk.folder is not None and name == str(self._disk.folder))

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._real["close"](descriptor)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        name = self._open.get(descriptor)
        if name is not None:
            self._ask("write", name)
            self._disk.written(name, offset, data)
        return int(self._real["pwrite"](descriptor, data, offset))

    def ftruncate(self, descriptor: int, size: int) -> None:
        name = self._open.get(descriptor)
        if name is not None:
            self._ask("truncate", name)
            self._disk.cut(name, size)
        self._real["ftruncate"](descriptor, size)

    def fsync(self, descriptor: int) -> None:
        name = self._open.get(descriptor)
        if name is None:
            self._real["fsync"](descriptor)
            return
        try:
            self._ask("sync", name)
        except OSError:
            self._disk.not_synced(name)
            raise
        if name == str(self._disk.folder):
            self._disk.folder_synced()
        else:
            self._disk.synced(name)

    def rename(self, old: Any, new: Any, **more: Any) -> None:
        if self._inside(str(old)):
            self._ask("rename", str(old))
        self._real["rename"](old, new, **more)
        self._disk.renamed(str(old), str(new))

    def unlink(self, path: Any, **more: Any) -> None:
        if self._inside(str(path)):
            self._ask("delete", str(path))
        self._real["unlink"](path, **more)
        self._disk.deleted(str(path))


PATCHED = ("open", "close", "pwrite", "ftruncate", "fsync", "rename", "unlink")


@contextmanager
def looking_at(path: Path) -> Iterator[SpoolView]:
    """A look at a spool by the plain disk: it is not counted, and does not fail."""
    apsw.set_default_vfs("unix")
    try:
        with SpoolView(path) as view:
            yield view
    finally:
        if "faulty" in apsw.vfs_names():
            apsw.set_default_vfs("faulty")


@contextmanager
def faulty_disk(folder: Path | None = None) -> Iterator[Disk]:
    """Every spool opened inside is on a disk that can be told to fail; in `folder` it can lose what is not synced."""
    disk = Disk()
    vfs = FaultyVFS(disk)
    calls = FaultyOs(disk)
    with pytest.MonkeyPatch.context() as patch:
        if folder is not None:
            disk.watch(folder)
            for name in PATCHED:
                patch.setattr(os, name, getattr(calls, name))
        try:
            yield disk
        finally:
            vfs.unregister()
