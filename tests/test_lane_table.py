"""Every sequence of what can happen to a lane, up to a length, by the real functions and by the plain model."""

import copy
from collections.abc import Iterator

import msgspec
import pytest

from lane_model import LaneModel
from mcp_ilert.events import Again, DeadByOutage, DeadByRejection, Decision, Done, Kind
from mcp_ilert.spool import fate
from mcp_ilert.spool.lane import CANCELS, FOLDS, Lane, arrive
from spools import T0, entry

DEPTH = 7
LETTERS = {Kind.ALERT: "A", Kind.ACCEPT: "C", Kind.RESOLVE: "R"}
ENDS: dict[str, Decision] = {
    "ok": Done(),
    "certain": Again(0, 1, 0, certain=True),
    "uncertain": Again(0, 1, 0, certain=False),
    "dies": DeadByOutage(0, certain=False),
    "rejected": DeadByRejection(400, "no"),
}


class Both(msgspec.Struct):
    """The same lane twice, and what the real one has been counted."""

    lane: Lane
    model: LaneModel
    delivered: int = 0
    coalesced: int = 0
    cancelled: int = 0

    def grown(self, made: fate.Settling, model: LaneModel) -> "Both":
        return Both(
            made.lane,
            model,
            self.delivered + made.delivered,
            self.coalesced + made.coalesced,
            self.cancelled + made.cancelled,
        )


def steps(model: LaneModel) -> Iterator[str]:
    yield from "ACR"
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
    if step in "ACR":
        text = f"{step}{both.model.accepted}"
        folded = arrive(both.lane, entry(step, text=text), dedupe_ms=0, cancel_resolved=keep)
        model.arrive(step)
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
    assert "".join(LETTERS[op.kind] for op in lane.waiting) == model.waits, path
    assert (LETTERS[lane.flying.kind] if lane.flying else "") == model.flying, path
    assert {LETTERS[x.op.kind]: x.superseded for x in lane.letters} == model.letters, path
    assert (lane.remote.name.lower(), lane.dead) == (model.remote, model.dead), path
    assert (both.delivered, both.coalesced, both.cancelled) == (
        model.delivered,
        model.coalesced,
        model.cancelled,
    ), path
    assert (
        lane.pending() + lane.dead_count() + both.delivered + both.coalesced + both.cancelled
        == model.accepted
    )


def walk(both: Both, path: tuple[str, ...], depth: int) -> int:
    walked = 1
    if depth:
        for step in steps(both.model):
            following = after(both, step)
            same(following, (*path, step))
            walked += walk(following, (*path, step), depth - 1)
    return walked


@pytest.mark.parametrize("cancel_resolved", [True, False])
def test_every_sequence_does_what_the_table_says(*, cancel_resolved: bool) -> None:
    walked = walk(Both(Lane("k"), LaneModel(cancel_resolved=cancel_resolved)), (), DEPTH)
    assert walked > 10_000


def test_every_shape_that_a_fold_makes_is_a_shape_that_folds() -> None:
    shapes = {shape for shape, _ in FOLDS}
    made = {tuple(kind for kind, _ in slots) for slots in [*FOLDS.values(), *CANCELS.values()]}
    assert made <= shapes
    assert all((shape, kind) in FOLDS for shape in shapes for kind in Kind)
