"""What the intake takes and gives beside events: limits and terms, receipts and errors."""

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from mcp_ilert.errors import InvalidEventError, McpIlertError

Allows = Callable[[str], bool]
"""Whether a sender may send events of this source."""


Quota = Callable[[int], float]
"""Takes so many events from what a sender may send now: 0, or the seconds after which to come again; then none."""


class ForbiddenSourceError(McpIlertError):
    """The sender's token does not allow this event's source (403 alone, `rejected` among others)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class LimitedError(McpIlertError):
    """The sender's token has sent all that it may for now; nothing of the request was kept (429 with Retry-After)."""

    def __init__(self, retry_after_seconds: int) -> None:
        self.detail = (
            f"this token's rate is spent (auth.tokens[].per_second); come again in {retry_after_seconds} s"
        )
        super().__init__(self.detail)
        self.retry_after_seconds = retry_after_seconds


class AllRejectedError(InvalidEventError):
    """Not one event of an array or of lines is valid (422)."""

    def __init__(self, receipt: "Receipt") -> None:
        super().__init__("no event is valid" if receipt.rejected else "expected at least one event")
        self.receipt = receipt


class Limits(msgspec.Struct, frozen=True):
    """Bounds of what is taken, in bytes."""

    max_body_bytes: int = 1_048_576
    max_event_bytes: int = 65_536


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not taken: its index in the array, or among the lines that are not blank."""

    index: int
    error: str


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a request; `rejected` lists the first MAX_LISTED."""

    accepted: int
    rejected: tuple[Rejected, ...] = ()
    rejected_total: int = 0
    """How many were rejected, given where that is more than are listed."""


ACCEPTED: Final = Receipt(1)
"""The very object that is given where one event was taken, and nothing else was to be."""
NOTHING: Final = Receipt(0)
"""A webhook that had nothing to say."""

Answer = Receipt | McpIlertError
"""What came of a request."""


class Dialect(Enum):
    """What a body is: a JSON value (an event, or an array of them), an event a line, or one such line."""

    JSON = 0
    LINES = 1
    LINE = 2


class Terms(msgspec.Struct, frozen=True):
    """How a request is to be read, and what its sender may do; one object for all that say the same."""

    door: str
    dialect: Dialect
    allows: Allows | None = None
    quota: Quota | None = None
