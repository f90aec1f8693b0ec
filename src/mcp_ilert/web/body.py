"""A request's body as it arrives: at most `limit` bytes are ever held; what comes beyond is counted and thrown away.

It has `seconds` from its beginning, and less where it drips: the same bounds as a session's bodies have
(`doors/connection.py`, `Deadlines`).
"""

from collections.abc import AsyncIterator

import trio

from mcp_ilert.errors import TooLargeError
from mcp_ilert.problems import RequestError
from mcp_ilert.wire import GRACE_SECONDS, LEAST_RATE

DISCARD_FACTOR = 4
"""Of a body above its limit so many times the limit is read, so that the answer arrives."""


class BoundedBody:
    """In the place of Quart's own body: `append` and `set_complete` are called by Quart, as parts arrive."""

    def __init__(self, expected_bytes: int | None, limit: int | None) -> None:
        self._limit = limit or 0
        self._expected = expected_bytes or 0
        self._held = bytearray()
        self._received = 0
        self._ended = False
        self._news = trio.Event()
        self._since = trio.current_time()
        self.seconds = GRACE_SECONDS

    @property
    def too_large(self) -> bool:
        """Whether more has come, or has been announced, than may."""
        return self._received > self._limit or self._expected > self._limit

    @property
    def ended(self) -> bool:
        return self._ended

    def append(self, data: bytes) -> None:
        self._received += len(data)
        if self.too_large:
            self._held.clear()
        else:
            self._held += data
        self._news.set()

    def set_complete(self) -> None:
        self._ended = True
        self._news.set()

    def clear(self) -> None:
        """Forget what is held."""
        self._held.clear()

    async def parts(self) -> AsyncIterator[bytes]:
        """The body, part by part. Raises TooLargeError once it is known to be above the limit, RequestError (408)."""
        while True:
            if self.too_large:
                raise TooLargeError(f"the body is larger than {self._limit} bytes (listen.max_body_bytes)")
            if self._held:
                part = bytes(self._held)
                self._held.clear()
                yield part
            elif self._ended:
                return
            elif not await self._more():
                raise RequestError(408, "the body did not arrive in time (listen.read_timeout_seconds)")

    async def read(self) -> bytes:
        """The whole body. Raises as `parts` does."""
        return b"".join([part async for part in self.parts()])

    async def discard(self) -> bool:
        """Throw away what still comes, up to DISCARD_FACTOR times the limit; true once the end has come, in time."""
        most = DISCARD_FACTOR * self._limit
        while not self._ended and max(self._received, self._expected) <= most:
            self._held.clear()
            if not await self._more():
                break
        self._held.clear()
        return self._ended

    async def _more(self) -> bool:
        """Wait for what comes next; false where its time is up."""
        self._news = trio.Event()
        with trio.CancelScope(deadline=self._until()) as waiting:
            await self._news.wait()
        return not waiting.cancelled_caught

    def _until(self) -> float:
        return self._since + min(self.seconds, GRACE_SECONDS + self._received / LEAST_RATE)
