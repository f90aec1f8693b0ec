"""Errors → `application/problem+json` (RFC 9457): a table, and the one function that reads it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from quart import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from mcp_ilert.errors import (
    InvalidEventError,
    MalformedError,
    McpIlertError,
    TooLargeError,
    UnavailableError,
)
from mcp_ilert.intake import AllRejectedError, ForbiddenSourceError

log = structlog.get_logger()

CONTENT_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with `rejected` where not one event of many is valid."""

    title: str
    status: int
    detail: str
    rejected: tuple[Any, ...] = ()
    rejected_total: int = 0


class RequestError(McpIlertError):
    """A request that is refused before its events are looked at."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


STATUS_OF: Final[dict[type[McpIlertError], int]] = {
    MalformedError: 400,
    ForbiddenSourceError: 403,
    TooLargeError: 413,
    AllRejectedError: 422,
    InvalidEventError: 422,
    UnavailableError: 503,
}
DETAIL_OF: Final[dict[int, str]] = {
    404: "there is nothing at this path; GET /openapi.json lists what there is",
    405: "this path does not take this method",
}


def response_of(error: Exception) -> Response:
    """The answer to a request that ended in this error. What nobody foresaw is logged, and told to nobody else."""
    if isinstance(error, RequestError):
        return problem(error.status, error.detail, error.headers)
    if isinstance(error, AllRejectedError):
        receipt = error.receipt
        return _response(
            Problem(
                _title(422),
                422,
                error.detail,
                rejected=receipt.rejected,
                rejected_total=receipt.rejected_total,
            )
        )
    if isinstance(error, UnavailableError):
        return problem(503, error.detail, {"Retry-After": str(error.retry_after_seconds)})
    status = STATUS_OF.get(type(error))  # type: ignore[arg-type]  # whatever it is, it may be looked up
    if status is not None:
        return problem(status, str(error))
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return _of_http(error, error.code)
    log.error("a request failed", exc_info=error)
    return problem(500, "the bridge failed to answer this request; its log says why")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem in this application's one form."""
    return _response(Problem(_title(status), status, detail), headers)


def _of_http(error: HTTPException, status: int) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return problem(status, DETAIL_OF.get(status, _title(status)), headers)


def _response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body), status=body.status, headers=dict(headers or {}), content_type=CONTENT_TYPE
    )


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
