"""Whether code written in Cython lets go of what it took."""

import gc
import resource
import sys
from collections.abc import Callable

WARM = 200
"""Turns after which caches are as large as they get."""
NOISE = 50
"""Blocks that may come and go by themselves."""
IMMORTAL = 1 << 30
"""From CPython 3.12 on, what has so many references is never let go of."""


def blocks_leaked(step: Callable[[], object], times: int = 5_000) -> int:
    """Blocks of Python's allocator that so many steps leave behind, a few of noise aside."""
    for _ in range(WARM):
        step()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        step()
    gc.collect()
    return max(0, sys.getallocatedblocks() - before - NOISE)


def kilobytes_grown(step: Callable[[], object], times: int) -> int:
    """By how much so many steps raise the most memory that this process has ever had."""
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(times):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def references(*objects: object) -> list[int]:
    """How many references each has, but for the immortal.

    CPython no longer counts those of None and its like, and an extension for every CPython from 3.11 on (abi3) still
    does: their numbers drift, and CPython makes them immortal anew (PEP 683).
    """
    return [number for number in map(sys.getrefcount, objects) if number < IMMORTAL]
