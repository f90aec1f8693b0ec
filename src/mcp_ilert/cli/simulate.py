"""`mcp-ilert simulate`: what a configuration would make of recorded traffic, on a virtual clock."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcp_ilert.cli.common import emit_json
from mcp_ilert.cli.locate import FILE

if TYPE_CHECKING:
    from mcp_ilert.simulation import Outage, Report, Scenario

OUTAGE_HELP = (
    "What iLert does wrong: KIND[:NAME=VALUE,…]. KIND is a status (503), hang, slow, reset, lost, refused, tls or "
    "brown-out; names are from, until (seconds from the first event, or RFC 3339), target, key, event_type, every, "
    "times, seconds, html, applied, code, retry_after. May be given several times."
)


def read_outage(text: str) -> "Outage":
    """`503:from=600,until=900` as an outage."""
    import msgspec  # noqa: PLC0415 - not needed for --help

    from mcp_ilert.simulation import Outage  # noqa: PLC0415 - heavy

    kind, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    fields: dict[str, Any] = {name.strip(): value.strip() for name, _, value in pairs}
    for name in {"from", "until"} & fields.keys():
        fields[name] = _time(fields[name])
    try:
        return msgspec.convert(fields | {"kind": int(kind) if kind.isdigit() else kind}, Outage, strict=False)
    except ValueError as problem:
        raise click.BadParameter(f"{text!r}: {problem}", param_hint="--outage") from None


def _time(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@click.command()
@click.argument("traffic", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--config", type=FILE, required=True, help="The configuration to try.")
@click.option("--against", type=FILE, help="Another one, the old one: show what differs.")
@click.option("--scenario", type=FILE, help="What iLert does: limits, latency, outages (YAML, JSON or TOML).")
@click.option("--per-minute", type=click.IntRange(1), help="iLert's limit of each key.  [default: 50]")
@click.option("--latency", type=click.FloatRange(0), help="Seconds iLert takes to answer.  [default: 0.2]")
@click.option("--outage", "outages", multiple=True, help=OUTAGE_HELP)
@click.option("--seed", type=int, help="Of all chance; the same seed, the same outcome.  [default: 1]")
@click.option("--summary", is_flag=True, help="Leave the single pages out.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def simulate(
    *,
    traffic: Path,
    config: Path,
    against: Path | None,
    scenario: Path | None,
    per_minute: int | None,
    latency: float | None,
    outages: tuple[str, ...],
    seed: int | None,
    summary: bool,
    as_json: bool,
) -> None:
    """Show what would have paged, when, and what differs, for the events in TRAFFIC.

    TRAFFIC is what listen.record writes: a line {"at": seconds or RFC 3339, "event": {…}} for each event. The
    bridge's own mapping, spool and dispatcher run on a virtual clock against a model of iLert; nothing is sent.
    """
    from mcp_ilert.cli.simulating.show import show_difference, show_report  # noqa: PLC0415 - heavy
    from mcp_ilert.simulation import difference  # noqa: PLC0415 - heavy

    model = _scenario(scenario, per_minute, latency, outages, seed)
    new = _run(config, model, traffic)
    if against is None:
        if as_json:
            emit_json(_without_pages(new) if summary else new)
        else:
            show_report(new, pages=not summary)
        return
    old = _run(against, model, traffic)
    found = difference(old, new)
    if as_json:
        reports = (
            {"old": _without_pages(old), "new": _without_pages(new)} if summary else {"old": old, "new": new}
        )
        emit_json({**reports, "difference": found})
    else:
        show_report(new, pages=False)
        show_difference(found, every=not summary)


def _scenario(
    path: Path | None,
    per_minute: int | None,
    latency: float | None,
    outages: tuple[str, ...],
    seed: int | None,
) -> "Scenario":
    """The file's, with what the options say in place of it; outages are added."""
    import msgspec  # noqa: PLC0415 - not needed for --help

    from mcp_ilert.simulation import Scenario, load_scenario  # noqa: PLC0415 - heavy

    model = load_scenario(path) if path is not None else Scenario()
    given = {"per_minute": per_minute, "latency_seconds": latency, "seed": seed}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    chosen["outages"] = (*model.outages, *(read_outage(text) for text in outages))
    return msgspec.structs.replace(model, **chosen)


def _run(config: Path, model: "Scenario", traffic: Path) -> "Report":
    from mcp_ilert.config import load  # noqa: PLC0415 - heavy
    from mcp_ilert.simulation import Setup, simulate  # noqa: PLC0415 - heavy

    return simulate(Setup(load(config, os.environ), model), traffic)


def _without_pages(report: "Report") -> "Report":
    import msgspec  # noqa: PLC0415

    return msgspec.structs.replace(report, pages=())


commands = (simulate,)
