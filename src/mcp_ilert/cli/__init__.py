"""The command line. A module holds commands as `commands`; what is heavy is imported inside them."""

from pathlib import Path

import click

from mcp_ilert.cli import (
    audit,
    check,
    demo,
    explain,
    map_test,
    openapi,
    queue,
    sandbox,
    send,
    serve,
    simulate,
    why,
)
from mcp_ilert.cli.common import USAGE, Readable
from mcp_ilert.cli.locate import FILE

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SUMMARY = "The durable bridge from MCP events (custom monitoring events) to iLert."


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from mcp_ilert import __version__  # noqa: PLC0415 - reads the metadata, only here needed

        click.echo(f"mcp-ilert {__version__}")
        ctx.exit()


@click.group("mcp-ilert", cls=Readable, help=SUMMARY, context_settings=CONTEXT, invoke_without_command=True)
@click.option(
    "--config", type=FILE, help="Run the bridge: mcp-ilert --config PATH is mcp-ilert serve --config PATH."
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    if ctx.invoked_subcommand is not None:
        if config is not None:
            name = ctx.invoked_subcommand
            raise click.UsageError(f"--config stands behind the command: mcp-ilert {name} --config {config}")
    elif config is not None:
        ctx.invoke(serve.serve, config=config)
    else:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


MODULES = (serve, demo, check, send, queue, why, audit, explain, map_test, simulate, sandbox, openapi)
for _module in MODULES:
    for _command in _module.commands:
        cli.add_command(_command)


def main() -> None:
    """The program: runs the command that the arguments name and exits with its code."""
    cli(prog_name="mcp-ilert")
