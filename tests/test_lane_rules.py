"""What the contract says of lanes beside its table, a sentence a test, through the spool's own doors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_ilert.events import (
    DROP,
    Again,
    DeadByOutage,
    DeadByRejection,
    Decision,
    Delivery,
    Done,
    Kind,
    Settlement,
    Severity,
)
from mcp_ilert.spool.changes import step
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.port import Drop, Replay, Retarget, Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.store import MemoryStore, SqliteStore, Store
from spools import Clock, entry, opened

KINDS = ("memory", "inline")
OUTAGE = DeadByOutage(0, certain=True)
REJECTED = DeadByRejection(400, "no")
LATER = Again(0, 1, 0, certain=True)
IN_DOUBT = Again(0, 1, 0, certain=False)


class Desk:
    """A spool with a hand at each of its doors, and a clock that stands still."""

    def __init__(self, spool: WrittenSpool, clock: Clock) -> None:
        self.spool = spool
        self.clock = clock

    async def put(self, kinds: str, **values: Any) -> None:
        """Accept events of these kinds, each in a commit of its own unless it has a text, which all then share."""
        for kind in kinds:
            text = values.get("text") or f"{kind}{self.spool.counts().accepted}"
            await self.spool.put([entry(kind, **{**values, "at": self.clock(), "text": text})])

    async def lease(self, *targets: str) -> tuple[Delivery, ...]:
        wants = [Want(name, 50, 50) for name in targets or ("default",)]
        return (await self.spool.lease(wants, {}, self.clock())).deliveries

    async def settle(self, delivery: Delivery, decision: Decision) -> None:
        await self.spool.settle([Settlement(delivery.lease, decision, self.clock())], {}, self.clock())

    async def sent(self, *targets: str, decision: Decision = Done()) -> list[str]:  # noqa: B008 - frozen
        """Send all that may go, once, with this end; tells what went as TARGET:KIND."""
        went = []
        for one in await self.lease(*targets):
            await self.settle(one, decision)
            went.append(f"{one.target}:{'ACR'[one.kind]}")
        return sorted(went)

    async def retarget(self, *targets: str) -> None:
        await self.spool.change(Retarget(targets), self.clock())

    @property
    def law(self) -> dict[str, int]:
        """The terms that are not 0; the law itself is looked at on the way."""
        counts = self.spool.counts()
        assert counts.error() == 0
        terms = ("fanned_out", "delivered", "coalesced", "cancelled", "pending", "dead")
        dropped = {"dropped": counts.dropped_by_route + counts.dropped_by_operator}
        found = {name: int(getattr(counts, name)) for name in terms} | dropped
        return {name: value for name, value in found.items() if value}


@asynccontextmanager
async def desk(kind: str, folder: Path, **rules: Any) -> AsyncIterator[Desk]:
    clock = Clock()
    async with opened(kind, folder, Rules(**rules), clock) as spool:
        yield Desk(spool, clock)


pytestmark = pytest.mark.parametrize("kind", KINDS)


# Three cases that others get wrong --------------------------------------------------------------------------------


async def test_alert_resolve_the_same_alert_within_a_minute_pages_twice(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        went = []
        for letter in "ARA":
            await d.put(letter, text=f"the same {letter}")
            went += await d.sent()
            d.clock.forward(10)
        assert went == ["default:A", "default:R", "default:A"]


async def test_an_alert_whose_answer_was_lost_then_its_resolve_ends_resolved_at_ilert(
    kind: str, tmp_path: Path
) -> None:
    """iLert may have opened it: the resolve must go, and cancels nothing."""
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        await d.sent(decision=IN_DOUBT)
        await d.put("R")
        assert await d.sent() == ["default:R"]
        assert d.law == {"delivered": 1, "coalesced": 1}


async def test_a_dead_letter_is_never_sent_behind_a_newer_resolve(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        await d.sent(decision=REJECTED)
        await d.put("R")
        await d.sent()
        await d.spool.change(Replay(None), d.clock())
        await d.spool.change(Replay(("evt-1",)), d.clock())
        assert await d.sent() == []
        assert d.law == {"delivered": 1, "dead": 1}, "superseded, and still counted dead"
        await d.spool.change(Replay(("evt-1",), force=True), d.clock())
        assert await d.sent() == ["default:A"], "an operator may insist"


# Folding ----------------------------------------------------------------------------------------------------------


async def test_alerts_that_wait_together_have_the_newest_text_the_highest_severity_and_a_count(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        severities = (Severity.LOW, Severity.CRITICAL, Severity.MEDIUM)
        for number, severity in enumerate(severities):
            await d.put("A", severity=severity, text=f"text {number}")
            d.clock.forward(1)
        (one,) = await d.lease()
        assert (one.payload, one.severity, one.count) == (b"text 2", Severity.CRITICAL, 3)
        assert one.last_ms - one.first_ms == 2000, "accepted is that of the oldest event folded in"


async def test_keys_are_the_same_in_any_case_and_the_first_spelling_is_sent(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", key="Disk-1")
        await d.put("A", key="DISK-1")
        (one,) = await d.lease()
        assert (one.key, one.count) == ("Disk-1", 2)


async def test_what_arrives_during_a_request_waits_behind_it(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        (alert,) = await d.lease()
        await d.put("R")
        assert await d.lease() == (), "one request of a lane in flight"
        await d.settle(alert, Done())
        assert await d.sent() == ["default:R"]


async def test_what_arrives_during_a_request_folds_as_if_the_target_knew_of_an_alert(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("AC")
        (alert,) = await d.lease()
        await d.put("AR")
        await d.settle(alert, Done())
        assert await d.sent() == ["default:R"]
        assert "cancelled" not in d.law


async def test_a_failed_request_returns_to_the_head_and_folds_by_what_is_known_then(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        (alert,) = await d.lease()
        await d.put("R")
        await d.settle(alert, LATER)  # certain: the target knows of nothing
        assert d.law == {"cancelled": 2}


async def test_folding_keeps_attempts_and_due_time_and_clears_rejections_when_the_text_changes(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        (one,) = await d.lease()
        await d.settle(one, Again(d.clock() + 5000, 3, 1, certain=True))
        await d.put("A")
        assert await d.lease() == ()
        d.clock.forward(5)
        (one,) = await d.lease()
        assert (one.attempts, one.rejections, one.count) == (3, 0, 2)


async def test_rejections_are_kept_where_the_text_stays(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        (one,) = await d.lease()
        await d.settle(one, Again(d.clock(), 0, 1, certain=True))
        await d.put("C")
        (one,) = await d.lease()
        assert (one.kind, one.rejections) == (Kind.ALERT, 1)


# Dedupe -----------------------------------------------------------------------------------------------------------


async def test_a_repeat_word_for_word_soon_after_its_delivery_is_coalesced(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path, dedupe_ms=60_000) as d:
        await d.put("A", text="same")
        await d.sent()
        d.clock.forward(59.9)
        await d.put("A", text="same")
        assert d.law == {"delivered": 1, "coalesced": 1}
        await d.put("A", text="other")
        assert await d.sent() == ["default:A"]


async def test_after_dedupe_seconds_a_repeat_is_sent(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path, dedupe_ms=60_000) as d:
        await d.put("A", text="same")
        await d.sent()
        d.clock.forward(60)
        await d.put("A", text="same")
        assert await d.sent() == ["default:A"]


async def test_a_repeat_while_something_waits_or_is_in_flight_is_no_repeat(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", text="same")
        await d.sent()
        await d.put("R", text="resolve")
        await d.put("A", text="same")
        assert await d.sent() == ["default:R"]
        assert await d.sent() == ["default:A"]


async def test_what_repeats_is_the_newest_event_of_the_operation(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        for text in ("one", "two"):
            await d.put("A", text=text)
        await d.sent()
        await d.put("A", text="two")
        assert d.law == {"delivered": 1, "coalesced": 2}
        await d.put("A", text="one")
        assert await d.sent() == ["default:A"]


# Routing ----------------------------------------------------------------------------------------------------------


async def test_a_resolve_goes_to_every_target_that_knows_the_key(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        targets = ("default", "ops", "db")
        for target in ("default", "ops"):
            await d.put("A", target=target)
        await d.sent(*targets)
        await d.put("R", target="db")
        assert await d.sent(*targets) == ["default:R", "ops:R"]
        assert d.law == {"fanned_out": 1, "delivered": 4}


@pytest.mark.parametrize("end", [None, IN_DOUBT, OUTAGE], ids=["waiting", "unknown", "dead by outage"])
async def test_an_accept_finds_the_target_where_the_key_is_known(
    kind: str, tmp_path: Path, end: Decision | None
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", target="ops")
        if end is not None:
            await d.sent("ops", decision=end)
        await d.put("C", target="default")
        assert await d.sent("default", "ops") == ["ops:A"]
        assert await d.sent("default", "ops") == ["ops:C"]


async def test_an_accept_finds_the_target_where_the_key_is_in_flight(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", target="ops")
        (alert,) = await d.lease("ops")
        await d.put("C", target="default")
        await d.settle(alert, Done())
        assert await d.sent("default", "ops") == ["ops:C"]


async def test_where_no_target_knows_the_key_the_routes_decide_and_may_drop(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("R", target=DROP, key="a")
        await d.put("A", target=DROP, key="b")
        await d.put("R", target="ops", key="c")
        assert await d.sent("default", "ops") == ["ops:R"]
        assert d.law == {"delivered": 1, "dropped": 2}


async def test_a_resolve_that_a_route_would_drop_still_goes_where_the_key_is_open(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A")
        await d.sent()
        await d.put("R", target=DROP)
        assert await d.sent() == ["default:R"]


# Targets that are gone --------------------------------------------------------------------------------------------


async def test_what_waits_at_a_target_that_is_gone_moves_and_folds_where_the_routes_send_it(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", target="gone")
        await d.put("A", target="default", text="newest")
        await d.retarget("default")
        (one,) = await d.lease("default")
        assert one.count == 2
        assert d.law == {"coalesced": 1, "pending": 1}


async def test_a_lane_that_is_open_at_a_target_that_is_gone_waits_for_its_return(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", target="gone")
        await d.sent("gone")
        await d.put("R")
        await d.retarget("default")
        assert await d.sent("default") == []
        await d.retarget("default", "gone")
        assert await d.sent("gone") == ["gone:R"]


async def test_an_operator_may_drop_what_waits_for_a_target_that_is_gone(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as d:
        await d.put("A", target="gone")
        await d.sent("gone", decision=IN_DOUBT)
        await d.retarget("default")
        await d.spool.change(Drop("evt-1"), d.clock())
        assert d.law == {"dropped": 1}


async def test_what_the_inbox_still_holds_for_a_target_that_is_gone_moves_too(
    kind: str, tmp_path: Path
) -> None:
    """A large batch is folded later than it is committed; a reload may come in between."""
    clock = Clock()
    store: Store = (
        MemoryStore(Rules()) if kind == "memory" else SqliteStore(tmp_path / "spool.db", Rules(), clock)
    )
    batch = [entry(key=f"k{i}", target="gone") for i in range(2_000)]
    store.transact(lambda engine: engine.accept(batch, clock(), fold=False))
    cursor: int | None = 0

    def move(engine: Engine) -> None:
        nonlocal cursor
        cursor = step(engine, Retarget(("default",)), cursor or 0, clock()).cursor

    while cursor is not None:
        store.transact(move)
    leased: list[Delivery] = []
    want = Want("default", 2_000, 2_000)
    store.transact(lambda engine: leased.extend(engine.lease([want], {}, clock()).deliveries))
    assert len(leased) == 2_000
    store.close()
