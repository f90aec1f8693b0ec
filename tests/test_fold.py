"""Folding many events at once gives what folding one by one gives, whatever is folded ahead or after a crash."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from fast import load_fast
from mcp_ilert.events import DROP, Again, Decision, Done, Entry, Kind, Settlement, Severity
from mcp_ilert.spool import digest, folder, sqlite, tail
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.lane import Folded, Lane, Op, Remote, arrive, arrive_run
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.store import SqliteStore
from mcp_ilert.spool.tail import Batch
from mcp_ilert.spool.view import SpoolView
from spools import T0, Clock, entry

RULES = Rules(max_pending=1 << 40)
KEYS = ("a", "B", "b", "c", "d", "e")


@pytest.fixture(scope="module", params=["compiled", "pure"])
def folding(request):
    return load_fast("folding", pure=request.param == "pure")


entries = st.builds(
    entry,
    st.sampled_from("AAAAACR"),
    st.sampled_from(KEYS),
    at=st.integers(T0 - 20, T0 + 20),
    severity=st.sampled_from([Severity.CRITICAL, *[Severity.HIGH, Severity.MEDIUM, Severity.LOW] * 3]),
    target=st.sampled_from(["default"] * 6 + ["other", DROP]),
    text=st.sampled_from(["x", "y", ""]),
)
alerts = st.lists(
    st.builds(
        entry,
        st.just("A"),
        at=st.integers(T0 - 5, T0 + 5),
        severity=st.sampled_from(Severity),
        text=st.sampled_from(["x", "y"]),
    ),
    min_size=1,
    max_size=5,
)
lanes = st.builds(
    Lane,
    st.just("evt-1"),
    st.sampled_from([0, 1, 2, 3]),
    st.lists(
        st.builds(
            Op,
            st.sampled_from([Kind.ALERT, Kind.ALERT, Kind.RESOLVE]),
            st.sampled_from(Severity),
            st.integers(1, 3),
            st.just(T0 - 3),
            st.just(T0 + 3),
            st.just(5),
            st.sampled_from([b"x", b"z"]),
            st.booleans(),
        ),
        max_size=1,
    ).map(tuple),
    st.none() | st.just(Op(Kind.ALERT, Severity.LOW, 1, T0, T0, 4, b"f")),
    dead=st.booleans(),
    attempts=st.integers(0, 2),
    rejections=st.sampled_from([0, 0, 1]),
    due_ms=st.sampled_from([0, T0 + 9]),
    revivals=st.sampled_from([0, 0, 1]),
    seq=st.just(5),
    digest=st.sampled_from([b"", b"", b"d"]),
    delivered_ms=st.sampled_from([0, T0 - 60_000]),
)


@given(lanes, alerts)
def test_a_run_of_alerts_is_folded_as_one_after_the_other(folding, lane, run):
    name, severity, count, first_ms, last_ms, payload = folding.run_of(run)
    assert name == "default"
    op = Op(Kind.ALERT, severity, count, first_ms, last_ms, count, payload)
    folded = arrive_run(lane, op, 60_000)
    coalesced = 0
    for one in run:
        made = arrive(lane, one, dedupe_ms=60_000, cancel_resolved=True)
        lane, coalesced = made.lane, coalesced + made.coalesced
    assert folded is None or (folded.lane, folded.coalesced) == (lane, coalesced)


def test_an_ordinary_run_is_folded_in_one_step(folding):
    run = folding.run_of([entry(at=T0), entry(at=T0 + 1)])
    op = Op(Kind.ALERT, run[1], run[2], run[3], run[4], 2, run[5])
    assert arrive_run(Lane("evt-1"), op, 60_000) is not None
    assert arrive_run(Lane("evt-1", waiting=(op,), seq=2), op, 60_000) is not None


def test_a_run_is_folded_in_one_step_behind_a_request_in_flight_however_lately_the_last_one_was_delivered(
    folding,
):
    run = folding.run_of([entry(at=T0), entry(at=T0 + 1)])
    op = Op(Kind.ALERT, run[1], run[2], run[3], run[4], 2, run[5])
    idle = Lane("evt-1", remote=Remote.OPEN, digest=b"d", delivered_ms=T0 - 5)
    assert arrive_run(idle, op, 60_000) is None  # it may repeat what was delivered
    flying = msgspec.structs.replace(idle, flying=op)
    assert arrive_run(flying, op, 60_000) is not None


def test_of_a_run_only_what_repeats_the_last_delivery_is_folded_by_itself(tmp_path, monkeypatch):
    """A slice that holds nothing but a key's flood is one transaction, for which leases wait."""
    singly: list[Entry] = []

    def counted(lane: Lane, one: Entry, **rules: Any) -> Folded:
        singly.append(one)
        return arrive(lane, one, **rules)

    monkeypatch.setattr(folder, "arrive", counted)
    store = begun(tmp_path / "s.db")
    try:
        again = [entry("A", "b", at=T0 + i, text="x") for i in range(3)]
        flood = [entry("A", "b", at=T0 + i, text=f"{i}") for i in range(3, 1000)]
        accept(store, [*again, *flood], fold=True)
        counts = store.engine.counts()
    finally:
        store.close()
    assert len(singly) <= len(again) + 1
    assert counts.error() == 0
    assert counts.coalesced == len(again) + len(flood) - 1


