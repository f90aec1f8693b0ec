"""The tokens of one attempt: those it was planned with, and further ones where it turns out to take more requests."""

import trio

from mcp_ilert.dispatch.desk import Desk
from mcp_ilert.dispatch.track import Track
from mcp_ilert.targets.port import PausedError

_LOOK_SECONDS = 1.0
"""Between two looks at a bucket whose limits may change meanwhile."""


class Purse:
    """What an attempt pays its requests from, to its key's bucket and to the address's."""

    def __init__(self, track: Track, desk: Desk, tokens: int) -> None:
        """So many `tokens` are reserved in both."""
        self._track = track
        self._paces = (track.tempo, desk.address)
        self._tokens = tokens

    def spend(self) -> None:
        """A planned request leaves now."""
        now = trio.current_time()
        self._tokens -= 1
        for pace in self._paces:
            pace.depart(now)

    async def more(self) -> None:
        """Wait until one more request may leave, before anything new is planned. Raises PausedError."""
        paused = self._track.state.learnt.paused_until - trio.current_time()
        if paused > 0:
            raise PausedError(paused)
        if not self._tokens:
            await self._queue()
        self.spend()

    async def _queue(self) -> None:
        """Get one token more."""
        for pace in self._paces:
            pace.queue(1)
        try:
            while (seconds := self._lacking()) > 0:  # noqa: ASYNC110 - a bucket is time itself
                await trio.sleep(min(seconds, _LOOK_SECONDS))
        finally:
            for pace in self._paces:
                pace.queue(-1)
        for pace in self._paces:
            pace.reserve(1)
        self._tokens += 1

    def _lacking(self) -> float:
        now = trio.current_time()
        return max(pace.lacking(now) for pace in self._paces)

    def close(self) -> None:
        """Give back what was not needed."""
        for pace in self._paces:
            pace.release(self._tokens)
        self._tokens = 0
