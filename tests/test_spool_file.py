"""The spool on a real file: owners, versions, damage, full and failing disks, crashes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from errno import ENOSPC
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from faulty_disk import faulty_disk
from mcp_ilert.errors import SpoolError, StartError, UnavailableError
from mcp_ilert.events import Delivery, Done, Kind, Settlement, Severity
from mcp_ilert.spool import open_spool, writer
from mcp_ilert.spool.checkpoints import Checkpoints
from mcp_ilert.spool.connection import migrations
from mcp_ilert.spool.damage import mark, mark_of
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.store import SqliteStore
from mcp_ilert.spool.view import SpoolView
from spools import T0, Clock, Woken, entry, opened

RULES = Rules()


async def lease_all(spool: WrittenSpool) -> list[tuple[str, Kind]]:
    leased = await spool.lease([Want("default", 1_000, 1_000)], {}, T0)
    return [(d.key, d.kind) for d in leased.deliveries]


async def test_what_waits_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A", "one"), entry("A", "two")])
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        assert await lease_all(spool) == [("one", Kind.ALERT), ("two", Kind.ALERT)]


async def test_a_lease_left_by_a_crash_is_taken_again_and_its_key_is_unknown(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A")])
        assert await lease_all(spool) == [("evt-1", Kind.ALERT)]
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("R")])
        assert await lease_all(spool) == [("evt-1", Kind.RESOLVE)]  # not cancelled: the alert may be open


async def test_a_second_owner_is_refused_and_told_who_holds_the_spool(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()):
        with pytest.raises(StartError, match=f"in use by process {os.getpid()} on "):
            async with opened("thread", tmp_path, RULES, Clock()):
                pass


async def test_a_link_to_a_spool_is_the_same_spool(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()):
        link = tmp_path / "link.db"
        link.symlink_to(tmp_path / "spool.db")
        with pytest.raises(StartError, match="in use by process"):
            async with open_spool(link, RULES, Woken(), Clock()):
                pass


async def test_a_spool_of_a_newer_version_is_refused_in_a_clear_line(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()):
        pass
    with apsw.Connection(str(tmp_path / "spool.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SpoolError, match="is of version 99; this mcp-ilert knows"):
        async with opened("thread", tmp_path, RULES, Clock()):
            pass
    with pytest.raises(SpoolError, match=r"is of version 99.*: use the newer mcp-ilert"):
        SpoolView(tmp_path / "spool.db")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (Path("none.db"), "none.db does not exist"),
        (Path("a.txt/spool.db"), "spool.db does not exist"),
        (Path("x" * 5000), "cannot be read (File name too long)"),
    ],
    ids=["none", "below a file", "cannot be told"],
)
def test_a_spool_that_cannot_be_looked_at_is_told_from_one_that_is_not_there(
    tmp_path: Path, path: Path, why: str
) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(SpoolError, match=re.escape(why)):
        SpoolView(tmp_path / path)


NEWER_THAN_1 = (
    "DROP TABLE message",
    "DROP TABLE ahead",
    "DROP TABLE lane_key",
    "DROP TABLE lane_young",
    "CREATE INDEX lane_hash ON lane (hash)",
    "DROP INDEX lane_dead",
    "DROP TABLE history",
    "DROP INDEX lane_digest",
    "ALTER TABLE lane DROP COLUMN digest",
    "ALTER TABLE target DROP COLUMN lanes",
    "ALTER TABLE ledger DROP COLUMN undigested",
)


async def test_an_older_spool_is_migrated_with_all_that_waits(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry()])
    connection = apsw.Connection(str(tmp_path / "spool.db"))
    for change in (*NEWER_THAN_1, "PRAGMA user_version = 1"):
        connection.execute(change)
    connection.close()
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        assert await lease_all(spool) == [("evt-1", Kind.ALERT)]
    with SpoolView(tmp_path / "spool.db") as view:
        assert view.dead(10) == []
        assert view.audit().error == 0
    assert len(migrations()) > 1


@pytest.mark.parametrize("damage", [b"not a database at all" * 300, b"SQLite format 3\0" + b"\xff" * 5_000])
async def test_a_damaged_spool_is_set_aside_and_the_bridge_starts(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(damage)
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry()])
        assert spool.counts().pending == 1
    (kept,) = tmp_path.glob("spool.db.damaged-*")
    assert kept.read_bytes() == damage


async def test_after_a_spool_was_set_aside_a_resolve_is_never_cancelled(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"damaged" * 1_000)
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A"), entry("R")])
        assert await lease_all(spool) == [("evt-1", Kind.RESOLVE)]


async def test_a_spool_found_damaged_in_use_is_set_aside_at_the_next_start_and_keys_are_unknown(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A", "before")])
    mark(path)
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A"), entry("R")])
        assert await lease_all(spool) == [("evt-1", Kind.RESOLVE)]
    assert not mark_of(path).exists()
    (kept,) = tmp_path.glob("spool.db.damaged-*")
    with SpoolView(kept) as view:
        assert [lane.key for lane in view.lanes(9)] == ["before"]


async def test_what_was_set_aside_is_not_written_over_by_the_next(tmp_path: Path) -> None:
    for content in (b"damaged once" * 1_000, b"damaged twice" * 1_000):
        (tmp_path / "spool.db").write_bytes(content)
        async with opened("thread", tmp_path, RULES, Clock()):
            pass
    assert len(list(tmp_path.glob("spool.db.damaged-*"))) == 2


async def test_a_log_without_its_file_is_set_aside_and_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "spool.db-wal").write_bytes(b"events" * 1_000)
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A"), entry("R")])
        assert await lease_all(spool) == [("evt-1", Kind.RESOLVE)]
    (kept,) = tmp_path.glob("spool.db.damaged-*-wal")
    assert kept.read_bytes() == b"events" * 1_000


async def test_the_spool_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()):
        assert {oct(p.stat().st_mode & 0o777) for p in tmp_path.glob("spool.db*")} == {"0o600"}


async def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"spool\.path: .*cannot be written"):
        async with open_spool(tmp_path / "file" / "spool.db", RULES, lambda _: None, Clock()):
            pass


async def test_where_the_history_finds_no_room_deliveries_are_settled_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("inline", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A", "a"), entry("A", "b")])
        want = Want("default", 2, 2)
        first, second = (await spool.lease([want], {}, T0)).deliveries
        shelf = spool._store.engine.shelf

        def no_room(*_: object) -> None:
            raise apsw.FullError("planned: the disk is full")

        with monkeypatch.context() as full:
            full.setattr(shelf, "add_history", no_room)
            await spool.settle([Settlement(first.lease, Done(), T0)], {}, T0)
        await spool.settle([Settlement(second.lease, Done(), T0)], {}, T0)
        assert spool.counts().delivered == 2
        kept = {key: len(shelf.history(key, 1 << 62, 9)) for key in (first.key, second.key)}
        assert kept == {first.key: 0, second.key: 1}


async def test_below_min_free_bytes_the_room_is_for_deliveries_and_not_for_their_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("inline", tmp_path, Rules(min_free_bytes=1_000), Clock()) as spool:
        await spool.put([entry("A", "a"), entry("A", "b")])
        first, second = (await spool.lease([Want("default", 2, 2)], {}, T0)).deliveries
        with monkeypatch.context() as scarce:
            scarce.setattr(spool._store, "free_bytes", lambda: 999)
            await spool.settle([Settlement(first.lease, Done(), T0)], {}, T0)
        await spool.settle([Settlement(second.lease, Done(), T0)], {}, T0)
        shelf = spool._store.engine.shelf
        kept = {key: len(shelf.history(key, 1 << 62, 9)) for key in (first.key, second.key)}
        assert kept == {first.key: 0, second.key: 1}


async def test_a_full_disk_refuses_events_and_recovers_by_itself(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry("A", "before")])
            disk.full = True
            with pytest.raises(UnavailableError, match="full"):
                await spool.put([entry("A", "during")])
            disk.full = False
            await spool.put([entry("A", "after")])
            assert [key for key, _ in await lease_all(spool)] == ["before", "after"]
            assert (spool.counts().accepted, spool.counts().error()) == (2, 0)


async def test_events_are_refused_while_less_than_min_free_bytes_is_free_but_deliveries_settle(
    tmp_path: Path,
) -> None:
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry()])
        spool.use(Rules(min_free_bytes=1 << 60))
        with pytest.raises(UnavailableError, match="min_free_bytes"):
            await spool.put([entry("A", "late")])
        (delivery,) = (await spool.lease([Want("default", 1, 1)], {}, T0)).deliveries
        await spool.settle([Settlement(delivery.lease, Done(), T0)], {}, T0)
        assert spool.counts().delivered == 1


async def test_a_failed_fsync_is_never_a_202_and_the_spool_goes_on(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry("A", "before")])
            disk.failing_syncs = 1
            with pytest.raises(UnavailableError, match="failed"):
                await spool.put([entry("A", "during")])
            await spool.put([entry("A", "after")])
            assert spool.counts().error() == 0
            keys = [key for key, _ in await lease_all(spool)]
            assert [k for k in keys if k != "during"] == ["before", "after"]
    with SpoolView(tmp_path / "spool.db") as view:
        assert view.audit().error == 0


async def test_a_disk_that_fails_again_ends_the_spool(tmp_path: Path) -> None:
    with faulty_disk() as disk, pytest.RaisesGroup(pytest.RaisesExc(StartError, match="failed twice")):
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry()])
            disk.failing_syncs = 1_000
            try:
                with pytest.raises(UnavailableError):
                    await spool.put([entry("A", "during")])
                await trio.sleep_forever()
            finally:
                disk.failing_syncs = 0


async def test_nobody_waits_for_ever_on_a_spool_that_ends(tmp_path: Path) -> None:
    refused = 0

    async def ask(spool: WrittenSpool, number: int) -> None:
        nonlocal refused
        try:
            await (lease_all(spool) if number % 2 else spool.put([entry("A", f"k{number}")]))
        except UnavailableError:
            refused += 1

    with faulty_disk() as disk, trio.fail_after(20), pytest.RaisesGroup(pytest.RaisesExc(StartError)):
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry()])
            disk.failing_syncs = 1_000
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for number in range(200):
                        nursery.start_soon(ask, spool, number)
                        if number % 20 == 0:
                            await trio.lowlevel.checkpoint()
            disk.failing_syncs = 0
    assert refused == 200


async def test_a_disk_that_fills_up_while_the_inbox_lags_is_a_503_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LAG_EVENTS", 10)
    with faulty_disk() as disk, trio.fail_after(20):
        async with opened("inline", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry("A", "first")])
            synced = disk.syncs
            disk.judge = lambda op, _: ENOSPC if op == "write" and disk.syncs > synced else None
            await spool.put([entry("A", f"k{i}") for i in range(40)])
            assert spool.counts().inbox == 40
            with pytest.raises(UnavailableError, match="disk"):
                await spool.put([entry("A", "refused")])
            disk.judge = lambda _op, _name: None
            await spool.put([entry("A", "last")])
            assert (spool.counts().inbox, spool.counts().accepted, spool.counts().error()) == (0, 42, 0)


async def test_a_lease_that_was_kept_though_its_commit_failed_is_not_left_to_nobody(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry("A", f"k{i}") for i in range(3)])
            disk.failing_syncs = 1
            first = (await spool.lease([Want("default", 1, 1)], {}, T0)).deliveries
            rest = await lease_all(spool)
            assert sorted([d.key for d in first] + [key for key, _ in rest]) == ["k0", "k1", "k2"]


async def test_a_lease_after_which_the_log_cannot_be_written_through_is_not_left_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [apsw.IOError("planned")]

    def committed(_self: Checkpoints) -> None:
        if faults:
            raise faults.pop()

    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A", f"k{i}") for i in range(3)])
        monkeypatch.setattr(Checkpoints, "committed", committed)
        first = (await spool.lease([Want("default", 1, 1)], {}, T0)).deliveries
        rest = await lease_all(spool)
        assert faults == []
        assert sorted([d.key for d in first] + [key for key, _ in rest]) == ["k0", "k1", "k2"]


async def test_every_put_waits_for_a_sync(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            for i in range(5):
                before = disk.syncs
                await spool.put([entry("A", f"k{i}")])
                assert disk.syncs > before


async def test_a_backup_of_a_running_spool_is_whole_and_never_overwrites(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A", f"k{i}") for i in range(100)])
        await spool.backup(copy)
        with pytest.raises(SpoolError, match="exists already"):
            await spool.backup(copy)
    with SpoolView(copy) as view:
        audit = view.audit()
        assert (audit.error, audit.counts.pending) == (0, 100)
    assert copy.stat().st_mode & 0o777 == 0o600


async def test_the_inbox_is_folded_in_order_when_the_writer_has_time(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        entries = [entry(kind, f"k{i}", text=f"{kind}{i}") for kind in "ACA" for i in range(300)]
        await spool.put(entries)
        for _ in range(1_000):
            if spool.counts().inbox == 0:
                break
            await trio.sleep(0.005)
        assert (spool.counts().lanes, spool.counts().error()) == (300, 0)
        assert set(await lease_all(spool)) == {(f"k{i}", Kind.ALERT) for i in range(300)}


WRITER = """
import sys, time
from pathlib import Path
import trio
from mcp_ilert.events import Entry, Kind, Severity
from mcp_ilert.spool import open_spool, writer
from mcp_ilert.spool.damage import mark, mark_of
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.port import Rules, Want

