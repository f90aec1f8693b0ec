"""`mcp-ilert audit`: does the conservation law hold on disk?"""

import sys

import click

from mcp_ilert.cli.common import RUNTIME, emit_json
from mcp_ilert.cli.locate import Place, at_spool


@click.command()
@at_spool
def audit(place: Place, *, as_json: bool) -> None:
    """Recount the conservation law from disk; exit code 0 if it holds, 1 if not."""
    from mcp_ilert.cli import lanes  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.tables import show_table  # noqa: PLC0415
    from mcp_ilert.console import shown  # noqa: PLC0415
    from mcp_ilert.console.look import Look  # noqa: PLC0415

    found = Look(place.path).audit()
    if as_json:
        emit_json(shown.audited(found))
    else:
        columns = ("", "events", "counted", "on disk", "")
        show_table("The conservation law", columns, lanes.audit_rows(found))
        verdict = "The law holds" if found.error == 0 else f"The law is broken by {found.error:,}"
        click.echo(f"{verdict}: {lanes.law(found.recounted)}")
    if found.error:
        sys.exit(RUNTIME)


commands = (audit,)
