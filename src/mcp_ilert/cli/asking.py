"""What `check-config --online` asks of incidents: whether the account has them, and the services that routes name."""

from collections.abc import Callable, Iterator

import msgspec

from mcp_ilert.config import Settings

MOST_BYTES = 4 * 1024 * 1024
Get = Callable[[str], tuple[int | str, bytes]]
"""GETs a path of the API with the account key: the status or why there is none, and the body."""


class Finding(msgspec.Struct, frozen=True):
    """What was found of one key of the configuration; `good` None: it could not be told."""

    path: str
    good: bool | None
    text: str


def about_incidents(settings: Settings, get: Get) -> Iterator[Finding]:
    """What iLert says of the routes that open incidents, and of the services of all routes."""
    routes = [i for i, route in enumerate(settings.routes) if route.target == "incident" and not route.drop]
    if routes:
        yield _model(f"routes[{routes[0]}].target", get)
    named = {
        service.alias: f"routes[{i}].services[{j}].alias"
        for i, route in enumerate(settings.routes)
        for j, service in enumerate(route.services)
        if service.alias is not None
    }
    if named:
        yield from _services(named, get)


def _model(path: str, get: Get) -> Finding:
    from mcp_ilert.targets import incident  # noqa: PLC0415 - heavy

    status, body = get("incidents?max-results=1")
    if status in incident.NOT_THERE:
        return Finding(path, good=False, text=f"{incident.NEW_MODEL} ({status})")
    if status != 200:
        return Finding(path, None, _why(status))
    try:
        found = incident.incidents_of(body)
    except incident.NotPublishedError:
        return Finding(path, good=False, text=incident.NEW_MODEL)
    except incident.UnreadableError:
        return Finding(path, None, "its answer cannot be read")
    seen = "has incidents of the published model" if found else "has an incidents API, and no incident yet"
    return Finding(path, good=True, text=f"the account {seen}")


def _services(named: dict[str, str], get: Get) -> Iterator[Finding]:
    from mcp_ilert.targets.aliases import PAGE, PAGES, page_path, services_of  # noqa: PLC0415 - heavy

    known: set[str | None] = set()
    for page in range(PAGES):
        status, body = get(page_path(page))
        if status != 200:
            yield from (Finding(path, None, _why(status)) for path in named.values())
            return
        found = services_of(body)
        known |= {service.alias for service in found}
        if len(found) < PAGE:
            break
    for alias, path in named.items():
        there = alias in known
        yield Finding(path, there, f"iLert {'knows' if there else 'has no service of'} the alias {alias!r}")


def _why(status: int | str) -> str:
    return f"iLert answered {status}" if isinstance(status, int) else f"iLert cannot be asked: {status}"
