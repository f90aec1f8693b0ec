"""The unit for systemd: nothing is wrong with it, it is hardened, and it fits what the bridge does."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import write_config
from mcp_ilert.config import load
from mcp_ilert.config.model import Settings

FOLDER = Path(__file__).parents[1] / "deploy/systemd"
UNIT = FOLDER / "mcp-ilert.service"
WORST = 15
"""Tenths, of `systemd-analyze security`: 0 is shut in, 100 open."""


def values() -> dict[str, list[str]]:
    """What the unit sets, in order; a key may be set more than once."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), flags=re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def runnable(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine, and its drop-in beside it."""
    copy = tmp_path / UNIT.name
    copy.write_text(
        re.sub(r"^(Exec\w+=)mcp-ilert", rf"\1{sys.executable}", UNIT.read_text(), flags=re.MULTILINE)
    )
    (tmp_path / f"{UNIT.name}.d").mkdir()
    shutil.copy(FOLDER / "edge.conf", tmp_path / f"{UNIT.name}.d")
    return copy


systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@systemd
def test_systemd_finds_nothing_wrong_with_the_unit(runnable: Path) -> None:
    done = analyze("verify", "--recursive-errors=no", "--man=no", str(runnable))
    assert (done.returncode, done.stderr) == (0, "")


@systemd
def test_the_unit_is_hardened(runnable: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={WORST}", str(runnable))
    assert done.returncode == 0, done.stdout


def test_the_unit_waits_for_what_the_bridge_takes() -> None:
    found, defaults = values(), Settings()
    ending = defaults.delivery.shutdown_grace_seconds + defaults.listen.drain_seconds
    assert int(found["TimeoutStopSec"][0]) > ending + 5
    assert int(found["LimitNOFILE"][0]) > defaults.listen.max_connections + 1000
    assert (found["Type"], found["Restart"]) == (["notify"], ["on-failure"])
    assert int(found["WatchdogSec"][0]) >= 30  # a commit on slow flash in a storm is no hang


def test_the_configuration_is_looked_at_before_the_start() -> None:
    found = values()
    check, (run,) = "mcp-ilert check-config /etc/mcp-ilert/mcp-ilert.yaml", found["ExecStart"]
    assert run == "mcp-ilert --config /etc/mcp-ilert/mcp-ilert.yaml"
    assert (found["ExecStartPre"], found["ExecReload"]) == ([check], ["kill -HUP $MAINPID"])


@pytest.mark.parametrize("folder", ["${CREDENTIALS_DIRECTORY}", "as it is"])
def test_a_credential_is_found_where_the_unit_says(tmp_path: Path, folder: str) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "webhook_key").write_text("key-from-systemd\n")
    named = folder if folder.startswith("$") else str(credentials)
    config = write_config(tmp_path, "http://127.0.0.1:9", ilert={"webhook_key_file": f"{named}/webhook_key"})
    config.write_text(config.read_text().replace('"webhook_key": "sandbox-key", ', ""))
    settings = load(config, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert settings.ilert.webhook_key.reveal() == "key-from-systemd"
