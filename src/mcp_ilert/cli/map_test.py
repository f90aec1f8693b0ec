"""`mcp-ilert map-test`: the events that a webhook's payload becomes, and what is rejected and why."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcp_ilert.cli.common import Failure, Misuse, emit_json
from mcp_ilert.cli.locate import FILE

if TYPE_CHECKING:
    from mcp_ilert.config import Settings
    from mcp_ilert.decode.dialects import Spoken

MOST_BYTES = 64 * 1024 * 1024


@click.command("map-test")
@click.argument("name")
@click.argument("payload", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
@click.option("--config", type=FILE, help="The configuration whose webhooks, mapping and routes are used.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def map_test(name: str, payload: Path, *, config: Path | None, as_json: bool) -> None:
    """Show the events that PAYLOAD (a file, or - for standard input) becomes at the webhook NAME.

    NAME is a webhook of the configuration; without one, alertmanager, grafana, or a preset.
    Nothing is sent. Exit code 1 where anything is rejected.
    """
    settings, spoken = _spoken(name, config)
    made = list(_made(settings, spoken, _read(payload)))
    rejected = [one for one in made if "error" in one]
    if as_json:
        emit_json({"events": [one for one in made if "error" not in one], "rejected": rejected})
    else:
        for one in made:
            _show(one)
    if rejected:
        raise SystemExit(1)
    if not made and not as_json:
        click.echo("no event: the payload says nothing that is to be reported")


def _spoken(name: str, path: Path | None) -> "tuple[Settings, Spoken]":
    from mcp_ilert import config  # noqa: PLC0415 - heavy
    from mcp_ilert.config import Settings, Webhook  # noqa: PLC0415 - likewise
    from mcp_ilert.decode.dialects import dialects_of  # noqa: PLC0415 - likewise
    from mcp_ilert.decode.presets import PRESETS  # noqa: PLC0415 - likewise

    if path is not None:
        settings = config.load(path, os.environ)
        known = dialects_of(settings)
    else:
        settings = Settings()
        presets: dict[str, Any] = {preset: Webhook(preset=preset) for preset in PRESETS}  # type: ignore[arg-type]
        known = dialects_of(Settings(webhooks=presets))
    if name not in known:
        where = "in this configuration" if path is not None else "without a --config"
        raise Misuse([f"there is no webhook {name} {where}; known are {', '.join(sorted(known))}"])
    return settings, known[name]


def _read(payload: Path) -> bytes:
    with click.open_file(str(payload), "rb") as file:
        body: bytes = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise Failure([f"{payload}: has more than {MOST_BYTES} bytes"])
    return body


def _made(settings: "Settings", spoken: "Spoken", body: bytes) -> Iterator[dict[str, Any]]:
    """What the bridge would make of the body, one by one; the last may be why it takes nothing of it."""
    from mcp_ilert.errors import McpIlertError  # noqa: PLC0415 - not needed for --help
    from mcp_ilert.mapping import Mapper  # noqa: PLC0415 - heavy

    mapper = Mapper(settings)
    found: list[dict[str, Any]] = []
    try:
        for index, event in enumerate(spoken.dialect.convert(body)):
            found.append(_judged(settings, mapper, event, index))
    except McpIlertError as error:
        yield {"error": str(error)}  # a whole body that cannot be used: nothing of it is kept
        return
    yield from found


def _judged(settings: "Settings", mapper: Any, event: Any, index: int) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - not needed for --help

    from mcp_ilert.decode.native import decode_event  # noqa: PLC0415 - heavy
    from mcp_ilert.decode.text import check_text  # noqa: PLC0415 - likewise
    from mcp_ilert.errors import McpIlertError  # noqa: PLC0415 - likewise

    if isinstance(event, McpIlertError):
        return {"index": index, "error": str(event)}
    try:
        if len(event) > settings.listen.max_event_bytes:
            return {
                "index": index,
                "error": f"the event is larger than {settings.listen.max_event_bytes} bytes",
            }
        check_text(event)
        decoded = decode_event(event)
        entry = mapper.entry(decoded, event, 0)
    except McpIlertError as error:
        return {"index": index, "error": str(error)}
    return {
        "index": index,
        "alert_key": entry.key,
        "operation": entry.kind.name,
        "severity": entry.severity.name.lower(),
        "route": mapper.rule(decoded) or None,
        "event": msgspec.Raw(event.strip()),
    }


def _show(one: dict[str, Any]) -> None:
    import msgspec  # noqa: PLC0415 - not needed for --help

    if "error" in one:
        where = f"event {one['index']}: " if "index" in one else ""
        click.echo(f"{where}rejected: {one['error']}", err=True)
        return
    route = one["route"] or "no route"
    said = f"{one['operation']} of {one['alert_key']}, severity {one['severity']}, {route}"
    click.echo(f"event {one['index']}: {said}")
    click.echo(msgspec.json.format(msgspec.json.encode(one["event"]), indent=2).decode())


commands: tuple[click.Command, ...] = (map_test,)
