"""A real Prometheus Alertmanager tells the bridge of its alerts, and the bridge tells the sandbox iLert."""

import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from mcp_ilert import config
from mcp_ilert.config import Auth, Secret, Settings, Token
from mcp_ilert.sandbox import INTEGRATION_KEY, Limits, Options, SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.service import open_service

NAMES = ("prometheus-alertmanager", "alertmanager")
PROGRAM = next((found for name in NAMES if (found := shutil.which(name))), None)
TOKEN = "alertmanagers-own-token"
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Alertmanager here: apt-get install prometheus-alertmanager"
)

CONFIG = """
route:
  receiver: bridge
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: bridge
    webhook_configs:
      - url: {url}/webhooks/alertmanager
        send_resolved: true
        http_config: {{authorization: {{credentials: {token}}}}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def alertmanager(folder: Path, bridge: str) -> AsyncIterator[httpx.AsyncClient]:
    """It runs, is ready, and tells the bridge; killed at the end."""
    path = folder / "alertmanager.yml"
    path.write_text(CONFIG.format(url=bridge, token=TOKEN))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(PROGRAM),
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    log = folder / "alertmanager.log"
    with log.open("wb") as out:
        process = await trio.lowlevel.open_process(command, stdin=-3, stdout=out, stderr=out)
        try:
            async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
                await _ready(client, process, log)
                yield client
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _ready(client: httpx.AsyncClient, process: trio.Process, log: Path) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            assert process.returncode is None, log.read_text()
            try:
                if (await client.get("/-/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await trio.sleep(0.05)


def alert(name: str, instance: str, severity: str, *, resolved: bool = False) -> dict[str, Any]:
    now = datetime.now(UTC)
    ends = now - timedelta(seconds=1) if resolved else now + timedelta(hours=1)
    return {
        "labels": {"alertname": name, "instance": instance, "severity": severity},
        "annotations": {"summary": f"{name} on {instance}", "description": "98% used"},
        "generatorURL": "http://prometheus.example/graph",
        "startsAt": (now - timedelta(minutes=5)).isoformat(),
        "endsAt": ends.isoformat(),
    }


def settings_for(folder: Path, ilert: str) -> Settings:
    return Settings(
        listen=config.Listen(address="127.0.0.1", port=0),
        auth=Auth(tokens=(Token("alertmanager", Secret(TOKEN)),)),
        ilert=config.Ilert(api_url=ilert, webhook_key=Secret(INTEGRATION_KEY)),
        delivery=config.DeliverySettings(shutdown_grace_seconds=1),
        spool=config.SpoolSettings(path=str(folder / "spool.db")),
        metrics=config.MetricsSettings(enabled=False),
    )


async def test_alerts_fire_and_resolve_at_ilert(tmp_path: Path) -> None:
    core = SandboxIlert(Options(limits=Limits(integration_key=None, ip=None)))
    async with (
        open_sandbox(core) as sandbox,
        open_service(settings_for(tmp_path, sandbox.url)) as service,
        alertmanager(tmp_path, service.url) as client,
    ):
        fired = [alert("DiskFull", "web-1:9100", "page"), alert("DiskFull", "web-2:9100", "warning")]
        assert (await client.post("/api/v2/alerts", json=fired)).status_code == 200
        await _until(partial(_events, core, 2))
        known = {item["labels"]["instance"]: item for item in (await client.get("/api/v2/alerts")).json()}
        events = {event["labels"]["instance"]: event for event in _taken(core)}
        for instance, (priority, severity) in {"web-1:9100": ("HIGH", 1), "web-2:9100": ("LOW", 3)}.items():
            event = events[instance]
            assert event["eventType"] == "ALERT"
            assert event["alertKey"] == known[instance]["fingerprint"]
            assert event["summary"] == f"DiskFull on {instance}"
            assert (event["priority"], event["severity"]) == (priority, severity)
            assert event["labels"]["source"] == instance
            assert event["links"][0]["href"] == "http://prometheus.example/graph"
            assert event["customDetails"]["annotations"]["description"] == "98% used"
        ended = [alert("DiskFull", "web-1:9100", "page", resolved=True)]
        assert (await client.post("/api/v2/alerts", json=ended)).status_code == 200
        await _until(partial(_events, core, 3))
        last = _taken(core)[-1]
        assert (last["eventType"], last["alertKey"]) == ("RESOLVE", events["web-1:9100"]["alertKey"])
        counts = service.counts()
        assert (counts.accepted, counts.error()) == (counts.delivered + counts.coalesced + counts.pending, 0)


def _taken(core: SandboxIlert) -> list[dict[str, Any]]:
    """The bodies that iLert took, in order."""
    return [json.loads(request.body) for request in core.events() if request.status == 202]


def _events(core: SandboxIlert, number: int) -> bool:
    return len(_taken(core)) >= number


async def _until(condition: Any) -> None:
    """Wait for what other processes do; the time is a bound, not a verdict."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing there could set an event
            await trio.sleep(0.05)
