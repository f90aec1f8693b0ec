"""Errors → `application/problem+json` (RFC 9457): a table, and the function that reads it, the same for every door."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog

from mcp_ilert.errors import (
    InvalidEventError,
    MalformedError,
    McpIlertError,
    TooLargeError,
    UnavailableError,
)
from mcp_ilert.intake import AllRejectedError, ForbiddenSourceError, LimitedError

log = structlog.get_logger()

CONTENT_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with `rejected` where not one event of many is valid."""

    title: str
    status: int
    detail: str
    rejected: tuple[Any, ...] = ()
    rejected_total: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """An answer that is a problem, as bytes; header names as they are written, Content-Type not among them."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class RequestError(McpIlertError):
    """A request that is refused before its events are looked at."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


STATUS_OF: Final[dict[type[BaseException], int]] = {
    MalformedError: 400,
    ForbiddenSourceError: 403,
    TooLargeError: 413,
    AllRejectedError: 422,
    InvalidEventError: 422,
    UnavailableError: 503,
}


def refusal_of(error: BaseException) -> Refusal:
    """The answer to a request that ended in this error. What nobody foresaw is logged, and told to nobody else."""
    if isinstance(error, RequestError):
        return refusal(error.status, error.detail, error.headers)
    if isinstance(error, AllRejectedError):
        receipt = error.receipt
        return _refusal(Problem(_title(422), 422, error.detail, receipt.rejected, receipt.rejected_total))
    if isinstance(error, LimitedError):
        return refusal(429, error.detail, {"Retry-After": str(error.retry_after_seconds)})
    if isinstance(error, UnavailableError):
        return refusal(503, error.detail, {"Retry-After": str(error.retry_after_seconds)})
    status = STATUS_OF.get(type(error))
    if status is not None:
        return refusal(status, str(error))
    log.error("a request failed", exc_info=error)
    return refusal(500, "the bridge failed to answer this request; its log says why")


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """A problem in its one form."""
    return _refusal(Problem(_title(status), status, detail), headers)


def _refusal(problem: Problem, headers: Mapping[str, str] | None = None) -> Refusal:
    return Refusal(problem.status, msgspec.json.encode(problem), dict(headers or {}))


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
