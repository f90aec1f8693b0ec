"""Every sequence of what can happen to a lane, up to a length, by the real functions and by the plain model."""

import copy
from collections.abc import Iterator

import msgspec
import pytest

from lane_model import LaneModel, plain
from mcp_ilert.events import Kind, Severity
from mcp_ilert.spool import digest, fate
from mcp_ilert.spool.lane import CANCELS, FOLDS, Lane, Remote, arrive
from spools import T0, entry
from store_machine import ENDS, LETTERS

DEPTH = 7
STORM_DEPTH = 6


class Both(msgspec.Struct):
    """The same lane twice, and what the real one has been counted."""

    lane: Lane
    model: LaneModel
    delivered: int = 0
    coalesced: int = 0
    cancelled: int = 0
    digested: int = 0

    def grown(self, made: fate.Settling, model: LaneModel) -> "Both":
        return Both(
            made.lane,
            model,
            self.delivered + made.delivered,
            self.coalesced + made.coalesced,
            self.cancelled + made.cancelled,
            self.digested,
        )

    def moved(self, lane: Lane, model: LaneModel, digested: int, coalesced: int = 0) -> "Both":
        """Into a digest, out of it, or within."""
        counted = (self.delivered, self.coalesced + coalesced, self.cancelled, self.digested + digested)
        return Both(lane, model, *counted)


def steps(model: LaneModel, *, storm: bool) -> Iterator[str]:
    yield from "AHCR" if storm else "ACR"
    if storm and model.may_enter():
        yield "enter"
    if model.member:
        yield "leave"
        return
    if model.flying:
        yield from ENDS
        yield "crash"
    else:
        if model.waits and not model.dead:
            yield "lease"
        if model.letters or model.dead:
            yield "replay"
            yield "force"


def after(both: Both, step: str) -> Both:
    model, keep = copy.deepcopy(both.model), both.model.cancel_resolved
    if step == "enter":
        assert digest.eligible(both.lane)
        model.enter()
        return both.moved(digest.enter(both.lane, 7, T0), model, 1)
    if step == "leave":
        model.leave()
        return both.moved(digest.leave(both.lane), model, -len(both.lane.waiting))
    if step in "AHCR":
        severity = Severity.HIGH if step == "H" else Severity.LOW
        new = entry(plain(step), text=f"{step}{both.model.accepted}", severity=severity)
        if both.lane.member and digest.leaves_with(new, Severity.HIGH):
            both = both.moved(digest.leave(both.lane), model, -len(both.lane.waiting))
        model.arrive(step)
        if both.lane.member:
            arrived = digest.arrive(both.lane, new, T0)
            return both.moved(arrived.lane, model, arrived.digested, arrived.coalesced)
        folded = arrive(both.lane, new, dedupe_ms=0, cancel_resolved=keep)
        return both.grown(fate.Settling(folded.lane, 0, folded.coalesced, folded.cancelled), model)
    if step == "lease":
        model.lease()
        return both.grown(fate.Settling(fate.take(both.lane)), model)
    if step == "crash":
        model.fail(certain=False, dies=False)
        return both.grown(fate.recover(both.lane, T0, cancel_resolved=keep), model)
    if step in ("replay", "force"):
        model.replay(force=step == "force")
        return both.grown(fate.replay(both.lane, force=step == "force", cancel_resolved=keep), model)
    if step == "ok":
        model.deliver()
    elif step == "rejected":
        model.reject()
    else:
        model.fail(certain=step == "certain", dies=step == "dies")
    return both.grown(fate.settle(both.lane, ENDS[step], T0, cancel_resolved=keep), model)


def same(both: Both, path: tuple[str, ...]) -> None:
    lane, model = both.lane, both.model
    assert "".join(LETTERS[op.kind] for op in lane.waiting) == plain(model.waits), path
    assert (LETTERS[lane.flying.kind] if lane.flying else "") == plain(model.flying), path
    letters = {plain(kind): superseded for kind, superseded in model.letters.items()}
    assert {LETTERS[x.op.kind]: x.superseded for x in lane.letters} == letters, path
    low = lane.waiting[:1] and lane.waiting[0].severity is Severity.LOW
    assert bool(digest.eligible(lane) and low) == model.may_enter(), path
    assert bool(lane.member) == model.member, path
    assert (lane.remote.name.lower(), lane.dead) == (model.remote, model.dead), path
    counted = (both.delivered, both.coalesced, both.cancelled, both.digested)
    assert counted == (model.delivered, model.coalesced, model.cancelled, model.digested), path
    assert lane.pending() + lane.dead_count() + sum(counted) == model.accepted, path


def walk(both: Both, path: tuple[str, ...], depth: int, *, storm: bool = False) -> int:
    walked = 1
    if depth:
        for step in steps(both.model, storm=storm):
            following = after(both, step)
            same(following, (*path, step))
            walked += walk(following, (*path, step), depth - 1, storm=storm)
    return walked


@pytest.mark.parametrize("cancel_resolved", [True, False])
def test_every_sequence_does_what_the_table_says(*, cancel_resolved: bool) -> None:
    walked = walk(Both(Lane("k"), LaneModel(cancel_resolved=cancel_resolved)), (), DEPTH)
    assert walked > 10_000


def test_every_sequence_through_digests_does_what_the_contract_says() -> None:
    assert walk(Both(Lane("k"), LaneModel()), (), STORM_DEPTH, storm=True) > 10_000


def test_every_shape_that_a_fold_makes_is_a_shape_that_folds() -> None:
    shapes = {shape for shape, _ in FOLDS}
    made = {tuple(kind for kind, _ in slots) for slots in [*FOLDS.values(), *CANCELS.values()]}
    assert made <= shapes
    assert all((shape, kind) in FOLDS for shape in shapes for kind in Kind)


def test_a_dead_letter_is_not_replayed_behind_a_newer_alert_that_the_target_may_have() -> None:
    """Its resolve was rejected, the next alert's answer was lost: resolving first would page twice."""
    lane = Lane("k", remote=Remote.OPEN)
    lane = arrive(lane, entry("R", text="R1"), dedupe_ms=0, cancel_resolved=True).lane
    lane = fate.settle(fate.take(lane), ENDS["rejected"], T0, cancel_resolved=True).lane
    lane = arrive(lane, entry("A", text="A2"), dedupe_ms=0, cancel_resolved=True).lane
    lane = fate.settle(fate.take(lane), ENDS["uncertain"], T0, cancel_resolved=True).lane
    lane = fate.replay(lane, force=False, cancel_resolved=True).lane
    assert [op.kind for op in lane.waiting] == [Kind.ALERT]
    assert [letter.superseded for letter in lane.letters] == [True]
    lane = fate.replay(lane, force=True, cancel_resolved=True).lane
    assert [op.kind for op in lane.waiting] == [Kind.RESOLVE, Kind.ALERT]
