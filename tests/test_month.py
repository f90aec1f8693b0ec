"""A month in the life of a bridge, from a seed: what it promises holds all along (month.py).

`MCP_ILERT_MONTHS=7` lives through the month of seed 7 alone, `MCP_ILERT_MONTHS=0-99` through a hundred.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from month import Story, live_through
from month_ilert import MODES

ASKED = os.environ.get("MCP_ILERT_MONTHS", "0-2")
FIRST, _, LAST = ASKED.partition("-")
SEEDS = range(int(FIRST), int(LAST or FIRST) + 1)
MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: no promise of a disk is tried here, and a sync to one takes its time."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_month_of_outages_429s_refused_keys_restarts_and_reloads_breaks_no_promise(
    seed: int, folder: Path
) -> None:
    story = live_through(seed, folder)
    assert story.faults == set(MODES)
    assert story.events > 1_000
    assert min(story.crashes, story.stops, story.reloads, story.jumps, story.watched, story.throttled) > 0


def test_the_same_seed_is_the_same_month(folder: Path) -> None:
    def first_days(name: str) -> Story:
        (folder / name).mkdir()
        return live_through(5, folder / name, days=2)

    assert first_days("once") == first_days("again")
