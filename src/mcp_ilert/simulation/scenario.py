"""What iLert does in a simulation: its limits, its latency and its outages, from a file or from options."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from mcp_ilert.config.read import read_file
from mcp_ilert.errors import ConfigError
from mcp_ilert.sandbox import Fault, Limits, Options, Source, brown_out
from mcp_ilert.simulation.traffic import SINCE_1970, moment_ms

Positive = Annotated[int, msgspec.Meta(ge=1)]
Time = float | str
"""Seconds from the traffic's first event, or RFC 3339."""


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """iLert not doing what it should; the fields after `until` narrow it down or colour it, as in the sandbox."""

    kind: (
        Literal["hang", "slow", "reset", "lost", "refused", "tls", "brown-out"]
        | Annotated[int, msgspec.Meta(ge=300, le=599)]
    )
    begin: Time = msgspec.field(default=0.0, name="from")
    until: Time | None = None
    target: str | None = None
    key: str | None = None
    event_type: Literal["ALERT", "ACCEPT", "RESOLVE"] | None = None
    every: Positive = 1
    times: Positive | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    code: str | None = None
    retry_after: str | None = None
    html: bool = False
    applied: bool = False


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of iLert. `keys` gives targets limits of their own."""

    per_minute: Positive | None = 50
    keys: dict[str, Positive] = {}
    latency_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.2
    outages: tuple[Outage, ...] = ()
    seed: int = 1


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises ConfigError with a readable line."""
    try:
        return msgspec.convert(read_file(path), Scenario)
    except msgspec.ValidationError as error:
        raise ConfigError([f"{path}: {_reworded(error)}"]) from None


def options_of(scenario: Scenario, targets: list[str]) -> Options:
    """The sandbox that the scenario asks for; its integration keys are the targets' names, so no secret enters."""
    unknown = sorted({*scenario.keys, *(o.target for o in scenario.outages if o.target)} - {*targets})
    if unknown:
        raise ConfigError(
            [
                f"scenario: target {name}: not in the configuration; expected {', '.join(targets)}"
                for name in unknown
            ]
        )
    sources = tuple(
        Source(key=name, id=1001 + i, name=name, per_window=scenario.keys.get(name))
        for i, name in enumerate(targets)
    )
    return Options(
        sources=sources,
        limits=Limits(integration_key=scenario.per_minute),
        latency_seconds=scenario.latency_seconds,
        apply_seconds=0.0,
        keep_requests=0,
        keep_log=1,
        keep_alerts=1,
        keep_keys=0,
    )


def faults_of(scenario: Scenario, start_ms: int) -> list[Fault]:
    """The outages as the sandbox's faults, with times from `start_ms`. Raises ConfigError."""
    return [fault for i, outage in enumerate(scenario.outages) for fault in _faults(outage, i, start_ms)]


def _faults(outage: Outage, index: int, start_ms: int) -> tuple[Fault, ...]:
    fields: dict[str, Any] = msgspec.structs.asdict(outage)
    begin, until, target, kind = (fields.pop(name) for name in ("begin", "until", "target", "kind"))
    try:
        after = max(0.0, _seconds(begin, start_ms))
        end = None if until is None else _seconds(until, start_ms)
        if end is not None and end <= 0:
            return ()
        if kind == "brown-out":
            return brown_out(after, end)
        fields |= {"kind": "status", "status": kind} if isinstance(kind, int) else {"kind": kind}
        return (Fault(**fields, after=after, until=end, integration_key=target),)
    except ValueError as error:
        raise ConfigError([f"scenario: outages[{index}]: {error}"]) from None


def _seconds(at: Time, start_ms: int) -> float:
    if isinstance(at, str) or at >= SINCE_1970:
        return (moment_ms(at) - start_ms) / 1000
    return at


def _reworded(error: msgspec.ValidationError) -> str:
    text, _, where = str(error).replace("`", "").partition(" - at ")
    return f"{where.removeprefix('$.') or 'the file'}: {text[:1].lower()}{text[1:]}"
