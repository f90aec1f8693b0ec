"""A bound of memory for a process that is measured: a cgroup where one may be made, else of its address space."""

import contextlib
import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

UNIFIED = Path("/sys/fs/cgroup")
MEMORY = Path("/sys/fs/cgroup/memory")
ADDRESS_SPACE_FACTOR = 4
"""Address space that is reserved and never touched counts in RLIMIT_AS: threads' stacks, arenas, libraries."""


@dataclass
class Cage:
    """What the process is bound by: words for the report, and what its command begins with."""

    words: str
    prefix: Sequence[str]
    peak: Path | None = None
    """Where the kernel tells the most that it ever held, pages of files included."""

    def peak_bytes(self) -> int | None:
        return None if self.peak is None else int(self.peak.read_text())


@contextlib.contextmanager
def cage(limit_bytes: int) -> Iterator[Cage]:
    """The best bound that can be had here."""
    with contextlib.ExitStack() as stack:
        for make in (_unified, _memory):
            with contextlib.suppress(OSError):
                yield stack.enter_context(make(limit_bytes))
                return
        bound = limit_bytes * ADDRESS_SPACE_FACTOR
        yield Cage(f"address space bound to {bound >> 20} MiB (prlimit), memory itself not", _limited(bound))


def _limited(bound: int) -> Sequence[str]:
    return ("prlimit", f"--as={min(bound, _hard())}")


def _hard() -> int:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    return (1 << 62) if hard == resource.RLIM_INFINITY else hard


@contextlib.contextmanager
def _unified(limit_bytes: int) -> Iterator[Cage]:
    if "memory" not in (UNIFIED / "cgroup.subtree_control").read_text().split():
        raise OSError("no memory controller for children")
    with _group(UNIFIED) as group:
        (group / "memory.max").write_text(str(limit_bytes))
        yield Cage(f"cgroup v2, memory.max {limit_bytes >> 20} MiB", _into(group), group / "memory.peak")


@contextlib.contextmanager
def _memory(limit_bytes: int) -> Iterator[Cage]:
    with _group(MEMORY) as group:
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        peak = group / "memory.max_usage_in_bytes"
        yield Cage(f"cgroup v1, memory.limit_in_bytes {limit_bytes >> 20} MiB", _into(group), peak)


@contextlib.contextmanager
def _group(parent: Path) -> Iterator[Path]:
    group = parent / f"mcp-ilert-benchmark-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        with contextlib.suppress(OSError):  # what is left in it is empty, and somebody may still look
            group.rmdir()


def _into(group: Path) -> Sequence[str]:
    """A shell that goes into the group and becomes the command."""
    return ("sh", "-c", f'echo $$ >"{group}/cgroup.procs" && exec "$@"', "sh")
