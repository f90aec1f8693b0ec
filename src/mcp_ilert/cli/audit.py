"""`mcp-ilert audit`: does the conservation law hold on disk?"""

import sys
from typing import TYPE_CHECKING, Any

import click

from mcp_ilert.cli.common import RUNTIME, emit_json
from mcp_ilert.cli.locate import Place, at_spool

if TYPE_CHECKING:
    from mcp_ilert.spool.view import Audit


@click.command()
@at_spool
def audit(place: Place, *, as_json: bool) -> None:
    """Recount the conservation law from disk; exit code 0 if it holds, 1 if not."""
    from mcp_ilert.cli import lanes  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.tables import show_table  # noqa: PLC0415
    from mcp_ilert.spool.view import SpoolView  # noqa: PLC0415

    with SpoolView(place.path) as view:
        found = view.audit()
    if as_json:
        emit_json({"holds": found.error == 0, **_audit_json(found)})
    else:
        columns = ("", "events", "counted", "on disk", "")
        show_table("The conservation law", columns, lanes.audit_rows(found))
        verdict = "The law holds" if found.error == 0 else f"The law is broken by {found.error:,}"
        click.echo(f"{verdict}: {lanes.law(found.recounted)}")
    if found.error:
        sys.exit(RUNTIME)


def _audit_json(found: "Audit") -> dict[str, Any]:
    return {"error": found.error, "counts": found.counts, "recounted": found.recounted}


commands = (audit,)
