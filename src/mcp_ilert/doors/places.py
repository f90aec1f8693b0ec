"""How many connections are open, in all and of each address: one count for all doors, whoever carries them."""

from collections import Counter

import msgspec

from mcp_ilert.problems import CONTENT_TYPE, refusal

_TOO_MANY = "too many connections (listen.max_connections, listen.max_connections_per_address)"


class Bounds(msgspec.Struct, frozen=True):
    """How many connections are open at once."""

    connections: int = 10_000
    per_address: int = 1_000


class Places:
    """Who is in. `bounds` may change at any time; who is in stays in."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._taken = 0
        self._addresses: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Take a place for a connection from this address; false where there is none left."""
        if self._taken >= self.bounds.connections or self._addresses[address] >= self.bounds.per_address:
            return False
        self._taken += 1
        self._addresses[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Give the place back."""
        self._taken -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


def full_http() -> bytes:
    """What is said over HTTP to whom there is no place for."""
    refused = refusal(503, _TOO_MANY)
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: %b\r\nRetry-After: 5\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (CONTENT_TYPE.encode(), len(refused.body), refused.body)
    )


def full_line() -> bytes:
    """The same over TCP."""
    return msgspec.json.encode({"ok": False, "error": _TOO_MANY}) + b"\n"
