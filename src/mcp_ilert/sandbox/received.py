"""What a sandbox remembers of a request, for tests and for those who watch."""

import msgspec

from mcp_ilert.sandbox.messages import Headers

KEEP_BODY = 65_536


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as it came and as it was answered; `at` is seconds since 1970.

    The event's fields are as sent, where they could be read at all, and None elsewhere.
    """

    number: int
    """From 1, in the order of arrival."""
    at: float
    connection: int
    ip: str
    http_version: str
    method: str
    target: str
    headers: Headers
    body: bytes
    """Its first 64 KiB."""
    body_bytes: int
    """How long it was."""
    status: int
    fault: str | None = None
    """The kind of the fault that hit it; with `reset` or `lost` the status never arrived."""
    applied: bool = True
    """Whether it was handled at all, or only met a fault."""
    source: str | None = None
    event_type: str | None = None
    key: str | None = None
    summary: str | None = None
    priority: str | None = None
    severity: int | None = None

    @property
    def is_event(self) -> bool:
        """Whether it was sent to an events path."""
        path = self.target.partition("?")[0]
        return path == "/api/events" or path.startswith("/api/v1/events/")


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Totals since the start or the last reset; they go on where single requests are forgotten."""

    requests: int = 0
    connections: int = 0
    accepted: int = 0
    """Events answered 202, or that would have been but for a fault in the way back."""
    throttled: int = 0
    """Answers 429, scripted ones too."""
    faults: int = 0
    statuses: dict[int, int] = {}
    alerts: int = 0
    accepts: int = 0
    resolves: int = 0
    comments: int = 0
    keyless: int = 0
    duplicates: int = 0
    early_resolves: int = 0
    inversions: int = 0
    open_alerts: int = 0
    forgotten_alerts: int = 0
    waiting: int = 0
    """Accepted events that have not had their effect yet."""
