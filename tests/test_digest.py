"""The pure parts of digests: what one says of its members, when a storm is on; and a crash while it is given back."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.config import Match, RouteSettings, Settings
from mcp_ilert.decode.native import decode_event
from mcp_ilert.dispatch import storm
from mcp_ilert.dispatch.storm import Storm
from mcp_ilert.events import DeadByRejection, Delivery, Kind, Settlement, Severity
from mcp_ilert.mapping import Mapper
from mcp_ilert.service.parts import interpreter
from mcp_ilert.spool.changes import step
from mcp_ilert.spool.gathering import (
    TOLD_KEPT,
    TOLD_SHOWN,
    Brief,
    Gathering,
    joined,
    key_of,
    left,
    payload,
)
from mcp_ilert.spool.port import Gather, Rules, Want
from mcp_ilert.spool.store import SqliteStore
from spools import T0, Clock, entry

MEDIUM, LOW = Severity.MEDIUM, Severity.LOW
MEMBERS = st.lists(st.tuples(st.sampled_from([MEDIUM, LOW]), st.text(max_size=300)), max_size=60)


def gathering_of(members: list[tuple[Severity, str]]) -> Gathering:
    made = Gathering("db")
    for severity, summary in members:
        made = joined(made, severity, summary, T0)
    return made


@given(members=MEMBERS)
def test_a_gathering_counts_its_members_and_stays_small(members: list[tuple[Severity, str]]) -> None:
    made = gathering_of(members)
    assert made.members() == len(members)
    assert len(made.told) <= TOLD_KEPT
    assert len(msgspec.msgpack.encode(made)) < 20_000
    for severity, summary in members:
        made = left(made, severity, summary, resolved=True)
    assert (made.members(), made.told, made.resolved) == (0, (), len(members))


@given(members=MEMBERS.filter(bool), group=st.text(min_size=1, max_size=255).filter(str.strip))
def test_a_digest_is_always_an_event_that_can_be_sent(
    members: list[tuple[Severity, str]], group: str
) -> None:
    group = group.replace("\0", "") or "x"
    made = msgspec.structs.replace(gathering_of(members), group=group)
    for kind in (Kind.ALERT, Kind.RESOLVE):
        event = decode_event(payload(made, key_of(group, "0123456789abcdef"), kind).replace(b"\\u0000", b""))
        assert event.source == group
        assert len(event.summary) < 1_024


def test_the_most_telling_summaries_are_the_severest_and_then_the_most_frequent() -> None:
    made = gathering_of([(LOW, "frequent")] * 5 + [(LOW, "rare")] + [(MEDIUM, "severe")])
    assert [t.summary for t in made.told] == ["severe", "frequent", "rare"]
    made = gathering_of([(LOW, f"s{i}") for i in range(30)])
    details = msgspec.json.decode(payload(made, "k", Kind.ALERT))["details"]
    assert details.count("\n- ") == TOLD_SHOWN


def test_a_digest_matches_routes_as_the_worst_of_its_alerts_does() -> None:
    lesser = RouteSettings(name="lesser", match=Match(source="db", severity=("medium",)), routing_key="ops")
    interpret = interpreter(Mapper(Settings(routes=(lesser,))))
    text = payload(gathering_of([(LOW, "a"), (MEDIUM, "b")]), "k", Kind.ALERT)
    own = Delivery(1, "default", "k", Kind.ALERT, MEDIUM, text, 2, T0, T0, 0, 0, 0, digest=True)
    assert interpret(own)[1].routing_key == "ops"
    assert interpret(msgspec.structs.replace(own, severity=LOW))[1].routing_key is None


def test_a_new_storm_begins_its_digest_anew() -> None:
    made = left(gathering_of([(MEDIUM, "old")]), MEDIUM, "old", resolved=True)
    made = joined(made, LOW, "new", T0 + 5)
    assert (made.members(), made.resolved, made.since_ms) == (1, 0, T0 + 5)


# When a storm is on ----------------------------------------------------------------------------------------------

RATE = 40 / 60
AFTER = 300.0


def test_a_storm_begins_when_the_backlog_takes_longer_than_after_seconds_to_drain() -> None:
    assert not storm.weighed(Storm(), 200, 0, RATE, AFTER, 0).on
    assert not storm.weighed(Storm(), 210, 10, RATE, AFTER, 0).on
    assert storm.weighed(Storm(), 201, 0, RATE, AFTER, 0).on


def test_a_storm_ends_only_when_what_is_left_drains_in_half_of_it() -> None:
    on = storm.weighed(Storm(), 500, 0, RATE, AFTER, 0)
    assert storm.weighed(on, 101, 0, RATE, AFTER, 1).on
    assert not storm.weighed(on, 100, 0, RATE, AFTER, 1).on


@given(lanes=st.integers(1, 10**7), backlog=st.integers(201, 10**7))
def test_what_digests_took_keeps_a_storm_on_for_a_while_and_not_for_ever(lanes: int, backlog: int) -> None:
    on = storm.weighed(Storm(), backlog, 0, RATE, AFTER, 0)
    taken = storm.gathered(on, max(lanes, 200), RATE, AFTER, 0)
    assert storm.weighed(taken, 0, 0, RATE, AFTER, AFTER / 2 - 1).on
    assert not storm.weighed(taken, 0, 0, RATE, AFTER, AFTER / 2 + 1).on


def test_after_a_rejected_digest_none_is_made_for_an_hour() -> None:
    barred = storm.suspended(storm.weighed(Storm(), 500, 0, RATE, AFTER, 0), 0)
    assert not storm.weighed(barred, 10**6, 0, RATE, AFTER, 3_599).on
    assert storm.weighed(barred, 10**6, 0, RATE, AFTER, 3_600).on


# A crash ---------------------------------------------------------------------------------------------------------


def test_a_crash_while_members_are_given_back_loses_none(tmp_path: Path) -> None:
    clock = Clock()
    rules = Rules(brief=lambda _payload: Brief("db", "x"))

    def store() -> SqliteStore:
        return SqliteStore(tmp_path / "spool.db", rules, clock)

    first = store()
    new = [entry("A", f"k{i}", severity=MEDIUM) for i in range(500)]
    first.transact(lambda e: e.accept(new, T0, fold=True))
    for _ in range(3):
        first.transact(lambda e: step(e, Gather("default"), 0, T0))
    clock.forward(6)
    deliveries: list[Delivery] = []
    first.transact(lambda e: deliveries.extend(e.lease([Want("default", 1, 1)], {}, clock()).deliveries))
    rejected = Settlement(deliveries[0].lease, DeadByRejection(400, "no"), clock())
    first.transact(lambda e: e.settle([rejected], {}, clock()))
    first.transact(lambda e: e.digests.give_back(clock()))
    first.close()
    second = store()
    assert 0 < second.engine.counts().digested < 500
    while second.engine.digests.busy:
        second.transact(lambda e: e.digests.give_back(clock()))
    counts = second.engine.counts()
    assert (counts.digested, counts.undigested, counts.pending, counts.error()) == (0, 500, 500, 0)
    second.close()
