"""What comes in and what goes out, without sockets: requests, answers, and refusals.

Every error body of iLert has one shape, `{status, message, code}`; it is made here and nowhere else.
"""

from collections.abc import Mapping
from http import HTTPStatus
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

Headers = tuple[tuple[str, str], ...]

CODES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    402: "QUOTA_EXCEEDED",
    403: "KEY_ERROR",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    429: "TOO_MANY_REQUESTS",
}
"""The `code` of an error body; whatever is not here is INTERNAL_ERROR."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived; `target` is the path with its query, as on the wire; header names are lower case."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    connection: int = 0
    ip: str = "127.0.0.1"
    http_version: str = "1.1"

    def header(self, name: str) -> str | None:
        """The first header of this (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    def segments(self) -> tuple[str, ...]:
        """The path's parts, decoded; a slash at the end makes an empty last one."""
        return tuple(unquote(part) for part in urlsplit(self.target).path.split("/")[1:])

    def query(self) -> dict[str, list[str]]:
        """The query's parameters, each with all of its values."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True, max_num_fields=100)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered, and how badly: whoever owns the connection obeys the last three fields."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    hang_seconds: float = 0.0
    """Nothing is sent before this; infinite: never."""
    drip_seconds: float = 0.0
    """The body is sent a piece at a time over so long."""
    reset: bool = False
    """The connection is reset instead, nothing is sent."""


class Refusal(Exception):  # noqa: N818 - an answer that is raised, not a fault of the program
    """Ends the handling of a request with an error answer."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: Headers = ()) -> None:
        super().__init__(message)
        self.answer = error(status, message, code, headers)


def json_answer(status: int, value: Any, headers: Headers = ()) -> Answer:
    """An answer with a JSON body."""
    return with_body(status, msgspec.json.encode(value), "application/json", headers)


def error(status: int, message: str, code: str | None = None, headers: Headers = ()) -> Answer:
    """ILert's error body; an empty `code` leaves the code out, None takes the usual one."""
    code = CODES.get(status, "INTERNAL_ERROR") if code is None else code
    body = {"status": status, "message": message} | ({"code": code} if code else {})
    return json_answer(status, body, headers)


def html_error(status: int, headers: Headers = ()) -> Answer:
    """What a gateway in front of iLert answers."""
    known = status in HTTPStatus.__members__.values()
    title = f"{status} {HTTPStatus(status).phrase if known else 'Error'}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<h1>{title}</h1>\r\n</body>\r\n</html>\r\n"
    return with_body(status, page.encode(), "text/html", headers)


def empty(status: int, headers: Headers = ()) -> Answer:
    """An answer without a body; 204 and 304 do not even say how long it is (RFC 9110, 8.6)."""
    length = () if status in (204, 304) else (("content-length", "0"),)
    return Answer(status=status, headers=(*length, *headers))


def with_body(status: int, body: bytes, content_type: str, headers: Headers = ()) -> Answer:
    """An answer that says what its body is and how long."""
    framing = (("content-type", content_type), ("content-length", str(len(body))))
    return Answer(status=status, headers=(*framing, *headers), body=body)


def pieces(answer: Answer, most: int = 16) -> list[tuple[float, bytes]]:
    """The body as (seconds to wait before it, bytes): one piece at once, or several over `drip_seconds`."""
    count = min(most, len(answer.body)) if answer.drip_seconds else min(1, len(answer.body))
    edges = [len(answer.body) * n // count for n in range(count + 1)] if count else []
    return [(answer.drip_seconds / count, answer.body[a:b]) for a, b in pairwise(edges)]
