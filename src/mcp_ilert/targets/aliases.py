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


class _Service(msgspec.Struct):
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
        body = await look_up(f"services?start-index={page * PAGE}&max-results={PAGE}")
        try:
            found = msgspec.json.decode(body, type=list[_Service])
        except (ValueError, RecursionError):
            break
        ids |= {service.alias: service.id for service in found if service.alias is not None}
        if len(found) < PAGE:
            break
    return ids
