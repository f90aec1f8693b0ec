"""Messages that say who they are are taken once: remembered in the transaction that takes them, and told by no other.

So what was answered 2xx is known as long as the spool lives, and what was answered 503 is taken when it comes again.
What is remembered is bounded in number and age. Plain requests, which say nothing of the kind, cost nothing here.
"""

from typing import Final

from mcp_ilert.errors import RepeatedError
from mcp_ilert.events import Message
from mcp_ilert.spool.shelf import Shelf

MOST: Final = 65_536
KEEP_MS: Final = 86_400_000
SLICE: Final = 500


class Messages:
    """Those that were committed. All calls but `known` stand in a transaction."""

    def __init__(self, shelf: Shelf, most: int = MOST) -> None:
        self._shelf = shelf
        self._most = most

    def known(self, message: Message) -> RepeatedError | None:
        """What the message is refused for, where it was taken before."""
        found = self._shelf.message(message.name)
        return None if found is None else RepeatedError(*found)

    def take(self, message: Message, now_ms: int) -> RepeatedError | None:
        """Remember it, or give what it is refused for."""
        known = self.known(message)
        if known is not None:
            return known
        number = self._shelf.add_message(message.name, now_ms, message.accepted, message.rejected)
        self._shelf.cut_messages(number - self._most)
        return None

    def prune(self, now_ms: int) -> None:
        """Forget a slice of those whose time is over."""
        over = [number for number, at_ms in self._shelf.oldest_messages(SLICE) if at_ms <= now_ms - KEEP_MS]
        if over:
            self._shelf.cut_messages(over[-1])
