"""Commits what came of attempts. What arrives while one commit is on its way goes together in the next.

Nothing is counted, and no place is free again, before its settlement is on disk. While the spool cannot take
settlements they wait here: nothing is lost while the process lives, and if it does not, the lane is found leased.
"""

from functools import partial

import msgspec
import structlog
import trio

from mcp_ilert.dispatch import park
from mcp_ilert.dispatch.desk import Desk
from mcp_ilert.dispatch.policy import Reason
from mcp_ilert.dispatch.track import Track
from mcp_ilert.events import DeadReason, Decision, Delivery, Done, Said, Settlement, Severity
from mcp_ilert.spool.port import Changed, Retarget, ReturnRefused, Settled

log = structlog.get_logger()


class Item(msgspec.Struct, frozen=True):
    """One delivery with what was decided on it."""

    track: Track
    delivery: Delivery
    decision: Decision
    reason: Reason | None
    at_ms: int
    said: Said = Said()


class Settler:
    """Owns the decisions that are not on disk yet."""

    def __init__(self, desk: Desk, nursery: trio.Nursery) -> None:
        self._desk = desk
        self._nursery = nursery
        self._waiting: list[Item] = []
        self._committing = 0
        self._some = trio.Event()

    @property
    def outstanding(self) -> int:
        """Decisions not on disk yet."""
        return len(self._waiting) + self._committing

    def add(self, item: Item) -> None:
        """Have this settled."""
        self._waiting.append(item)
        self._some.set()

    async def run(self) -> None:
        """Settle until cancelled."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            batch, self._waiting = self._waiting, []
            self._committing = len(batch)
            settled = await self._desk.persist("settle", partial(self._commit, batch))
            self._committing = 0
            self._after(batch, settled)

    async def _commit(self, batch: list[Item]) -> Settled:
        desk = self._desk
        settlements = [Settlement(i.delivery.lease, i.decision, i.at_ms, i.said) for i in batch]
        return await desk.spool.settle(settlements, desk.blobs({i.track for i in batch}), desk.now_ms())

    def _after(self, batch: list[Item], settled: Settled) -> None:
        desk = self._desk
        for item in batch:
            desk.places.give(critical=item.delivery.severity is Severity.CRITICAL)
            # What a delivered operation leaves ready, the spool tells by waking us; asking would be a commit more.
            item.track.fresh |= not isinstance(item.decision, Done)
            self._count(item)
        for reason, events in ((DeadReason.OUTAGE, settled.outage), (DeadReason.REJECTED, settled.rejected)):
            if events:
                desk.metrics.out_failed.labels(reason=reason.value).inc(events)
        for track in {item.track for item in batch}:
            for each in (track, *desk.siblings(track)):
                self.return_refused(each)
        if any(item.track.name not in desk.tracks for item in batch):
            self._nursery.start_soon(self._move)
        if desk.crowded or desk.unsteady or any(not _leaves_all(item) for item in batch):
            desk.bell.ring()
        desk.idle.ring()

    def _count(self, item: Item) -> None:
        metrics = self._desk.metrics
        if isinstance(item.decision, Done) and item.delivery.digest:
            metrics.digest_alerts.inc()
        elif isinstance(item.decision, Done):
            metrics.out_success.inc()
            metrics.processing_latency.observe(max(0, item.at_ms - item.delivery.first_ms) / 1000)
        elif item.reason is not None:
            metrics.out_retries.labels(reason=item.reason.value).inc()

    def return_refused(self, track: Track) -> None:
        """Bring back the dead letters that were the key's fault, if there may be any."""
        if track.state.park.owed and not track.returning:
            track.returning = True
            self._nursery.start_soon(self._return, track)

    async def _move(self) -> None:
        """What a request of a removed target left behind goes where the routes send it now."""
        desk = self._desk

        async def act() -> Changed:
            return await desk.spool.change(Retarget(tuple(desk.tracks)), desk.now_ms())

        await desk.persist("move what waits at removed targets", act)

    async def _return(self, track: Track) -> None:
        statuses = track.state.park.owed
        change = ReturnRefused(track.name, statuses)
        desk = self._desk

        async def act() -> Changed:
            return await desk.spool.change(change, desk.now_ms())

        changed = await desk.persist("return refused letters", act)
        track.returning = False
        track.state = msgspec.structs.replace(track.state, park=park.returned(track.state.park, statuses))
        track.fresh = True
        desk.bell.ring()
        if changed.events:
            log.info("dead letters of a refused key returned", target=track.name, events=changed.events)


def _leaves_all(item: Item) -> bool:
    """Whether nothing but a place is there that was not: the target waits for tokens, and none was given back."""
    return item.track.paced and item.track.cost == 1 and isinstance(item.decision, Done)
