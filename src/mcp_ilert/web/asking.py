"""What every path of `/api/v1` has in common: who may ask, what is asked, and how an answer looks."""

from typing import Final, TypeVar, cast

import msgspec
from quart import Response
from quart import request as current

from mcp_ilert.events import Severity
from mcp_ilert.problems import RequestError
from mcp_ilert.spool.urgency import FIRST, Place, place_of
from mcp_ilert.spool.view import NEWEST
from mcp_ilert.web.access import from_elsewhere
from mcp_ilert.web.auth import Guard, Principal
from mcp_ilert.web.base import BridgeRequest
from mcp_ilert.web.pages import client_address

T = TypeVar("T")
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
MAX_KEY: Final = 4_096
MAX_TARGET: Final = 255


# Who may ----------------------------------------------------------------------------------------------------------


def reader(guard: Guard, *names: str) -> Principal:
    """Who asks, by these query parameters at most. Raises RequestError (401, 403, 400)."""
    principal = guard.operate(current.headers.get("Authorization"))
    known_query(*names)
    return principal


def writer(guard: Guard) -> Principal:
    """Who wants something changed. Raises RequestError (401, 403)."""
    principal = guard.operate(current.headers.get("Authorization"))
    why = read_only(guard)
    if why is not None:
        raise RequestError(403, why)
    return principal


def read_only(guard: Guard) -> str | None:
    """Why whoever asks may change nothing, having been let in; None where it may."""
    if guard.knows:
        return None
    headers = {name.lower(): value for name, value in current.headers.items()}
    why = from_elsewhere(client_address(), headers)
    if why is None:
        return None
    return f"without auth.tokens the API changes things for this machine only; {why}: configure a token"


# What is asked ----------------------------------------------------------------------------------------------------


def known_query(*names: str) -> None:
    for name in current.args:
        if name not in names:
            known = ", ".join(names) or "none"
            raise RequestError(400, f"{name[:80]}: there is no such query parameter here; known are: {known}")


def limit() -> int:
    return number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)


def before() -> int:
    return number("before", NEWEST, 1, NEWEST)


def number(name: str, default: int, low: int, high: int) -> int:
    text = current.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise RequestError(400, f"{name}: expected a whole number, {low} to {high}, got {text[:80]}")
    return int(text)


def key() -> str:
    found = current.args.get("key", "")
    if not found.strip() or len(found) > MAX_KEY:
        raise RequestError(400, f"key: expected an alert key of 1 to {MAX_KEY} characters: ?key=KEY")
    return found


def text(name: str, most: int) -> str | None:
    """A text of at most so many characters; None where it is left out or empty."""
    found = current.args.get(name)
    if found is not None and len(found) > most:
        raise RequestError(400, f"{name}: expected at most {most} characters, got {len(found)}")
    return found or None


def severity() -> Severity | None:
    found = current.args.get("severity")
    if found is None:
        return None
    try:
        return Severity[found.upper()]
    except KeyError:
        known = ", ".join(s.name.lower() for s in Severity)
        raise RequestError(400, f"severity: expected one of {known}, got {found[:80]}") from None


def place() -> Place:
    cursor = current.args.get("after")
    if cursor is None:
        return FIRST
    found = place_of(cursor)
    if found is None:
        raise RequestError(400, f"after: expected `after` of the page before, got {cursor[:80]}")
    return found


async def body(kind: type[T]) -> T:
    """The request in the body. A content type that no web form can send keeps foreign pages out."""
    if current.mimetype != "application/json":
        raise RequestError(415, "Content-Type: expected application/json", {"Accept": "application/json"})
    sent = await cast("BridgeRequest", current).body.read()
    try:
        return msgspec.json.decode(sent, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"not JSON: {error}") from None


def json(sent: bytes) -> Response:
    """An answer; it is for nobody else, and of no other type than it says."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(sent, headers=headers, content_type="application/json")
