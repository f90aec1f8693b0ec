"""A request's body as the doors of the app take it: within a deadline, and inflated within its limit."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, cast

import trio
from quart import request

from mcp_ilert.web.base import BridgeRequest
from mcp_ilert.web.encodings import inflated

INFLATING: Final = 8
"""Bodies that are inflated at once; what comes beyond waits. It bounds the memory that windows take."""


class Receiver:
    """Reads the bodies of one app's requests."""

    def __init__(self) -> None:
        self.inflating = trio.CapacityLimiter(INFLATING)

    def parts(self) -> AsyncIterator[bytes]:
        """The body as it was sent, as it comes. Raises RequestError (408), TooLargeError."""
        return cast("BridgeRequest", request).body.parts()

    async def decoded(self, body: bytes, encoding: str, limit: int) -> AsyncGenerator[bytes, None]:
        """What the body says, in pieces; others run between them. Raises MalformedError, TooLargeError.

        Close it where it may be left before its end (`contextlib.aclosing`): it holds one of few places.
        """
        async with self.inflating:
            for piece in inflated(body, encoding, limit):
                yield piece
                await trio.lowlevel.checkpoint()

    async def plain(self, body: bytes, encoding: str | None, limit: int) -> bytes:
        """The whole of what the body says."""
        if encoding is None:
            return body
        async with aclosing(self.decoded(body, encoding, limit)) as pieces:
            return b"".join([piece async for piece in pieces])


class Clock:
    """Measures from the end of the body to the answer, in seconds."""

    def __init__(self) -> None:
        self._since = trio.current_time()

    async def read(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same parts; it begins anew when they have come."""
        async for part in parts:
            yield part
        self._since = trio.current_time()

    def elapsed(self) -> float:
        return trio.current_time() - self._since
