"""On systems that lack what Linux has: what works there, and that the rest says so in one line."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcp_ilert.spool import connection, damage

ROOT = Path(__file__).parent.parent
AS_ON_WINDOWS = """
import asyncio, os, signal, socket, subprocess, sys, trio
pair, local = socket.socketpair, socket.AF_UNIX  # there a pair is made of TCP connections
socket.socketpair = lambda: pair(local, socket.SOCK_STREAM)
sys.modules["fcntl"] = None
del signal.SIGHUP, socket.AF_UNIX, os.pread, os.pwrite, os.statvfs, os.fstatvfs
del os.O_CLOEXEC, os.O_DIRECTORY, os.O_NOFOLLOW
from mcp_ilert.cli import main
sys.argv[0] = "mcp-ilert"
main()
"""
"""Takes away what Python for Windows does not have, then runs the command."""


def on_windows(*arguments: str, key: str = "il1api-example") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, *arguments],
        env={"ILERT_WEBHOOK_KEY": key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "bridge.yaml"
    path.write_text(
        f'{{"ilert": {{"webhook_key": "il1api-example"}}, "spool": {{"path": "{tmp_path}/spool.db"}}}}'
    )
    return str(path)


@pytest.mark.parametrize(
    "command",
    [
        ("--version",),
        ("check-config", "examples/mcp-ilert.yaml"),
        ("config-schema",),
        ("openapi",),
        ("map-test", "alertmanager", "tests/payloads/alertmanager.json"),
        ("simulate", "--config", "examples/mcp-ilert.yaml", "examples/traffic.ndjson", "--summary"),
    ],
    ids=lambda command: command[0],
)
def test_commands_that_need_no_spool_work_without_what_windows_lacks(command: tuple[str, ...]) -> None:
    done = on_windows(*[str(ROOT / part) if "/" in part else part for part in command])
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert done.stdout


def test_events_of_a_file_can_be_sent_from_windows_too(tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text('{"mcp_id": "a", "source": "b", "summary": "c"}\n')
    done = on_windows("send", "--url", "http://127.0.0.1:9", str(events))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "drop"])
def test_what_needs_to_own_a_spool_says_in_one_line_that_it_cannot(
    command: str, config: str, tmp_path: Path
) -> None:
    connection.connect(tmp_path / "spool.db").close()
    arguments = {"serve": ("serve",), "drop": ("queue", "drop", "a-key", "--yes")}[command]
    done = on_windows(*arguments, "--config", config)
    assert done.returncode == 1
    assert "Linux and macOS" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_where_a_sync_leaves_the_disks_own_cache_out_the_stronger_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def fcntl(_descriptor: int, command: int) -> int:
        asked.append(command)
        return 0

    monkeypatch.setattr(damage, "fcntl", SimpleNamespace(F_FULLFSYNC=51, fcntl=fcntl))
    damage.sync_folder(tmp_path)
    assert asked == [51]


def test_a_file_system_that_does_not_know_the_stronger_sync_gets_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    synced: list[int] = []

    def refuse(_descriptor: int, _command: int) -> int:
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(damage, "fcntl", SimpleNamespace(F_FULLFSYNC=51, fcntl=refuse))
    monkeypatch.setattr("os.fsync", synced.append)
    damage.sync_folder(tmp_path)
    assert len(synced) == 1
