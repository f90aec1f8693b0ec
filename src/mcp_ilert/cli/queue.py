"""`mcp-ilert queue`: looks into a spool and changes what waits there, whether its bridge runs or not."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcp_ilert.cli.change import carry_out
from mcp_ilert.cli.common import Failure, emit_json
from mcp_ilert.cli.locate import Place, at_spool

if TYPE_CHECKING:
    from mcp_ilert.console.look import Look
    from mcp_ilert.console.shown import Page
    from mcp_ilert.control import Answer
    from mcp_ilert.spool.read_model import LaneView

PAYLOAD_CHARS = 4_000


@click.group()
def queue() -> None:
    """Look into a spool, and change what waits there.

    Works whether the bridge runs or not: reading is by a read-only connection, and a change goes to the
    running bridge through its control socket.
    """


def _pages(function: Any) -> Any:
    limit = click.option(
        "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Lanes."
    )
    after = click.option("--after", type=click.IntRange(0), default=0, help="Only lanes with a higher id.")
    return limit(after(function))


def _look(place: Place) -> "Look":
    from mcp_ilert.console.look import Look  # noqa: PLC0415 - heavy

    return Look(place.path)


def _now_ms() -> int:
    from mcp_ilert.clock import wall_ms  # noqa: PLC0415

    return wall_ms()


@queue.command()
@at_spool
def stats(place: Place, *, as_json: bool) -> None:
    """Show what was accepted, and what became of it."""
    from mcp_ilert.cli import lanes  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.tables import show_facts  # noqa: PLC0415
    from mcp_ilert.console import shown  # noqa: PLC0415

    found = _look(place).stats()
    if as_json:
        emit_json(shown.stats(found))
        return
    show_facts(f"The spool {place.path}", lanes.stats_facts(found, _now_ms()))


@queue.command("list")
@_pages
@at_spool
def list_lanes(place: Place, *, limit: int, after: int, as_json: bool) -> None:
    """List the lanes in which something waits, is in flight or is dead by an outage."""
    from mcp_ilert.cli import lanes  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.tables import show_table  # noqa: PLC0415

    found = _look(place).lanes(limit, after)
    if as_json:
        _emit_page(found)
        return
    now = _now_ms()
    show_table("What waits", lanes.LANE_COLUMNS, [lanes.lane_row(lane, now) for lane in found.lanes])
    _tell_more(found)


@queue.command()
@_pages
@at_spool
def dead(place: Place, *, limit: int, after: int, as_json: bool) -> None:
    """List the dead letters: what an outage killed, and what iLert rejected."""
    from mcp_ilert.cli import lanes  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.tables import show_table  # noqa: PLC0415

    found = _look(place).dead(limit, after)
    if as_json:
        _emit_page(found)
        return
    now = _now_ms()
    rows = [row for lane in found.lanes for row in lanes.letter_rows(lane, now)]
    show_table("Dead letters", lanes.LETTER_COLUMNS, rows)
    _tell_more(found)


def _emit_page(found: "Page") -> None:
    from mcp_ilert.console import shown  # noqa: PLC0415 - heavy

    emit_json(shown.page(found))


def _tell_more(found: "Page") -> None:
    if found.after is not None:
        click.echo(f"There may be more: --after {found.after}", err=True)


@queue.command()
@click.argument("key")
@at_spool
def show(place: Place, key: str, *, as_json: bool) -> None:
    """Show one alert key at every target, with its events."""
    from mcp_ilert.console import shown  # noqa: PLC0415 - heavy

    found = _look(place).show(key).lanes
    if as_json:
        emit_json({"lanes": [shown.lane(lane) for lane in found]})
    elif found:
        now = _now_ms()
        for lane in found:
            _show_lane(lane, now)
    if not found:
        raise Failure([f"nothing is known of the key {key!r}"])


def _show_lane(lane: "LaneView", now_ms: int) -> None:
    from mcp_ilert.cli import lanes  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.tables import clean, shorten, show_facts  # noqa: PLC0415

    ops = [("in flight", lane.in_flight)] if lane.in_flight else []
    ops += [("waits", op) for op in lane.waiting]
    ops += [(f"dead, {lanes.reason_of(letter)}", letter.op) for letter in lane.letters]
    facts = list(zip(lanes.LANE_COLUMNS, lanes.lane_row(lane, now_ms), strict=True))
    if lane.incident is not None:
        facts.append(("incident", clean(lane.incident)))
    show_facts(f"{clean(lane.key)} at {lane.target}", facts)
    for state, op in ops:
        text = op.payload.decode(errors="replace")
        click.echo(f"{lanes.op_words(op)} ({clean(state)}): {shorten(clean(text), PAYLOAD_CHARS)}")
    for member in lane.member_keys:
        click.echo(f"stands for {clean(member)}")
    if lane.members is not None and lane.members > len(lane.member_keys):
        click.echo(f"… and {lane.members - len(lane.member_keys):,} more")


@queue.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters but superseded ones.")
@click.option("--force", is_flag=True, help="Superseded ones too: they are sent behind something newer.")
@at_spool
def replay(place: Place, keys: tuple[str, ...], *, everything: bool, force: bool, as_json: bool) -> None:
    """Send dead letters again."""
    from mcp_ilert.control import ReplayDead  # noqa: PLC0415 - heavy

    if bool(keys) == everything:
        raise click.UsageError("which dead letters? Give either KEYs or --all")
    answer = carry_out(place, ReplayDead(keys or None, force))
    _tell(answer, "replayed", as_json=as_json)
    if not answer.events and not force and not as_json:
        click.echo("Superseded letters are replayed by --force only; see `queue dead`.", err=True)


@queue.command()
@click.argument("key")
@click.option("--target", help="Only at this target.")
@click.option("--yes", is_flag=True, help="Yes, drop it: this cannot be undone.")
@at_spool
def drop(place: Place, key: str, *, target: str | None, yes: bool, as_json: bool) -> None:
    """Drop what waits or is dead of one alert key."""
    from mcp_ilert.control import DropKey  # noqa: PLC0415 - heavy

    if not yes:
        raise click.UsageError(f"dropping {key!r} cannot be undone; say --yes if it is meant")
    _tell(carry_out(place, DropKey(key, target)), "dropped", as_json=as_json)


@queue.command()
@click.argument("target")
@at_spool
def pause(place: Place, target: str, *, as_json: bool) -> None:
    """Send nothing more to a target until it is resumed, restarts included; what comes waits."""
    from mcp_ilert.control import PauseTarget  # noqa: PLC0415 - heavy

    answer = carry_out(place, PauseTarget(target))
    emit_json(answer) if as_json else click.echo(f"{target} is paused")


@queue.command()
@click.argument("target")
@at_spool
def resume(place: Place, target: str, *, as_json: bool) -> None:
    """Send to a paused target again."""
    from mcp_ilert.control import ResumeTarget  # noqa: PLC0415 - heavy

    answer = carry_out(place, ResumeTarget(target))
    emit_json(answer) if as_json else click.echo(f"{target} is resumed")


@queue.command()
@click.argument("path", type=click.Path(path_type=Path))
@at_spool
def backup(place: Place, path: Path, *, as_json: bool) -> None:
    """Copy the spool to a new file while the bridge runs."""
    from mcp_ilert.spool.view import SpoolView  # noqa: PLC0415 - heavy

    with SpoolView(place.path) as view:
        view.backup(path)
    size = path.stat().st_size
    emit_json({"path": str(path), "bytes": size}) if as_json else click.echo(f"{path}: {size:,} bytes")


def _tell(answer: "Answer", done: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    events = "1 event" if answer.events == 1 else f"{answer.events:,} events"
    click.echo(f"{events} {done}")


commands = (queue,)
