"""Whose turn it is, as the spool's indexes choose: deadlines by class, the oldest, the newest, critical before all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_ilert.events import Done, Settlement, Severity
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from spools import Clock, entry, opened

CRITICAL, HIGH, MEDIUM, LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW
both = pytest.mark.parametrize("kind", ["memory", "inline"])


class Turns:
    """A spool whose lanes are leased one by one."""

    def __init__(self, spool: WrittenSpool, clock: Clock) -> None:
        self.spool = spool
        self.clock = clock

    async def put(self, *keys: str, severity: Severity = HIGH, text: str = "") -> None:
        for key in keys:
            await self.spool.put([entry(key=key, severity=severity, at=self.clock(), text=text or key)])
            self.clock.ms += 1

    async def next(self, tokens: int = 1, *, settle: bool = False) -> list[str]:
        went = []
        for _ in range(tokens):
            leased = await self.spool.lease([Want("default", 1, 1)], {}, self.clock())
            went += [one.key for one in leased.deliveries]
            ended = [Settlement(one.lease, Done(), self.clock()) for one in leased.deliveries if settle]
            await self.spool.settle(ended, {}, self.clock())
        return went


@asynccontextmanager
async def turns(kind: str, folder: Path) -> AsyncIterator[Turns]:
    clock = Clock()
    async with opened(kind, folder, Rules(), clock) as spool:
        yield Turns(spool, clock)


@both
@pytest.mark.parametrize(("severity", "grace"), [(MEDIUM, 600), (LOW, 3600)])
@pytest.mark.parametrize("late", [-1, 1])
async def test_a_lesser_event_goes_before_a_high_one_once_its_grace_is_over(
    kind: str, tmp_path: Path, severity: Severity, grace: float, late: int
) -> None:
    async with turns(kind, tmp_path) as t:
        await t.put("lesser", severity=severity)
        t.clock.forward(grace + late)
        await t.put("high")
        assert await t.next(2) == (["lesser", "high"] if late > 0 else ["high", "lesser"])


@both
async def test_the_deadline_is_that_of_the_oldest_event_folded_in(kind: str, tmp_path: Path) -> None:
    async with turns(kind, tmp_path) as t:
        await t.put("folded", text="one")
        await t.put("other")
        await t.put("folded", text="two")
        assert await t.next(2) == ["folded", "other"]


@both
async def test_a_lane_ranks_by_the_highest_of_what_waits_in_it(kind: str, tmp_path: Path) -> None:
    async with turns(kind, tmp_path) as t:
        await t.put("rises", severity=LOW)
        await t.put("high", severity=HIGH)
        await t.put("rises", severity=CRITICAL)
        await t.put("rises", severity=LOW)
        assert await t.next(2) == ["rises", "high"]


@both
async def test_every_tenth_token_is_for_the_oldest_and_every_fifth_for_the_newest_never_sent(
    kind: str, tmp_path: Path
) -> None:
    async with turns(kind, tmp_path) as t:
        await t.put("old", severity=LOW)
        await t.put(*(f"h{i:02}" for i in range(20)))
        went = await t.next(11)
        newest, oldest = went.pop(4), went.pop(8)
        assert (newest, oldest) == ("h19", "old")
        assert went[:8] == [f"h{i:02}" for i in range(8)]
        assert went[8] == "h18", "what the oldest took of the newest's turn is made good"


@both
async def test_a_lane_that_has_been_sent_is_not_the_newest(kind: str, tmp_path: Path) -> None:
    async with turns(kind, tmp_path) as t:
        await t.put("sent")
        assert await t.next(settle=True) == ["sent"]
        await t.put(*(f"h{i}" for i in range(6)))
        await t.put("sent", text="again")
        assert (await t.next(4))[3] == "h5"


@both
async def test_critical_lanes_go_before_all_and_nine_of_them_before_what_others_are_owed(
    kind: str, tmp_path: Path
) -> None:
    async with turns(kind, tmp_path) as t:
        await t.put("old", severity=LOW)
        await t.put(*(f"h{i}" for i in range(5)))
        await t.put(*(f"c{i:02}" for i in range(30)), severity=CRITICAL)
        went = await t.next(20)
        assert [key for key in went if not key.startswith("c")] == ["old", "h0"]
        assert (went[9], went[19]) == ("old", "h0")
        assert [key for key in went if key.startswith("c")] == [f"c{i:02}" for i in range(18)]


async def test_the_rota_goes_on_after_a_restart(tmp_path: Path) -> None:
    went = []
    async with turns("inline", tmp_path) as t:
        await t.put("old", severity=LOW)
        await t.put(*(f"h{i:02}" for i in range(20)))
        went += await t.next(7, settle=True)
    async with turns("inline", tmp_path) as t:
        went += await t.next(3)
    assert (went[4], went[9]) == ("h19", "old")
