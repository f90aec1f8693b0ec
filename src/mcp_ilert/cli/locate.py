"""Finds the spool that a command is about, by `--config PATH` or `--spool PATH`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mcp_ilert.cli.common import Misuse

if TYPE_CHECKING:
    from mcp_ilert.config import Settings

FILE = click.Path(path_type=Path, dir_okay=False)


class Place(msgspec.Struct, frozen=True):
    """A spool, and the settings of its bridge where they are known."""

    path: Path
    settings: "Settings | None" = None


def at_spool(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options --config, --spool and --json; the command is called with `place` and `as_json`."""
    options = (
        click.option("--config", type=FILE, help="The bridge's configuration; its spool.path is taken."),
        click.option("--spool", type=FILE, help="The spool's file."),
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
    )

    def called(config: Path | None, spool: Path | None, **others: Any) -> Any:
        return function(place=find_place(config, spool), **others)

    called.__name__, called.__doc__ = function.__name__, function.__doc__
    vars(called)["__click_params__"] = getattr(function, "__click_params__", [])  # what stands below at_spool
    for option in reversed(options):
        called = option(called)
    return called


def find_place(config: Path | None, spool: Path | None) -> Place:
    """Raises Misuse where both or neither are given, ConfigError where the configuration is wrong."""
    if (config is None) == (spool is None):
        raise Misuse(["which spool? Give either --config PATH or --spool PATH"])
    if spool is not None:
        return Place(spool)
    import os  # noqa: PLC0415

    from mcp_ilert.config import load, spool_path  # noqa: PLC0415 - heavy

    assert config is not None  # noqa: S101 - one of both is given
    settings = load(config, os.environ)
    return Place(spool_path(settings, os.environ), settings)
