"""`mcp-ilert why KEY`: one alert key's life, in plain words."""

from typing import TYPE_CHECKING

import click

from mcp_ilert.cli.common import Failure, emit_json
from mcp_ilert.cli.locate import Place, at_spool

if TYPE_CHECKING:
    from mcp_ilert.console.now import Tell
    from mcp_ilert.console.shown import Life

UNKNOWN = (
    "it did not come, a route drops it, or it is older than history.keep_days and history.max_bytes allow"
)


@click.command()
@click.argument("key")
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="The newest so many notes."
)
@click.option("--before", type=click.IntRange(1), help="Only notes with a lower id: what was earlier.")
@at_spool
def why(place: Place, key: str, *, limit: int, before: int | None, as_json: bool) -> None:
    """Tell the life of one alert key: why somebody was paged, or why nobody was.

    When it came, what it was folded with, which route it matched, what it waited for, each attempt and its answer,
    and how it stands now. With --config, also which route now matches what waits. Times are UTC.
    """
    from mcp_ilert.console.look import Look  # noqa: PLC0415 - heavy
    from mcp_ilert.spool.view import NEWEST  # noqa: PLC0415

    life = Look(place.path, tell=_teller(place)).why(key, limit, before or NEWEST)
    if not life.history and not life.lanes:
        raise Failure([f"nothing is known of the key {key!r}: {UNKNOWN}"])
    emit_json(life) if as_json else _tell(life)


def _teller(place: Place) -> "Tell | None":
    if place.settings is None:
        return None
    from mcp_ilert.service import rules_of  # noqa: PLC0415 - heavy

    return rules_of(place.settings).tell


def _tell(life: "Life") -> None:
    from mcp_ilert.cli.tables import clean  # noqa: PLC0415 - heavy

    click.echo(f"{clean(life.key)} (times are UTC)")
    for happened in life.history:
        for sentence in happened.says:
            click.echo(f"{sentence.at}  {clean(sentence.says)}")
    for line in life.now or ("nothing waits, and nothing of the key is remembered",):
        click.echo(f"{'now':<23}  {clean(line)}")
    if life.before is not None:
        click.echo(f"There may be more, earlier: --before {life.before}", err=True)


commands = (why,)
