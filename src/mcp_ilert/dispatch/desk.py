"""What the scheduler, the senders and the settler share: the tracks, the clock, the rules, the spool."""

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
import trio

from mcp_ilert.clock import NowMs
from mcp_ilert.dispatch.pace import ADDRESS_PER_MINUTE, Learnt, Pace, limits, rate
from mcp_ilert.dispatch.rules import Chance, Metrics, Rules
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.dispatch.track import Bell, Places, Track
from mcp_ilert.errors import UnavailableError
from mcp_ilert.spool.port import Spool

log = structlog.get_logger()

SALT_BYTES = 16
_RETRY_SECONDS = 0.1
_RETRY_SECONDS_AT_MOST = 5.0

T = TypeVar("T")


class Desk:
    """Everything that dispatching changes while it runs, in one place; only Trio's thread touches it."""

    def __init__(self, spool: Spool, rules: Rules, metrics: Metrics, now_ms: NowMs, random: Chance) -> None:
        self.spool = spool
        self.rules = rules
        self.metrics = metrics
        self.now_ms = now_ms
        self.random = random
        self.tracks: dict[str, Track] = {}
        self.former: dict[str, Track] = {}
        """Targets of this life that the configuration has no more: their keys may have other names now."""
        self.salt = os.urandom(SALT_BYTES)
        """Of the digests by which keys are known again; that of the spool, once that is read."""
        self.places = Places(rules.max_in_flight)
        self.bell = Bell()
        """Wakes the scheduler."""
        self.last = False
        """There is no next life: what is kept for it is not made."""
        self.crowded = True
        """When it looked last, more might have gone than there were places for."""
        self.idle = Bell()
        """Wakes who waits for the last attempt to end."""
        self._address: Pace | None = None

    @property
    def address(self) -> Pace:
        """The tokens that all targets share; full in the process's first life."""
        if self._address is None:
            self.load_address(None)
        assert self._address is not None  # noqa: S101 - just made; tells the type checker
        return self._address

    def load_address(self, tokens: float | None) -> None:
        """Go on with what was left of the shared tokens."""
        now = trio.current_time()
        self._address = Pace(*limits(rate(ADDRESS_PER_MINUTE), Learnt(), now), tokens, now)

    @property
    def unsteady(self) -> bool:
        """Whether time changes more at some target than its tokens, so that each look brings it up to date."""
        return not all(track.steady for track in self.tracks.values())

    def share(self) -> float:
        """What part of its pace each key with a backlog can have, where all of them send by one address."""
        wanted = sum({t.tempo: t.tempo.per_second for t in self.tracks.values() if t.backlog}.values())
        return min(1.0, self.address.per_second / wanted) if wanted else 1.0

    def known_before(self, track: Track) -> list[Track]:
        """Targets of this life that sent by the same key under another name."""
        key = track.post.target.sealed(self.salt)
        return [t for t in self.former.values() if t.pace and t.post.target.sealed(self.salt) == key]

    def siblings(self, track: Track) -> list[Track]:
        """The other targets that send by the same key."""
        key = track.post.target.credential
        return [t for t in self.tracks.values() if t is not track and t.post.target.credential == key]

    def take(self, track: Track, state: TargetState, *, turned: bool) -> None:
        """A target's state is another now; what of it is the key's, all targets of the key have.

        So do those of another name, for a request that left under the old one may be answered late. `turned`:
        something shows that did not before.
        """
        before, track.state = track.state, state
        others = dict.fromkeys([*self.siblings(track), *self._renamed(track)])
        for other in others:
            other.follow(before, state)
        if turned:
            for each in (track, *others):
                if self.tracks.get(each.name) is each:
                    each.show(self.metrics)

    def _renamed(self, track: Track) -> list[Track]:
        """Those that have its key too, where its name or theirs is one that the configuration has no more."""
        if not self.former:
            return []
        known = self.known_before(track)
        if self.tracks.get(track.name) is not track:
            key = track.post.target.sealed(self.salt)
            known += [t for t in self.tracks.values() if t.pace and t.post.target.sealed(self.salt) == key]
        return [t for t in known if t is not track]

    def blobs(self, tracks: set[Track]) -> dict[str, bytes]:
        """The states to be committed together with a lease or a settlement, for the next life."""
        if self.last:
            return {}
        now, wall_ms = trio.current_time(), self.now_ms()
        made = {track.name: track.blob(self.address, now, wall_ms, self.salt) for track in tracks}
        for track in tracks:  # with its own record, so that its key is never known twice, nor not at all
            made |= {n: blob for n, blob in track.inherits.items() if n not in self.tracks}
        return made

    async def persist(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """Ask the spool until it can; a spool that fails for good raises something else."""
        failures = 0
        while True:
            try:
                return await act()
            except UnavailableError as error:
                failures += 1
                await self.rest(what, failures, error)

    async def rest(self, what: str, failures: int, error: UnavailableError) -> None:
        """Wait before the spool is asked again, longer each time."""
        seconds = min(_RETRY_SECONDS_AT_MOST, _RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
        log.warning("spool unavailable, trying again", doing=what, detail=error.detail, failures=failures)
        await trio.sleep(seconds * (0.5 + self.random() / 2))
