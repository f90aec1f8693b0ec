"""Where the control socket of a spool is, and how it is named to the kernel, which takes 107 bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp_ilert.errors import StartError

MAX_ADDRESS_BYTES = 103
"""Linux takes 107 bytes and macOS 103; the smaller serves both."""
DESCRIPTORS = Path("/proc/self/fd")


def socket_path(spool: Path) -> Path:
    """The control socket of this spool; the same for every way of naming the file."""
    real = spool.resolve()
    return real.with_name(real.name + ".sock")


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A name for `path` that is short enough for a socket; valid inside the block.

    Raises StartError where there is none, OSError where the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    if not DESCRIPTORS.is_dir():
        raise StartError(_too_long(path))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = DESCRIPTORS / str(folder) / path.name
        if len(os.fsencode(short)) > MAX_ADDRESS_BYTES:
            raise StartError(_too_long(path))
        yield str(short)
    finally:
        os.close(folder)


def _too_long(path: Path) -> str:
    return (
        f"spool.path: the control socket beside the spool, {path}, has a name that is too long for this "
        f"system ({len(os.fsencode(path))} bytes, {MAX_ADDRESS_BYTES} at most); give the spool a shorter path"
    )
