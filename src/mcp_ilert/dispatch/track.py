"""What the dispatcher holds of one target while it runs. Only Trio's thread touches it."""

import math
from collections.abc import Sequence

import msgspec
import trio

from mcp_ilert.dispatch import breaker, pace, park, state, storm
from mcp_ilert.dispatch.pace import Pace
from mcp_ilert.dispatch.plan import View
from mcp_ilert.dispatch.rules import Metrics, Rules
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.spool.history import Stop
from mcp_ilert.spool.port import Agenda, Stopped
from mcp_ilert.targets.port import Target


class Post:
    """A target's connections; once retired they close behind the last attempt that uses them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._in_use = 0
        self._retired = False

    def enter(self) -> None:
        """An attempt begins."""
        self._in_use += 1

    def leave(self) -> bool:
        """An attempt ends; whether it was the last one, and the connections are to be closed."""
        self._in_use -= 1
        return self._retired and not self._in_use

    async def retire(self) -> None:
        """No attempt will begin any more."""
        self._retired = True
        if not self._in_use:
            await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.target.aclose()


class Track:
    """One target: its state, its tokens, and what the spool last said of it."""

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self.post = Post(target)
        self.state = TargetState()
        self.agenda = Agenda()
        self.pace: Pace | None = None
        """None until the spool's record of the target has been read."""
        self.inherits: dict[str, bytes] = {}
        """Records of names under which its key was known before, as they are to be kept: without the key."""
        self.fresh = True
        self.paused: bool | None = None
        """By an operator. None until one has said so in this life, or the spool's record has been read."""
        self.probing = False
        self.returning = False
        """A change that returns dead letters to their lanes is on its way."""
        self.backlog = 0
        """Lanes that wait, as far as is known."""
        self.share = 1.0
        """Of the key's pace, what the address leaves it while others send, too."""
        self.unsorted = True
        """Something may have come since the last look for what a digest could stand for."""
        self.gathering = False
        """Such a look is on its way."""
        self.gather_at = 0.0
        """No further one before this."""
        self.cost = 1
        """Tokens that an attempt is planned with."""
        self.asked_at = 0.0
        self.quiet_until = 0.0
        self.paced = False
        """Until the scheduler looks again of itself, nothing may go here, whatever comes."""
        self.steady = False
        """Time brings nothing but tokens: nothing learnt of the key is unlearnt, no rejected digest forgotten."""
        self.stopped: Stopped | None = None
        """When nothing but probes went here last."""
        self._stops = False

    def stop(self, why: Stop | None, wall_ms: int) -> None:
        """Nothing but probes may go now for this reason; None: nothing is in the way."""
        last = self.stopped
        if self._stops and last is not None:
            self.stopped = last = msgspec.structs.replace(last, until_ms=max(wall_ms, last.until_ms))
        if why is not None and not (self._stops and last is not None and last.why is why):
            self.stopped = Stopped(why, wall_ms, wall_ms)
        self._stops = why is not None

    def load(self, saved: TargetState, tokens: float | None, rules: Rules, now: float) -> None:
        """Go on from what is kept of the target; `tokens` None: it has never been sent to."""
        self.state = saved
        self.pace = Pace(*pace.limits(rules.rate, saved.learnt, now), tokens, now)

    def join(self, others: Sequence["Track"], now: float) -> None:
        """Share the pace and the park of others that send by the same key.

        Of what each was loaded with, the least tokens hold, the newest lesson, and the park if there is one.
        """
        tempo = others[0].tempo
        for other in {self.tempo, *(track.tempo for track in others)} - {tempo}:
            tempo.lower(other.saved(now), now)
        self.pace = tempo
        tracks = (self, *others)
        learnt = max((t.state.learnt for t in tracks), key=lambda known: known.since)
        parked = next((t.state.park for t in tracks if t.state.park.parked), self.state.park)
        for track in tracks:
            mine = park.shared(track.state.park, parked, parked)
            track.state = msgspec.structs.replace(track.state, learnt=learnt, park=mine)

    def follow(self, before: TargetState, after: TargetState) -> None:
        """Another target of the same key went from one state to another: what is the key's is mine, too."""
        if after.learnt is self.state.learnt and after.park is before.park:
            return
        shared = park.shared(self.state.park, before.park, after.park)
        self.fresh |= shared.parked is not self.state.park.parked
        self.state = msgspec.structs.replace(self.state, learnt=after.learnt, park=shared)

    def woken(self) -> bool:
        """Something may have become ready; whether that lets the scheduler do anything sooner."""
        news = not (self.fresh or self.paced) or (self.state.storm.on and not self.unsorted)
        self.fresh = self.unsorted = True
        return news

    def looked(self, now: float, *, paced: bool) -> None:
        """The scheduler has looked; `paced`: nothing goes for want of tokens, so that nothing but time helps."""
        self.steady = self.state.learnt.budget is None and self.state.storm.suspended_until <= now
        self.paced = paced and self.steady

    def view(self, rules: Rules, now: float) -> View:
        """What planning needs to know; also brings the bucket up to date with the learnt budget."""
        tempo = self.tempo
        capacity, per_second = pace.limits(rules.rate, self.state.learnt, now)
        tempo.limit(capacity, per_second, now)
        self.cost = max(1, min(self.post.target.requests, math.floor(capacity)))
        return View(
            state=self.state,
            agenda=self.agenda,
            fresh=self.fresh,
            paused=bool(self.paused),
            probing=self.probing,
            tokens=tempo.available(now) // self.cost,
            token_wait=tempo.wait(now, self.cost),
            quiet_until=self.quiet_until,
        )

    def weigh(self, rules: Rules, now: float, share: float) -> None:
        """See whether a storm is on, where such a share of the key's pace can be had."""
        self.share = share
        tokens, per_second = self.tempo.available(now), self.tempo.per_second * share
        known = storm.weighed(self.state.storm, self.backlog, tokens, per_second, rules.storm_after, now)
        self.state = msgspec.structs.replace(self.state, storm=known)

    def gathered(self, lanes: int, rules: Rules, now: float) -> None:
        """So many lanes were put into digests."""
        per_second = self.tempo.per_second * self.share
        known = storm.gathered(self.state.storm, lanes, per_second, rules.storm_after, now)
        self.state = msgspec.structs.replace(self.state, storm=known)
        self.backlog = max(0, self.backlog - lanes)

    @property
    def tempo(self) -> Pace:
        """The pace, once loaded."""
        if self.pace is None:
            raise RuntimeError(f"target {self.name} is used before it is loaded")
        return self.pace

    def blob(self, address: Pace, now: float, wall_ms: int, salt: bytes) -> bytes:
        """What the spool shall keep of the target."""
        return state.encode(
            self.state,
            self.tempo.saved(now),
            address.saved(now),
            now,
            wall_ms,
            key=self.post.target.sealed(salt),
            salt=salt,
        )

    def show(self, metrics: Metrics) -> None:
        """Tell the gauges."""
        metrics.circuit_state.labels(target=self.name).set(breaker.GAUGE[type(self.state.breaker)])
        metrics.key_parked.labels(target=self.name).set(self.state.park.parked)

    def show_tokens(self, metrics: Metrics) -> None:
        """Let the gauge of tokens read the bucket whenever it is asked."""
        gauge = metrics.rate_limit_tokens.labels(target=self.name)
        gauge.set_function(self._tokens)

    def _tokens(self) -> int:
        if self.pace is None:
            return 0
        try:
            now = trio.current_time()
        except RuntimeError:  # asked for outside of the run: what was known last
            return self.pace.known()
        return self.pace.available(now)


class Places:
    """How many attempts may run at once; from two up one place is kept for critical operations."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._others = 0

    @property
    def free(self) -> int:
        """Places for anything critical."""
        return max(0, self.limit - self._taken)

    @property
    def free_for_others(self) -> int:
        """Places for the rest."""
        kept = 1 if self.limit >= 2 else 0
        return max(0, min(self.free, self.limit - kept - self._others))

    @property
    def taken(self) -> int:
        """Deliveries leased and not settled."""
        return self._taken

    def take(self, *, critical: bool) -> None:
        """A delivery is leased."""
        self._taken += 1
        self._others += not critical

    def give(self, *, critical: bool) -> None:
        """A delivery is settled."""
        self._taken -= 1
        self._others -= not critical


class Bell:
    """Wakes one sleeper; a ring while nobody sleeps is kept."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake the sleeper."""
        self._event.set()

    async def wait(self) -> None:
        """Sleep until the next ring, or not at all if there was one since the last wait."""
        await self._event.wait()
        self._event = trio.Event()
