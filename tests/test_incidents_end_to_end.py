"""Incidents through the whole bridge: HTTP in, spool, dispatch, the sandbox's incidents API, on real sockets."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from bridge import Bridge, event, running, until, write_config
from mcp_ilert.sandbox import API_KEY, Fault, Limits, Options, SandboxIlert
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox
from sandboxes import read, rest

UNLIMITED = Options(limits=Limits(integration_key=None, ip=None, api_key=None))
ROUTES = [
    {"match": {"source": "web-*"}, "target": "incident", "services": [{"alias": "orders"}]},
    {
        "name": "calls",
        "webhook_key": "another-key",
        "match": {"source": "voice-*"},
        "target": "incident",
        "services": [{"id": 6002, "impact": "MAJOR_OUTAGE"}],
    },
]


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    async with open_sandbox(SandboxIlert(UNLIMITED)) as server:
        yield server


def config_for(folder: Path, sandbox: SandboxServer, **sections: Any) -> Path:
    return write_config(
        folder,
        sandbox.url,
        ilert={
            "api_url": sandbox.url,
            "webhook_key": "sandbox-key",
            "api_key": API_KEY,
            "timeout_seconds": 3,
        },
        retries={"base_interval_seconds": 0.05, "max_interval_seconds": 0.2, "max_attempts": 50},
        **sections,
    )


def write(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def incidents(sandbox: SandboxServer) -> list[tuple[str, list[str]]]:
    """Of each incident, its summary and the statuses that it went through; oldest first."""
    found = read(rest(sandbox.core, "GET", "/incidents?max-results=25&include=history", now=sandbox.now()))
    found.sort(key=lambda each: each["id"])
    return [(each["summary"], [update["status"] for update in each["history"]]) for each in found]


async def shown(bridge: Bridge, config: Path, key: str) -> str | None:
    """The incident of a key, by the API and by the commands, which say the same."""
    async with httpx.AsyncClient(trust_env=False) as client:
        life = (await client.get(f"{bridge.url}/api/v1/why", params={"key": key})).json()
    (lane,) = life["lanes"]
    found: str | None = lane["incident"]
    text = (await command("queue", "show", key, "--config", str(config))).stdout.decode()
    (told,) = json.loads((await command("queue", "show", key, "--json", "--config", str(config))).stdout)[
        "lanes"
    ]
    assert told["incident"] == found
    assert any(line.split() == ["incident", found] for line in text.splitlines()) is (found is not None)
    assert any(f"incident {found}" in line for line in life["now"]) is (found is not None)
    return found


async def command(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [sys.executable, "-m", "mcp_ilert", *arguments], capture_stdout=True, capture_stderr=True
    )


async def post(url: str, *events: dict[str, Any]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{url}/events", json=list(events))).status_code == 202


async def test_routes_open_incidents_and_alerts_each_at_its_target(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    config = write(config_for(tmp_path, sandbox), routes=ROUTES)
    async with running(config) as bridge:
        await post(
            bridge.url,
            event("a", source="web-1"),
            event("b", source="voice-1"),
            event("c"),
            event("d", source="web-2"),
        )
        await until(lambda: len(incidents(sandbox)) == 3 and len(sandbox.core.events()) == 1)
        await post(bridge.url, event("a", source="web-1", status="acknowledged"))
        await until(lambda: sum("IDENTIFIED" in statuses for _, statuses in incidents(sandbox)) == 1)
        await bridge.logged("delivered", times=5)
        opened = read(rest(sandbox.core, "GET", "/incidents", now=sandbox.now()))
        (number,) = [str(each["id"]) for each in opened if each["summary"] == "a is down"]
        assert await shown(bridge, config, "a") == number
        assert await shown(bridge, config, "c") is None
        await post(bridge.url, event("a", source="web-1", status="resolved"))
        await until(lambda: sum("RESOLVED" in statuses for _, statuses in incidents(sandbox)) == 1)
        assert ("a is down", ["INVESTIGATING", "IDENTIFIED", "RESOLVED"]) in incidents(sandbox)
        await bridge.logged("delivered", times=6)
        assert await shown(bridge, config, "a") is None
        assert [e.key for e in sandbox.core.events()] == ["c"]
        targets = {r["target"] for r in bridge.records if r["event"] == "delivered"}
        assert targets == {"default", "default-incident", "calls"}
        assert API_KEY not in str(bridge.records) + str(bridge.plain)


async def test_killed_between_a_post_and_its_settling_it_opens_no_second_incident(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    config = write(config_for(tmp_path, sandbox), routes=ROUTES)
    held = Fault(kind="hang", seconds=20, applied=True, method="POST", path="/api/incidents", times=1)
    sandbox.core.set_faults(held, now=sandbox.now())
    async with running(config) as bridge:
        await post(bridge.url, event("a", source="web-1"))
        await until(lambda: len(incidents(sandbox)) == 1)
        bridge.signal(signal.SIGKILL)
        await bridge.exit_code()
    async with running(config) as bridge:
        with trio.fail_after(30):
            while not await bridge.metric("mcp_out_success_total"):  # noqa: ASYNC110 - another process's
                await trio.sleep(0.02)
        assert incidents(sandbox) == [("a is down", ["INVESTIGATING"])]
        bridge.signal(signal.SIGKILL)
        await bridge.exit_code()
    async with running(config) as bridge:  # the id was kept with the lane
        before = len(sandbox.core.requests)
        await post(bridge.url, event("a", source="web-1", status="resolved"))
        await bridge.logged("delivered")
        assert incidents(sandbox) == [("a is down", ["INVESTIGATING", "RESOLVED"])]
        since = [f"{r.method} {r.target}" for r in list(sandbox.core.requests)[before:]]
        asked = [each for each in since if "incidents" in each]
        assert asked[:2] == ["GET /api/incidents/1", "PUT /api/incidents/1"]
