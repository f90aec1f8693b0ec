"""Writes accepted events to a file that `mcp-ilert simulate` reads, and never delays one for it.

The commit hands its entries over and goes on; a thread writes them. What the thread cannot keep up with, or has no
room for on the disk, is not recorded, counted and logged. Only events are written, as received: no header, no token.
"""

import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from mcp_ilert.decode.native import MARK
from mcp_ilert.errors import StartError
from mcp_ilert.events import Entry

log = structlog.get_logger()

MOST_BYTES = 512 * 1024 * 1024
"""A file that has so many is renamed to PATH.1, in place of the one before, and a new one begins."""
MOST_QUEUED_BYTES = 16 * 1024 * 1024
WRITE_BYTES = 1024 * 1024
QUIET_SECONDS = 60.0
CLOSE_SECONDS = 2.0


class Lost(Protocol):
    """The counter of events that are not recorded."""

    def inc(self, amount: float = 1) -> None: ...


class Recorder:
    """One recording. `add` may be called from any thread; the file is the recorder's own thread's."""

    def __init__(
        self,
        path: Path,
        lost: Lost,
        min_free_bytes: int = 0,
        *,
        most_bytes: int = MOST_BYTES,
        most_queued_bytes: int = MOST_QUEUED_BYTES,
    ) -> None:
        """Raises StartError where the file cannot be written."""
        self.path = path
        self._lost = lost
        self._min_free_bytes = min_free_bytes
        self._most_bytes = most_bytes
        self._most_queued = most_queued_bytes
        self._queue: queue.SimpleQueue[tuple[Sequence[Entry], int] | None] = queue.SimpleQueue()
        self._queued = 0
        self._lock = threading.Lock()
        self._untold = 0
        self._quiet_until = 0.0
        try:
            self._file = _opened(path)
        except OSError as error:
            raise StartError(
                f"listen.record: {path} cannot be written ({error.strerror}): give the process's user the right to "
                "write it and its folder, or leave listen.record out"
            ) from None
        self._thread = threading.Thread(target=self._run, name="mcp-ilert-record", daemon=True)
        self._thread.start()

    def add(self, entries: Sequence[Entry]) -> None:
        """Have these accepted events recorded, if there is room in the queue."""
        size = sum(len(entry.payload) for entry in entries)
        with self._lock:
            taken = self._queued + size <= self._most_queued
            if taken:
                self._queued += size
        if taken:
            self._queue.put((entries, size))
        else:
            self._lose(len(entries))

    def end(self) -> None:
        """Write what is queued, and close; returns at once."""
        self._queue.put(None)

    def close(self) -> None:
        """The same, waited for a little."""
        self.end()
        self._thread.join(CLOSE_SECONDS)

    def _lose(self, events: int) -> None:
        self._lost.inc(events)
        with self._lock:
            self._untold += events

    # The thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            batches, going = self._take()
            self._record(batches)
            self._tell()
        os.close(self._file)

    def _take(self) -> tuple[list[Sequence[Entry]], bool]:
        """Some of what is queued; waits for the first."""
        batches: list[Sequence[Entry]] = []
        size = 0
        try:
            got = self._queue.get()
            while got is not None:
                batches.append(got[0])
                size += got[1]
                if size >= WRITE_BYTES:
                    break
                got = self._queue.get_nowait()
        except queue.Empty:
            got = ((), 0)
        with self._lock:
            self._queued -= size
        return batches, got is not None

    def _record(self, batches: list[Sequence[Entry]]) -> None:
        if not batches:
            return
        try:
            self._room()
            self._write(b"".join(line(entry) for entries in batches for entry in entries))
        except OSError as error:
            self._lose(sum(map(len, batches)))
            self._tell(error.strerror)

    def _room(self) -> None:
        """Begin a new file where this one is full; leave the disk the room that the spool needs."""
        if os.fstat(self._file).st_size >= self._most_bytes:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            full, self._file = self._file, _opened(self.path)
            os.close(full)
        stat = os.fstatvfs(self._file)
        if self._min_free_bytes and stat.f_bavail * stat.f_frsize < 2 * self._min_free_bytes:
            raise OSError(0, "the disk has less free room than twice spool.min_free_bytes")

    def _write(self, text: bytes) -> None:
        """All of it, or nothing."""
        before, view = os.fstat(self._file).st_size, memoryview(text)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def _tell(self, why: str | None = None) -> None:
        now = time.monotonic()
        with self._lock:
            if not self._untold or now < self._quiet_until:
                return
            events, self._untold = self._untold, 0
            self._quiet_until = now + QUIET_SECONDS
        log.warning(
            "events are not recorded; they are accepted and delivered all the same",
            key="listen.record",
            path=str(self.path),
            events=events,
            why=why or "the disk does not keep up",
        )


def line(entry: Entry) -> bytes:
    """An accepted event as simulate reads it. Line ends within JSON are white space: they become blanks."""
    event = entry.payload.replace(b"\n", b" ").replace(b"\r", b" ")
    webhook = b',"webhook":true' if event.startswith(MARK) else b""
    return b'{"at":%d.%03d%b,"event":%b}\n' % (*divmod(entry.accepted_ms, 1000), webhook, event.lstrip(MARK))


def _opened(path: Path) -> int:
    """The file, to be written at its end; a last line that a crash left half is taken off."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    end = size = os.fstat(file).st_size
    while end:
        begin = max(0, end - WRITE_BYTES)
        last = os.pread(file, end - begin, begin).rfind(b"\n")
        if last >= 0:
            end = begin + last + 1
            break
        end = begin
    if end != size:
        os.ftruncate(file, end)
    return file
