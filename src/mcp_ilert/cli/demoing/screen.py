"""Shows the demo: drawn live on a terminal, as plain lines elsewhere. Runs until cancelled."""

import sys

import click
import trio

from mcp_ilert.cli.demoing.log import DemoLog
from mcp_ilert.cli.demoing.view import line, picture, storm_line
from mcp_ilert.service import Service

REFRESH_SECONDS = 0.1
OTHER_LINES = 24
"""Lines beside the deliveries: the introduction above, which shall stay in sight, and the totals below."""
MOST_ROWS = 15


async def show(service: Service, log: DemoLog) -> None:
    if sys.stdout.isatty():
        await _draw(service, log)
    else:
        await _write(log)


async def _draw(service: Service, log: DemoLog) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    per_minute = service.settings.rate_limit.per_minute
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:
        while True:
            rows = max(4, min(MOST_ROWS, console.height - OTHER_LINES))
            shown = picture(
                log, service.counts(), tokens(service), per_minute, rows=rows, width=console.width
            )
            live.update(shown, refresh=True)
            await trio.sleep(REFRESH_SECONDS)


async def _write(log: DemoLog) -> None:
    seen = 0
    told = 0
    while True:
        for made in log.since(seen):
            click.echo(line(made))
        seen = log.made
        step = steps(log)
        if step > told:
            told = step
            click.echo(storm_line(log))
        await trio.sleep(REFRESH_SECONDS)


def steps(log: DemoLog) -> int:
    """How many fifths of the storm are sent; the last one only once its time is known."""
    if log.storm_seconds is not None:
        return 5
    return min(4, log.storm_sent * 5 // (log.storm_total or 1))


def tokens(service: Service) -> int:
    """Requests that may leave now."""
    return int(service.metrics.registry.get_sample_value("mcp_rate_limit_tokens", {"target": "default"}) or 0)
