"""The ids of services by their aliases, as iLert lists them, kept for a while: routes name services by alias."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec
import trio

PAGE, PAGES = 100, 10
KEEP_SECONDS = 3_600.0
MISSING_SECONDS = 60.0
"""So soon an alias that was not there is looked for again."""

LookUp = Callable[[str], Awaitable[bytes]]
"""GETs a path of the API."""


class Listed(msgspec.Struct):
    """A service in the list."""

    id: int
    alias: str | None = None


class Aliases:
    """What is known of an account's services."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._read_at = -KEEP_SECONDS

    async def ids(self, wanted: Iterable[str], look_up: LookUp) -> Mapping[str, int]:
        """The ids of those of the aliases that there are."""
        age = trio.current_time() - self._read_at
        known = all(alias in self._ids for alias in wanted)
        if age >= (KEEP_SECONDS if known else MISSING_SECONDS):
            self._ids = await _read(look_up)
            self._read_at = trio.current_time()
        return self._ids


async def _read(look_up: LookUp) -> dict[str, int]:
    ids: dict[str, int] = {}
    for page in range(PAGES):
        found = services_of(await look_up(page_path(page)))
        ids |= {service.alias: service.id for service in found if service.alias is not None}
        if len(found) < PAGE:
            break
    return ids


def page_path(page: int) -> str:
    """Where a page of the services is."""
    return f"services?start-index={page * PAGE}&max-results={PAGE}"


def services_of(body: bytes) -> list[Listed]:
    """The services on a page; none where it cannot be read."""
    try:
        return msgspec.json.decode(body, type=list[Listed])
    except (ValueError, RecursionError):
        return []
