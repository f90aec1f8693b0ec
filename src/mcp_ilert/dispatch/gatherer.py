"""Has the spool put lesser alerts into digests while a storm is on at their target, slice by slice."""

import structlog
import trio

from mcp_ilert.dispatch.desk import Desk
from mcp_ilert.dispatch.track import Track
from mcp_ilert.spool.port import Changed, Gather

log = structlog.get_logger()

GATHER_SECONDS = 5.0
"""From one look through what waits to the next; in between, a lease looks at each lane that it chooses."""
REST = 3.0
"""After a slice, so many times as long as it took: who is accepting in the storm has the spool for most of the time."""


class Gatherer:
    """Looks through a target's lanes once for all that has come since the last look."""

    def __init__(self, desk: Desk, nursery: trio.Nursery) -> None:
        self._desk = desk
        self._nursery = nursery

    def look(self, track: Track, now: float) -> float | None:
        """Begin a look if one is due; else, when it will be."""
        if not track.state.storm.on or not track.unsorted or track.gathering:
            return None
        if track.gather_at > now:
            return track.gather_at
        track.unsorted = False
        track.gathering = True
        track.gather_at = now + GATHER_SECONDS
        self._nursery.start_soon(self._gather, track)
        return None

    async def _gather(self, track: Track) -> None:
        desk, lanes = self._desk, 0
        change = Gather(track.name)

        async def act() -> Changed:
            return await desk.spool.change(change, desk.now_ms())

        while track.state.storm.on:
            begun = trio.current_time()
            moved = (await desk.persist("gather digests", act)).events
            if not moved:
                break
            lanes += moved
            ended = trio.current_time()
            track.gathered(moved, desk.rules, ended)
            await trio.sleep(REST * (ended - begun))
        track.gathering = False
        if lanes:
            track.fresh = True
            if not track.paced or track.unsorted or desk.unsteady:
                desk.bell.ring()
            log.info("storm: alerts put into digests", target=track.name, alerts=lanes)
