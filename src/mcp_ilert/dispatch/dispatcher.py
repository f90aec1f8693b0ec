"""The delivering half of the bridge, as its owner sees it: run it, wake it, pause it, drain it."""

import random as chance
from collections.abc import Collection, Mapping

import structlog
import trio

from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.dispatch import state
from mcp_ilert.dispatch.breaker import Closed
from mcp_ilert.dispatch.desk import Desk
from mcp_ilert.dispatch.gatherer import Gatherer
from mcp_ilert.dispatch.rules import Chance, DispatchSettings, Metrics, rules
from mcp_ilert.dispatch.scheduler import Scheduler
from mcp_ilert.dispatch.sender import Sender
from mcp_ilert.dispatch.settler import Settler
from mcp_ilert.dispatch.standing import Standing, standing
from mcp_ilert.dispatch.track import Post, Track
from mcp_ilert.errors import UnavailableError, UnknownTargetError
from mcp_ilert.spool.port import Pause, Spool
from mcp_ilert.targets.port import Target

log = structlog.get_logger()

_FLUSH_SECONDS = 1.0


class _Life:
    """The parts of one run."""

    def __init__(self, desk: Desk, nursery: trio.Nursery, senders: trio.Nursery) -> None:
        self.nursery = nursery
        self.senders = senders
        self.settler = Settler(desk, nursery)
        self.sender = Sender(desk, self.settler, senders)
        self.scheduler = Scheduler(desk, self.sender, self.settler, Gatherer(desk, nursery))
        self._idle = desk.idle

    async def still(self) -> None:
        """Wait until nothing is on its way and everything known is on disk."""
        while self.scheduler.leasing or self.sender.running or self.settler.outstanding:
            await self._idle.wait()


