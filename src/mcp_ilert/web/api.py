"""`/api/v1`: what an operator sees and does, as the commands do it. Answers are pages, reads run in threads.

Reading needs no token where none is configured; changing something then needs to come from this machine. Where
there are tokens, both need one of the role operator.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeVar

import msgspec
import structlog
import trio
from quart import Response
from quart_trio import QuartTrio

from mcp_ilert.console import shown
from mcp_ilert.console.look import Look
from mcp_ilert.console.overview import Facts, Overview, overview
from mcp_ilert.console.requests import Answer, DropKey, PauseTarget, ReplayDead, Request, ResumeTarget
from mcp_ilert.errors import SpoolError, UnknownTargetError
from mcp_ilert.problems import RequestError
from mcp_ilert.spool.urgency import Wanted
from mcp_ilert.spool.view import NEWEST
from mcp_ilert.targets.on_call import OnCallNow
from mcp_ilert.web import asking
from mcp_ilert.web.asking import reader
from mcp_ilert.web.auth import Guard

log = structlog.get_logger()

T = TypeVar("T")
ROOT: Final = "/api/v1"
READERS: Final = 4
"""Reads under way at once; what comes beyond waits."""
FRESH_SECONDS: Final = 1.0
"""So long one look at the spool serves all that ask for the overview."""
CHANGES: Final[Mapping[str, type[Request]]] = {
    "replay": ReplayDead,
    "drop": DropKey,
    "pause": PauseTarget,
    "resume": ResumeTarget,
}


class Api(msgspec.Struct, frozen=True):
    """What the API stands on: reads of the spool, what the process knows, and who carries requests out."""

    look: Look
    facts: Callable[[], Facts]
    carry: Callable[[Request], Awaitable[Answer]]
    on_call: Callable[[], OnCallNow]


def add_api(app: QuartTrio, api: Api, guard: Guard) -> None:
    """Give the app everything below ROOT."""
    readers = Readers()
    overviews = Overviews(api, readers)
    _add_glances(app, api, guard, readers, overviews)
    _add_lists(app, api, guard, readers)
    _add_audit(app, api, guard, readers)
    for name, kind in CHANGES.items():
        app.add_url_rule(
            f"{ROOT}/{name}",
            name,
            partial(_change, api, guard, overviews, kind),
            methods=["POST"],
            strict_slashes=True,
        )


class Readers:
    """Has reads done in threads, a few at once: a page may be large, and encoding it takes its time, too."""

    def __init__(self) -> None:
        self._many = trio.CapacityLimiter(READERS)
        self._audits = trio.CapacityLimiter(1)

    async def read(self, look: Callable[[], msgspec.Struct]) -> Response:
        return asking.json(await self._done(lambda: msgspec.json.encode(look()), self._many))

    async def audit(self, look: Callable[[], msgspec.Struct]) -> Response:
        if self._audits.borrowed_tokens:
            raise RequestError(429, "an audit is under way already; one at a time", {"Retry-After": "5"})
        return asking.json(await self._done(lambda: msgspec.json.encode(look()), self._audits))

    async def value(self, look: Callable[[], T]) -> T:
        return await self._done(look, self._many)

    async def _done(self, look: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
        try:
            return await trio.to_thread.run_sync(look, limiter=limiter)
        except SpoolError:
            log.exception("the spool cannot be read")
            raise RequestError(503, "the spool cannot be read now", {"Retry-After": "5"}) from None


class Overviews:
    """The overview, looked up once in a while however many ask."""

    def __init__(self, api: Api, readers: Readers) -> None:
        self._api = api
        self._readers = readers
        self._one = trio.Lock()
        self._last: Overview | None = None
        self._until = 0.0

    async def now(self) -> Overview:
        async with self._one:
            if self._last is None or trio.current_time() >= self._until:
                self._until = trio.current_time() + FRESH_SECONDS
                backlog = await self._readers.value(self._api.look.backlog)
                self._last = overview(self._api.facts(), backlog)
            return self._last

    def forget(self) -> None:
        """Something was changed: who asks next, or is being looked up for now, is not to be told of before."""
        self._until = 0.0


def _add_glances(app: QuartTrio, api: Api, guard: Guard, readers: Readers, overviews: Overviews) -> None:
    @app.get(f"{ROOT}/overview")
    async def at_a_glance() -> Response:
        reader(guard)
        found = msgspec.structs.replace(await overviews.now(), read_only=asking.read_only(guard))
        return asking.json(msgspec.json.encode(found))

    @app.get(f"{ROOT}/stats")
    async def stats() -> Response:
        reader(guard)
        return await readers.read(lambda: shown.stats(api.look.stats()))

    @app.get(f"{ROOT}/on-call")
    async def on_call() -> Response:
        reader(guard)
        return asking.json(msgspec.json.encode(api.on_call()))


def _add_lists(app: QuartTrio, api: Api, guard: Guard, readers: Readers) -> None:
    @app.get(f"{ROOT}/lanes")
    async def lanes() -> Response:
        reader(guard, "limit", "after")
        limit, after = asking.limit(), asking.number("after", 0, 0, NEWEST)
        return await readers.read(lambda: shown.page(api.look.lanes(limit, after)))

    @app.get(f"{ROOT}/waiting")
    async def waiting() -> Response:
        reader(guard, "severity", "target", "key", "limit", "after")
        wanted = Wanted(asking.severity(), asking.text("target", asking.MAX_TARGET))
        part, limit, after = asking.text("key", asking.MAX_KEY) or "", asking.limit(), asking.place()
        return await readers.read(lambda: api.look.waiting(wanted, part, limit, after))

    @app.get(f"{ROOT}/digests")
    async def digests() -> Response:
        reader(guard, "limit")
        limit = asking.limit()
        return await readers.read(lambda: api.look.digests(limit))

    @app.get(f"{ROOT}/dead")
    async def dead() -> Response:
        reader(guard, "limit", "after")
        limit, after = asking.limit(), asking.number("after", 0, 0, NEWEST)
        return await readers.read(lambda: shown.page(api.look.dead(limit, after)))

    @app.get(f"{ROOT}/deliveries")
    async def deliveries() -> Response:
        reader(guard, "limit", "before")
        limit, before = asking.limit(), asking.before()
        return await readers.read(lambda: api.look.deliveries(limit, before))

    @app.get(f"{ROOT}/why")
    async def why() -> Response:
        reader(guard, "key", "limit", "before")
        key, limit, before = asking.key(), asking.limit(), asking.before()
        return await readers.read(lambda: _known(api.look.why(key, limit, before)))


def _add_audit(app: QuartTrio, api: Api, guard: Guard, readers: Readers) -> None:
    @app.get(f"{ROOT}/audit")
    async def audit() -> Response:
        reader(guard)
        return await readers.audit(lambda: shown.audited(api.look.audit()))


def _known(life: shown.Life) -> shown.Life:
    if not life.history and not life.lanes:
        raise RequestError(404, "nothing is known of this key")
    return life


async def _change(api: Api, guard: Guard, overviews: Overviews, kind: type[Request]) -> Response:
    principal = asking.writer(guard)
    asking.known_query()
    change = await asking.body(kind)
    log.info("asked through the API", change=kind.__name__, token=principal.name or None)
    try:
        answer = await api.carry(change)
    except UnknownTargetError as error:
        raise RequestError(404, str(error)) from None
    finally:
        overviews.forget()
    return asking.json(msgspec.json.encode(answer))
