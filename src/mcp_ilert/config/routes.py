"""What must hold of routes, and the targets that they make.

A target is one key and one kind. A route with a `webhook_key` of its own names its target; all other routes share
`default` or `default-incident`. Incidents go by `ilert.api_key`, whatever their target is called.
"""

from collections.abc import Iterator

import msgspec

from mcp_ilert.config.fault import Fault
from mcp_ilert.config.kinds import RESERVED_TARGETS
from mcp_ilert.config.model import RouteSettings, Service, Settings
from mcp_ilert.config.secret import Secret
from mcp_ilert.config.show import show

DEFAULT, DEFAULT_INCIDENT = RESERVED_TARGETS
Opened = tuple[Secret, str]
"""An integration key and what is opened with it."""


class TargetSettings(msgspec.Struct, frozen=True):
    """One key and what is opened with it; `services` of the first route that opens incidents there."""

    key: Secret
    kind: str = "alert"
    services: tuple[Service, ...] = ()


def targets(settings: Settings) -> dict[str, TargetSettings]:
    """Every target by its name, `default` first."""
    ilert = settings.ilert
    found = {DEFAULT: TargetSettings(ilert.integration_key)}
    for route in settings.routes:
        if route.target == "incident":
            if route.drop:
                continue
            name = route.name if route.webhook_key and route.name else DEFAULT_INCIDENT
            found.setdefault(name, TargetSettings(ilert.api_key, "incident", route.services))
        elif route.webhook_key and route.name is not None:
            found.setdefault(route.name, TargetSettings(route.webhook_key))
    return found


def route_faults(settings: Settings) -> Iterator[Fault]:
    """Everything that contradicts itself in the routes."""
    names: dict[Opened, tuple[str, str]] = {}
    if settings.ilert.integration_key:
        names[settings.ilert.integration_key, "alert"] = (DEFAULT, "ilert")
    keys: dict[str, tuple[Opened, str]] = {}
    for i, route in enumerate(settings.routes):
        here = f"routes[{i}]"
        if route.webhook_key:
            yield from _own_target(route, here, names, keys)
        yield from _services(route, here)
        if route.escalate_if_nobody and not (settings.ilert.api_key and settings.ilert.webhook_key):
            line = (
                f"{here}.escalate_if_nobody: needs the account's API key in ilert.api_key, to ask who is on call,"
                " and the integration key in ilert.webhook_key"
            )
            yield Fault((f"{here}.escalate_if_nobody", "ilert.api_key", "ilert.webhook_key"), line)
        if route.target == "incident" and not route.drop and not settings.ilert.api_key:
            line = (
                f"{here}.target: incident, but ilert.api_key is empty; expected the account's API key there"
            )
            yield Fault((f"{here}.target", "ilert.api_key"), line)


def _services(route: RouteSettings, here: str) -> Iterator[Fault]:
    if route.target == "incident" and not route.services and not route.drop:
        line = f"{here}.services: empty; expected a service at least, since the route opens incidents"
        yield Fault((f"{here}.services", f"{here}.target"), line)
    for i, service in enumerate(route.services):
        if (service.id is None) == (service.alias is None):
            path = f"{here}.services[{i}]"
            got = "neither id nor alias" if service.id is None else "id and alias"
            yield Fault((f"{path}.id", f"{path}.alias"), f"{path}: got {got}, expected one of them")


def _own_target(
    route: RouteSettings,
    here: str,
    names: dict[Opened, tuple[str, str]],
    keys: dict[str, tuple[Opened, str]],
) -> Iterator[Fault]:
    """A route with its own key: key, kind and name must name the same target everywhere."""
    paths = (f"{here}.name", f"{here}.webhook_key")
    if route.name is None:
        line = f"{here}.name: missing; expected a name, since the route has a webhook_key of its own"
        yield Fault(paths, line)
        return
    if route.name in RESERVED_TARGETS:
        line = (
            f"{here}.name: got {show(route.name)}, expected another name: it is that of routes without a key"
        )
        yield Fault(paths, line)
        return
    opened = (route.webhook_key, route.target)
    known, where = names.setdefault(opened, (route.name, here))
    if where == "ilert":
        line = f"{here}.webhook_key: is the key of the target default; leave it out, and the route goes there"
        yield Fault((*paths, "ilert.api_key", "ilert.webhook_key"), line)
    elif known != route.name:
        line = (
            f"{here}.name: got {show(route.name)}, expected {show(known)}: {where} has the same webhook_key"
        )
        yield Fault((*paths, f"{where}.name", f"{where}.webhook_key"), line)
    before, where = keys.setdefault(route.name, (opened, here))
    if before[0] != route.webhook_key:
        line = f"{here}.webhook_key: differs from that of {where}, which has the same name {show(route.name)}"
        yield Fault(
            (*paths, f"{where}.name", f"{where}.webhook_key"), f"{line}; expected a name for each key"
        )
    elif before[1] != route.target:
        line = (
            f"{here}.target: got {show(route.target)}, but {where}, which has the same name {show(route.name)},"
            f" opens another kind; expected a name for each kind"
        )
        yield Fault((*paths, f"{here}.target", f"{where}.name"), line)
