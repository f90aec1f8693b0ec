"""What only Quart can end a request with, in the form of `mcp_ilert.problems`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from quart import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from mcp_ilert.problems import CONTENT_TYPE, Refusal, refusal, refusal_of

DETAIL_OF: Final[dict[int, str]] = {
    404: "there is nothing at this path; GET /openapi.json lists what there is",
    405: "this path does not take this method",
}


def response_of(error: Exception) -> Response:
    """The answer to a request that ended in this error."""
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return _of_http(error, error.code)
    return _response(refusal_of(error))


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem in this application's one form."""
    return _response(refusal(status, detail, headers))


def _of_http(error: HTTPException, status: int) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return problem(status, DETAIL_OF.get(status, HTTPStatus(status).phrase), headers)


def _response(refused: Refusal) -> Response:
    return Response(refused.body, status=refused.status, headers=refused.headers, content_type=CONTENT_TYPE)
