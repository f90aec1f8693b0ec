"""Storms on virtual time: digests in place of pages, and nothing that matters held up by them."""

import itertools
from collections.abc import Mapping, Sequence

import msgspec
import trio
from trio.testing import MockClock

from dispatch_world import OK, FakeTarget, World, world
from mcp_ilert.events import Delivery, Kind, Outcome, Rejected, Severity, Unavailable
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.port import Change, Changed, Gather, Leased, Rules, Want

MEDIUM, HIGH, CRITICAL = Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL
STORM = 1_000


def brief(payload: bytes) -> Brief:
    """`source-key number`: the group is what stands before the dash."""
    text = payload.decode()
    return Brief(text.partition("-")[0], f"{text.split()[0]} is down")


RULES = Rules(brief=brief)


def storm_of(number: int, sources: int = 3) -> list[str]:
    return [f"src{i % sources}-{i}" for i in range(number)]


def digests(target: FakeTarget) -> list[Delivery]:
    return [delivery for _, delivery in target.came if delivery.digest]


def alone(target: FakeTarget) -> list[str]:
    return [delivery.key for _, delivery in target.came if not delivery.digest]


def facts(delivery: Delivery) -> dict[str, object]:
    event = msgspec.json.decode(delivery.payload)
    found: dict[str, object] = event["digest"]
    return found


def digested(made: World) -> int:
    counts = made.spool.counts()
    assert counts.error() == 0
    return counts.digested


async def test_a_storm_pages_a_few_digests(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(5_000), severity=MEDIUM)
        await trio.sleep(600)
        sent = digests(made.target)
        assert len(alone(made.target)) <= 10  # what the burst allows before the backlog is known
        assert {d.key.split("/")[1] for d in sent} == {"src0", "src1", "src2"}
        assert len(sent) <= 6
        assert sum(d.count for d in {d.key: d for d in sent}.values()) + len(alone(made.target)) == 5_000
        assert digested(made) == 5_000 - len(alone(made.target))
        assert made.spool.counts().pending == 0
        assert made.metrics.value("digest_alerts_total") == len(sent)
        assert made.metrics.value("out_success_total") == len(alone(made.target))


async def test_critical_and_high_alerts_still_go_out_alone(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(STORM), severity=MEDIUM)
        await trio.sleep(30)
        await made.put("src0-fire", severity=CRITICAL)
        await made.put("src0-smoke", severity=HIGH)
        await trio.sleep(5)
        assert {"src0-fire", "src0-smoke"} <= set(alone(made.target))


async def test_a_digested_alert_that_becomes_high_goes_out_alone(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(STORM), severity=MEDIUM)
        await trio.sleep(30)
        before = digested(made)
        await made.put("src0-600", severity=HIGH)
        await trio.sleep(5)
        assert alone(made.target)[-1] == "src0-600"
        assert digested(made) == before - 1