async def client(spool, name):
    for i in range(10_000):
        key = f"{name}-{i}"
        await spool.put([Entry(int(time.time() * 1000), Kind.ALERT, Severity.HIGH, "default", key, b"{}")])
        print(key, flush=True)

async def main():
    async with open_spool(Path(sys.argv[1]), Rules(), lambda _: None, lambda: int(time.time() * 1000)) as spool:
        async with trio.open_nursery() as nursery:
            for name in range(8):
                nursery.start_soon(client, spool, name)
            while True:
                await spool.lease([Want("default", 2, 2)], {}, int(time.time() * 1000))

trio.run(main)
"""


@pytest.mark.parametrize("after", [30, 400])
async def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path, after: int) -> None:
    path = tmp_path / "spool.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = {process.stdout.readline().strip() for _ in range(after)}
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    acknowledged |= set(rest[:-1])  # the last line may be cut
    process.stdout.close()
    process.wait()
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        assert spool.counts().error() == 0
    with SpoolView(path) as view:
        kept = {lane.key for lane in view.lanes(1_000_000)}
        assert view.audit().error == 0
    assert acknowledged - kept == set()


async def test_a_spool_whose_file_was_taken_away_takes_nothing_more_until_it_is_back(tmp_path: Path) -> None:
    path, away = tmp_path / "spool.db", tmp_path / "away.db"
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        await spool.put([entry("A", "before")])
        path.rename(away)
        with pytest.raises(UnavailableError, match="not where it was"):
            await spool.put([entry("A", "lost")])
        path.write_bytes(b"")
        with pytest.raises(UnavailableError, match="not where it was"):
            await spool.put([entry("A", "lost")])
        assert await lease_all(spool) == [("before", Kind.ALERT)]
        away.replace(path)
        await spool.put([entry("A", "after")])
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        assert await lease_all(spool) == [("before", Kind.ALERT), ("after", Kind.ALERT)]


async def test_a_spool_that_was_reopened_is_the_file_that_was_there_then(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    store = SqliteStore(path, RULES, Clock())
    assert store.in_place()
    shutil.copy(path, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(path)
    assert not store.in_place()
    store.reopen()
    assert store.in_place()
    store.close()


async def test_the_lock_file_says_who_and_is_free_again_after_a_crash(tmp_path: Path) -> None:
    async with opened("thread", tmp_path, RULES, Clock()):
        told = json.loads((tmp_path / "spool.db.lock").read_text())
        assert told["pid"] == os.getpid()
    async with opened("thread", tmp_path, RULES, Clock()):
        pass


def test_what_critical_events_bring_forward_again_and_again_is_counted_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "spool.db", RULES, Clock())
    burning = entry("A", "k", severity=Severity.CRITICAL, text="burning")
    for new in ([entry("A", "other")], [entry("A", "k")], [burning], [entry("A", "k")], [burning]):
        store.transact(partial(Engine.accept, entries=new, now_ms=T0, fold=False))
        with SpoolView(tmp_path / "spool.db") as view:
            assert view.audit().error == 0
        assert store.engine.counts().error() == 0
    assert (store.engine.counts().inbox, store.engine.counts().pending) == (1, 2)
    store.close()
    store = SqliteStore(tmp_path / "spool.db", RULES, Clock())
    assert (store.engine.counts().inbox, store.engine.counts().pending) == (1, 2)
    store.close()


def test_idle_lanes_are_forgotten_when_their_time_is_over(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "spool.db", RULES, Clock())
    new = [entry("A", "open"), entry("R", "closed")]
    leased: list[Delivery] = []
    store.transact(lambda e: e.accept(new, T0, fold=True))
    store.transact(lambda e: leased.extend(e.lease([Want("default", 2, 2)], {}, T0).deliveries))
    store.transact(lambda e: e.settle([Settlement(d.lease, Done(), T0) for d in leased], {}, T0))

    def kept(after_ms: int) -> set[str]:
        store.transact(lambda e: e.prune(T0 + after_ms))
        return set(store.engine.shelf.find(("open", "closed")))

    assert kept(RULES.dedupe_ms - 1) == {"open", "closed"}
    assert kept(RULES.dedupe_ms) == {"open"}
    assert kept(RULES.remember_open_ms) == set()
    store.close()


async def test_a_flood_that_cannot_be_folded_is_refused_and_taken_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LAG_EVENTS", 100)
    with faulty_disk() as disk:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            await spool.put([entry("A", f"k{i}") for i in range(200)])
            disk.full = True
            for _ in range(3):
                with pytest.raises(UnavailableError):
                    await spool.put([entry("A", "late")])
            disk.full = False
            await spool.put([entry("A", f"n{i}") for i in range(200)])
            while spool.counts().inbox:
                await spool.records()
            assert (spool.counts().lanes, spool.counts().error()) == (400, 0)


async def test_what_is_held_back_by_a_flood_is_committed_before_the_spool_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LAG_EVENTS", 10)
    told: list[object] = []
    async with opened("thread", tmp_path, RULES, Clock()) as spool:
        for first in range(0, 3_000, 100):
            spool.offer([[entry("A", f"k{first + i}") for i in range(100)]], told.append)
    with SpoolView(tmp_path / "spool.db") as view:
        assert (view.counts().accepted, view.audit().error) == (3_000, 0)
