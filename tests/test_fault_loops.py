"""The first, second, third … operation of a kind on the disk fails, until a run ends without a fault; whatever the
spool is doing. Nothing answered is lost, nothing is half kept, nobody waits for ever, and nothing but a StartError
ends it.

`MCP_ILERT_FAULTS=all` fails every one, once and from then on, with EIO and with ENOSPC; else a choice of them.
"""

import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from faulty_disk import OPS, Disk, faulty_disk, looking_at
from mcp_ilert.errors import SpoolError, StartError, UnavailableError
from mcp_ilert.events import Again, DeadByRejection, Decision, Delivery, Done, Entry, Kind, Settlement
from mcp_ilert.spool import checkpoints
from mcp_ilert.spool.changes import SLICE
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.port import Drop, Replay, Retarget, Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.store import SqliteStore
from spool_life import SpoolLife
from spools import T0, Clock, entry

# Planned errors come up where apsw has nobody to tell: in the close of a connection, in the hook of the log.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None")
ALL = os.environ.get("MCP_ILERT_FAULTS") == "all"
CODES = (errno.EIO, errno.ENOSPC)
WAYS = [(code, lasting) for code in CODES for lasting in (False, True)]
RULES = Rules()
GARBAGE = b"this was a spool once" * 400


class Scene:
    """A spool in a folder on a disk that may fail, and what was answered."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.path = folder / "spool.db"
        self.disk = disk
        self.life = SpoolLife(folder, RULES, Clock(), "thread")
        self.kept: set[str] = set()
        """Keys of events that were answered 202, or are there from before."""
        self.perhaps: list[set[str]] = []
        """Keys of requests that were answered 503."""
        self.held: set[str] = set()
        self.delivered: set[str] = set()
        self.dropped: set[str] = set()
        self.leased_before: Sequence[Delivery] = ()
        self.started = False

    def start(self) -> None:
        if not self.started:
            self.life.start()
            self.started = True

    def put(self, *keys: str) -> None:
        try:
            self.life.ask(lambda spool: spool.put([entry("A", key) for key in keys]))
            self.kept |= set(keys)
        except UnavailableError:
            self.perhaps.append(set(keys))

    def lease(self, tokens: int = 10) -> Sequence[Delivery]:
        async def act(spool: WrittenSpool) -> Sequence[Delivery]:
            want = Want("default", tokens, tokens)
            return (await spool.lease([want], {"default": b"state"}, T0)).deliveries

        try:
            got = self.life.ask(act)
        except UnavailableError:
            return ()
        self.held |= {d.key for d in got}
        return got

    def settle(self, delivery: Delivery, decision: Decision) -> None:
        settlement = Settlement(delivery.lease, decision, T0)
        try:
            self.life.ask(lambda spool: spool.settle([settlement], {}, T0))
        except UnavailableError:
            return
        self.held.discard(delivery.key)
        if isinstance(decision, Done):
            self.delivered.add(delivery.key)

    def change(self, change: Replay | Drop | Retarget) -> None:
        with suppress(UnavailableError):
            self.life.ask(lambda spool: spool.change(change, T0))

    def backup(self, copy: Path) -> None:
        try:
            self.life.ask(lambda spool: spool.backup(copy))
        except SpoolError:
            assert not copy.exists() or self.disk.faults > 1  # it could not be removed either
        else:
            with looking_at(copy) as view:
                assert view.audit().error == 0
                assert self.kept <= {lane.key for lane in view.lanes(1_000)}

    # What must be true afterwards --------------------------------------------------------------------------------

    def nobody_waits_for_a_lease_that_nobody_has(self) -> None:
        with looking_at(self.path) as view:
            leased = {lane.key for lane in view.lanes(10_000) if lane.state == "leased"}
        assert leased <= self.held

    def all_is_there_once(self) -> None:
        with looking_at(self.path) as view:
            audit = view.audit()
            known = {key: view.show(key) for keys in (self.kept, *self.perhaps) for key in keys}
        assert audit.error == 0, audit
        present = {key for key, lanes in known.items() if lanes} | self.dropped
        assert self.kept <= present
        assert all(keys <= present or not keys & present for keys in self.perhaps)
        assert audit.counts.accepted == len(present)
        assert {key for key in self.delivered if known[key][0].remote != "open"} == set()


# What is going on when the disk fails ------------------------------------------------------------------------------


def nothing(path: Path) -> None:
    """No file yet."""


def five_wait(path: Path) -> None:
    keep(path, lambda e: e.accept(entries(5), T0, fold=True))


def an_inbox_and_leases(path: Path) -> None:
    store = SqliteStore(path, RULES, Clock())
    store.transact(lambda e: e.accept(entries(5), T0, fold=True))
    store.transact(lambda e: e.lease([Want("default", 3, 3)], {}, T0))
    store.transact(lambda e: e.accept(entries(20, "inbox"), T0, fold=False))
    log = {file: file.read_bytes() for file in path.parent.glob("spool.db*") if file.suffix != ".db-shm"}
    store.close()
    for file, data in log.items():  # as a kill leaves it: with its log
        file.write_bytes(data)


def dead_letters_for_two_slices(path: Path) -> None:
    def die(e: Engine) -> None:
        got = e.lease([Want("default", SLICE + 50, SLICE + 50)], {}, T0).deliveries
        e.settle([Settlement(d.lease, DeadByRejection(400, ""), T0) for d in got], {}, T0)

    keep(path, lambda e: e.accept(entries(SLICE + 50), T0, fold=True), die)


def a_damaged_file(path: Path) -> None:
    path.write_bytes(GARBAGE)
    path.with_name("spool.db-wal").write_bytes(GARBAGE)


def keep(path: Path, *works: Callable[..., object]) -> None:
    store = SqliteStore(path, RULES, Clock())
    for work in works:
        store.transact(work)
    store.close()


def entries(number: int, prefix: str = "k") -> list[Entry]:
    return [entry("A", f"{prefix}{i}") for i in range(number)]


def start(scene: Scene) -> None:
    scene.start()
    scene.put("started")


def puts(scene: Scene) -> None:
    scene.put("a")
    scene.put(*(f"b{i}" for i in range(40)))  # more than are folded at once
    scene.put("c")


def leases(scene: Scene) -> None:
    scene.lease(2)
    scene.lease(2)


def settlements(scene: Scene) -> None:
    ends: tuple[Decision, ...] = (Done(), DeadByRejection(400, "no"), Again(T0, 1, 0, certain=False))
    for delivery, decision in zip(scene.leased_before, ends, strict=True):
        scene.settle(delivery, decision)


def changes(scene: Scene) -> None:
    scene.change(Replay(None))
    scene.dropped = {"k1"}  # wherever it is
    scene.change(Drop("k1"))
    scene.change(Retarget(("default", "other")))


def backup(scene: Scene) -> None:
    scene.backup(scene.path.with_name("copy.db"))


class Loop:
    """What is prepared without faults, what is open by then, and what is done while the disk fails."""

    def __init__(
        self, before: Callable[[Path], None], act: Callable[[Scene], None], pages: int = 2_000
    ) -> None:
        self.before = before
        self.act = act
        self.pages = pages


LOOPS = {
    "start on a new file": Loop(nothing, start),
    "start on an inbox and leases": Loop(an_inbox_and_leases, start),
    "put": Loop(five_wait, puts),
    "lease": Loop(five_wait, leases),
    "settle": Loop(five_wait, settlements),
    "change in slices": Loop(dead_letters_for_two_slices, changes),
    "checkpoint": Loop(five_wait, puts, pages=2),
    "backup": Loop(five_wait, backup),
    "set aside": Loop(a_damaged_file, start),
}


def numbers() -> Iterator[int]:
    """Which operation fails."""
    n = 1
    while True:
        yield n
        n += 1 if ALL or n < 4 else 1 + n // 4


def nth(op: str, n: int, code: int, *, lasting: bool) -> Callable[[str, str], int | None]:
    left = n

    def judge(asked: str, _name: str) -> int | None:
        nonlocal left
        if asked != op:
            return None
        left -= 1
        return code if left == 0 or (lasting and left < 0) else None

    return judge


@contextmanager
def prepared(loop: Loop, template: Path, folder: Path) -> Iterator[Scene]:
    shutil.copytree(template, folder)
    with faulty_disk(folder) as disk, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CHECKPOINT_PAGES", loop.pages)
        scene = Scene(folder, disk)
        scene.kept = keys_of(scene.path)
        try:
            if loop.act is not start:
                scene.start()
            if loop.act is settlements:
                scene.leased_before = scene.lease(3)
            yield scene
        finally:
            scene.life.close()


def keys_of(path: Path) -> set[str]:
    if not path.exists() or path.read_bytes().startswith(GARBAGE[:9]):
        return set()
    with looking_at(path) as view:
        waiting = {lane.key for lane in view.dead(1_000)} | {lane.key for lane in view.lanes(1_000)}
        inbox = view.counts().inbox
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return waiting | {f"inbox{i}" for i in range(inbox)}


def act(loop: Loop, scene: Scene, *, lasting: bool) -> None:
    """Do it on the failing disk, and go on when the disk is well again."""
    try:
        loop.act(scene)
    except StartError:
        assert loop.act is start
    scene.disk.judge = lambda _op, _name: None
    if scene.life.error is not None:
        assert isinstance(scene.life.error, StartError)
        assert lasting or loop.act is start, scene.life.error
        scene.life.end()
    else:
        scene.put("afterwards")
        if "afterwards" in scene.kept:
            scene.nobody_waits_for_a_lease_that_nobody_has()
        else:
            assert lasting  # it is about to end
        scene.life.end()
    scene.life.start()
    scene.put("at last")
    assert "at last" in scene.kept
    scene.life.ask(lambda spool: spool.records())


def once(loop: Loop, template: Path, folder: Path, op: str, n: int, code: int, *, lasting: bool) -> int:
    """One run; how many faults there were."""
    with prepared(loop, template, folder) as scene:
        scene.disk.faults = 0
        scene.disk.judge = nth(op, n, code, lasting=lasting)
        act(loop, scene, lasting=lasting)
        faults = scene.disk.faults
        scene.all_is_there_once()
        if loop.before is a_damaged_file:
            nothing_was_deleted_and_nothing_is_known(scene)
    shutil.rmtree(folder)
    assert not [t for t in threading.enumerate() if t.name == "mcp-ilert-spool"]
    return faults


def nothing_was_deleted_and_nothing_is_known(scene: Scene) -> None:
    kept = [p.name for p in scene.path.parent.iterdir() if p.read_bytes() == GARBAGE]
    assert len(kept) == 2, kept
    scene.life.ask(lambda spool: spool.put([entry("A", "new"), entry("R", "new")]))
    kinds = {d.key: d.kind for d in scene.lease(100)}
    assert kinds["new"] is Kind.RESOLVE  # not cancelled: who knows what iLert has


@pytest.mark.parametrize("name", LOOPS)
def test_the_disk_fails_at_every_operation(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    loop, template = LOOPS[name], tmp_path / "template"
    template.mkdir()
    with faulty_disk(template):  # without waiting for a real disk
        loop.before(template / "spool.db")
    runs = faults = 0
    for op in OPS:
        for code, lasting in WAYS:
            if not ALL and code == errno.ENOSPC and op not in ("write", "open"):
                continue
            for n in numbers():
                found = once(loop, template, tmp_path / "run", op, n, code, lasting=lasting)
                runs += 1
                faults += found
                if not found:
                    break
    record_property("runs", runs)
    record_property("faults", faults)
    sys.stdout.write(f"\n{name}: {runs} runs, {faults} faults\n")  # with -s, for docs/reliability.md
    assert faults > 0
