"""What keeps the bridge from accepting, and what an operator should know. Pure but for a look at the disk."""

import os
from pathlib import Path

from mcp_ilert.config import Settings
from mcp_ilert.events import Counts
from mcp_ilert.spool.room import free_bytes


def reasons(path: Path, settings: Settings, *, in_place: bool, stopping: bool) -> list[str]:
    """Why nothing is accepted now; empty where the bridge is ready. `in_place`: the spool's own file is at `path`."""
    found = ["shutting down"] if stopping else []
    if not in_place:
        found.append(
            f"spool.path: {path} is not the file that the spool is in: that was moved, deleted or replaced"
        )
    elif not os.access(path, os.W_OK):
        found.append(f"spool.path: {path} cannot be written")
    elif free_bytes(path, settings.spool.min_free_bytes) < settings.spool.min_free_bytes:
        found.append(f"spool.min_free_bytes: the disk of {path} has less free than that")
    return found


def notes(counts: Counts, settings: Settings) -> list[str]:
    """What waits for an operator in the spool."""
    found: list[str] = []
    if counts.dead:
        found.append(f"{counts.dead} dead letters; see mcp-ilert queue dead")
    if full(counts, settings):
        found.append(f"the spool is full (spool.max_pending: {settings.spool.max_pending} lanes)")
    return found


def full(counts: Counts, settings: Settings) -> bool:
    """Whether new alert keys are refused."""
    return counts.lanes + counts.members >= settings.spool.max_pending
