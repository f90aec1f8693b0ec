"""A bridge as a process of its own, beside a sandbox iLert in the test's process."""

import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

START_SECONDS = 30.0
PROGRAM = ("-m", "mcp_ilert")


class Bridge:
    """A running `mcp-ilert serve` and what it has logged so far."""

    def __init__(self, process: trio.Process, config: Path) -> None:
        self.process = process
        self.config = config
        self.records: list[dict[str, Any]] = []
        self.plain: list[str] = []
        """Lines on stderr that are no JSON."""
        self._news = trio.Event()

    def add(self, line: str) -> None:
        try:
            self.records.append(json.loads(line))
        except ValueError:
            self.plain.append(line)
        self._news.set()
        self._news = trio.Event()

    async def logged(self, event: str, *, times: int = 1) -> dict[str, Any]:
        """The record of this event, waited for."""
        with trio.fail_after(START_SECONDS):
            while len(found := [r for r in self.records if r["event"] == event]) < times:
                await self._news.wait()
        return found[times - 1]

    @property
    def url(self) -> str:
        return str(next(r for r in self.records if r["event"] == "started")["url"])

    @property
    def metrics_url(self) -> str:
        return str(next(r for r in self.records if r["event"] == "started")["metrics"])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        with trio.fail_after(START_SECONDS):
            return await self.process.wait()

    async def metric(self, name: str) -> float:
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"{self.metrics_url}/metrics")).text
        line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        return float(line.split()[-1])


def write_config(folder: Path, ilert_url: str, **sections: Any) -> Path:
    """A configuration on loopback and free ports; JSON is YAML."""
    settings: dict[str, Any] = {
        "listen": {"address": "127.0.0.1", "port": 0},
        "ilert": {"api_url": ilert_url, "webhook_key": "sandbox-key"},
        "spool": {"path": str(folder / "spool.db")},
        "metrics": {"listen_address": "127.0.0.1", "listen_port": 0},
    }
    for name, keys in sections.items():
        settings[name] = settings.get(name, {}) | keys if isinstance(keys, dict) else keys
    path = folder / "config.yaml"
    path.write_text(json.dumps(settings))
    return path


@asynccontextmanager
async def running(
    config: Path, *, args: Iterable[str] = ("serve",), program: Sequence[str] = PROGRAM
) -> AsyncIterator[Bridge]:
    """Start the bridge and wait until it has; killed at the end if it is still there."""
    async with spawned([*args, "--config", str(config)], program=program) as bridge:
        with trio.fail_after(START_SECONDS):
            started = partial(bridge.logged, "started")
            await _first(bridge.process, started)
        yield bridge


@asynccontextmanager
async def spawned(
    args: list[str], config: Path = Path(), program: Sequence[str] = PROGRAM
) -> AsyncIterator[Bridge]:
    """Start the program, whatever comes of it."""
    command = [sys.executable, *program, *args]
    async with trio.open_nursery() as nursery:
        start = partial(trio.lowlevel.open_process, command, stderr=-1, stdout=-3, stdin=-3)
        process = await start()
        bridge = Bridge(process, config)
        nursery.start_soon(_read, process, bridge)
        try:
            yield bridge
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


async def _read(process: trio.Process, bridge: Bridge) -> None:
    assert process.stderr is not None
    unread = b""
    async for chunk in process.stderr:
        *lines, unread = (unread + chunk).split(b"\n")
        for line in lines:
            bridge.add(line.decode())


async def _first(process: trio.Process, started: Any) -> None:
    """Wait for the start, or fail at once where the process ends instead."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await process.wait()
            raise AssertionError(f"the bridge ended with {process.returncode} before it had started")

        nursery.start_soon(watch)
        await started()
        nursery.cancel_scope.cancel()


async def post_raw(stream: trio.SocketStream, body: bytes) -> tuple[int, Any]:
    """A request without a library in between, which a cut connection would leave in pieces."""
    head = f"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    await stream.send_all(head.encode() + body)
    answer = b""
    while True:
        chunk = await stream.receive_some(65536)
        if not chunk:
            raise EOFError
        answer += chunk
        found, end, text = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", found, re.IGNORECASE)
        if end and length is not None and len(text) == int(length[1]):
            return int(found.split()[1]), json.loads(text)


def event(mcp_id: str, **fields: Any) -> dict[str, Any]:
    return {"mcp_id": mcp_id, "source": "probe-1", "summary": f"{mcp_id} is down", **fields}


async def until(condition: Any, seconds: float = START_SECONDS) -> None:
    """Wait for something that another process or thread does; the time is a bound, not a verdict."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - nothing there could set an event
            await trio.sleep(0.01)
