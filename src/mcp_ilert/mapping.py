"""Rules from the configuration → the compiled table, and what the table makes of an event: an Entry, a Route.

The same table serves the doors (`entry`) and the delivery (`route`): a route is decided in one place.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from mcp_ilert._fast.mapping import FIELD, LABEL, LITERAL, Rule, Table
from mcp_ilert._fast.taking import Taker
from mcp_ilert.config import parse_template
from mcp_ilert.errors import InvalidEventError
from mcp_ilert.events import DROP, KIND_OF_STATUS, Entry, Event, Severity

CAREFUL_FIELDS: Final = frozenset({"severity", "status", "details"})
"""What a door's decoding leaves as it came."""
DEFAULT_TARGET: Final = "default"
DEFAULT_INCIDENT_TARGET: Final = "default-incident"


class Match(Protocol):
    """The conditions of a route, as configured."""

    @property
    def source(self) -> str | None: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def severity(self) -> Sequence[str]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class RouteRules(Protocol):
    """A route, as configured."""

    @property
    def name(self) -> str | None: ...
    @property
    def match(self) -> Match: ...
    @property
    def webhook_key(self) -> object: ...
    @property
    def routing_key(self) -> str | None: ...
    @property
    def escalate_if_nobody(self) -> str | None: ...
    @property
    def target(self) -> str: ...
    @property
    def services(self) -> Sequence[Any]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def drop(self) -> bool: ...


class MappingRules(Protocol):
    """The section `mapping`, as configured."""

    @property
    def priority_map(self) -> Mapping[int, str]: ...
    @property
    def default_severity(self) -> str: ...
    @property
    def severity_names(self) -> Mapping[str, str]: ...
    @property
    def alert_key(self) -> str: ...


class Rules(Protocol):
    """What a Mapper reads of the settings."""

    @property
    def mapping(self) -> MappingRules: ...
    @property
    def routes(self) -> Sequence[RouteRules]: ...


class Route(msgspec.Struct, frozen=True):
    """Where an event goes, and what its route adds. `name` is None where no route matched, or it has none."""

    name: str | None = None
    target: str = DEFAULT_TARGET
    routing_key: str | None = None
    labels: dict[str, str] = {}
    services: tuple[Any, ...] = ()
    drop: bool = False
    escalate_if_nobody: str | None = None
    """The routing key in place of the other while nobody is on call."""
    on_call: str = ""
    """Who was on call when it was asked, where that is known; no part of the rules."""


class Considered(msgspec.Struct, frozen=True):
    """A route that was asked, and its conditions that the event does not meet; none: it matches."""

    route: str
    failed: tuple[str, ...] = ()


class _Only(msgspec.Struct, frozen=True):
    """A match with one condition of another one."""

    source: str | None = None
    tags: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    labels: dict[str, str] = {}


class Mapper:
    """What the configuration makes of an event. Replaced whole on a reload."""

    def __init__(self, rules: Rules) -> None:
        parts = _parts(rules.mapping.alert_key)
        self.key_fallbacks = 0
        """Events so far that lacked a field of the template, and got {mcp_id} as their key."""
        self._names_severity = (FIELD, "severity") in parts
        self._plain_key = parts == ((FIELD, "mcp_id"),)
        self._routes = [_route(route) for route in rules.routes]
        self._matches = [route.match for route in rules.routes]
        self._default = Route()
        self._table = _table(rules, parts)

    def taker(self, decode: Callable[[bytes], object], careful: Callable[[bytes], bool]) -> Taker | None:
        """What takes events that are in order as `entry` would; None where the key needs more than was decoded."""
        if any(kind == FIELD and name in CAREFUL_FIELDS for kind, name in self._table.parts):
            return None
        targets = (*(DROP if route.drop else route.target for route in self._routes), DEFAULT_TARGET)
        return Taker(self._table, decode, careful, targets, self._plain_key)

    def entry(self, event: Event, payload: bytes, now_ms: int) -> Entry:
        """The event as the spool takes it. Raises InvalidEventError where its alert key is empty."""
        severity = self._table.severity(event.priority, event.severity)
        target = DEFAULT_TARGET
        if self._routes:
            found = self._table.first(event.source, event.tags, severity, event.labels)
            if found >= 0:
                route = self._routes[found]
                target = DROP if route.drop else route.target
        return Entry(
            now_ms,
            KIND_OF_STATUS[event.status],
            Severity(severity),
            target,
            self._key(event, severity),
            payload,
        )

    def severity(self, event: Event) -> Severity:
        """The event's class."""
        return Severity(self._table.severity(event.priority, event.severity))

    def route(self, event: Event) -> Route:
        """The first route that matches the event, or the default."""
        if not self._routes:
            return self._default
        severity = self._table.severity(event.priority, event.severity)
        found = self._table.first(event.source, event.tags, severity, event.labels)
        return self._default if found < 0 else self._routes[found]

    def rule(self, event: Event) -> str:
        """The first route that matches the event, as an operator knows it: `routes[2] "db"`; "" where none does."""
        severity = self._table.severity(event.priority, event.severity)
        found = self._table.first(event.source, event.tags, severity, event.labels) if self._routes else -1
        return "" if found < 0 else self._called(found)

    def _called(self, i: int) -> str:
        name = self._routes[i].name
        return f'routes[{i}] "{name}"' if name else f"routes[{i}]"

    # Explaining, by the same table ---------------------------------------------------------------------------

    def severity_by(self, event: Event) -> str:
        """By what the event got its class."""
        if event.severity is not None and event.severity in self._table.words:
            return f"its severity {event.severity!r}"
        if event.priority is None:
            return "mapping.default_severity: the event gives no priority"
        if event.priority in self._table.priorities:
            return f"mapping.priority_map: priority {event.priority}"
        return f"mapping.default_severity: mapping.priority_map has no priority {event.priority}"

    def considered(self, event: Event) -> tuple[Considered, ...]:
        """The routes in their order, up to the one that matches, each with the conditions that failed."""
        severity = self.severity(event)
        found = self._table.first(event.source, event.tags, severity, event.labels) if self._routes else -1
        last = len(self._matches) if found < 0 else found
        asked = [
            Considered(self._called(i), tuple(_failed(match, event, severity)))
            for i, match in enumerate(self._matches[:last])
        ]
        return (*asked, *((Considered(self._called(found)),) if found >= 0 else ()))

    def _key(self, event: Event, severity: int) -> str:
        if self._names_severity:  # the class that we found, not the word (if any) that a dialect gave
            event = msgspec.structs.replace(event, severity=Severity(severity).name.lower())
        key = event.mcp_id if self._plain_key else self._table.key(event)
        if key is None:
            self.key_fallbacks += 1
            key = event.mcp_id
        key = key.strip()
        if not key:
            raise InvalidEventError("$.mcp_id: expected an alert key, got nothing but white space")
        return key