async def test_resolves_close_the_digest_when_none_is_left(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        keys = storm_of(STORM, sources=1)
        await made.put(*keys, severity=MEDIUM)
        await trio.sleep(60)
        (page,) = {d.key for d in digests(made.target)}
        last = keys.pop(STORM // 2)
        await made.put(*keys, kind=Kind.RESOLVE, severity=MEDIUM)
        await trio.sleep(1_200)
        assert [d.kind for d in digests(made.target)].count(Kind.RESOLVE) == 0
        assert facts(digests(made.target)[-1])["unresolved"] == 1
        await made.put(last, kind=Kind.RESOLVE, severity=MEDIUM)
        await trio.sleep(70)
        assert (digests(made.target)[-1].key, digests(made.target)[-1].kind) == (page, Kind.RESOLVE)
        assert made.spool.counts().pending == 0


async def test_a_digest_is_sent_again_at_most_once_a_minute(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(STORM, sources=1), severity=MEDIUM)
        for i in range(300):
            await trio.sleep(1)
            await made.put(*(f"src0-late{i}-{j}" for j in range(3)), severity=MEDIUM)
        times = [at for at, d in made.target.came if d.digest]
        assert 3 <= len(times) <= 6
        assert all(b - a >= 60 for a, b in itertools.pairwise(times))


async def test_after_a_storm_each_alert_goes_alone_again(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(STORM), severity=MEDIUM)
        await trio.sleep(100)
        await made.put("src0-within", severity=MEDIUM)
        await trio.sleep(300)
        assert "src0-within" not in alone(made.target)
        await made.put("src0-after", severity=MEDIUM)
        await trio.sleep(5)
        assert alone(made.target)[-1] == "src0-after"


async def test_a_backlog_that_drains_in_time_makes_no_digest(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(200), severity=MEDIUM)
        await trio.sleep(600)
        assert len(alone(made.target)) == 200
        assert not digests(made.target)


async def test_many_keys_that_share_the_address_are_in_a_storm_where_one_would_not_be(
    autojump_clock: MockClock,
) -> None:
    """150 lanes drain in four minutes at the pace of a key; not where forty keys have the address's pace in common."""
    targets = [FakeTarget(f"t{i}") for i in range(40)]
    async with world(*targets, rules=RULES) as made:
        for target in targets:
            await made.put(*(f"{target.name}-{i}" for i in range(150)), severity=MEDIUM, target=target.name)
        await trio.sleep(300)
        assert all(digests(target) for target in targets)
        assert digested(made) > 40 * 100


async def test_keys_that_rest_do_not_make_a_storm_of_one_that_does_not(autojump_clock: MockClock) -> None:
    targets = [FakeTarget(f"t{i}") for i in range(40)]
    async with world(*targets, rules=RULES) as made:
        await made.put(*(f"t0-{i}" for i in range(150)), severity=MEDIUM, target="t0")
        await trio.sleep(300)
        assert digested(made) == 0


async def test_an_outage_in_the_middle_of_a_storm_loses_nothing(autojump_clock: MockClock) -> None:
    async with world(rules=RULES, max_attempts=2) as made:

        def down(_delivery: Delivery) -> Outcome:
            return Unavailable("connection refused", certain=True)

        made.target.answer = down
        await made.put(*storm_of(STORM), severity=MEDIUM)
        await made.put("src0-fire", severity=CRITICAL)
        await trio.sleep(1_800)
        made.target.answer = lambda _delivery: OK
        made.target.came.clear()
        await trio.sleep(3_600)
        counts = made.spool.counts()
        assert (counts.error(), counts.dead, counts.pending) == (0, 0, 0)
        assert counts.delivered == len(set(alone(made.target)))
        assert "src0-fire" in alone(made.target)
        assert {d.key.split("/")[1] for d in digests(made.target)} == {"src0", "src1", "src2"}
        assert counts.digested + counts.delivered == STORM + 1


async def test_a_rejected_digest_gives_its_alerts_back_and_they_go_alone(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        made.target.answer = lambda d: Rejected(400, "too long") if d.digest else OK
        await made.put(*storm_of(500), severity=MEDIUM)
        await trio.sleep(3_000)
        counts = made.spool.counts()
        assert len(digests(made.target)) <= 6  # each is tried twice
        assert (counts.digested, counts.delivered, counts.dead) == (0, 500, 0)
        assert counts.undigested > 0
        assert counts.error() == 0


async def test_too_many_sources_share_a_digest(autojump_clock: MockClock) -> None:
    async with world(rules=RULES) as made:
        await made.put(*storm_of(1_000, sources=40), severity=MEDIUM)
        await trio.sleep(120)
        names = {d.key.split("/")[1] for d in digests(made.target)}
        assert "others" in names
        assert len(names) == 11


async def test_gathering_leaves_the_spool_most_of_its_time(autojump_clock: MockClock, monkeypatch) -> None:
    async with world(rules=RULES) as made:
        busy: list[tuple[float, float]] = []
        change, lease = made.spool.change, made.spool.lease

        async def slow_change(what: Change, now_ms: int) -> Changed:
            begun = trio.current_time()
            if isinstance(what, Gather):
                await trio.sleep(0.1)
                busy.append((begun, 0.1))
            return await change(what, now_ms)

        async def slow_lease(wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
            begun = trio.current_time()
            leased = await lease(wants, states, now_ms)
            if any(agenda.digested for agenda in leased.agenda.values()):
                await trio.sleep(0.1)
                busy.append((begun, 0.1))
            return leased

        monkeypatch.setattr(made.spool, "change", slow_change)
        monkeypatch.setattr(made.spool, "lease", slow_lease)
        await made.put(*storm_of(5_000), severity=MEDIUM)
        await trio.sleep(120)
        assert digested(made) > 4_900
    first, last = busy[0][0], busy[-1][0] + 0.1
    assert len(busy) > 20
    assert sum(seconds for _, seconds in busy) <= 0.6 * (last - first)
