"""The one task that decides what goes when. It sleeps until it is woken or a time comes; it never polls.

A round: plan each target (pure), share the places and the address's tokens among those that may send, lease
everything in one commit, start a sender for each delivery.
"""

import math
from collections.abc import Mapping

import msgspec
import structlog
import trio

from mcp_ilert.dispatch import breaker, recovery, state
from mcp_ilert.dispatch.desk import Desk
from mcp_ilert.dispatch.gatherer import REST, Gatherer
from mcp_ilert.dispatch.pace import Pace
from mcp_ilert.dispatch.plan import Go, Sleep, plan
from mcp_ilert.dispatch.sender import Sender
from mcp_ilert.dispatch.settler import Settler
from mcp_ilert.dispatch.state import Saved, TargetState
from mcp_ilert.dispatch.track import Track
from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import Delivery, Severity
from mcp_ilert.spool.port import Agenda, Leased, TargetRecord, Want

log = structlog.get_logger()

_QUIET_SECONDS = 1.0


class Ask(msgspec.Struct, frozen=True):
    """What is wanted for one target."""

    track: Track
    go: Go
    want: Want
    cost: int
    """Tokens for each attempt."""


class Scheduler:
    """Leases what may go now, and starts it."""

    def __init__(self, desk: Desk, sender: Sender, settler: Settler, gatherer: Gatherer) -> None:
        self._desk = desk
        self._sender = sender
        self._settler = settler
        self._gatherer = gatherer
        self._stopped = False
        self._failures = 0
        self.leasing = False

    def stop(self) -> None:
        """Lease nothing more, and end."""
        self._stopped = True
        self._desk.bell.ring()

    async def run(self) -> None:
        """Schedule until stopped or cancelled."""
        desk = self._desk
        while not self._stopped:
            await self._load()
            asks, until = self._round()
            if asks:
                await self._lease(asks)
            elif until < math.inf:
                with trio.move_on_at(until):
                    await desk.bell.wait()
            else:
                await desk.bell.wait()

    # What is kept of a target -----------------------------------------------------------------------------------

    async def _load(self) -> None:
        desk = self._desk
        if all(track.pace is not None for track in desk.tracks.values()):
            return
        records = await desk.persist("read the targets' states", desk.spool.records)
        now, wall_ms = trio.current_time(), desk.now_ms()
        decoded = {name: state.decode(r.state, now, wall_ms) for name, r in records.items() if r.state}
        known = {name: saved for name, saved in decoded.items() if saved is not None}
        if not desk.former and all(track.pace is None for track in desk.tracks.values()):
            desk.load_address(min((s.address_tokens for s in known.values()), default=None))
            desk.salt = next((s.salt for s in known.values() if s.salt), desk.salt)
        for track in desk.tracks.values():
            if track.pace is None:
                self._load_track(track, records, known, now)

    def _load_track(
        self, track: Track, records: Mapping[str, TargetRecord], known: Mapping[str, Saved], now: float
    ) -> None:
        desk, record, own = self._desk, records.get(track.name, TargetRecord()), known.get(track.name)
        if track.paused is None:  # else an operator spoke while the record was on its way
            track.paused = record.paused
        others = [*(t for t in desk.siblings(track) if t.pace is not None), *desk.known_before(track)]
        key = track.post.target.sealed(desk.salt)[: state.KEY_BYTES]
        former = {n: saved for n, saved in known.items() if n != track.name and saved.key == key}
        track.inherits = {name: state.without_key(records[name].state) for name in former}
        if record.state and own is None:
            log.warning(
                "the state of a target cannot be read; its pace starts from nothing", target=track.name
            )
            track.load(TargetState(), 0.0, desk.rules, now)
        else:
            track.load(*state.continued(own, tuple(former.values())), desk.rules, now)
        if others:
            track.join(others, now)
        track.show(self._desk.metrics)
        track.show_tokens(self._desk.metrics)
        self._settler.return_refused(track)

    # One round --------------------------------------------------------------------------------------------------

    def _round(self) -> tuple[list[Ask], float]:
        """What to ask of the spool now; else, until when to sleep."""
        desk = self._desk
        now, wall_ms = trio.current_time(), desk.now_ms()
        until, share = math.inf, desk.share()
        ready: list[tuple[Track, Go, int]] = []
        for track in desk.tracks.values():
            view = track.view(desk.rules, now)
            track.weigh(desk.rules, now, share)
            look_at = self._gatherer.look(track, now)
            until = until if look_at is None else min(until, look_at)
            match plan(view, desk.rules, now, wall_ms):
                case Go() as go:
                    if not go.probe:
                        track.stop(None, wall_ms)
                    track.looked(now, paced=False)
                    ready.append((track, go, 1 if go.probe else view.tokens))
                case Sleep(until=at, why=why, paced=paced):
                    track.stop(why, wall_ms)
                    track.looked(now, paced=paced)
                    until = min(until, at)
        most = max((track.cost for track, _, _ in ready), default=1)
        desk.crowded = bool(ready)
        if ready and desk.address.available(now) < most:
            return [], min(until, now + desk.address.wait(now, most))
        return self._share(ready, now) if ready else [], until

    def _share(self, ready: list[tuple[Track, Go, int]], now: float) -> list[Ask]:
        """Deal the free places out one by one, who asked longest ago first; the kept one to what may be critical.

        So a target that has always something urgent takes no more of the others' places than its share.
        """
        desk = self._desk
        ready.sort(key=lambda r: r[0].asked_at)
        tracks = [track for track, _, _ in ready]
        most = max((track.cost for track in tracks), default=1)
        pool = min(desk.places.free, desk.address.available(now) // most)
        left = {track.tempo: track.tempo.available(now) for track in tracks}
        rooms = [room for _, _, room in ready]
        for_others = _deal(tracks, rooms, left, min(desk.places.free_for_others, pool))
        urgent = [
            room - got if go.urgent else 0 for (_, go, room), got in zip(ready, for_others, strict=True)
        ]
        kept = _deal(tracks, urgent, left, pool - sum(for_others))
        asks = []
        for (track, go, _), others, more in zip(ready, for_others, kept, strict=True):
            if tokens := others + more:
                storm, stopped = track.state.storm.on, track.stopped
                want = Want(
                    track.name,
                    tokens,
                    others,
                    go.revive,
                    go.probe,
                    go.probe_dead,
                    stopped,
                    digest=storm,
                    longest_wait_ms=desk.rules.longest_wait_ms,
                )
                asks.append(Ask(track, go, want, track.cost))
        return asks

    async def _lease(self, asks: list[Ask]) -> None:
        """Lease what is asked for and start it; where the spool cannot, plan anew after a rest."""
        desk = self._desk
        now, wall_ms = trio.current_time(), desk.now_ms()
        for ask in asks:
            # Before the commit, so that neither it nor a settlement in between writes the tokens down as unspent.
            self._reserve(ask, ask.want.tokens)
            ask.track.fresh = False
            ask.track.asked_at = now
        self.leasing = True
        try:
            blobs = desk.blobs({ask.track for ask in asks})
            leased = await desk.spool.lease([ask.want for ask in asks], blobs, wall_ms)
        except UnavailableError as error:
            for ask in asks:
                self._reserve(ask, -ask.want.tokens)
                ask.track.fresh = True
            self._failures += 1
            await desk.rest("lease", self._failures, error)
        else:
            self._failures = 0
            self._start(asks, leased, wall_ms)
        finally:
            self.leasing = False
            desk.idle.ring()

    def _reserve(self, ask: Ask, tokens: int) -> None:
        ask.track.tempo.reserve(tokens * ask.cost)
        self._desk.address.reserve(tokens * ask.cost)

    def _start(self, asks: list[Ask], leased: Leased, asked_ms: int) -> None:
        """Start a sender for each delivery, in the order given, and note what the lease says of each target."""
        by_target = {ask.want.target: ask for ask in asks}
        for delivery in leased.deliveries:
            self._desk.places.take(critical=delivery.severity is Severity.CRITICAL)
            ask = by_target[delivery.target]
            self._sender.start(ask.track, delivery, ask.cost)
        for ask in asks:
            mine = [d for d in leased.deliveries if d.target == ask.want.target]
            self._reserve(ask, len(mine) - ask.want.tokens)
            self._note(ask, mine, leased.agenda.get(ask.want.target, Agenda()), asked_ms)

    def _note(self, ask: Ask, deliveries: list[Delivery], agenda: Agenda, asked_ms: int) -> None:
        track, want, now = ask.track, ask.want, trio.current_time()
        track.agenda = agenda
        track.gathered(agenda.digested, self._desk.rules, now)
        track.backlog = agenda.backlog
        track.unsorted |= agenda.others_ready
        track.quiet_until = 0.0
        if not deliveries and agenda.digested:  # it found but what goes into digests; so it will again
            track.quiet_until = now + REST * (now - track.asked_at)
        elif not deliveries and _claims_more(want, agenda, asked_ms):
            track.quiet_until = now + _QUIET_SECONDS
        replace = msgspec.structs.replace
        if want.revive and _come(agenda.next_revive_ms, asked_ms):
            track.state = replace(track.state, recovery=recovery.revived(track.state.recovery, now))
        if want.probe and deliveries:
            track.probing = True
            track.state = replace(track.state, breaker=breaker.probing(track.state.breaker))
            if deliveries[0].revivals:
                track.state = replace(track.state, recovery=recovery.probed(track.state.recovery, now))
            track.show(self._desk.metrics)


def _come(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms <= now_ms


def _claims_more(want: Want, agenda: Agenda, asked_ms: int) -> bool:
    """Whether the agenda says that something was ready which the lease did not give."""
    if want.probe:
        return agenda.waiting
    ready = agenda.critical_ready or (agenda.others_ready and want.others > 0)
    return ready or _come(agenda.next_due_ms, asked_ms)


def _deal(tracks: list[Track], rooms: list[int], left: dict[Pace, int], pool: int) -> list[int]:
    """Give out `pool` one by one to those that have room, and whose key, which several may share, has tokens left."""
    granted = [0] * len(rooms)
    dealt = True
    while pool > 0 and dealt:
        dealt = False
        for i, (track, room) in enumerate(zip(tracks, rooms, strict=True)):
            if pool > 0 and granted[i] < room and left[track.tempo] >= track.cost:
                granted[i] += 1
                left[track.tempo] -= track.cost
                pool -= 1
                dealt = True
    return granted
