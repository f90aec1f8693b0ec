"""The lane tables of the contract, by a state machine: the real spool and a plain model do the same."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from lane_model import LaneModel
from mcp_ilert.events import (
    Decision,
    Delivery,
    Entry,
    Settlement,
    Severity,
)
from mcp_ilert.spool.changes import step
from mcp_ilert.spool.port import Drop, Replay, Rules, Want
from spools import OF
from store_machine import ENDS, LETTERS, StoreMachine

KINDS = st.sampled_from("ACR")


class LaneMachine(StoreMachine):
    """One key; the engine on a real file, closed and opened again at any point."""

    cancel_resolved = True

    def __init__(self) -> None:
        super().__init__(Rules(cancel_resolved=self.cancel_resolved, dedupe_ms=1))
        self.model = LaneModel(cancel_resolved=self.cancel_resolved)
        self.delivery: Delivery | None = None

    @rule(kind=KINDS, direct=st.booleans())
    def arrive(self, kind: str, *, direct: bool) -> None:
        self.number += 1
        new = Entry(self.clock(), OF[kind], Severity.HIGH, "default", "Key", f"{kind}{self.number}".encode())
        self.store.transact(lambda e: e.accept([new], self.clock(), fold=direct))
        self.store.transact(lambda e: e.fold(self.clock()))
        self.model.arrive(kind)

    @precondition(lambda self: self.model.waits and not self.model.flying and not self.model.dead)
    @rule()
    def lease(self) -> None:
        got: list[Delivery] = []
        want = Want("default", 3, 3)
        self.store.transact(lambda e: got.extend(e.lease([want], {}, self.clock()).deliveries))
        assert [LETTERS[d.kind] for d in got] == [self.model.lease()]
        self.delivery = got[0]

    def settle(self, decision: Decision) -> None:
        assert self.delivery is not None
        settlement = Settlement(self.delivery.lease, decision, self.clock())
        self.store.transact(lambda e: e.settle([settlement], {}, self.clock()))
        self.delivery = None

    @precondition(lambda self: self.delivery)
    @rule(end=st.sampled_from(["ok", "certain", "uncertain", "dies", "rejected"]))
    def end(self, end: str) -> None:
        self.settle(ENDS[end])
        if end == "ok":
            self.model.deliver()
        elif end == "rejected":
            self.model.reject()
        else:
            self.model.fail(certain=end == "certain", dies=end == "dies")

    @precondition(lambda self: not self.model.flying and self.model.dead_letters())
    @rule(force=st.booleans())
    def replay(self, *, force: bool) -> None:
        self.store.transact(lambda e: step(e, Replay(None, force), 0, self.clock()))
        self.model.replay(force=force)

    @precondition(lambda self: self.number % 5 == 4)
    @rule()
    def drop(self) -> None:
        self.store.transact(lambda e: step(e, Drop("KEY"), 0, self.clock()))
        self.model.drop()

    @rule()
    def restart(self) -> None:
        self.reopen()
        if self.model.flying:
            self.model.fail(certain=False, dies=False)
        self.delivery = None

    @invariant()
    def both_tell_the_same(self) -> None:
        counts = self.store.engine.counts()
        model = self.model
        assert counts.error() == 0
        assert (counts.accepted, counts.delivered, counts.coalesced, counts.cancelled) == (
            model.accepted,
            model.delivered,
            model.coalesced,
            model.cancelled,
        )
        assert (counts.pending, counts.dead, counts.dropped_by_operator) == (
            model.pending(),
            model.dead_letters(),
            model.dropped,
        )
        rows = self.store.engine.shelf.find(("key",)).get("key")
        if not rows:
            assert (model.waits, model.flying, model.letters) == ("", "", {})
            return
        lane = rows[0].lane
        assert "".join(LETTERS[op.kind] for op in lane.waiting) == model.waits
        assert {LETTERS[x.op.kind]: x.superseded for x in lane.letters} == model.letters
        assert (lane.remote.name.lower(), lane.dead) == (model.remote, model.dead)


class KeepingMachine(LaneMachine):
    """The same with `cancel_resolved: false`."""

    cancel_resolved = False


class MemoryMachine(LaneMachine):
    """The same on the memory shelf."""

    memory = True


FEW = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLane = LaneMachine.TestCase
TestLane.settings = FEW
TestKeepingLane = KeepingMachine.TestCase
TestKeepingLane.settings = FEW
TestMemoryLane = MemoryMachine.TestCase
TestMemoryLane.settings = FEW
