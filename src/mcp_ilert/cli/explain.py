"""`mcp-ilert explain`: which route an event matches and why, and the request that would go out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from mcp_ilert.cli.common import Misuse, emit_json
from mcp_ilert.cli.locate import FILE

if TYPE_CHECKING:
    from mcp_ilert.service.explaining import Explained


@click.command()
@click.argument("event", type=click.File("rb"))
@click.option("--config", type=FILE, required=True, help="The bridge's configuration.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def explain(event: BinaryIO, *, config: Path, as_json: bool) -> None:
    """Explain what becomes of the event in EVENT (a file of JSON; - is standard input). Nothing is sent.

    Each route up to the one that matches, with the conditions that failed; the severity and the alert key, and how
    they were found; the request to iLert with its keys masked.
    """
    from mcp_ilert.clock import wall_ms  # noqa: PLC0415 - heavy
    from mcp_ilert.config import load  # noqa: PLC0415
    from mcp_ilert.errors import InvalidEventError, MalformedError  # noqa: PLC0415
    from mcp_ilert.service.explaining import explain as explained  # noqa: PLC0415

    settings = load(config, os.environ)
    name = getattr(event, "name", "the event")
    most = settings.listen.max_event_bytes
    payload = event.read(most + 1).strip()
    if len(payload) > most:
        raise Misuse([f"{name}: larger than listen.max_event_bytes ({most}); it would be refused (413)"])
    try:
        found = explained(payload, settings, wall_ms())
    except (InvalidEventError, MalformedError) as error:
        raise Misuse([f"{name}: not an event that would be taken: {error.detail}"]) from None
    emit_json(found) if as_json else _tell(found)


def _tell(found: "Explained") -> None:
    import msgspec  # noqa: PLC0415 - not needed for --help

    from mcp_ilert.cli.tables import clean  # noqa: PLC0415 - heavy

    def say(name: str, text: str) -> None:
        click.echo(f"{name:<10} {clean(text)}")

    say("alert key", f"{found.alert_key} (by {found.alert_key_by})")
    say("severity", f"{found.severity} (by {found.severity_by})")
    say("operation", found.operation)
    for route in found.routes:
        say("route", f"{route.route}: {'; '.join(route.failed) or 'matches'}")
    if found.route is None:
        say("route", "no route matches" if found.routes else "there are no routes")
    say("target", found.target or "none: dropped")
    for note in found.notes:
        say("note", note)
    if found.request is None:
        return
    click.echo(f"\n{found.request.method} {clean(found.request.url)}")
    for name, value in found.request.headers.items():
        click.echo(f"{name}: {value}")
    click.echo(f"\n{msgspec.json.format(bytes(found.request.body), indent=2).decode()}")


commands = (explain,)
