"""The heartbeat: a ping a minute while the bridge accepts and delivers, and none while it is ill."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog.testing
import trio
from trio.testing import MockClock

from mcp_ilert import config
from mcp_ilert.config import Secret, Settings
from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import Severity
from mcp_ilert.sandbox import HEARTBEAT_KEY, INTEGRATION_KEY, Fault, SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.service import open_service
from mcp_ilert.service.heartbeat import Heartbeat, ailments

URL = "http://127.0.0.1:9/api/pings/planted-secret"


class Monitor:
    """iLert's side: when it was pinged."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(202)
        self.wrong: list[str] = []
        self.url = URL
        self.beaten: list[str | None] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("GET", self.url)
        assert "authorization" not in request.headers
        self.at.append(trio.current_time())
        return self.answer()

    async def look(self) -> list[str]:
        return self.wrong

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        beat = Heartbeat(
            lambda: Secret(self.url),
            self.look,
            lambda: 10,
            self.beaten.append,
            transport=httpx.MockTransport(self.handle),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat.run)
            yield
            nursery.cancel_scope.cancel()


async def test_it_pings_at_once_and_each_minute(autojump_clock: MockClock) -> None:
    monitor = Monitor()
    async with monitor.beating():
        await trio.sleep(200)
    assert monitor.at == [0, 60, 120, 180]


async def test_it_pings_not_while_the_bridge_is_ill_and_says_so_once(autojump_clock: MockClock) -> None:
    monitor = Monitor()
    with structlog.testing.capture_logs() as logs:
        async with monitor.beating():
            await trio.sleep(70)
            monitor.wrong = ["key parked"]
            await trio.sleep(150)
            monitor.wrong = []
            await trio.sleep(100)
    assert monitor.at == [0, 60, 240, 300]
    assert monitor.beaten == [None, None, "withheld", "withheld", None, None]
    assert [(r["event"].partition(",")[0], r.get("reason")) for r in logs] == [
        ("heartbeat withheld", "key parked"),
        ("heartbeat sent again", None),
    ]


@pytest.mark.parametrize("broken", ["refused", "404"])
async def test_a_ping_that_fails_is_told_without_the_url_and_the_next_is_sent(
    autojump_clock: MockClock, broken: str
) -> None:
    monitor = Monitor()

    def fail() -> httpx.Response:
        if broken == "404":
            return httpx.Response(404)
        raise httpx.ConnectError(f"cannot reach {URL}")

    monitor.answer = fail
    with structlog.testing.capture_logs() as logs:
        async with monitor.beating():
            await trio.sleep(70)
            monitor.answer = lambda: httpx.Response(202)
            await trio.sleep(60)
    assert monitor.at == [0, 60, 120]
    failed = "refused" if broken == "404" else "unavailable"
    assert monitor.beaten == [failed, failed, None]
    assert len(logs) == 2
    assert "planted-secret" not in str(logs)


async def test_without_a_url_nothing_is_pinged_until_a_reload_gives_one(autojump_clock: MockClock) -> None:
    monitor = Monitor()
    monitor.url = ""
    async with monitor.beating():
        await trio.sleep(100)
        monitor.url = URL
        await trio.sleep(100)
    assert monitor.at == [120, 180]


class Ill:
    """A bridge that is asked."""

    def __init__(self, *lines: str, oldest: Mapping[Severity, float] | None = None) -> None:
        self.lines = lines
        self.ages = oldest or {}

    async def ailments(self) -> Sequence[str]:
        return self.lines

    def oldest(self) -> Mapping[Severity, float]:
        return self.ages


async def test_what_makes_the_bridge_ill() -> None:
    assert await ailments(Ill()) == []
    assert await ailments(Ill("the disk is full")) == ["the disk is full"]
    fresh = {Severity.CRITICAL: 299.0, Severity.LOW: 9_000.0}
    assert await ailments(Ill(oldest=fresh)) == []
    (line,) = await ailments(Ill(oldest={Severity.CRITICAL: 301.0}))
    assert "critical event waits for 301 s" in line


async def test_a_spool_that_fails_or_hangs_makes_it_ill(autojump_clock: MockClock) -> None:
    class Failing(Ill):
        async def ailments(self) -> Sequence[str]:
            raise UnavailableError("disk full")

    class Hanging(Ill):
        async def ailments(self) -> Sequence[str]:
            await trio.sleep(3_600)
            return ()

    assert await ailments(Failing()) == ["disk full"]
    assert "did not answer" in (await ailments(Hanging()))[0]


async def until(condition: Any) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - another task's sockets
            await trio.sleep(0.01)


async def test_a_running_bridge_pings_and_is_ill_while_its_key_is_refused(tmp_path: Path) -> None:
    core = SandboxIlert()
    async with open_sandbox(core) as sandbox:
        settings = Settings(
            listen=config.Listen(address="127.0.0.1", port=0),
            ilert=config.Ilert(
                api_url=sandbox.url,
                webhook_key=Secret(INTEGRATION_KEY),
                heartbeat_url=Secret(f"{sandbox.url}/api/pings/{HEARTBEAT_KEY}"),
            ),
            delivery=config.DeliverySettings(shutdown_grace_seconds=0),
            spool=config.SpoolSettings(path=str(tmp_path / "spool.db")),
            metrics=config.MetricsSettings(enabled=False),
        )
        async with open_service(settings) as service, httpx.AsyncClient(trust_env=False) as client:
            await until(lambda: any("/pings/" in r.target and r.status == 202 for r in core.requests))
            assert await ailments(service) == []
            core.set_faults(Fault(kind="status", status=401), now=sandbox.now())
            event = {"mcp_id": "a", "source": "s", "summary": "x"}
            assert (await client.post(f"{service.url}/events", json=event)).status_code == 202
            await until(lambda: service.readiness()[1])
            (line,) = await ailments(service)
            assert "refuses the integration key" in line
        full = msgspec.structs.replace(
            settings, spool=config.SpoolSettings(path=str(tmp_path / "full.db"), min_free_bytes=1 << 60)
        )
        async with open_service(full) as service:
            (line,) = await ailments(service)
            assert "min_free_bytes" in line
