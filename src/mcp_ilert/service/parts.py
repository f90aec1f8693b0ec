"""What the bridge is put together from, made of the settings alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from mcp_ilert import config
from mcp_ilert.clock import NowMs
from mcp_ilert.config import Settings, SeverityFields, TargetSettings
from mcp_ilert.decode.native import decode_event
from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.errors import McpIlertError, SpoolError
from mcp_ilert.events import DROP, Delivery, Event, Outcome, Severity
from mcp_ilert.intake import Limits
from mcp_ilert.mapping import Mapper, Route
from mcp_ilert.spool.gathering import Brief
from mcp_ilert.spool.history import Told, told
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.view import SpoolView
from mcp_ilert.targets.around import Around
from mcp_ilert.targets.ilert import IlertTarget
from mcp_ilert.targets.incidents import IncidentTarget
from mcp_ilert.targets.on_call import OnCall, Wanted
from mcp_ilert.targets.port import More, Target, at_once

Attempted = Callable[[Delivery, Outcome], None]
Interpret = Callable[[Delivery], tuple[Event, Route]]


class Said(msgspec.Struct, frozen=True):
    """What digests read of an event."""

    source: str
    summary: str


_said = msgspec.json.Decoder(Said).decode


def rules_of(settings: Settings, mapper: Mapper | None = None) -> Rules:
    """What folding needs of the settings."""
    mapper = mapper or Mapper(settings)
    delivery = settings.delivery

    def route(payload: bytes) -> str:
        found = mapper.route(decode_event(payload))
        return DROP if found.drop else found.target

    def tell(payload: bytes) -> Told:
        try:
            event = decode_event(payload)
        except McpIlertError:  # the rules became stricter since it was taken
            return Told()
        return told(mapper.rule(event), event.source, event.summary)

    return Rules(
        cancel_resolved=delivery.cancel_resolved,
        dedupe_ms=round(delivery.dedupe_seconds * 1000),
        remember_open_ms=round(delivery.remember_open_days * 86_400_000),
        max_pending=settings.spool.max_pending,
        min_free_bytes=settings.spool.min_free_bytes,
        route=route,
        digest_below=Severity[delivery.storm.digest_below.upper()],
        brief=brief_of,
        history_ms=round(settings.history.keep_days * 86_400_000),
        history_bytes=settings.history.max_bytes,
        tell=tell,
    )


def brief_of(payload: bytes) -> Brief:
    """What a digest says of an event; it groups them by source. It reads no more of it: a storm asks often."""
    try:
        said = _said(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # nothing that was ever taken
        return Brief()
    return Brief(said.source, said.summary)


def interpreter(mapper: Mapper, on_call: OnCall | None = None) -> Interpret:
    """From a delivery to what its request says; the mapping is that of now, not of when its event came.

    A digest is of the severity of its worst alert, and matches routes by it and by its source.
    """

    def interpret(delivery: Delivery) -> tuple[Event, Route]:
        event = decode_event(delivery.payload)
        if delivery.digest:
            event = msgspec.structs.replace(event, severity=delivery.severity.name.lower())
        route = mapper.route(event)
        return event, route if on_call is None else escalated(route, on_call)

    return interpret


def escalated(route: Route, on_call: OnCall) -> Route:
    """The route with who is on call for it; where it is known that nobody is, by its other routing key."""
    if route.escalate_if_nobody and on_call.nobody(route.target, route.routing_key):
        route = msgspec.structs.replace(route, routing_key=route.escalate_if_nobody)
    return msgspec.structs.replace(route, on_call=on_call.who(route.target, route.routing_key))


def wanted_of(settings: Settings) -> Wanted | None:
    """Of whom it is looked whether they are on call. None without an account key that is one and nothing else."""
    ilert = settings.ilert
    if not ilert.api_key or not ilert.webhook_key:
        return None
    alerts = {name: t.key for name, t in config.targets(settings).items() if t.kind == "alert"}
    keys = [k for route in settings.routes for k in (route.routing_key, route.escalate_if_nobody) if k]
    return Wanted(ilert.api_base, ilert.api_key, ilert.timeout_seconds, alerts, tuple(dict.fromkeys(keys)))


class Watched(Around):
    """A target whose attempts somebody looks at."""

    def __init__(self, target: Target, attempted: Attempted) -> None:
        super().__init__(target)
        self._attempted = attempted

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:
        outcome = await self._target.send(delivery, more)
        self._attempted(delivery, outcome)
        return outcome


def targets_of(
    settings: Settings,
    mapper: Mapper,
    attempted: Attempted | None = None,
    on_call: OnCall | None = None,
) -> dict[str, Target]:
    """A client for each target. Call it in Trio."""
    made: dict[str, Target] = {}
    for name, target in config.targets(settings).items():
        open_one = _incident_target if target.kind == "incident" else _alert_target
        client = open_one(name, target, settings, interpreter(mapper, on_call))
        made[name] = client if attempted is None else Watched(client, attempted)
    return made


def fields_of(settings: Settings) -> Mapping[str, SeverityFields]:
    """ILert's two fields for each word of severity."""
    return Settings().mapping.severity | settings.mapping.severity


def _alert_target(name: str, target: TargetSettings, settings: Settings, interpret: Interpret) -> Target:
    return IlertTarget(
        name,
        target.key,
        settings.ilert.api_key or None,
        settings.ilert.api_url,
        settings.ilert.timeout_seconds,
        fields_of(settings),
        interpret,
        max_in_flight=settings.delivery.max_in_flight,
    )


def _incident_target(name: str, target: TargetSettings, settings: Settings, interpret: Interpret) -> Target:
    return IncidentTarget(
        name,
        target.key,
        settings.ilert.api_url,
        settings.ilert.timeout_seconds,
        interpret,
        target.services,
        max_in_flight=settings.delivery.max_in_flight,
    )


def same_targets(old: Settings, new: Settings) -> bool:
    """Whether the clients of the old settings serve the new ones: then their connections stay."""
    pairs = ((s.ilert, s.mapping, s.routes, s.delivery.max_in_flight) for s in (old, new))
    return next(pairs) == next(pairs)


def limits_of(settings: Settings) -> Limits:
    return Limits(settings.listen.max_body_bytes, settings.listen.max_event_bytes)


def with_what_stays(new: Settings, old: Settings) -> Settings:
    """The new settings, but for what needs a restart."""
    replace = msgspec.structs.replace
    listen, metrics = old.listen, old.metrics
    return replace(
        new,
        listen=replace(new.listen, address=listen.address, port=listen.port, tcp_port=listen.tcp_port),
        spool=replace(new.spool, path=old.spool.path),
        metrics=replace(
            new.metrics,
            enabled=metrics.enabled,
            listen_address=metrics.listen_address,
            listen_port=metrics.listen_port,
        ),
    )


def oldest_at(path: Path, now_ms: NowMs) -> Callable[[], Mapping[Severity, float]]:
    """Tells the age of the oldest event that waits, in seconds, by severity."""

    def oldest() -> Mapping[Severity, float]:
        try:
            with SpoolView(path) as view:
                found = view.oldest()
        except SpoolError:  # being set aside or moved; the next scrape asks again
            return {}
        return {severity: max(0, now_ms() - ms) / 1000 for severity, ms in found.items()}

    return oldest


class Waker:
    """Hands the spool's wake-ups to the dispatcher, which is made after the spool."""

    def __init__(self) -> None:
        self.dispatcher: Dispatcher | None = None

    def __call__(self, targets: frozenset[str]) -> None:
        if self.dispatcher is not None:
            self.dispatcher.wake(targets)
