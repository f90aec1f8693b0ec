"""What the service manager (systemd) is told: ready, reloading, stopping, and that the bridge lives."""

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog.testing
import trio
import trio.testing

from bridge import running, until, write_config
from mcp_ilert.config import load as load_config
from mcp_ilert.errors import UnavailableError
from mcp_ilert.service import open_service
from mcp_ilert.service.manager import Manager
from mcp_ilert.spool.job import Job

NOWHERE = "http://127.0.0.1:9"


class Heard:
    """The manager's end of its socket."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self.address = address

    async def next(self) -> dict[str, str]:
        with trio.fail_after(30):
            lines = (await self._sock.recv(65_536)).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def all(self) -> list[dict[str, str]]:
        """What has come so far."""
        found: list[dict[str, str]] = []
        while True:
            try:
                raw = self._sock._sock.recv(65_536)  # type: ignore[attr-defined]  # does not wait
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in raw.decode().split("\n")))


@contextmanager
def listening(address: str) -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        yield Heard(sock, address)


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heard]:
    abstract = f"@mcp-ilert-test-{os.getpid()}-{time.monotonic_ns()}"
    with listening(str(tmp_path / "notify") if request.param == "path" else abstract) as found:
        yield found


async def test_the_manager_hears_of_start_reload_and_end(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", heard.address)
    config = write_config(tmp_path, NOWHERE)
    async with running(config) as bridge:
        ready = await heard.next()
        assert ready == {"READY": "1", "STATUS": f"accepting events at {bridge.url}"}

        before = time.monotonic_ns() // 1000
        bridge.signal(signal.SIGHUP)
        reloading = await heard.next()
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) >= before  # systemd: not one that was under way before
        assert await heard.next() == ready

        config.write_text("nonsense: true")
        bridge.signal(signal.SIGHUP)
        assert (await heard.next())["RELOADING"] == "1"
        assert "reload refused" in (await heard.next())["STATUS"]

        bridge.signal(signal.SIGTERM)
        assert (await heard.next())["STOPPING"] == "1"
        assert await bridge.exit_code() == 0
    assert heard.all() == []


async def at_rest(pid: int) -> None:
    """Wait until none of its threads ran at three looks: faulthandler may not survive the stack of one that runs."""
    calm = 0

    def look() -> bool:
        nonlocal calm
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        calm = calm + 1 if all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats) else 0
        return calm == 3

    await until(look)


async def test_what_the_watchdog_ends_says_where_it_hung(tmp_path: Path) -> None:
    async with running(write_config(tmp_path, NOWHERE)) as bridge:
        resource.prlimit(bridge.process.pid, resource.RLIMIT_CORE, (0, 0))
        await at_rest(bridge.process.pid)
        bridge.signal(signal.SIGABRT)
        assert await bridge.exit_code() == -signal.SIGABRT
        await until(lambda: any("runners.py" in line for line in bridge.plain))  # the writer waits
    assert bridge.plain[0] == "Fatal Python error: Aborted"


async def test_a_manager_that_is_gone_or_does_not_read_stops_nothing(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        Manager(str(tmp_path / "nobody")).ready("well")
        Manager("vsock:2:1234").ready("well")
        with listening(str(tmp_path / "full")) as heard:
            for _ in range(10_000):  # more than a socket holds
                Manager(heard.address).ready("well")
                if len(logs) > 2:
                    break
            assert 0 < len(heard.all()) < 10_000
    assert [line["told"] for line in logs] == ["READY=1"] * 3
    Manager().stopping()  # without one nothing is told


async def pinged_at(heard: Heard, manager: Manager, alive: object, seconds: float) -> list[float]:
    """When the watchdog was pinged within so many seconds of virtual time."""
    at: list[float] = []

    async def look() -> None:
        await alive()  # type: ignore[operator]
        at.append(trio.current_time() - start)

    start = trio.current_time()
    with trio.move_on_after(seconds):
        await manager.watch(look)
    assert heard.all() == [{"WATCHDOG": "1"}] * len(at)
    return at


async def test_the_watchdog_is_pinged_twice_in_its_time(
    heard: Heard, autojump_clock: trio.testing.MockClock
) -> None:
    environ = {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}
    assert await pinged_at(heard, Manager.of(environ, 7), trio.lowlevel.checkpoint, 100) == [0, 30, 60, 90]


async def test_a_bridge_that_does_not_answer_pings_no_watchdog(
    heard: Heard, autojump_clock: trio.testing.MockClock
) -> None:
    answers = iter([trio.lowlevel.checkpoint, trio.sleep_forever])

    async def alive() -> None:
        await next(answers)()

    assert await pinged_at(heard, Manager(heard.address, 60), alive, 3600) == [0]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"},  # it waits for another process
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
    ],
)
async def test_nobody_waits_for_pings(
    heard: Heard, environ: dict[str, str], autojump_clock: trio.testing.MockClock
) -> None:
    manager = Manager.of({"NOTIFY_SOCKET": heard.address} | environ, 7)
    assert await pinged_at(heard, manager, trio.lowlevel.checkpoint, 3600) == []


async def test_the_bridge_is_alive_while_the_writer_answers(tmp_path: Path) -> None:
    """A writer that hangs, as on a disk that does; then one that refuses, as on a full one."""
    hang, answered = threading.Event(), trio.Event()
    settings = load_config(write_config(tmp_path, NOWHERE), {})

    async with open_service(settings) as service, trio.open_nursery() as nursery:
        service.spool._submit(Job(lambda _: None, work=lambda _engine: hang.wait(60)))

        async def ask() -> None:
            await service.alive()
            answered.set()

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert not answered.is_set()
        hang.set()
        with trio.fail_after(30):
            await answered.wait()

        async def refuse(*_args: object) -> None:
            raise UnavailableError("the spool's disk is full")

        service.spool.settle = refuse  # type: ignore[method-assign,assignment]
        await service.alive()
