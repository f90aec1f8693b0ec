"""The short form of `make soak`: a few kills, one reckoning; the judge itself is tried in test_oracle.py."""

from pathlib import Path

import pytest

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
