"""Crashes by a state machine: a spool whose power may be cut, whose process may be killed and whose disk may fail at
any write or sync, beside a plain model. What was answered is there, once; what was not is there wholly or not at all.

`MCP_ILERT_CRASHES=2000` runs so many examples instead of a few.
"""

import copy
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from errno import EIO
from pathlib import Path
from random import Random
from typing import TypeVar

import apsw
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faulty_disk import Disk, faulty_disk, looking_at
from lane_model import LaneModel
from mcp_ilert.errors import StartError, UnavailableError
from mcp_ilert.events import Delivery, Settlement
from mcp_ilert.spool import checkpoints, tail, transactions
from mcp_ilert.spool.port import Drop, Replay, Rules, Want
from mcp_ilert.spool.read_model import LaneView
from mcp_ilert.spool.spool import WrittenSpool
from spool_life import SpoolLife
from spools import T0, Clock, entry
from store_machine import ENDS, LETTERS

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. None"
)  # planned, where apsw can tell nobody
EXAMPLES = int(os.environ.get("MCP_ILERT_CRASHES", "25"))
T = TypeVar("T")
KEYS = ("k1", "k2", "k3")
SEEDS = st.integers(0, 2**32 - 1)
LOG_PAGES = 8
"""The log is written through to the file all the time, so that crashes meet it."""


@dataclass
class World:
    """What the spool should hold."""

    lanes: dict[str, LaneModel] = field(default_factory=lambda: {key: LaneModel() for key in KEYS})
    state: bytes = b""
    """The dispatcher's, as committed with a lease or a settlement."""

    def end(self, key: str, end: str) -> None:
        lane = self.lanes[key]
        if end == "ok":
            lane.deliver()
        elif end == "rejected":
            lane.reject()
        else:
            lane.fail(certain=end == "certain", dies=end == "dies")

    def crash(self) -> None:
        """What was leased is unknown."""
        for lane in self.lanes.values():
            if lane.flying:
                lane.fail(certain=False, dies=False)

    def total(self, what: Callable[[LaneModel], int]) -> int:
        return sum(map(what, self.lanes.values()))


Step = Callable[[World], object]


def after(world: World, *steps: Step) -> World:
    """A copy, moved on."""
    world = copy.deepcopy(world)
    for move in steps:
        move(world)
    return world