@given(lanes, alerts)
def test_a_run_of_alerts_is_folded_into_a_member_of_a_digest_as_one_after_the_other(folding, lane, run):
    member = digest.enter(msgspec.structs.replace(lane, flying=None, remote=Remote.NONE, dead=False), 7, T0)
    _, severity, count, first_ms, last_ms, payload = folding.run_of(run)
    op = Op(Kind.ALERT, severity, count, first_ms, last_ms, count, payload)
    folded = digest.arrive_run(member, op, T0 + 9)
    coalesced = 0
    for one in run:
        made = digest.arrive(member, one, T0 + 9)
        member, coalesced = made.lane, coalesced + made.coalesced
    assert folded is None or (folded.lane, folded.coalesced, folded.digested) == (member, coalesced, 0)


def test_a_flood_of_a_member_of_a_digest_is_folded_in_one_step_and_its_digest_says_what_came_last(tmp_path):
    """A slice that holds nothing but a member's flood is one transaction, for which leases wait."""
    asked: list[bytes] = []

    def brief(payload: bytes) -> Brief:
        asked.append(payload)
        return Brief("probe", payload.decode())

    store = SqliteStore(tmp_path / "s.db", Rules(max_pending=1 << 40, brief=brief), Clock())
    try:
        low, medium = Severity.LOW, Severity.MEDIUM
        accept(store, [entry(key=key, text="x", severity=low) for key in ("a", "b")], fold=True)
        store.transact(lambda e: e.digests.gather(1, T0))
        flood = [entry(key="a", text=f"{i}", severity=low if i else medium) for i in range(1_000)]
        accept(store, flood, fold=True)
        counts = store.engine.counts()
        (of_digest,) = [store.engine.lanes.row(n) for n in store.engine.shelf.marked(digest.GATHERS, 9)]
        assert store.engine.shelf.marked(of_digest.id, 9)
        gathers = of_digest.lane.gathers
    finally:
        store.close()
    assert len(asked) < 10
    assert gathers is not None
    assert gathers.unresolved == (0, 0, 1, 1)
    assert {told.summary for told in gathers.told} == {"x", "999"}
    assert (counts.error(), counts.digested, counts.coalesced) == (0, 2, 1_000)


def test_a_member_leaves_its_digest_with_the_one_of_a_run_that_is_severe_enough(tmp_path):
    store = SqliteStore(tmp_path / "s.db", RULES, Clock())
    try:
        low = Severity.LOW
        accept(store, [entry(key=key, text="x", severity=low) for key in ("a", "b")], fold=True)
        store.transact(lambda e: e.digests.gather(1, T0))
        run = [entry(key="a", text="y", severity=each) for each in (low, Severity.HIGH, low)]
        accept(store, run, fold=True)
        counts = store.engine.counts()
        assert (counts.error(), counts.digested, counts.undigested, counts.members) == (0, 1, 1, 1)
        (lane,) = [row.lane for row in store.engine.shelf.find(("a",))["a"]]
        assert (lane.member, lane.waiting[0].count, lane.waiting[0].severity) == (0, 4, Severity.HIGH)
    finally:
        store.close()


def test_what_is_not_all_alerts_for_one_target_is_no_run(folding):
    assert folding.run_of([entry("A"), entry("R")]) is None
    assert folding.run_of([entry("C")]) is None
    assert folding.run_of([entry(), entry(target="other")]) is None


@given(st.lists(entries))
def test_entries_are_sifted_and_grouped(folding, given_entries):
    kept: list[Entry] = []
    critical: set[str] = set()
    size = folding.sift(given_entries, kept, critical)
    assert kept == [e for e in given_entries if e.target != DROP or e.kind is not Kind.ALERT]
    assert critical == {e.key.lower() for e in kept if e.severity is Severity.CRITICAL}
    assert size == sum(len(e.payload) for e in kept)
    groups: dict[str, list[Entry]] = {}
    folding.group(kept, groups)
    assert {key: [e for e in kept if e.key.lower() == key] for key in groups} == groups
    assert sum(map(len, groups.values())) == len(kept)