def _failed(match: Match, event: Event, severity: Severity) -> Iterator[str]:
    """The conditions that the event does not meet, each asked alone of a rule like the table's."""
    classes = {each.name.lower(): int(each) for each in Severity}
    word = severity.name.lower()
    asked: list[tuple[_Only, str]] = [
        (_Only(source=match.source), f"source {event.source!r} does not match {match.source!r}"),
        *((_Only(tags=(tag,)), f"tag {tag!r} is missing") for tag in match.tags),
        (
            _Only(severity=tuple(match.severity)),
            f"severity {word} is none of {', '.join(match.severity)}",
        ),
        *(
            (_Only(labels={name: value}), f"label {name} is {_label(event, name)}, not {value!r}")
            for name, value in match.labels.items()
        ),
    ]
    for only, text in asked:
        if not _rule(only, classes).matches(event.source, event.tags, severity, event.labels):
            yield text


def _label(event: Event, name: str) -> str:
    return repr(event.labels[name]) if name in event.labels else "missing"


# From the configuration --------------------------------------------------------------------------------------


def _table(rules: Rules, parts: tuple[tuple[int, str], ...]) -> Table:
    mapping = rules.mapping
    classes = {severity.name.lower(): int(severity) for severity in Severity}
    return Table(
        priorities={number: classes[name] for number, name in mapping.priority_map.items()},
        default=classes[mapping.default_severity],
        words={**{word.lower(): classes[name] for word, name in mapping.severity_names.items()}, **classes},
        parts=parts,
        rules=[_rule(route.match, classes) for route in rules.routes],
    )


def _rule(match: Match, classes: Mapping[str, int]) -> Rule:
    literal, pattern = _source(match.source)
    severities = 0
    for name in match.severity:
        severities |= 1 << classes[name]
    return Rule(literal, pattern, tuple(match.tags), severities, tuple(match.labels.items()))


def _source(glob: str | None) -> tuple[str | None, Callable[[str], object] | None]:
    if glob is None or glob == "*":
        return None, None
    if not any(mark in glob for mark in "*?["):
        return glob, None
    return None, glob_matcher(glob)


def glob_matcher(glob: str) -> Callable[[str], object]:
    """A case-sensitive glob, compiled; what it gives is None where the text does not match."""
    return re.compile(fnmatch.translate(glob)).match


def _route(route: RouteRules) -> Route:
    if route.webhook_key and route.name:
        target = route.name
    else:
        target = DEFAULT_INCIDENT_TARGET if route.target == "incident" else DEFAULT_TARGET
    return Route(
        route.name,
        target,
        route.routing_key,
        dict(route.labels),
        tuple(route.services),
        drop=route.drop,
        escalate_if_nobody=route.escalate_if_nobody,
    )


def _parts(template: str) -> tuple[tuple[int, str], ...]:
    """The template as the table reads it: what stands where."""
    return tuple(
        (LITERAL, part) if isinstance(part, str) else (LABEL if part.label else FIELD, part.name)
        for part in parse_template(template)
    )
