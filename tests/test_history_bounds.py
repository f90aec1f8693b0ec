"""The history never exceeds its bounds: over random lives, sizes and clocks, after each transaction."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert.events import Done, Entry, Kind, Said, Settlement, Severity
from mcp_ilert.spool.chronicle import ROW_BYTES, cost
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.history import DECODE, told
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.store import MemoryStore, SqliteStore, Store
from spools import T0, Clock

HOUR_MS = 3_600_000
SPANS = st.sampled_from([0, 1, 60_000, HOUR_MS, 3 * HOUR_MS])
ACTS = st.tuples(
    st.sampled_from(["send", "cancel", "prune", "restart"]),
    st.integers(1, 6),
    st.sampled_from([0, 1, 20, 120, 255, 5_000]),
    SPANS,
)


class Life:
    """A store through which keys of any length pass."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self.clock = Clock()
        self.rules = Rules(
            history_bytes=max_bytes,
            history_ms=2 * HOUR_MS,
            dedupe_ms=0,
            tell=lambda payload: told("r", "s", payload.decode()),
        )
        self.folder = folder
        self.store = self.open()
        self.number = 0

    def open(self) -> Store:
        if self.folder is None:
            return MemoryStore(self.rules)
        return SqliteStore(self.folder / "spool.db", self.rules, self.clock)

    def entry(self, kind: Kind, i: int, width: int) -> Entry:
        key = f"{self.number}-{i}-" + "k" * width
        return Entry(self.clock(), kind, Severity.HIGH, "default", key, b"x" * width)

    def act(self, what: str, times: int, width: int, span_ms: int) -> None:
        self.clock.ms += span_ms
        self.number += 1
        now = self.clock()
        if what == "restart" and self.folder is not None:
            self.store.close()
            self.store = self.open()
        elif what == "prune":
            self.store.transact(lambda e: e.prune(now))
        else:
            alerts = [self.entry(Kind.ALERT, i, width) for i in range(times)]
            self.store.transact(lambda e: e.accept(alerts, now, fold=True))
            if what == "cancel":
                resolves = [self.entry(Kind.RESOLVE, i, width) for i in range(times)]
                self.store.transact(lambda e: e.accept(resolves, now, fold=True))
            else:
                self.send(times, width)

    def send(self, times: int, width: int) -> None:
        now = self.clock()
        said = Said(202, "t" * width, "c" * width)

        def work(e: Engine) -> None:
            leased = e.lease([Want("default", times, times)], {}, now).deliveries
            e.settle([Settlement(d.lease, Done(), now, said) for d in leased], {}, now)

        self.store.transact(work)

    def check(self, last: str) -> None:
        shelf = self.store.engine.shelf
        rows = shelf.oldest_history(10_000)
        counted = shelf.history_bytes()
        assert counted == sum(cost(size) for _, _, size in rows)
        assert counted <= self.rules.history_bytes
        if last != "restart" and rows:
            newest = max(at_ms for _, at_ms, _ in rows)
            assert all(at_ms > newest - self.rules.history_ms for _, at_ms, _ in rows)


@given(max_bytes=st.sampled_from([1, 400, 3_000, 20_000]), acts=st.lists(ACTS, max_size=25))
@settings(max_examples=60, deadline=None)
def test_the_history_on_disk_never_exceeds_its_bounds(
    max_bytes: int, acts: list[tuple[str, int, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder), max_bytes)
        try:
            for act in acts:
                life.act(*act)
                life.check(act[0])
        finally:
            life.store.close()


@given(max_bytes=st.sampled_from([1, 400, 3_000, 20_000]), acts=st.lists(ACTS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_history_in_memory_never_exceeds_its_bounds(
    max_bytes: int, acts: list[tuple[str, int, int, int]]
) -> None:
    life = Life(None, max_bytes)
    for act in acts:
        life.act(*act)
        life.check(act[0])


def test_one_long_note_makes_room_of_as_many_short_ones_as_it_needs(tmp_path: Path) -> None:
    life = Life(tmp_path, 40_000)
    for _ in range(150):
        life.act("cancel", 6, 0, 0)
    before = len(life.store.engine.shelf.oldest_history(10_000))
    for _ in range(6):
        life.act("send", 6, 255, 0)
        life.check("send")
    assert len(life.store.engine.shelf.oldest_history(10_000)) < before // 2
    life.store.close()


def test_a_smaller_bound_is_reached_by_and_by_in_slices(tmp_path: Path) -> None:
    life = Life(tmp_path, 1 << 30)
    for _ in range(500):
        life.act("cancel", 6, 10, 0)
    life.store.engine.lanes.rules = Rules(history_bytes=5_000)
    shelf = life.store.engine.shelf
    sizes = []
    for _ in range(5):
        life.store.transact(lambda e: e.prune(T0))
        sizes.append(len(shelf.oldest_history(10_000)))
    assert sizes[0] >= 3_000 - 1_064  # one slice a time
    assert shelf.history_bytes() <= 5_000
    life.store.close()


def test_a_rolled_back_transaction_leaves_no_note_and_no_byte_counted(tmp_path: Path) -> None:
    life = Life(tmp_path, 1 << 20)
    life.act("cancel", 3, 10, 0)
    counted = life.store.engine.shelf.history_bytes()

    def fail(engine: Engine) -> None:
        alerts = [life.entry(Kind.ALERT, 1, 5), life.entry(Kind.RESOLVE, 1, 5)]
        engine.accept(alerts, T0, fold=True)
        engine.history.flush(life.rules)
        raise RuntimeError("the transaction fails")

    with pytest.raises(RuntimeError, match="fails"):
        life.store.transact(fail)
    assert life.store.engine.shelf.history_bytes() == counted
    life.act("cancel", 1, 10, 0)
    life.check("cancel")
    life.store.close()


def test_a_row_on_disk_costs_about_what_is_counted(tmp_path: Path) -> None:
    """The file, less what it holds without the history, is within a half of the count."""
    life = Life(tmp_path, 1 << 30)
    for _ in range(1_500):
        life.act("cancel", 6, 20, 0)
    shelf = life.store.engine.shelf
    counted, rows = shelf.history_bytes(), len(shelf.oldest_history(100_000))
    life.store.close()
    on_disk = (tmp_path / "spool.db").stat().st_size
    assert rows == 9_000
    assert 0.6 * counted < on_disk < 1.5 * counted, (on_disk - counted) / rows + ROW_BYTES


def test_notes_of_a_key_are_read_newest_first_and_by_pages() -> None:
    life = Life(None, 1 << 20)
    entry = Entry(T0, Kind.ALERT, Severity.HIGH, "default", "Key", b"x")
    resolve = Entry(T0, Kind.RESOLVE, Severity.HIGH, "default", "key", b"y")
    for _ in range(5):
        life.store.transact(lambda e: e.accept([entry, resolve], T0, fold=True))
    shelf = life.store.engine.shelf
    first = shelf.history("key", 1 << 62, 3)
    rest = shelf.history("key", first[-1][0], 3)
    ids = [i for i, _, _ in (*first, *rest)]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5
    assert {DECODE(body).key for _, _, body in first} == {"Key"}