class CrashMachine(RuleBasedStateMachine):
    """Three keys; one request at a time, so that at most one is in flight when the lights go out."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = ExitStack()
        folder = Path(self.ends.enter_context(tempfile.TemporaryDirectory()))
        self.path = folder / "spool.db"
        self.disk: Disk = self.ends.enter_context(faulty_disk(folder))
        self.ends.enter_context(log_pages(LOG_PAGES))
        self.life = SpoolLife(folder, Rules(dedupe_ms=1), Clock())
        self.ends.callback(self.life.close)
        self.world = World()
        self.flying: dict[str, Delivery] = {}
        self.number = 0
        self.life.start()

    def teardown(self) -> None:
        self.ends.close()

    # What is asked of it -----------------------------------------------------------------------------------------

    @rule(new=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from("AACR")), min_size=1, max_size=3))
    def put(self, new: list[tuple[str, str]]) -> None:
        self.number += 1
        entries = [entry(kind, key, text=f"{self.number}.{i}" * 60) for i, (key, kind) in enumerate(new)]

        def accepted(world: World) -> None:
            for key, kind in new:
                world.lanes[key].arrive(kind)

        self.ask(lambda spool: spool.put(entries), lambda _: accepted, [[accepted]])

    @rule()
    def lease(self) -> None:
        state = self.next_state()

        def leased(key: str) -> Step:
            def move(world: World) -> None:
                world.state = state
                world.lanes[key].lease()

            return move

        def answered(got: Sequence[Delivery]) -> Step:
            if not got:
                return lambda world: setattr(world, "state", state)
            (delivery,) = got
            self.flying[delivery.key] = delivery
            return leased(delivery.key)

        async def act(spool: WrittenSpool) -> Sequence[Delivery]:
            return (await spool.lease([Want("default", 1, 1)], {"default": state}, T0)).deliveries

        ready = [k for k, m in self.world.lanes.items() if m.waits and not m.flying and not m.dead]
        kept: list[list[Step]] = [[leased(key), lost(key)] for key in ready]
        got = self.ask(act, answered, kept or [[lambda world: setattr(world, "state", state)]])
        if got is not None:
            assert len(got) == bool(ready)
        for delivery in got or ():
            if delivery.key in self.flying:  # else it crashed meanwhile
                assert LETTERS[delivery.kind] == self.world.lanes[delivery.key].flying

    @precondition(lambda self: self.flying)
    @rule(choice=SEEDS, end=st.sampled_from(list(ENDS)))
    def settle(self, choice: int, end: str) -> None:
        key = sorted(self.flying)[choice % len(self.flying)]
        state = self.next_state()
        settlement = Settlement(self.flying.pop(key).lease, ENDS[end], T0)

        def settled(world: World) -> None:
            world.state = state
            world.end(key, end)

        self.ask(
            lambda spool: spool.settle([settlement], {"default": state}, T0), lambda _: settled, [[settled]]
        )

    @precondition(lambda self: not self.flying)
    @rule(force=st.booleans())
    def replay(self, *, force: bool) -> None:
        def replayed(world: World) -> None:
            for lane in world.lanes.values():
                lane.replay(force=force)

        self.ask(lambda spool: spool.change(Replay(None, force), T0), lambda _: replayed, [[replayed]])

    @precondition(lambda self: self.number % 5 == 4)
    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: str) -> None:
        def dropped(world: World) -> None:
            world.lanes[key].drop()

        self.ask(lambda spool: spool.change(Drop(key), T0), lambda _: dropped, [[dropped]])

    def next_state(self) -> bytes:
        self.number += 1
        return b"%d tokens" % self.number

    # What befalls it ---------------------------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        self.arm(None)
        self.life.end()
        self.begin([self.world])

    @rule(seed=SEEDS, cut=st.booleans())
    def crash(self, seed: int, *, cut: bool) -> None:
        self.go_dark(seed, cut=cut)
        self.begin([self.world])

    @rule(seed=SEEDS, nth=st.integers(1, 12), cut=st.booleans())
    def crash_at_the_next_start_too(self, seed: int, nth: int, *, cut: bool) -> None:
        self.go_dark(seed, cut=cut)
        self.arm(("dark", nth))
        with suppress(StartError):
            self.life.start()
        self.go_dark(seed + 1, cut=cut)
        self.begin([self.world])

    @rule(what=st.sampled_from(["dark", "sync", "write", "truncate"]), nth=st.integers(1, 12))
    def plan(self, what: str, nth: int) -> None:
        """The n-th operation on the disk from now on is the last, or the n-th of its kind fails."""
        self.arm((what, nth))

    def arm(self, planned: tuple[str, int] | None) -> None:
        what, left = planned or ("", 0)

        def judge(op: str, _name: str) -> int | None:
            nonlocal left
            if op == "open" or (what not in ("dark", op)):
                return None
            left -= 1
            self.disk.dark |= left == 0 and what == "dark"
            return EIO if left == 0 else None

        self.disk.judge = judge

    def go_dark(self, seed: int, *, cut: bool) -> None:
        """The process is gone; with `cut` the machine is, too."""
        self.arm(None)
        self.disk.dark = True
        self.life.end(whatever=True)
        if cut:
            self.disk.power_cut(Random(seed))
        else:
            self.disk.killed()

    # Asking, and finding out what became of it ----------------------------------------------------------------------

    def ask(
        self,
        question: Callable[[WrittenSpool], Awaitable[T]],
        answered: Callable[[T], Step],
        kept: list[list[Step]],
    ) -> T | None:
        """Ask, and follow with the world. `kept`: what may have been done of it, where it was not answered."""
        faults, before = self.disk.faults, self.world
        maybe = [before, *(after(before, *steps) for steps in kept)]
        try:
            answer = self.life.ask(question)
        except UnavailableError:
            self.fell_ill(maybe)
            return None
        step = answered(answer)
        if self.disk.dark:
            self.fell_ill([after(before, step)])
        elif self.disk.faults == faults:
            self.world = after(before, step)
        else:  # it was asked twice, perhaps
            self.choose([after(before, step), *(after(m, step) for m in maybe[1:] if can(m, step))])
        return answer

    def fell_ill(self, maybe: list[World]) -> None:
        if self.disk.dark or self.life.error is not None or self.closing():
            self.go_dark(self.number, cut=bool(self.number % 2))
            self.begin(maybe)
        else:
            self.choose(maybe)

    def closing(self) -> bool:
        try:
            self.life.ask(lambda spool: spool.records())
        except UnavailableError:
            return True
        return False

    def begin(self, maybe: list[World]) -> None:
        self.life.start()
        self.flying.clear()
        self.choose([after(world, World.crash) for world in maybe])

    def choose(self, maybe: list[World]) -> None:
        """Go on with the world that is on the disk; it must be one of these."""
        with suppress(UnavailableError):
            self.life.ask(lambda spool: spool.records())  # what the inbox holds is folded
        wrong = [self.differences(world) for world in maybe]
        assert [] in wrong, wrong
        self.world = maybe[wrong.index([])]

    # What must hold --------------------------------------------------------------------------------------------------

    def differences(self, world: World) -> list[object]:
        with looking_at(self.path) as view:
            audit = view.audit()
            shown = {key: view.show(key) for key in KEYS}
            records = view.records()
        found = audit.counts
        state = records["default"].state if "default" in records else b""
        pairs = [
            ("law", audit.error, 0),
            ("accepted", found.accepted, world.total(lambda m: m.accepted)),
            ("delivered", found.delivered, world.total(lambda m: m.delivered)),
            ("coalesced", found.coalesced, world.total(lambda m: m.coalesced)),
            ("cancelled", found.cancelled, world.total(lambda m: m.cancelled)),
            ("dropped", found.dropped_by_operator, world.total(lambda m: m.dropped)),
            ("pending", found.pending, world.total(lambda m: m.pending())),
            ("dead", found.dead, world.total(lambda m: m.dead_letters())),
            ("state", state, world.state),
            *((key, seen(shown[key]), expected(world.lanes[key], known=bool(shown[key]))) for key in KEYS),
        ]
        return [pair for pair in pairs if pair[1] != pair[2]]

    @invariant()
    def all_that_was_answered_is_on_the_disk(self) -> None:
        assert self.differences(self.world) == []


def lost(key: str) -> Step:
    """A lease that was kept and that nobody got."""
    return lambda world: world.lanes[key].fail(certain=False, dies=False)


def can(world: World, step: Step) -> bool:
    """Whether the step makes sense after what was kept: what is settled already is passed over."""
    try:
        after(world, step)
    except (IndexError, KeyError):
        return False
    return True


def seen(views: list[LaneView]) -> tuple[object, ...]:
    if not views:
        return ("", "", {}, "", False)
    (view,) = views
    waits = "".join(LETTERS[op.kind] for op in view.waiting)
    flying = LETTERS[view.in_flight.kind] if view.in_flight is not None else ""
    letters = {LETTERS[x.op.kind]: x.superseded for x in view.letters}
    return (waits, flying, letters, view.remote, view.state == "dead")


def expected(model: LaneModel, *, known: bool) -> tuple[object, ...]:
    remote = model.remote if known else ""
    return (model.waits, model.flying, model.letters, remote, model.dead)


@contextmanager
def log_pages(pages: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CHECKPOINT_PAGES", pages)
        yield


@contextmanager
def parts() -> Iterator[None]:
    """What is accepted is folded later, a key at a time, so that crashes come between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "DIRECT_FOLD", 0)
        patch.setattr(tail, "PART_KEYS", 1)
        yield


