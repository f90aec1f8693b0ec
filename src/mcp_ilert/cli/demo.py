"""`mcp-ilert demo`: the bridge beside a sandbox iLert, to look at."""

import json
import socket
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mcp_ilert.cli.common import run_trio

if TYPE_CHECKING:
    from mcp_ilert.cli.demoing.log import DemoLog
    from mcp_ilert.cli.life import Life
    from mcp_ilert.config import Settings
    from mcp_ilert.events import Counts, Delivery, Outcome
    from mcp_ilert.sandbox.server import SandboxServer
    from mcp_ilert.service import Service

PORT = 8080
ADDRESS = "127.0.0.1"
GRACE_SECONDS = 2.0
STORM_AFTER_SECONDS = 1.5
STORM_PAUSE_SECONDS = 0.04
EXAMPLE = {
    "mcp_id": "evt-0001",
    "source": "probe-1",
    "priority": 1,
    "summary": "Disk full",
    "details": "root disk at 98%",
    "tags": ["disk", "storage"],
}


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Where the bridge listens; 0 takes a free port.  [default: {PORT}, or a free one where it is taken]",
)
@click.option("--storm", is_flag=True, help="Send a storm of events, and watch it being folded.")
def demo(port: int | None, *, storm: bool) -> None:
    """Run the bridge beside a sandbox iLert on this machine, and show what it does.

    Nothing is configured and nothing is kept: the spool is a temporary one, and iLert is a stand-in.
    """
    from mcp_ilert.cli.life import obey_early  # noqa: PLC0415 - heavy

    obey_early()
    from mcp_ilert import logs  # noqa: PLC0415 - heavy

    logs.configure("error", "text")
    with tempfile.TemporaryDirectory(prefix="mcp-ilert-demo-") as folder:
        run_trio(_run, Path(folder) / "spool.db", port, storm)


def _free_port(port: int | None) -> int:
    """The port asked for; where none was, 8080 unless it is taken, and then 0."""
    if port is not None:
        return port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, PORT))
        except OSError:
            click.echo(f"Port {PORT} is taken by another program; the demo takes a free one.")
            return 0
    return PORT


def _settings(spool: Path, port: int, sandbox_url: str) -> "Settings":
    from mcp_ilert import config  # noqa: PLC0415 - heavy
    from mcp_ilert.sandbox import INTEGRATION_KEY  # noqa: PLC0415

    return config.Settings(
        listen=config.Listen(address=ADDRESS, port=port, tcp_port=0),
        ilert=config.Ilert(api_url=sandbox_url, webhook_key=config.Secret(INTEGRATION_KEY)),
        delivery=config.DeliverySettings(shutdown_grace_seconds=GRACE_SECONDS),
        spool=config.SpoolSettings(path=str(spool)),
        metrics=config.MetricsSettings(listen_address=ADDRESS, listen_port=0),
    )


async def _run(spool: Path, port: int | None, storm: bool) -> None:
    from mcp_ilert.cli.demoing.log import DemoLog, attempt  # noqa: PLC0415 - heavy
    from mcp_ilert.cli.demoing.view import summary_line  # noqa: PLC0415
    from mcp_ilert.cli.life import live  # noqa: PLC0415
    from mcp_ilert.clock import wall_ms  # noqa: PLC0415
    from mcp_ilert.sandbox import SandboxIlert  # noqa: PLC0415
    from mcp_ilert.sandbox.server import open_sandbox  # noqa: PLC0415
    from mcp_ilert.service import open_service  # noqa: PLC0415

    log = DemoLog()
    last: list[Counts] = []

    def attempted(delivery: "Delivery", outcome: "Outcome") -> None:
        log.add(attempt(delivery, outcome, wall_ms()))

    async def serving(life: "Life") -> None:
        async with open_sandbox(SandboxIlert(), ADDRESS) as sandbox:
            settings = _settings(spool, _free_port(port), sandbox.url)
            async with open_service(settings, attempted=attempted) as service:
                life.started(lambda: None)
                _introduce(service, sandbox)
                await _show_until_stopped(life, service, log, storm=storm)
            last.append(service.counts())

    await live(serving)
    for counts in last:
        click.echo(f"\n{summary_line(counts)}")


def _introduce(service: "Service", sandbox: "SandboxServer") -> None:
    from mcp_ilert import __version__  # noqa: PLC0415

    lines = [
        ("MCP iLert", f"{__version__}, a demo: nothing leaves this machine"),
        ("events", f"{service.url}/events"),
        ("lines of events", f"{service.tcp_url}"),
        ("dashboard", f"{service.url}/"),
        ("metrics", f"{service.metrics_url}/metrics"),
        ("sandbox iLert", f"{sandbox.url}    (what it got: {sandbox.admin_url})"),
        ("spool", f"{service.path}    (removed at the end)"),
    ]
    for name, text in lines:
        click.echo(click.style(f"{name:<16}", bold=True) + text)
    click.echo("\nPaste this into another terminal:\n")
    click.echo(click.style(curl_line(service.url), fg="cyan") + "\n")


def curl_line(url: str) -> str:
    """A command that sends the example event."""
    event = json.dumps(EXAMPLE, separators=(",", ":"))
    return f"curl -sS {url}/events -H 'content-type: application/json' -d '{event}'"


async def _show_until_stopped(life: "Life", service: "Service", log: "DemoLog", *, storm: bool) -> None:
    import trio  # noqa: PLC0415 - heavy

    from mcp_ilert.cli.demoing.screen import show  # noqa: PLC0415

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(show, service, log))
        if storm:
            nursery.start_soon(_send_storm, service.url, log)
        await life.stopping.wait()
        nursery.cancel_scope.cancel()


async def _send_storm(url: str, log: "DemoLog") -> None:
    import trio  # noqa: PLC0415 - heavy

    from mcp_ilert.cli.demoing.storm import EVENTS, KEYS, batches, storm  # noqa: PLC0415
    from mcp_ilert.cli.sending.http import open_http  # noqa: PLC0415
    from mcp_ilert.cli.sending.lines import Batch  # noqa: PLC0415
    from mcp_ilert.cli.sending.tally import Tally  # noqa: PLC0415

    await trio.sleep(STORM_AFTER_SECONDS)
    log.storm_total, log.storm_keys = EVENTS, KEYS
    started = time.monotonic()
    opened = open_http(
        f"{url}/events",
        http2=True,
        verify=False,
        headers={},
        single=False,
        max_retries=20,
        timeout_seconds=30,
        concurrency=1,
        tally=Tally(),
    )
    async with opened as sender:
        for batch in batches(storm()):
            verdict = await sender(Batch(tuple(batch), tuple(range(1, len(batch) + 1))))
            log.storm_sent += verdict.accepted
            await trio.sleep(STORM_PAUSE_SECONDS)
    log.storm_seconds = time.monotonic() - started


commands = (demo,)
