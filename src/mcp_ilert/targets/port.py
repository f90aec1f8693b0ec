"""A target as the dispatcher sees it: one place that operations are sent to, by one key."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Protocol

from mcp_ilert.events import Delivery, Outcome

More = Callable[[], Awaitable[None]]
"""Waits until one more request may leave, at the pace of the target's key. Raises PausedError."""


class PausedError(Exception):
    """A 429 has paused the key for so many seconds: the attempt is to end, and to be made again later."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the key is paused for {seconds:.0f} s")
        self.seconds = seconds


async def at_once() -> None:
    """Nobody keeps a pace."""


def seal(key: str, salt: bytes) -> bytes:
    """What tells a key from others: a keyed digest of 32 bytes."""
    return hmac.digest(salt, key.encode("utf-8", "surrogatepass"), "sha256")


class Target(Protocol):
    """Sends one operation at a time per lane; many lanes at once."""

    @property
    def name(self) -> str:
        """The target's name: `default`, or that of the route that gave it its key."""

    @property
    def credential(self) -> str:
        """Names the key by which it sends: targets that have it in common share its pace and its park."""

    def sealed(self, salt: bytes) -> bytes:
        """What tells its key from others without telling it (`seal`), whatever the target is called."""

    @property
    def requests(self) -> int:
        """How many requests an attempt takes, as a rule at most."""

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:
        """Make one attempt, each request of it within the target's time-out.

        Never raises for what a server or a network may do. An attempt that takes more than one request awaits
        `more` before each but the first.
        """

    async def aclose(self) -> None:
        """Close the connections."""
