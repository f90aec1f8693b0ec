"""The short form of `make soak`: a few kills, one reckoning; the judge itself is tried in test_oracle.py."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing

from mcp_ilert.sandbox.server import SandboxServer
from oracle import History
from soak_ilert import REFUSED, Ilert
from soak_producers import Producers
from soak_report import figures, row
from soak_run import Plan, Run


@pytest.mark.parametrize("seed", [1])
async def test_kills_lose_nothing_invent_nothing_and_keep_the_order(tmp_path: Path, seed: int) -> None:
    plan = Plan(seed=seed, kills=6, life_seconds=(0.1, 0.8), storm_keys=100)
    run = Run(plan, tmp_path, lambda _: None)
    await run.run()  # raises BrokenPromiseError
    found = figures(run)
    assert (found["losses"], found["inventions"], found["order_violations"]) == (0, 0, 0)
    assert found["kills"] == 7  # one more in the reckoning
    assert found["events_answered_202"] > 100
    assert found["requests_at_ilert"] > 100
    assert found["seen"]["refused lanes that waited while others drained"] > 0
    assert row(run).count("|") == 15


async def test_no_fault_and_no_event_comes_behind_a_hush() -> None:
    for _ in range(20):  # the order in which tasks of one moment run is anybody's
        await hushed_at_once()


async def hushed_at_once() -> None:
    """A hush in the moment in which producers and faults may begin."""
    asked: list[int] = []
    producers = Producers(History(), lambda: asked.append(1) or 0)
    ilert = Ilert(producers.history, random.Random(1))
    ilert.server = cast("SandboxServer", SimpleNamespace(now=trio.current_time))
    async with producers.mouth() as mouth, trio.open_nursery() as nursery:
        producers.may_speak.set()
        nursery.start_soon(ilert.go_wrong, producers)
        nursery.start_soon(producers.speak, mouth, [producers.word("k", "firing", 1)])
        await trio.lowlevel.checkpoint()
        await producers.hush()
        ilert.set(REFUSED)
        asked.clear()
        await trio.testing.wait_all_tasks_blocked()
        assert ilert.faults_now() == (REFUSED,)
        assert not asked
        nursery.cancel_scope.cancel()
