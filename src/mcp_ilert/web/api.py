"""`/api/v1`: what an operator sees and does, as the commands do it. Answers are pages, reads run in threads.

Reading needs no token where none is configured; changing something then needs to come from this machine. Where
there are tokens, both need one of the role operator.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeVar, cast

import msgspec
import structlog
import trio
from quart import Response
from quart import request as current
from quart_trio import QuartTrio

from mcp_ilert.console import shown
from mcp_ilert.console.look import Look
from mcp_ilert.console.requests import Answer, DropKey, PauseTarget, ReplayDead, Request, ResumeTarget
from mcp_ilert.errors import McpIlertError, SpoolError, UnavailableError
from mcp_ilert.problems import RequestError
from mcp_ilert.spool.view import NEWEST
from mcp_ilert.targets.on_call import OnCallNow
from mcp_ilert.web.access import from_elsewhere
from mcp_ilert.web.auth import Guard, Principal
from mcp_ilert.web.base import BridgeRequest

log = structlog.get_logger()

T = TypeVar("T")
ROOT: Final = "/api/v1"
READERS: Final = 4
"""Reads under way at once; what comes beyond waits."""
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
MAX_KEY: Final = 4_096
CHANGES: Final[Mapping[str, type[Request]]] = {
    "replay": ReplayDead,
    "drop": DropKey,
    "pause": PauseTarget,
    "resume": ResumeTarget,
}


class Api(msgspec.Struct, frozen=True):
    """What the API stands on: reads of the spool, and who carries requests out."""

    look: Look
    carry: Callable[[Request], Awaitable[Answer]]
    on_call: Callable[[], OnCallNow]


def add_api(app: QuartTrio, api: Api, guard: Guard) -> None:
    """Give the app everything below ROOT."""
    _add_reads(app, api, guard)
    for name, kind in CHANGES.items():
        app.add_url_rule(
            f"{ROOT}/{name}", name, partial(_change, api, guard, kind), methods=["POST"], strict_slashes=True
        )


def _add_reads(app: QuartTrio, api: Api, guard: Guard) -> None:
    readers, auditors = trio.CapacityLimiter(READERS), trio.CapacityLimiter(1)

    async def read(look: Callable[[], msgspec.Struct], limiter: trio.CapacityLimiter = readers) -> Response:
        """Reading and encoding happen in a thread: a page may be large."""
        try:
            return _json(await trio.to_thread.run_sync(lambda: msgspec.json.encode(look()), limiter=limiter))
        except SpoolError:
            log.exception("the spool cannot be read")
            raise RequestError(503, "the spool cannot be read now", {"Retry-After": "5"}) from None

    @app.get(f"{ROOT}/stats")
    async def stats() -> Response:
        _reader(guard)
        return await read(lambda: shown.stats(api.look.stats()))

    @app.get(f"{ROOT}/lanes")
    async def lanes() -> Response:
        limit, after = _page(guard)
        return await read(lambda: shown.page(api.look.lanes(limit, after)))

    @app.get(f"{ROOT}/dead")
    async def dead() -> Response:
        limit, after = _page(guard)
        return await read(lambda: shown.page(api.look.dead(limit, after)))

    @app.get(f"{ROOT}/on-call")
    async def on_call() -> Response:
        _reader(guard)
        return _json(msgspec.json.encode(api.on_call()))

    @app.get(f"{ROOT}/why")
    async def why() -> Response:
        _reader(guard, "key", "limit", "before")
        key, before = _key(), _number("before", NEWEST, 1, NEWEST)
        limit = _number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        return await read(lambda: _known(api.look.why(key, limit, before)))

    @app.get(f"{ROOT}/audit")
    async def audit() -> Response:
        _reader(guard)
        if auditors.borrowed_tokens:
            raise RequestError(429, "an audit is under way already; one at a time", {"Retry-After": "5"})
        return await read(lambda: shown.audited(api.look.audit()), auditors)


def _known(life: shown.Life) -> shown.Life:
    if not life.history and not life.lanes:
        raise RequestError(404, "nothing is known of this key")
    return life


async def _change(api: Api, guard: Guard, kind: type[Request]) -> Response:
    principal = _writer(guard)
    _known_query()
    change = await _body(kind)
    log.info("asked through the API", change=kind.__name__, token=principal.name or None)
    try:
        answer = await api.carry(change)
    except McpIlertError as error:
        if isinstance(change, PauseTarget | ResumeTarget) and not isinstance(error, UnavailableError):
            raise RequestError(404, str(error)) from None  # there is no such target
        raise
    return _json(msgspec.json.encode(answer))


# Who may ----------------------------------------------------------------------------------------------------------


def _reader(guard: Guard, *names: str) -> Principal:
    principal = guard.operate(current.headers.get("Authorization"))
    _known_query(*names)
    return principal


def _writer(guard: Guard) -> Principal:
    principal = guard.operate(current.headers.get("Authorization"))
    if guard.knows:
        return principal
    client = current.scope.get("client")
    headers = {name.lower(): value for name, value in current.headers.items()}
    why = from_elsewhere(client[0] if client else None, headers)
    if why is not None:
        raise RequestError(
            403, f"without auth.tokens the API changes things for this machine only; {why}: configure a token"
        )
    return principal


# What is asked ----------------------------------------------------------------------------------------------------


def _page(guard: Guard) -> tuple[int, int]:
    _reader(guard, "limit", "after")
    return _number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT), _number("after", 0, 0, NEWEST)


def _known_query(*names: str) -> None:
    for name in current.args:
        if name not in names:
            known = ", ".join(names) or "none"
            raise RequestError(400, f"{name[:80]}: there is no such query parameter here; known are: {known}")


def _key() -> str:
    key = current.args.get("key", "")
    if not key.strip() or len(key) > MAX_KEY:
        raise RequestError(400, f"key: expected an alert key of 1 to {MAX_KEY} characters: ?key=KEY")
    return key


def _number(name: str, default: int, low: int, high: int) -> int:
    text = current.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise RequestError(400, f"{name}: expected a whole number, {low} to {high}, got {text[:80]}")
    return int(text)


async def _body(kind: type[T]) -> T:
    """The request in the body. A content type that no web form can send keeps foreign pages out."""
    if current.mimetype != "application/json":
        raise RequestError(415, "Content-Type: expected application/json", {"Accept": "application/json"})
    text = await cast("BridgeRequest", current).body.read()
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"not JSON: {error}") from None


def _json(text: bytes) -> Response:
    return Response(text, headers={"Cache-Control": "no-store"}, content_type="application/json")
