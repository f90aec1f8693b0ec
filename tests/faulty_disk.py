"""A disk that fails when told to: an apsw VFS over the real one."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


class Disk:
    """What shall go wrong, and what was asked of the disk."""

    def __init__(self) -> None:
        self.failing_syncs = 0
        self.full = False
        self.syncs = 0


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: object, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)  # type: ignore[arg-type]

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite names it
        self._disk.syncs += 1
        if self._disk.failing_syncs:
            self._disk.failing_syncs -= 1
            raise apsw.IOError("planned: fsync failed")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite names it
        if self._disk.full:
            raise apsw.FullError("planned: disk full")
        super().xWrite(data, offset)


class FaultyVFS(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite names it
        return FaultyFile(self._disk, name, flags)


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """Every spool opened inside is on a disk that can be told to fail."""
    disk = Disk()
    vfs = FaultyVFS(disk)
    try:
        yield disk
    finally:
        vfs.unregister()