FEW = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestCrash = CrashMachine.TestCase
TestCrash.settings = FEW


class PartsMachine(CrashMachine):
    """What is accepted is folded after its commit, a key at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.ends.enter_context(parts())


TestCrashBetweenParts = PartsMachine.TestCase
TestCrashBetweenParts.settings = FEW


# A machine that cannot fail proves nothing --------------------------------------------------------------------------

UNTIL_IT_FAILS = settings(FEW, max_examples=300, phases=[Phase.generate], derandomize=True, database=None)


def test_the_machine_notices_commits_that_are_not_synced() -> None:
    def unsynced(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.authorizer = lambda op, what, *_: (
            apsw.SQLITE_IGNORE if op == apsw.SQLITE_PRAGMA and what == "synchronous" else apsw.SQLITE_OK
        )

    apsw.connection_hooks.append(unsynced)
    try:
        with pytest.raises((AssertionError, StartError)):
            run_state_machine_as_test(CrashMachine, settings=UNTIL_IT_FAILS)
    finally:
        apsw.connection_hooks.remove(unsynced)


def test_the_machine_notices_a_disk_that_does_not_sync() -> None:
    class LyingMachine(CrashMachine):
        def __init__(self) -> None:
            super().__init__()
            self.disk.lies = True

    with pytest.raises((AssertionError, StartError)):
        run_state_machine_as_test(LyingMachine, settings=UNTIL_IT_FAILS)