class Dispatcher:
    """Sends what waits in the spool to its targets. It owns the targets: it closes those it is done with."""

    def __init__(
        self,
        spool: Spool,
        targets: Mapping[str, Target],
        settings: DispatchSettings,
        metrics: Metrics,
        now_ms: NowMs = wall_ms,
        random: Chance = chance.random,
        *,
        last: bool = False,
    ) -> None:
        """`last`: the spool has no other dispatcher after this one."""
        self._desk = Desk(spool, rules(settings), metrics, now_ms, random)
        self._desk.last = last
        self._desk.tracks = {name: Track(name, target) for name, target in targets.items()}
        self._retired: list[Post] = []
        self._life: _Life | None = None

    async def run(self) -> None:
        """Deliver until cancelled (what is in flight is then found by the next start) or drained."""
        try:
            async with trio.open_nursery() as nursery, trio.open_nursery() as senders:
                self._life = life = _Life(self._desk, nursery, senders)
                nursery.start_soon(life.settler.run)
                senders.start_soon(life.scheduler.run)  # what it leases last may still be handed over
                await trio.sleep_forever()
        finally:
            self._life = None
            with trio.move_on_after(_FLUSH_SECONDS, shield=True):
                await self._close()

    def wake(self, targets: frozenset[str]) -> bool:
        """Something became ready at these targets; whether that is a reason to look. Call it in Trio's thread."""
        woke = self._desk.unsteady
        for name in targets & self._desk.tracks.keys():
            woke |= self._desk.tracks[name].woken()
        if woke:
            self._desk.bell.ring()
        return woke

    async def drain(self, seconds: float) -> None:
        """Lease nothing more, let the attempts in flight end for so long, write down what is known, and end `run`."""
        life = self._life
        if life is None:
            return
        life.scheduler.stop()
        with trio.move_on_after(seconds):
            await life.still()
        life.senders.cancel_scope.cancel()
        with trio.move_on_after(_FLUSH_SECONDS):
            await life.still()
            await self._save()
        life.nursery.cancel_scope.cancel()

    async def pause(self, name: str) -> None:
        """Send nothing to this target until it is resumed, also after a restart."""
        await self._pause(name, paused=True)

    async def resume(self, name: str) -> None:
        """Send to this target again."""
        await self._pause(name, paused=False)

    def must_know(self, name: str, more: Collection[str] = ()) -> None:
        """Raises UnknownTargetError unless there is this target, or it is one of `more`."""
        known = {*self._desk.tracks, *more}
        if name not in known:
            raise UnknownTargetError(
                f"target {name}: there is none of this name; known are {', '.join(sorted(known))}"
            )

    def replace(self, targets: Mapping[str, Target], settings: DispatchSettings) -> None:
        """Go on with these targets and settings, after a reload. Attempts in flight end as they began."""
        desk = self._desk
        desk.rules = rules(settings)
        desk.places.limit = desk.rules.max_in_flight
        for name in desk.tracks.keys() - targets.keys():
            self._leave(name)
        for name, target in targets.items():
            self._take(name, target)
        self.unpark()

    def unpark(self) -> None:
        """Try all keys again: they may have been mended."""
        for track in self._desk.tracks.values():
            track.state = state.unparked(track.state)
            track.fresh = True
            track.show(self._desk.metrics)
        self._desk.bell.ring()

    def standings(self) -> list[Standing]:
        """How each target stands now; one whose record is still being read is left out."""
        rules, now, wall_ms = self._desk.rules, trio.current_time(), self._desk.now_ms()
        tracks = (track for track in self._desk.tracks.values() if track.pace is not None)
        return [standing(t.name, t.view(rules, now), rules, now, wall_ms) for t in tracks]

    @property
    def in_flight(self) -> int:
        """Operations on their way to iLert."""
        return self._desk.places.taken

    def notes(self) -> list[str]:
        """What an operator should know of the targets, a line each; nothing while all is well."""
        lines = self.ailments()
        for track in self._desk.tracks.values():
            if track.paused:
                lines.append(f"target {track.name}: paused by an operator; resume it to deliver")
        return lines

    def ailments(self) -> list[str]:
        """Why some target takes nothing but probes, a line each; an operator's pause is none."""
        lines: list[str] = []
        for track in self._desk.tracks.values():
            status = track.state.park.status
            if status is not None and status // 100 == 2:
                lines.append(
                    f"target {track.name}: iLert's answers are not of its published incident model; "
                    "its events wait: use target: alert in its routes and reload"
                )
            elif status is not None:
                lines.append(
                    f"target {track.name}: iLert refuses {_key_of(track)} (status {status}); "
                    "its events wait: set a valid key and reload"
                )
            if not isinstance(track.state.breaker, Closed):
                lines.append(f"target {track.name}: circuit open, iLert does not answer; its events wait")
        return lines

    def _take(self, name: str, target: Target) -> None:
        tracks = self._desk.tracks
        if name in tracks and tracks[name].post.target.credential != target.credential:
            self._leave(name)  # another key: another bucket, and perhaps others share it
        if name not in tracks:
            tracks[name] = Track(name, target)
        elif tracks[name].post.target is not target:
            self._retire(tracks[name].post)
            tracks[name].post = Post(target)

    def _leave(self, name: str) -> None:
        desk = self._desk
        desk.former[name] = track = desk.tracks.pop(name)
        track.state = state.unparked(track.state)  # whoever has its key now
        self._retire(track.post)

    def _retire(self, post: Post) -> None:
        if self._life is None:
            self._retired.append(post)
        else:
            self._life.nursery.start_soon(post.retire)

    async def _close(self) -> None:
        for post in (*self._retired, *(track.post for track in self._desk.tracks.values())):
            await post.retire()

    async def _pause(self, name: str, *, paused: bool) -> None:
        desk = self._desk
        self.must_know(name)
        await desk.spool.change(Pause(name, paused), desk.now_ms())
        if track := desk.tracks.get(name):
            track.paused = paused
            track.fresh = True
        desk.bell.ring()
        log.info("target paused" if paused else "target resumed", target=name)

    async def _save(self) -> None:
        loaded = {track for track in self._desk.tracks.values() if track.pace is not None}
        try:
            await self._desk.spool.settle((), self._desk.blobs(loaded), self._desk.now_ms())
        except UnavailableError as error:
            log.warning("the targets' states are not written down", detail=error.detail)


def _key_of(track: Track) -> str:
    """What the target sends by, as an operator knows it."""
    key = track.post.target.credential
    return "the integration key" if key == track.name else key
