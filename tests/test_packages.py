"""What goes into packages and images: manual pages, completions, the first configuration, the health check."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trio

from bridge import running, write_config
from mcp_ilert.cli import cli
from mcp_ilert.config import Settings, load
from mcp_ilert.errors import ConfigError
from test_docs import NESTED_NOT_LISTED, keys

ROOT = Path(__file__).parents[1]
BUILD = (ROOT / "deploy/deb/build.sh").read_text()
DOCKERFILE = (ROOT / "Dockerfile.multiarch").read_text()


@pytest.fixture(scope="module")
def manuals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manuals")
    runpy.run_path(str(ROOT / "deploy/manuals.py"))["main"](folder)
    return folder


def words(page: Path) -> str:
    """The page as it reads, near enough."""
    return page.read_text().replace("\\-", "-").replace("\\&", "").replace("\\(dq", '"')


def commands(group: click.Group, names: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{names} {name}")
        elif not command.hidden:
            yield f"{names} {name}", command


def test_the_manual_names_every_command_and_option(manuals: Path) -> None:
    page = words(manuals / "mcp-ilert.1")
    for names, command in commands(cli, "mcp-ilert"):
        part = page.split(f'.SS "{names} ')[1].split(".SS")[0]
        options = [option for p in command.params if isinstance(p, click.Option) for option in p.opts]
        assert [option for option in options if option not in part] == [], names


def test_the_manual_names_every_key_of_the_configuration_and_no_other(manuals: Path) -> None:
    page = words(manuals / "mcp-ilert.yaml.5").split(".SH KEYS")[1].split(".SH EXAMPLE")[0]
    told = re.findall(r"^\.TP\n\.B (\S+)\n(.+)$", page, flags=re.MULTILINE)
    beyond = tuple(f"{path}." for path in NESTED_NOT_LISTED)
    assert [key for key, _ in told if not key.startswith(beyond)] == [path for path, _ in keys(Settings)]
    assert [key for key, text in told if not text.strip()] == []


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
@pytest.mark.parametrize("name", ["mcp-ilert.1", "mcp-ilert.yaml.5"])
def test_groff_finds_nothing_wrong_with_the_manual(manuals: Path, name: str) -> None:
    command = ["groff", "-man", "-Tutf8", "-wall", "-z", str(manuals / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", "mcp-ilert.bash"), ("zsh", "_mcp-ilert"), ("fish", "mcp-ilert.fish")]
)
def test_each_shell_can_read_its_completion(manuals: Path, shell: str, name: str) -> None:
    assert "_MCP_ILERT_COMPLETE" in (manuals / name).read_text()
    if shutil.which(shell):
        assert subprocess.run([shell, "-n", str(manuals / name)], check=False, timeout=60).returncode == 0


def test_the_completion_knows_the_commands() -> None:
    environ = os.environ | {
        "_MCP_ILERT_COMPLETE": "bash_complete",
        "COMP_WORDS": "mcp-ilert queue re",
        "COMP_CWORD": "2",
    }
    program = "from mcp_ilert.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["plain,replay", "plain,resume"]


def test_the_package_depends_on_the_pythons_that_it_serves() -> None:
    served = [tuple(map(int, found.split("."))) for found in re.findall(r"--python (3\.\d+)", BUILD)]
    control = (ROOT / "deploy/deb/control.in").read_text()
    least, beyond = re.findall(r"python3 \((?:>=|<<) 3\.(\d+)~?\)", control)
    assert served == [(3, minor) for minor in range(int(least), int(beyond))]


def test_the_first_configuration_lacks_a_key_and_nothing_else(tmp_path: Path) -> None:
    first = (ROOT / "deploy/deb/mcp-ilert.yaml").read_text()
    config = tmp_path / "mcp-ilert.yaml"
    config.write_text(first)
    with pytest.raises(ConfigError) as caught:
        load(config, {})
    assert len(caught.value.problems) == 1
    assert "webhook_key" in caught.value.problems[0]
    config.write_text(first.replace('webhook_key: ""', "webhook_key: some-key"))
    assert load(config, {}).listen.address == "127.0.0.1"


def test_the_image_is_made_of_copies_and_needs_no_shell() -> None:
    steps = re.findall(r"^([A-Z]+) +(.*)$", DOCKERFILE, flags=re.MULTILINE)
    assert [step for step in steps if step[0] in {"RUN", "ADD", "SHELL"}] == []
    for name, value in steps:
        if name in {"ENTRYPOINT", "CMD"}:
            assert value.startswith("["), value
    assert 'CMD ["/opt/mcp-ilert/bin/health"]' in DOCKERFILE
    assert ("USER", "65532:65532") in steps


async def health(url: str) -> int:
    command = [sys.executable, "-IS", str(ROOT / "deploy/image/health")]
    done = await trio.run_process(
        command, env={"MCP_ILERT_HEALTH_URL": url}, check=False, capture_stdout=True, capture_stderr=True
    )
    return done.returncode


async def test_the_health_check_knows_a_bridge_that_lives(tmp_path: Path) -> None:
    async with running(write_config(tmp_path, "http://127.0.0.1:9")) as bridge:
        assert await health(f"{bridge.metrics_url}/healthz") == 0
        assert await health(f"{bridge.metrics_url}/nothing") == 1
        gone = f"{bridge.metrics_url}/healthz"
    assert await health(gone) == 1
