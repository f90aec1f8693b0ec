"""`mcp-ilert serve`: runs the bridge until a signal ends it."""

import faulthandler
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcp_ilert.cli.common import RUNTIME, run_trio, words_of
from mcp_ilert.cli.locate import FILE

if TYPE_CHECKING:
    from mcp_ilert.cli.life import Life
    from mcp_ilert.config import Settings
    from mcp_ilert.service import Load


@click.command()
@click.option("--config", type=FILE, required=True, help="The configuration, YAML or TOML.")
def serve(config: Path) -> None:
    """Run the bridge.

    SIGTERM or SIGINT ends it: what is being read is finished, deliveries in flight may end, what waits stays in
    the spool. SIGHUP reads the configuration, secrets and certificates again.
    """
    from mcp_ilert.cli.life import obey_early  # noqa: PLC0415 - heavy

    obey_early()
    faulthandler.enable(
        sys.__stderr__ or 2
    )  # so that SIGABRT, systemd's for what hangs, leaves word where it hung
    from mcp_ilert import logs  # noqa: PLC0415 - heavy
    from mcp_ilert.config import load  # noqa: PLC0415

    settings = load(config, os.environ)
    logs.configure(settings.logging.level, settings.logging.format)
    run_trio(_run, settings, lambda: load(config, os.environ))


async def _run(settings: "Settings", load: "Load") -> None:
    import structlog  # noqa: PLC0415 - heavy

    from mcp_ilert.cli.life import live  # noqa: PLC0415
    from mcp_ilert.service import open_service  # noqa: PLC0415
    from mcp_ilert.service.manager import Manager  # noqa: PLC0415

    started = False
    manager = Manager.of(os.environ, os.getpid())

    async def serving(life: "Life") -> None:
        nonlocal started
        async with open_service(settings, load=load, manager=manager) as service:
            started = True
            life.started(service.ask_reload)
            await life.stopping.wait()

    try:
        await live(serving)
    except Exception as error:
        if not started:
            raise
        structlog.get_logger().critical("the bridge failed and ends", error=words_of(error))
        sys.exit(RUNTIME)


commands = (serve,)
