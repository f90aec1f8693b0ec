"""The program as such: version, help, errors."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from mcp_ilert import __version__
from mcp_ilert.cli import cli
from mcp_ilert.cli.common import Readable
from mcp_ilert.cli.tables import clean, span
from mcp_ilert.errors import ConfigError, StartError

HEAVY = ("trio", "httpx", "hypercorn", "quart", "rich", "prometheus_client")
QUICK = f"""
import sys
from mcp_ilert.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["queue", "--help"], ["send", "--help"]])
def test_what_only_tells_loads_nothing_heavy(args: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", QUICK, *args], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"mcp-ilert {__version__}\n"


def test_without_a_command_the_help_is_shown() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_every_command_of_this_version_is_there() -> None:
    wanted = {
        "serve",
        "demo",
        "check-config",
        "config-schema",
        "send",
        "queue",
        "audit",
        "sandbox",
        "openapi",
    }
    assert wanted <= set(cli.commands)


def test_a_config_before_a_command_is_explained() -> None:
    result = CliRunner().invoke(cli, ["--config", "c.yaml", "audit"])
    assert result.exit_code == 2
    assert "mcp-ilert audit --config c.yaml" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (ConfigError(["a: wrong", "b: wrong"]), 2, ["mcp-ilert: a: wrong", "mcp-ilert: b: wrong"]),
        (StartError("listen.port: taken"), 1, ["mcp-ilert: listen.port: taken"]),
    ],
)
def test_an_error_of_ours_is_lines_and_a_code(error: Exception, code: int, lines: list[str]) -> None:
    result = CliRunner().invoke(_failing(error), ["fail"])
    assert (result.exit_code, result.stderr.splitlines()) == (code, lines)


def test_a_mistake_of_ours_is_one_line_that_says_where() -> None:
    result = CliRunner().invoke(_failing(ZeroDivisionError("by\nzero")), ["fail"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("mcp-ilert: this is a mistake in mcp-ilert: ZeroDivisionError: by zero at ")


def test_a_machine_without_memory_is_no_mistake_of_ours() -> None:
    result = CliRunner().invoke(_failing(MemoryError()), ["fail"])
    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        [
            "mcp-ilert: out of memory: give the process more (ulimit -v, MemoryMax=, the limit of the container)"
        ],
    )


def _failing(error: Exception) -> click.Group:
    @click.group(cls=Readable)
    def group() -> None:
        pass

    @group.command()
    def fail() -> None:
        raise error

    return group


def test_a_reader_that_goes_away_is_no_failure_with_a_traceback() -> None:
    command = f"{sys.executable} -m mcp_ilert send --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (-5, "0 s"),
        (3_999, "3 s"),
        (119_000, "119 s"),
        (720_000, "12 min"),
        (18_000_000, "5 h"),
        (3 * 86_400_000, "3 d"),
    ],
)
def test_spans_are_told_as_people_do(milliseconds: int, words: str) -> None:
    assert span(milliseconds) == words


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert clean("a\x1b[31m\u2028ü") == "a\\x1b[31m\\u2028ü"
