"""What every spool keeps to in a storm, whatever is behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from mcp_ilert.console.words import story
from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Decision,
    Delivery,
    Done,
    Kind,
    Severity,
)
from mcp_ilert.spool.digests import GROUPS_AT_MOST
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.port import Drop, Gather, Replay, Retarget, Rules, Want
from mcp_ilert.spool.view import SpoolView
from spools import KINDS, T0, Clock, World, entry, opened

MEDIUM = Severity.MEDIUM


def brief(payload: bytes) -> Brief:
    """The text is `group: summary`."""
    group, _, summary = payload.decode().partition(": ")
    return Brief(group, summary)


class Storm(World):
    """A storm is on."""

    async def gather(self, target: str = "default") -> int:
        return (await self.spool.change(Gather(target), self.clock())).events

    async def alerts(self, *keys: str, group: str = "db", severity: Severity = MEDIUM) -> None:
        await self.put(*(entry("A", key, text=f"{group}: {key} is down", severity=severity) for key in keys))

    async def later(self, decision: Decision | None = None, *, after: float = 61) -> Delivery:
        """Send the one thing that goes next, once it is due."""
        self.clock.forward(after)
        return await self.send(decision)

    @property
    def digested(self) -> int:
        return self.spool.counts().digested


def said(delivery: Delivery) -> str:
    text: str = msgspec.json.decode(delivery.payload)["summary"]
    return text


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storm]:
    clock = Clock()
    rules = Rules(max_pending=250, brief=brief)
    async with opened(request.param, tmp_path, rules, clock) as spool:
        yield Storm(spool, clock)
        assert spool.counts().error() == 0
        if request.param != "memory":
            with SpoolView(tmp_path / "spool.db", clock) as view:
                assert view.audit().error == 0


async def test_lesser_alerts_become_one_digest_that_says_what_they_are(world: Storm) -> None:
    await world.alerts("a", "b", "c")
    await world.alerts("d", severity=Severity.LOW)
    assert await world.gather() == 4
    assert (world.digested, world.spool.counts().pending, world.spool.counts().lanes) == (4, 0, 0)
    delivery = await world.later()
    assert (delivery.kind, delivery.digest, delivery.count, delivery.severity) == (
        Kind.ALERT,
        True,
        4,
        MEDIUM,
    )
    event = msgspec.json.decode(delivery.payload)
    assert event["source"] == "db"
    assert event["summary"] == "Storm digest: 4 alerts of db (3 medium, 1 low): a is down"
    assert event["digest"]["severities"] == {"medium": 3, "low": 1}
    assert event["digest"]["since"] == "2027-01-15T08:00:00.000Z"
    assert "- medium, 1 alert: b is down" in event["details"]
    assert world.spool.counts().delivered == 0  # it is ours, no event


async def test_groups_have_digests_of_their_own(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.alerts("c", group="web")
    await world.gather()
    world.clock.forward(61)
    assert sorted(said(d)[:29] for d in await world.lease(5)) == [
        "Storm digest: 1 alert of web ",
        "Storm digest: 2 alerts of db ",
    ]


async def test_only_alerts_that_wait_alone_and_unsent_are_taken(world: Storm) -> None:
    await world.alerts("high", severity=Severity.HIGH)
    await world.alerts("open")
    (sent,) = await world.lease(1, digest=False)
    await world.settle(sent, Done())
    (other,) = await world.lease(1)
    await world.settle(other, Again(0, 1, 0, certain=False))
    await world.put(entry("A", sent.key, text="db: again", severity=MEDIUM))
    await world.put(entry("A", "accepted", text="db: x", severity=MEDIUM), entry("C", "accepted"))
    await world.put(entry("R", "resolved", severity=MEDIUM))
    assert await world.gather() == 0


async def test_a_closed_key_that_fires_again_is_taken(world: Storm) -> None:
    for kind in "AR":
        await world.put(entry(kind, "flaps", text=f"db: {kind}", severity=MEDIUM))
        await world.later(after=0)
    await world.alerts("flaps")
    assert await world.gather() == 1


async def test_a_lease_in_a_storm_puts_into_a_digest_what_it_would_have_sent(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.alerts("fire", severity=Severity.HIGH)
    assert [d.key for d in await world.lease(3, digest=True)] == ["fire"]
    assert world.digested == 2


async def test_accept_and_resolve_of_a_member_are_digested_and_a_further_alert_is_coalesced(
    world: Storm,
) -> None:
    await world.alerts("a", "b")
    await world.gather()
    await world.put(entry("C", "a"))
    assert (world.digested, world.spool.counts().coalesced) == (3, 0)
    await world.alerts("a")
    assert (world.digested, world.spool.counts().coalesced) == (3, 1)
    await world.put(entry("R", "a"))
    assert (world.digested, world.spool.counts().cancelled) == (4, 0)
    assert said(await world.later()) == "Storm digest: 1 alert of db (1 medium): b is down"


async def test_an_alert_at_the_threshold_leaves_with_its_lane(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.gather()
    await world.put(entry("C", "a"))
    await world.alerts("a", severity=Severity.HIGH)
    counts = world.spool.counts()
    assert (counts.digested, counts.undigested, counts.coalesced, counts.pending) == (1, 2, 1, 2)
    assert [(d.key, d.kind, d.count) for d in await world.lease(5)] == [("a", Kind.ALERT, 2)]


async def test_the_last_resolve_closes_the_digest(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.gather()
    alert = await world.later()
    await world.put(entry("R", "a"), entry("R", "b"))
    resolve = await world.later(after=0)
    assert (resolve.key, resolve.kind) == (alert.key, Kind.RESOLVE)
    assert said(resolve) == "Storm digest of db: 2 alerts resolved, none is left"


async def test_a_digest_whose_members_resolve_before_it_was_sent_pages_nobody(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.gather()
    await world.put(entry("R", "a"), entry("R", "b"))
    world.clock.forward(61)
    assert await world.lease(5) == []
    assert world.digested == 4


async def test_an_alert_in_flight_is_followed_by_the_resolve(world: Storm) -> None:
    await world.alerts("a")
    await world.gather()
    world.clock.forward(6)
    (alert,) = await world.lease()
    await world.put(entry("R", "a"))
    await world.settle(alert, Done())
    assert (await world.later(after=0)).kind is Kind.RESOLVE


async def test_a_digest_collects_before_it_speaks_and_speaks_at_most_once_a_minute(world: Storm) -> None:
    await world.alerts("a")
    await world.gather()
    world.clock.forward(4)
    assert await world.lease() == []
    await world.later(after=2)
    await world.alerts("b")
    await world.gather()
    world.clock.forward(59)
    assert await world.lease() == []
    assert (await world.later(after=2)).count == 2


async def test_a_key_of_a_producer_is_never_a_digests(world: Storm) -> None:
    await world.alerts("a")
    await world.gather()
    world.clock.forward(6)
    (digest,) = await world.lease()
    await world.put(entry("R", digest.key), entry("A", digest.key.upper()))
    await world.settle(digest, Done())
    assert (await world.spool.change(Drop(digest.key), world.clock())).events == 2
    assert world.digested == 1
    await world.put(entry("R", "a"))
    assert (await world.later(after=0)).digest


async def test_a_rejected_digest_gives_its_unresolved_members_back(world: Storm) -> None:
    keys = [f"k{i:03}" for i in range(240)]
    await world.alerts(*keys)
    while await world.gather():
        pass
    await world.put(entry("R", "k000"), entry("C", "k001"))
    world.clock.forward(61)
    (digest,) = await world.lease()
    await world.settle(digest, DeadByRejection(400, "no"))
    while world.spool.counts().pending < 240:  # a threaded writer gives back slice by slice
        await world.spool.records()
    counts = world.spool.counts()
    assert (counts.digested, counts.undigested, counts.dead) == (2, 240, 0)
    assert not any(d.digest for d in await world.lease(300))


async def test_a_rejected_update_gives_back_and_closes_what_is_open(world: Storm) -> None:
    await world.alerts("a")
    await world.gather()
    await world.later()
    await world.alerts("b")
    await world.gather()
    await world.later(DeadByRejection(400, "no"))
    while world.spool.counts().pending < 2:
        await world.spool.records()
    assert sorted((d.kind, d.digest) for d in await world.lease(5)) == [
        (Kind.ALERT, False),
        (Kind.ALERT, False),
        (Kind.RESOLVE, True),
    ]


async def test_a_digest_dead_by_outage_waits_like_any_lane_and_is_no_dead_letter(world: Storm) -> None:
    await world.alerts("a")
    await world.gather()
    await world.later(DeadByOutage(revive_ms=T0, certain=True))
    assert (world.spool.counts().dead, world.digested) == (0, 1)
    assert await world.lease() == []
    revived = await world.spool.lease([Want("default", 1, 1, revive=1)], {}, world.clock())
    assert [(d.digest, d.revivals) for d in revived.deliveries] == [(True, 1)]


async def test_dropping_a_member_drops_its_events_from_the_digest(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.gather()
    assert (await world.spool.change(Drop("a"), world.clock())).events == 1
    counts = world.spool.counts()
    assert (counts.digested, counts.dropped_by_operator) == (1, 1)


async def test_a_member_with_a_dead_letter_leaves_when_that_is_replayed(world: Storm) -> None:
    await world.alerts("a")
    await world.later(DeadByRejection(400, "no"), after=0)
    await world.alerts("a")
    assert await world.gather() == 1
    assert (await world.spool.change(Replay(None), world.clock())).events == 1
    counts = world.spool.counts()
    assert (counts.digested, counts.dead, counts.coalesced, counts.pending) == (0, 0, 1, 1)


async def test_members_of_an_unsent_digest_move_when_their_target_is_gone(world: Storm) -> None:
    await world.put(*(entry("A", k, target="old", text="db: x", severity=MEDIUM) for k in "ab"))
    assert await world.gather("old") == 2
    await world.spool.change(Retarget(("default",)), world.clock())
    assert sorted(d.key for d in await world.lease(5)) == ["a", "b"]
    assert world.digested == 0


async def test_members_of_a_digest_that_was_sent_stay_with_it(world: Storm) -> None:
    await world.put(entry("A", "a", target="old", text="db: x", severity=MEDIUM))
    await world.gather("old")
    world.clock.forward(6)
    (digest,) = await world.lease(target="old")
    await world.settle(digest, Done())
    await world.spool.change(Retarget(("default",)), world.clock())
    await world.put(entry("R", "a"))
    (resolve,) = await world.lease(target="old")
    assert (resolve.digest, resolve.kind) == (True, Kind.RESOLVE)


async def test_beyond_so_many_groups_the_rest_share_a_digest(world: Storm) -> None:
    for i in range(GROUPS_AT_MOST + 3):
        await world.alerts(f"k{i}", group=f"g{i:02}")
    await world.gather()
    world.clock.forward(6)
    sent = await world.lease(50)
    assert len(sent) == GROUPS_AT_MOST + 1
    assert [d.count for d in sent if "other sources" in said(d)] == [3]


async def test_members_take_room_and_a_full_spool_takes_what_is_of_them(world: Storm) -> None:
    await world.alerts("member", "other")
    await world.gather()
    assert world.spool.counts().members == 2
    await world.put(*(entry("A", f"k{i}") for i in range(248)))
    with pytest.raises(UnavailableError, match="full"):
        await world.put(entry("A", "new"))
    await world.put(
        entry("A", "other", severity=Severity.HIGH)
    )  # it waits by itself now, where it was before
    await world.put(entry("R", "member"))
    assert (world.digested, world.spool.counts().members) == (2, 0)
    await world.put(entry("A", "new"))


async def test_a_member_of_which_nothing_is_heard_is_forgotten_in_silence(world: Storm) -> None:
    await world.alerts("a", "b")
    await world.gather()
    await world.later()
    world.clock.forward(20 * 86_400)
    await world.put(entry("C", "b"))
    world.clock.forward(11 * 86_400)
    for _ in range(3):
        await world.spool.records()
        world.clock.forward(11)
    assert world.digested == 3
    await world.put(entry("R", "b"))
    assert (await world.later(after=0)).kind is Kind.RESOLVE


async def test_the_dead_letter_of_a_member_outlives_what_is_forgotten(world: Storm) -> None:
    await world.alerts("a")
    await world.later(DeadByRejection(400, "no"), after=0)
    await world.alerts("a")
    await world.gather()
    world.clock.forward(31 * 86_400)
    await world.spool.records()
    assert (world.spool.counts().dead, world.spool.counts().members) == (1, 0)
    assert (await world.spool.change(Replay(None), world.clock())).events == 1
    assert (await world.later(after=0)).key == "a"


async def test_the_agenda_tells_how_many_lanes_wait(world: Storm) -> None:
    await world.alerts("a", "b", "c")
    await world.alerts("fire", severity=Severity.HIGH)
    leased = await world.spool.lease([Want("default", 1, 1, digest=True)], {}, world.clock())
    assert (leased.agenda["default"].backlog, leased.agenda["default"].digested) == (4, 0)
    await world.gather()
    leased = await world.spool.lease([Want("default", 1, 1)], {}, world.clock())
    assert leased.agenda["default"].backlog == 1


async def test_the_digest_says_what_its_members_say_now(world: Storm) -> None:
    await world.alerts("a", severity=Severity.LOW)
    await world.gather()
    await world.later()
    await world.put(entry("A", "a", text="db: a burns", severity=MEDIUM))
    update = await world.later()
    assert said(update) == "Storm digest: 1 alert of db (1 medium): a burns"
    assert update.severity is MEDIUM


async def test_a_digest_of_which_an_answer_was_lost_is_closed_when_it_is_rejected(world: Storm) -> None:
    await world.alerts("a")
    await world.gather()
    await world.later(Again(due_ms=0, attempts=1, rejections=0, certain=False))
    await world.later(DeadByRejection(400, "no"), after=0)
    while not world.spool.counts().pending:
        await world.spool.records()
    assert [(d.kind, d.digest) for d in await world.lease(5) if d.digest] == [(Kind.RESOLVE, True)]


async def test_the_history_of_a_key_tells_of_its_digests(tmp_path: Path) -> None:
    clock = Clock()
    async with opened("inline", tmp_path, Rules(brief=brief), clock) as spool:
        world = Storm(spool, clock)
        await world.alerts("a", "b")
        await world.gather()
        await world.alerts("a", severity=Severity.HIGH)
        await world.put(entry("R", "b"))
    with SpoolView(tmp_path / "spool.db", clock) as view:
        told = {key: [type(n.note.what).__name__ for n in view.history(key, 9)] for key in "ab"}
        (sentence,) = [line.text for _, lines in story(view.history("b", 1)) for line in lines]
    assert told == {"a": ["Undigested", "Digested"], "b": ["Resolved", "Digested"]}
    assert sentence.startswith("resolved while the digest mcp-digest/db/")
