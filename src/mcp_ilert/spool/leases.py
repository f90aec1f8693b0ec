"""What is in flight: lanes are leased with the request that leaves, and settled, or recovered, with what came of it."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from mcp_ilert.events import Delivery, Settlement
from mcp_ilert.spool import fate, past
from mcp_ilert.spool.digests import Digests
from mcp_ilert.spool.gathering import payload
from mcp_ilert.spool.history import Attempt
from mcp_ilert.spool.lane import Remote, State
from mcp_ilert.spool.lanes import Lanes
from mcp_ilert.spool.picker import Picker
from mcp_ilert.spool.port import Agenda, Leased, Settled, Want, revivable
from mcp_ilert.spool.rank import Pick
from mcp_ilert.spool.shelf import Row, TargetRow

RECOVER_SLICE = 500


class Leases:
    """Those of one spool, within its transaction."""

    def __init__(self, lanes: Lanes, digests: Digests) -> None:
        self._lanes = lanes
        self._digests = digests
        self.flying: frozenset[int] = frozenset()
        """Lanes leased since the start and not settled, as committed: somebody has them."""
        self._held: set[int] = set()
        """The same, in this transaction."""

    def load(self) -> None:
        """Begin anew with what was committed, as after a rollback."""
        self._held = set(self.flying)

    def resume(self, flying: frozenset[int]) -> None:
        """Somebody has these lanes."""
        self.flying, self._held = flying, set(flying)

    def committed(self) -> None:
        """What this transaction did is there for good."""
        self.flying = frozenset(self._held)

    # Leasing --------------------------------------------------------------------------------------------------

    def lease(self, wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
        """Choose and lease what the wants allow, in order."""
        lanes, targets = self._lanes, self._lanes.targets
        targets.keep(states)
        deliveries: list[Delivery] = []
        agenda: dict[str, Agenda] = {}
        for want in wants:
            target = targets.of(want.target)
            picker = Picker(lanes.shelf, target, now_ms)
            self._revive(target, want.revive, now_ms)
            divert = self._diverter(now_ms) if want.digest else _nothing_diverted
            chosen = picker.probe(dead=want.probe_dead) if want.probe else picker.choose(want, divert)
            for lane_id in chosen:  # one by one: the choice follows what was taken
                delivery = self._take(lane_id, want, now_ms, picker.turn)
                deliveries.append(delivery)
            if picker.turns != target.turns:
                targets.save(msgspec.structs.replace(targets.of(want.target), turns=picker.turns))
            agenda[target.name] = msgspec.structs.replace(
                picker.agenda(), backlog=targets.lanes[target.id], digested=picker.diverted
            )
            lanes.wakes.told(target.id, agenda[target.name])
        return Leased(tuple(deliveries), agenda)

    def _diverter(self, now_ms: int) -> Callable[[int], bool]:
        return lambda lane_id: self._digests.take(self._lanes.row(lane_id), now_ms)

    def _revive(self, target: TargetRow, limit: int, now_ms: int) -> None:
        lanes = self._lanes
        for lane_id, due_ms in lanes.shelf.soonest(State.DEAD, target.id, limit) if limit > 0 else ():
            if revivable(due_ms, now_ms):
                row = lanes.row(lane_id)
                lanes.store(row, row.target, fate.revive(row.lane), now_ms)

    def _take(self, lane_id: int, want: Want, now_ms: int, turn: Pick) -> Delivery:
        lanes = self._lanes
        row = lanes.row(lane_id)
        lane = fate.revive(row.lane) if row.lane.dead else row.lane
        gathers, head = lane.gathers, lane.waiting[0]
        text = head.payload if gathers is None else payload(gathers, lane.key, head.kind)
        taken = past.taken(lane, want, now_ms, turn, lanes.rules.tell(text))
        lane = msgspec.structs.replace(fate.take(lane), taken=taken)
        lanes.store(row, row.target, lane, now_ms)
        self._held.add(row.id)
        op = lane.flying
        if op is None:
            raise AssertionError("a taken lane flies")
        return Delivery(
            lease=row.id,
            target=want.target,
            key=lane.key,
            kind=op.kind,
            severity=op.severity if gathers is None or not gathers.members() else gathers.worst(),
            payload=text,
            count=op.count if gathers is None else max(1, gathers.members()),
            first_ms=op.first_ms,
            last_ms=op.last_ms,
            attempts=lane.attempts,
            rejections=lane.rejections,
            revivals=lane.revivals,
            probe=want.probe,
            digest=gathers is not None,
            ref=lane.ref,
            unsure=lane.remote is Remote.UNKNOWN or (lane.remote is Remote.OPEN and not lane.ref),
        )

    # Ending ---------------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement], states: Mapping[str, bytes], now_ms: int) -> Settled:
        """End deliveries; one that is not in flight any more (settled twice) is passed over."""
        lanes = self._lanes
        lanes.targets.keep(states)
        outage = rejected = 0
        for settlement in settlements:
            self._held.discard(settlement.lease)
            row = lanes.shelf.get(settlement.lease)
            if row is None or row.lane.flying is None:
                continue
            if row.lane.gathers is not None:
                lanes.note(row, past.attempt(row.lane, settlement), now_ms)
                self._digests.settle(row, settlement, now_ms)
                continue
            made = fate.settle(
                row.lane,
                settlement.decision,
                settlement.at_ms,
                cancel_resolved=lanes.rules.cancel_resolved,
            )
            self._end(row, made, past.attempt(row.lane, settlement), now_ms)
            outage += made.outage
            rejected += made.rejected
        return Settled(outage, rejected)

    def recover(self, now_ms: int) -> bool:
        """Return a slice of the lanes found leased that nobody has; True while there are more."""
        lanes = self._lanes
        found = lanes.shelf.leased(RECOVER_SLICE + len(self.flying))
        ids = [lane_id for lane_id in found if lane_id not in self.flying]
        for lane_id in ids:
            row = lanes.row(lane_id)
            if row.lane.gathers is not None:
                lanes.note(row, past.interrupted(row.lane), now_ms)
                self._digests.recover(row, now_ms)
                continue
            made = fate.recover(row.lane, now_ms, cancel_resolved=lanes.rules.cancel_resolved)
            self._end(row, made, past.interrupted(row.lane), now_ms)
        return len(ids) >= RECOVER_SLICE

    def _end(self, row: Row, made: fate.Settling, attempt: Attempt, now_ms: int) -> None:
        """Store what became of a request in flight, and tell of it."""
        self._lanes.note(row, attempt, now_ms)
        ended = msgspec.structs.replace(made.lane, taken=None)
        self._lanes.apply(row, msgspec.structs.replace(made, lane=ended), now_ms)


def _nothing_diverted(_lane_id: int) -> bool:
    return False
