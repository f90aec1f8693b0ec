"""The accepting half: from the bytes of requests to what is synced to disk."""

from mcp_ilert.intake.intake import Intake
from mcp_ilert.intake.values import (
    ACCEPTED,
    Allows,
    AllRejectedError,
    Answer,
    Dialect,
    ForbiddenSourceError,
    LimitedError,
    Limits,
    Quota,
    Receipt,
    Rejected,
    Terms,
)

__all__ = [
    "ACCEPTED",
    "AllRejectedError",
    "Allows",
    "Answer",
    "Dialect",
    "ForbiddenSourceError",
    "Intake",
    "LimitedError",
    "Limits",
    "Quota",
    "Receipt",
    "Rejected",
    "Terms",
]
