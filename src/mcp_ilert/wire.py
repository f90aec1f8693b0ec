"""What travels between a connection's bytes and the intake: requests for events, and the sessions that answer them.

A session turns bytes into requests and answers into bytes. It knows no sockets, no clock and no intake; a pump
moves its bytes, and a door answers its requests. What is no plain `POST /events` a session leaves to others.
"""

from enum import IntEnum
from typing import Final, Protocol

import msgspec

GRACE_SECONDS: Final = 10.0
"""So long a body may take, however slowly it drips; after that it must have come at LEAST_RATE."""
LEAST_RATE: Final = 500.0
"""Bytes a second."""


class Head(msgspec.Struct, frozen=True):
    """What a request says before its body.

    A session gives the same object for each request that says the same, so that what follows from it is found once.
    """

    door: str
    """Labels the metrics: http1, http2 or tcp."""
    content_type: bytes | None = None
    authorization: bytes | None = None


class Phase(IntEnum):
    """What a connection's deadline is about."""

    IDLE = 0
    """Nothing is being read; requests may be waiting for their answers (`pending`)."""
    HEAD = 1
    BODY = 2


Headers = tuple[tuple[bytes, bytes], ...]


class Bounds:
    """What sessions hold at most. One object for all of them, changed in place by a reload."""

    __slots__ = ("body_bytes", "head_bytes", "line_bytes")

    def __init__(
        self, body_bytes: int = 1_048_576, head_bytes: int = 16_384, line_bytes: int = 65_536
    ) -> None:
        self.body_bytes = body_bytes
        """A larger body is left to others, who read it as a stream, or refuse it."""
        self.head_bytes = head_bytes
        self.line_bytes = line_bytes


class Session(Protocol):
    """One connection's protocol."""

    @property
    def pending(self) -> int:
        """Requests given out that have no answer yet."""

    @property
    def held(self) -> int:
        """Bytes kept of requests that are not complete."""

    @property
    def phase(self) -> Phase: ...

    @property
    def beside(self) -> bool:
        """Requests are read beside each other: one that is complete gives no other more time."""

    @property
    def closing(self) -> bool:
        """Nothing more is read: once what `output` gives is sent and nothing is pending, the connection ends."""

    @property
    def leaving(self) -> bool:
        """What has come is not for us: nothing more is received; soon `unread` says from where on."""

    @property
    def unread(self) -> bytes | None:
        """Once nothing is pending: bytes from which on the connection is somebody else's; None while it is ours."""

    def receive(self, data: bytes, arrivals: "list[Arrival]") -> None:
        """Take what has come (b"": the client sends no more), and append the requests that it completes."""

    def accepted(self, stream: int) -> None:
        """Answer 202 for one event."""

    def answer(self, stream: int, status: int, headers: Headers, body: bytes) -> None:
        """Answer a request; one whose client has gone is passed over. Content-Length is the session's to add."""

    def output(self) -> bytes:
        """What is to be sent now, once."""

    def expire(self) -> None:
        """The time for what is being read is over: answer 408 where a request has begun, and close."""

    def go_away(self) -> None:
        """Take no request that has not begun; close when those that have are answered."""


Arrival = tuple[Session, int, Head, bytes]
"""A request for events: who answers it, its stream there, its head, its body."""