@contextlib.contextmanager
def small() -> Iterator[None]:
    """Slices, chunks and the table of new lanes so small that a few events go through many of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "SLICE_EVENTS", 5)
        patch.setattr(tail, "SLICE_KEYS", 3)
        patch.setattr(tail, "PART_KEYS", 1)
        patch.setattr(folder, "CHUNK", 2)
        patch.setattr(sqlite, "AGE_EVERY", 2)
        yield


def accept(store: SqliteStore, new: Sequence[Entry], *, fold: bool) -> None:
    store.transact(lambda engine: engine.accept(new, T0, fold=fold))


def begun(path: Path) -> SqliteStore:
    """A spool in which keys have a past: one is open, one was just delivered, one backs off."""
    store = SqliteStore(path, RULES, Clock())
    for key in ("a", "b", "c"):
        accept(store, [entry(key=key, text="x")], fold=True)
    leased: list[int] = []
    store.transact(
        lambda e: leased.extend(d.lease for d in e.lease([Want("default", 9, 9)], {}, T0).deliveries)
    )
    ends: tuple[Decision, ...] = (Done(), Done(), Again(T0 + 9, 1, 0, certain=False))
    store.transact(
        lambda e: e.settle([Settlement(n, end, T0) for n, end in zip(leased, ends, strict=True)], {}, T0)
    )
    return store


def kept(store: SqliteStore) -> dict[tuple[str, int], Lane]:
    """The lanes, but for what begins anew in one that was forgotten meanwhile: its numbers, its key's spelling."""
    found = store.engine.shelf.find(tuple({key.lower() for key in KEYS}))
    return {(key, row.target): unnumbered(row.lane) for key, rows in found.items() for row in rows}


def of(lanes: dict[tuple[str, int], Lane], keys: set[str]) -> dict[tuple[str, int], Lane]:
    return {place: lane for place, lane in lanes.items() if place[0] in keys}


def unnumbered(lane: Lane) -> Lane:
    replace = msgspec.structs.replace
    return replace(
        lane, key=lane.key.lower(), seq=0, waiting=tuple(replace(op, seq=0) for op in lane.waiting)
    )


ACCEPTS = ("append", "accept")
steps = st.lists(
    st.tuples(st.sampled_from(["append", "append", "accept", "fold", "load"]), st.lists(entries, max_size=8)),
    max_size=8,
)


@tuned(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps)
def test_however_events_are_gathered_the_lanes_are_as_if_each_were_folded_at_once(drawn):
    with TemporaryDirectory() as name, small():
        one, many = begun(Path(name) / "one.db"), begun(Path(name) / "many.db")
        with SpoolView(Path(name) / "many.db") as view:
            for step, given_entries in drawn:
                for event in given_entries if step in ACCEPTS else ():
                    accept(one, [event], fold=True)
                if step == "append" and not Batch(given_entries).critical:
                    many.append(Batch(given_entries))
                elif step in ACCEPTS:
                    accept(many, given_entries, fold=step == "accept")
                elif step == "fold":
                    many.transact(lambda e: e.fold(T0))
                else:
                    many.engine.load()
                assert view.audit().error == 0
                assert many.engine.counts().error() == 0
                critical = Batch(given_entries).critical if step in ACCEPTS else set()
                assert of(kept(many), critical) == of(kept(one), critical)
        while many.engine.inbox.tail:
            many.transact(lambda e: e.fold(T0))
        assert kept(many) == kept(one)
        assert many.engine.counts() == one.engine.counts()
        one.close()
        many.close()


def test_something_critical_is_folded_at_once_and_the_rest_of_the_tail_is_not(tmp_path):
    store = SqliteStore(tmp_path / "spool.db", RULES, Clock())
    store.append(Batch([entry(key=f"k{i}") for i in range(100)]))
    fire = entry(key="K7", severity=Severity.CRITICAL, text="fire")
    accept(store, [entry(key="k8"), fire], fold=False)
    assert store.engine.counts().inbox == 100
    leased: list[tuple[str, bytes, int]] = []
    store.transact(
        lambda e: leased.extend(
            (d.key, d.payload, d.count) for d in e.lease([Want("default", 9, 9)], {}, T0).deliveries
        )
    )
    assert leased == [("k7", b"fire", 2)]
    store.close()


def test_lanes_are_found_wherever_their_hash_is_kept_and_forgotten_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "AGE_EVERY", 10)
    store = SqliteStore(tmp_path / "spool.db", RULES, Clock())
    keys = [f"k{i}" for i in range(300)]
    for key in keys:
        accept(store, [entry(key=key)], fold=True)
    connection = store.engine.shelf.connection  # type: ignore[attr-defined]
    young = connection.execute("SELECT count(*) FROM lane_young").get
    old = connection.execute("SELECT count(*) FROM lane_key").get
    assert (young + old, young > 0, old > 0) == (300, True, True)
    rows = store.engine.shelf.find(keys)
    assert [rows[key][0].lane.key for key in keys] == keys
    store.transact(lambda e: e.shelf.remove([row for found in rows.values() for row in found]))
    for table in ("lane", "lane_young", "lane_key"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0
    store.close()
