"""Digests by a state machine: the real spool and a plain model do the same, to several keys and at every point."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from lane_model import LaneModel, plain
from mcp_ilert.events import (
    Delivery,
    Entry,
    Settlement,
    Severity,
)
from mcp_ilert.spool.changes import step
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.lane import Lane
from mcp_ilert.spool.port import Drop, Gather, Replay, Rules, Want
from mcp_ilert.spool.view import SpoolView
from spools import OF
from store_machine import ENDS, LETTERS, StoreMachine

KEYS = ("a1", "a2", "b1")


def brief(payload: bytes) -> Brief:
    """Keys of a letter are of a group; the payload is `key kind number`."""
    text = payload.decode()
    return Brief(text[0], text.split()[0])


def group_of(key: str) -> str:
    return key[0]


class DigestMachine(StoreMachine):
    """Keys of two groups on a real file, closed and opened again at any point, in a storm that comes and goes."""

    def __init__(self) -> None:
        super().__init__(Rules(dedupe_ms=1, brief=brief))
        self.models = {key: LaneModel() for key in KEYS}
        self.owns = {group_of(key): LaneModel() for key in KEYS}
        """The digests' own lanes: they fold like any other."""
        self.flying: dict[str, Delivery] = {}

    # What the model makes of it ------------------------------------------------------------------------------

    def members(self, group: str) -> set[str]:
        return {key for key, model in self.models.items() if model.member and group_of(key) == group}

    def follow(self, before: dict[str, set[str]], told: bool = True) -> None:
        """A digest whose members changed says so."""
        for group, own in self.owns.items():
            now = self.members(group)
            if not told or (now == before[group]):
                continue
            self.tell(own, "A" if now else "R")

    def tell(self, own: LaneModel, kind: str) -> None:
        if kind == "R" and not (own.waits or own.flying or own.remote in ("open", "unknown")):
            return
        own.dead = False
        own.fold(kind)

    def all_members(self) -> dict[str, set[str]]:
        return {group: self.members(group) for group in self.owns}

    # What happens --------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), kind=st.sampled_from("AAHCR"), direct=st.booleans(), storm=st.booleans())
    def arrive(self, key: str, kind: str, *, direct: bool, storm: bool) -> None:
        self.number += 1
        severity = Severity.HIGH if kind == "H" else Severity.MEDIUM if self.number % 3 else Severity.LOW
        text = f"{key} {kind} {self.number}".encode()
        new = Entry(self.clock(), OF[plain(kind)], severity, "default", key, text)
        before, was = self.all_members(), self.member_alert(key)
        self.store.transact(lambda e: e.accept([new], self.clock(), fold=direct))
        self.store.transact(lambda e: e.fold(self.clock()))
        self.models[key].arrive(kind)
        self.follow(before)
        if self.models[key].member and kind == "A" and was is not None and severity < was:
            self.tell(self.owns[group_of(key)], "A")  # the digest is worse than it said
        if storm:
            self.gather()

    def member_alert(self, key: str) -> Severity | None:
        lane = self.lane(key)
        return lane.waiting[0].severity if lane is not None and lane.member else None

    def gather(self) -> None:
        before = self.all_members()
        self.store.transact(lambda e: step(e, Gather("default"), 0, self.clock()))
        for key in KEYS:
            if self.models[key].may_enter():
                self.models[key].enter()
        self.follow(before)

    @rule(seconds=st.sampled_from([1, 6, 61]))
    def pass_time(self, seconds: float) -> None:
        self.clock.forward(seconds)

    @rule(storm=st.booleans())
    def lease(self, *, storm: bool) -> None:
        before = self.all_members()
        got: list[Delivery] = []
        want = Want("default", 1, 1, digest=storm)
        self.store.transact(lambda e: got.extend(e.lease([want], {}, self.clock()).deliveries))
        for key in KEYS:
            lane = self.lane(key)
            if storm and lane is not None and lane.member and not self.models[key].member:
                assert self.models[key].may_enter()
                self.models[key].enter()
        self.follow(before)
        for delivery in got:
            model = self.model_of(delivery)
            assert model.waits
            assert not any((model.member, model.dead, model.flying))
            assert not (storm and model.may_enter() and not delivery.digest)
            assert LETTERS[delivery.kind] == plain(model.lease())
            self.flying[self.name_of(delivery)] = delivery
        if not got:
            waits = [m for m in self.models.values() if m.waits and not (m.flying or m.dead or m.member)]
            assert not waits

    def name_of(self, delivery: Delivery) -> str:
        return delivery.key.split("/")[1] if delivery.digest else delivery.key

    def model_of(self, delivery: Delivery) -> LaneModel:
        return (self.owns if delivery.digest else self.models)[self.name_of(delivery)]

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), end=st.sampled_from(list(ENDS)))
    def end(self, data: st.DataObject, end: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.flying)))
        delivery = self.flying.pop(name)
        settlement = Settlement(delivery.lease, ENDS[end], self.clock())
        self.store.transact(lambda e: e.settle([settlement], {}, self.clock()))
        model = self.model_of(delivery)
        if end == "ok":
            model.deliver()
        elif end == "rejected" and delivery.digest:
            self.reject_digest(name, model)
        elif end == "rejected":
            model.reject()
        else:
            model.fail(certain=end == "certain", dies=end == "dies")

    def reject_digest(self, group: str, own: LaneModel) -> None:
        """Discarded; its members go their own way. A rejected resolve is just given up."""
        alert, own.flying = own.flying == "A", ""
        if alert:
            own.waits = "R" if own.remote in ("open", "unknown") else ""
            while self.store.engine.digests.busy:
                self.store.transact(lambda e: e.digests.give_back(self.clock()))
            for key in self.members(group):
                self.models[key].leave()

    @rule(force=st.booleans())
    def replay(self, *, force: bool) -> None:
        if self.flying:
            return
        before = self.all_members()
        self.store.transact(lambda e: step(e, Replay(None, force), 0, self.clock()))
        for model in (*self.models.values(), *self.owns.values()):
            model.replay(force=force)
        self.follow(before)

    @precondition(lambda self: self.number % 5 == 4)
    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: str) -> None:
        before = self.all_members()
        self.store.transact(lambda e: step(e, Drop(key.upper()), 0, self.clock()))
        self.models[key].drop()
        self.follow(before)

    @rule()
    def restart(self) -> None:
        self.reopen()
        for delivery in self.flying.values():
            self.model_of(delivery).fail(certain=False, dies=False)
        self.flying = {}

    # What must hold ------------------------------------------------------------------------------------------

    def lane(self, key: str) -> Lane | None:
        rows = self.store.engine.shelf.find((key,)).get(key)
        return rows[0].lane if rows else None

    @invariant()
    def all_events_are_counted_where_they_are(self) -> None:
        counts, models = self.store.engine.counts(), self.models.values()
        assert counts.error() == 0
        assert counts.accepted == sum(m.accepted for m in models)
        assert counts.delivered == sum(m.delivered for m in models)
        assert counts.coalesced == sum(m.coalesced for m in models)
        assert counts.cancelled == sum(m.cancelled for m in models)
        assert counts.digested == sum(m.digested for m in models)
        assert counts.pending == sum(m.pending() for m in models)
        assert counts.dead == sum(m.dead_letters() for m in models)
        assert counts.dropped_by_operator == sum(m.dropped for m in models)
        assert counts.lanes == sum(m.pending() > 0 for m in models)
        assert counts.members == sum(m.member for m in models)

    @invariant()
    def each_lane_is_as_the_model_has_it(self) -> None:
        for key, model in self.models.items():
            lane = self.lane(key) or Lane(key)
            assert "".join(LETTERS[op.kind] for op in lane.waiting) == plain(model.waits)
            assert bool(lane.member) == model.member
            assert lane.dead == model.dead

    @invariant()
    def each_digest_stands_for_its_members(self) -> None:
        engine = self.store.engine
        for group, own in self.owns.items():
            row = engine.digests._find(engine.targets.of("default").id, group)
            lane = row.lane if row is not None else Lane(group)
            found = lane.gathers.members() if lane.gathers is not None else 0
            assert found == len(self.members(group))
            assert "".join(LETTERS[op.kind] for op in lane.waiting) == own.waits
            if row is not None:
                assert set(engine.shelf.marked(row.id, 99)) == {
                    r.id for r in (engine.shelf.find((k,))[k][0] for k in self.members(group))
                }

    @invariant()
    def the_disk_recounts_the_same(self) -> None:
        if not self.memory:
            with SpoolView(self.path, self.clock) as view:
                assert view.audit().error == 0


class MemoryMachine(DigestMachine):
    """The same on the memory shelf."""

    memory = True


FEW = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestDigest = DigestMachine.TestCase
TestDigest.settings = FEW
TestMemoryDigest = MemoryMachine.TestCase
TestMemoryDigest.settings = FEW
