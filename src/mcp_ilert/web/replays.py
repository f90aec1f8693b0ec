"""Messages that say who they are are taken once: what was committed is answered again, and not taken again.

A sender's retry of what was not committed is taken. Of two at once, the second waits for what becomes of the first.
What is remembered is bounded, and does not outlive the process: behind a restart, a retry of what was committed
before it is taken once more, as any producer's repeat is.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import trio

from mcp_ilert.intake import Receipt

MOST: Final = 16_384
KEEP_SECONDS: Final = 86_400.0


class Replays:
    """What was committed, by the message's identity."""

    def __init__(self, most: int = MOST, keep_seconds: float = KEEP_SECONDS) -> None:
        self._most = most
        self._keep = keep_seconds
        self._done: OrderedDict[Hashable, tuple[float, Receipt]] = OrderedDict()
        self._running: dict[Hashable, trio.Event] = {}

    async def once(self, key: Hashable, take: Callable[[], Awaitable[Receipt]]) -> Receipt:
        """What `take` gives, or gave for this key before; what it raises is forgotten."""
        while (running := self._running.get(key)) is not None:
            await running.wait()
        now = trio.current_time()
        self._forget(now)
        known = self._done.get(key)
        if known is not None:
            return known[1]
        over = self._running[key] = trio.Event()
        try:
            receipt = await take()
            self._done[key] = now, _short(receipt)
        finally:
            del self._running[key]
            over.set()
        return receipt

    def _forget(self, now: float) -> None:
        while self._done:
            since, _ = next(iter(self._done.values()))
            if len(self._done) < self._most and now - since <= self._keep:
                return
            self._done.popitem(last=False)


def _short(receipt: Receipt) -> Receipt:
    """The same without the list of what was rejected, which may be long."""
    if not receipt.rejected:
        return receipt
    return Receipt(receipt.accepted, (), receipt.rejected_total or len(receipt.rejected))
