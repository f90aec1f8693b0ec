"""What the spool's file holds is what the pure functions over the memory shelf hold: the same random traffic goes to
both, lanes are compared whole, and so are the ledger and the targets. (Digests: test_digest_machine.py.)
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from mcp_ilert.events import (
    DROP,
    Again,
    DeadByOutage,
    DeadByRejection,
    Decision,
    Delivery,
    Done,
    Entry,
    Kind,
    Settlement,
    Severity,
)
from mcp_ilert.spool.changes import step
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.lane import Lane
from mcp_ilert.spool.port import Change, Drop, Pause, Replay, Retarget, ReturnRefused, Rules, Want
from mcp_ilert.spool.shelf import TargetRow
from mcp_ilert.spool.store import MemoryStore, Store
from mcp_ilert.spool.view import SpoolView
from store_machine import StoreMachine

T = TypeVar("T")
KEYS = ("Alpha", "ALPHA", "beta", "gamma", "delta")
TARGETS = ("default", "west", "incident")
EVENTS = st.tuples(
    st.sampled_from(KEYS),
    st.sampled_from(list(Kind)),
    st.sampled_from(list(Severity)),
    st.sampled_from((*TARGETS, "default", DROP)),
    st.sampled_from(["same", "other", ""]),
)
DECISIONS = st.sampled_from(["done", "certain", "uncertain", "outage", "rejected", "refused"])


def plain(delivery: Delivery) -> Delivery:
    """Without the lane's number, which each store gives for itself."""
    return msgspec.structs.replace(delivery, lease=0)


def route(payload: bytes) -> str:
    """Where the routes send what has lost its target."""
    return ("default", "west", DROP)[len(payload) % 3]


class TwinMachine(StoreMachine):
    """A store on a file, opened anew at any point, and its twin in memory, which is told the same."""

    def __init__(self) -> None:
        super().__init__(Rules(route=route))
        self.twin = MemoryStore(self.folding)
        self.flying: list[tuple[Delivery, Delivery]] = []

    @property
    def twins(self) -> tuple[Store, Store]:
        return self.store, self.twin

    def each(self, act: Callable[[Engine], T]) -> list[T]:
        """Do it in a transaction of each."""
        self.clock.ms += 1  # so that nothing has the same age or time, where the order would be anybody's
        answers: list[T] = []
        for store in self.twins:
            store.transact(lambda engine: answers.append(act(engine)))
        return answers

    def both(self, act: Callable[[Engine], object]) -> None:
        """Do it in each; the answers are the same."""
        one, other = self.each(act)
        assert one == other

    @rule(events=st.lists(EVENTS, min_size=1, max_size=6), direct=st.booleans())
    def accept(self, events: list[tuple[str, Kind, Severity, str, str]], *, direct: bool) -> None:
        entries = []
        for key, kind, severity, target, text in events:
            self.number += 1
            payload = (text or f"new {self.number}").encode()
            entries.append(Entry(self.clock(), kind, severity, target, key, payload))
            self.clock.ms += 1
        self.both(lambda engine: engine.accept(entries, self.clock(), fold=direct))

    @rule()
    def fold(self) -> None:
        self.both(lambda engine: engine.fold(self.clock()))

    @rule(
        at=st.sampled_from(TARGETS),
        tokens=st.integers(1, 3),
        revive=st.integers(0, 1),
    )
    def lease(self, at: str, tokens: int, revive: int) -> None:
        want = Want(at, tokens, tokens, revive=revive)
        state = f"state {self.clock()}".encode()
        leases = self.each(lambda engine: engine.lease([want], {at: state}, self.clock()))
        one, other = ([plain(delivery) for delivery in leased.deliveries] for leased in leases)
        assert one == other
        assert leases[0].agenda == leases[1].agenda
        self.flying += zip(*(leased.deliveries for leased in leases), strict=True)

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 100), end=DECISIONS)
    def settle(self, which: int, end: str) -> None:
        pair, decision = self.flying.pop(which % len(self.flying)), self.decision(end)
        ends = iter([Settlement(delivery.lease, decision, self.clock()) for delivery in pair])
        self.both(lambda engine: engine.settle([next(ends)], {}, self.clock()))

    def decision(self, end: str) -> Decision:
        now = self.clock()
        decisions: dict[str, Decision] = {
            "done": Done(),
            "certain": Again(now + 2_000, 1, 0, certain=True),
            "uncertain": Again(now, 2, 1, certain=False),
            "outage": DeadByOutage(now + 5_000, certain=False),
            "rejected": DeadByRejection(400, "no"),
            "refused": DeadByRejection(403, "not you"),
        }
        return decisions[end]

    @rule(
        change=st.one_of(
            st.builds(Replay, st.sampled_from([None, ("alpha", "beta")]), st.booleans()),
            st.builds(Drop, st.sampled_from(["alpha ", "gamma"]), st.sampled_from([None, *TARGETS])),
            st.builds(ReturnRefused, st.sampled_from(TARGETS), st.just((403,))),
            st.builds(Pause, st.sampled_from(TARGETS), st.booleans()),
            st.builds(Retarget, st.sampled_from([TARGETS, TARGETS[:1], TARGETS[1:]])),
        )
    )
    def change(self, change: Change) -> None:
        if isinstance(change, Retarget):
            while self.twins[0].engine.inbox.tail:
                self.fold()
        self.both(lambda engine: step(engine, change, 0, self.clock()))

    @rule(seconds=st.sampled_from([1, 3, 70, 31 * 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds)
        self.both(lambda engine: engine.prune(self.clock()))

    @rule()
    def restart(self) -> None:
        """The file is opened anew; the twin only learns that whoever had lanes is gone."""
        self.reopen()
        self.twin.engine.resume(frozenset())
        self.twin.engine.load()
        self.twin.transact(lambda engine: engine.recover(self.clock()))
        self.flying.clear()

    @invariant()
    def the_ledgers_are_the_same(self) -> None:
        one, other = (store.engine.counts() for store in self.twins)
        assert one == other
        assert one.error() == 0

    @invariant()
    def the_lanes_are_the_same(self) -> None:
        one, other = (self.lanes(store) for store in self.twins)
        assert one == other

    def lanes(self, store: Store) -> dict[tuple[str, int], Lane]:
        found = store.engine.shelf.find(tuple({key.lower() for key in KEYS}))
        return {(key, row.target): row.lane for key, rows in found.items() for row in rows}

    @invariant()
    def the_targets_are_the_same(self) -> None:
        one, other = (self.targets(store) for store in self.twins)
        assert one == other

    def targets(self, store: Store) -> list[TargetRow]:
        return [msgspec.structs.replace(t) for t in store.engine.shelf.targets()]

    @invariant()
    def the_file_recounts_the_same(self) -> None:
        with SpoolView(self.path, self.clock) as view:
            assert view.audit().error == 0


TestTwins = TwinMachine.TestCase
TestTwins.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
