"""Changes something in a spool: by the bridge that runs on it, or directly where none does."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcp_ilert.cli.common import run_trio
from mcp_ilert.cli.locate import Place
from mcp_ilert.config.files import found
from mcp_ilert.errors import SpoolError

if TYPE_CHECKING:
    from mcp_ilert.control import Answer, Request
    from mcp_ilert.spool.port import Rules

PATIENCE_SECONDS = 5.0
"""A bridge that is well answers most requests in milliseconds."""


def carry_out(place: Place, request: "Request") -> "Answer":
    """Raises McpIlertError with the reason where it is not done."""
    from mcp_ilert.control import NoBridgeError  # noqa: PLC0415 - heavy

    try:
        answer = run_trio(ask_patiently, place.path, request)
    except NoBridgeError:
        answer = run_trio(_directly, place, request)
    if not answer.ok:
        raise SpoolError(answer.error or "the bridge did not say why")
    return answer


async def ask_patiently(spool: Path, request: "Request") -> "Answer":
    """Ask the bridge that runs on this spool; where it lets wait for long, a line on stderr says so, once."""
    import trio  # noqa: PLC0415 - heavy

    from mcp_ilert.control import ask  # noqa: PLC0415 - heavy

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_of_waiting, spool)
        answer = await trio.to_thread.run_sync(ask, spool, request, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()
    return answer


async def _tell_of_waiting(spool: Path) -> None:
    import trio  # noqa: PLC0415 - heavy

    from mcp_ilert.spool.lock import holder  # noqa: PLC0415

    await trio.sleep(PATIENCE_SECONDS)
    pid = holder(spool)
    who = "the bridge" if pid is None else f"the bridge (pid {pid})"
    click.echo(
        f"mcp-ilert: waiting for {who}, which has not answered for {PATIENCE_SECONDS:g} s;"
        " it may be stopped or busy",
        err=True,
    )


async def _directly(place: Place, request: "Request") -> "Answer":
    """Open the spool as a bridge would; its lock keeps out a bridge that starts meanwhile."""
    from mcp_ilert.clock import wall_ms  # noqa: PLC0415
    from mcp_ilert.control import Answer, ReplayDead, change_of  # noqa: PLC0415
    from mcp_ilert.spool.spool import open_spool  # noqa: PLC0415 - heavy

    _must_exist(place.path)
    rules = _rules(place)
    async with open_spool(place.path, rules, lambda _targets: None, wall_ms) as spool:
        if not isinstance(request, ReplayDead) and request.target is not None:
            known = sorted(await spool.records())
            if request.target not in known:
                return Answer(ok=False, error=f"no target {request.target!r}; there are: {', '.join(known)}")
        changed = await spool.change(change_of(request), wall_ms())
    return Answer(ok=True, events=changed.events)


def _must_exist(path: Path) -> None:
    try:
        there = found(path)
    except OSError as error:
        raise SpoolError(f"spool: {path} cannot be opened ({error.strerror})") from error
    if there is None:
        raise SpoolError(f"no spool at {path}: is it the right --config or --spool?")


def _rules(place: Place) -> "Rules":
    from mcp_ilert.spool.port import Rules  # noqa: PLC0415

    if place.settings is None:
        return Rules()
    from mcp_ilert.service import rules_of  # noqa: PLC0415 - heavy

    return rules_of(place.settings)
