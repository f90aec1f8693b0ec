"""A small file system runs full under the real process: events are refused, deliveries go on, and all comes back."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from bridge import Bridge, event, running, write_config
from mcp_ilert.sandbox import Fault, Limits, Options, SandboxIlert
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox
from mcp_ilert.spool.view import SpoolView

UNLIMITED = Options(limits=Limits(integration_key=None, ip=None))
MIB = 1 << 20
KEPT = 24 * MIB
"""Enough for the log (8 MiB and a transaction), and for what of it the file has no place for yet."""
FAST: dict[str, Any] = {
    "rate_limit": {"per_minute": 100_000, "burst": 10_000},
    "retries": {"base_interval_seconds": 0.1, "max_interval_seconds": 0.5, "max_attempts": 10_000},
    "delivery": {"dedupe_seconds": 1},
}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 34 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system takes root, and mount")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=34m", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


class World:
    """The bridge on the small disk, and its producer."""

    def __init__(self, bridge: Bridge, sandbox: SandboxServer, client: httpx.AsyncClient) -> None:
        self.bridge = bridge
        self.sandbox = sandbox
        self.client = client
        self.taken: set[str] = set()

    async def post(self, key: str) -> int:
        keys = {f"{key}-{i}" for i in range(10)}
        body = [event(key, details="x" * 50_000) for key in keys]
        answer = await self.client.post(f"{self.bridge.url}/events", json=body)
        if answer.status_code == 202:
            self.taken |= keys
        else:
            assert "disk" in answer.text
        return answer.status_code

    async def post_until(self, status: int, prefix: str) -> None:
        number = 0
        with trio.fail_after(60):
            while await self.post(f"{prefix}{number}") != status:
                number += 1
                await trio.sleep(0.01)

    def arrived(self) -> set[str | None]:
        return {r.key for r in self.sandbox.core.events() if r.status == 202}

    async def all_arrive(self) -> None:
        with trio.fail_after(60):
            while not self.taken <= self.arrived() or await self.bridge.metric("mcp_spool_pending"):  # noqa: ASYNC110
                await trio.sleep(0.05)


def free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def fill(folder: Path, leave: int) -> Path:
    """Somebody else's file takes the room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):  # the spool takes of it at the same time
        while (room := free(folder) - leave) > 0:
            file.write(bytes(min(65_536, room)))
    return ballast


async def in_world(small: Path, tmp_path: Path, act: Any, **spool: Any) -> None:
    async with (
        open_sandbox(SandboxIlert(UNLIMITED)) as sandbox,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        path = str(small / "spool.db")
        config = write_config(tmp_path, sandbox.url, spool={"path": path, **spool}, **FAST)
        async with running(config) as bridge:
            await act(World(bridge, sandbox, client))
        with SpoolView(small / "spool.db") as view:
            assert view.audit().error == 0


async def test_below_min_free_bytes_deliveries_go_on_and_accepting_resumes_by_itself(
    small: Path, tmp_path: Path
) -> None:
    async def act(world: World) -> None:
        slow = Fault(kind="hang", seconds=1, applied=True, times=4)
        world.sandbox.core.set_faults(slow, now=world.sandbox.now())
        for i in range(3):  # some in flight, some waiting
            assert await world.post(f"before{i}") == 202
        ballast = fill(small, KEPT - MIB)
        await world.post_until(503, "refused")
        await world.all_arrive()
        ballast.unlink()
        assert await world.post("after") == 202
        await world.all_arrive()

    await in_world(small, tmp_path, act, min_free_bytes=KEPT)


async def test_a_disk_filled_by_the_spool_itself_is_free_again_once_all_is_delivered(
    small: Path, tmp_path: Path
) -> None:
    async def act(world: World) -> None:
        world.sandbox.core.set_faults(Fault(kind="status", status=503), now=world.sandbox.now())
        await world.post_until(503, "waiting")
        assert len(world.taken) > 50
        world.sandbox.core.clear_faults()
        await world.all_arrive()
        await world.post_until(202, "after")

    await in_world(small, tmp_path, act, min_free_bytes=KEPT)


async def test_a_disk_without_any_room_loses_nothing_and_the_bridge_goes_on_when_it_returns(
    small: Path, tmp_path: Path
) -> None:
    async def act(world: World) -> None:
        assert await world.post("before") == 202
        ballast = fill(small, 0)
        await world.post_until(503, "refused")
        ballast.unlink()
        await world.post_until(202, "after")
        await world.all_arrive()

    await in_world(small, tmp_path, act, min_free_bytes=0)
