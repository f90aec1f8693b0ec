"""One owner: an exclusive lock on a file beside the spool, which says who holds it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from mcp_ilert.errors import StartError
from mcp_ilert.spool.damage import make_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # what is missing is asked for before it is used


def lock_path(path: Path) -> Path:
    """The lock file of a spool, the same by whatever links the spool is reached."""
    path = path.resolve()
    return path.with_name(path.name + ".lock")


@contextmanager
def own(path: Path) -> Iterator[None]:
    """Hold the spool's lock; the kernel lets go of it when the process ends, however it ends.

    Raises StartError naming the holder where another process has it, or where the folder cannot be written.
    """
    if fcntl is None:
        raise StartError(
            "the bridge runs on Linux and macOS: this system has no locks that end with their process, so a spool "
            "could have two owners; use a container or WSL here (commands that need no spool of their own work)"
        )
    try:
        make_folder(path.parent)
        descriptor = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(
            f"spool.path: {path} cannot be written ({error.strerror}): give the process's user the right to write "
            f"{path.parent}, or set another spool.path"
        ) from error
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartError(
            f"spool.path: {path} is in use by {_holder(descriptor)}: stop that one, or give this one another spool.path"
        ) from error
    since = datetime.now(UTC).isoformat(timespec="seconds")
    told = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()
    with suppress(OSError):  # what counts is the lock; a full disk need not stop a start
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, told, 0)


def holder(path: Path) -> int | None:
    """The id of the process that took the spool's lock last; None where that cannot be told."""
    try:
        return int(json.loads(lock_path(path).read_bytes())["pid"])
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _holder(descriptor: int) -> str:
    try:
        told = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(told['pid'])} on {told['host']!s} since {told['since']!s}"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"
