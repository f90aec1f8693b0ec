"""`mcp-ilert simulate` as it is typed: what it prints, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from mcp_ilert.cli import cli

EXAMPLES = Path(__file__).parent.parent / "examples"
TRAFFIC, QUICK = str(EXAMPLES / "traffic.ndjson"), str(EXAMPLES / "quickstart.yaml")


def simulate(*args):
    return click.testing.CliRunner().invoke(cli, ["simulate", *map(str, args)])


@pytest.fixture
def slow(tmp_path):
    path = tmp_path / "slow.yaml"
    path.write_text("ilert: {api_key: k}\nrate_limit: {per_minute: 5}\n")
    return path


def test_the_program_prints_each_page_and_the_sums():
    done = subprocess.run(
        [sys.executable, "-m", "mcp_ilert", "simulate", "--config", QUICK, TRAFFIC],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].split() == (
        "2026-01-01T00:00:00.200Z critical after 0.2 s 1 event default evt-0001 Disk full".split()  # noqa: SIM905
    )
    assert any(text.startswith("conservation") and text.endswith("holds") for text in lines)
    assert done.stderr == ""


def test_the_examples_scenario_shows_its_outage_its_rejection_and_its_delays():
    report = json.loads(
        simulate("--config", QUICK, "--scenario", EXAMPLES / "scenario.yaml", "--json", TRAFFIC).stdout
    )
    assert report["requests"]["unavailable"] > 0
    assert report["requests"]["rejected"] == 2
    assert report["counts"]["dead"] == 1
    assert report["waits"]["critical"]["worst"] > 60
    assert report["conservation_error"] == 0


def test_options_stand_for_a_scenario_and_outages_are_added():
    args = [
        "--config",
        QUICK,
        "--per-minute",
        2,
        "--latency",
        0,
        "--seed",
        7,
        "--outage",
        "503:from=0,until=10",
    ]
    report = json.loads(simulate(*args, "--json", TRAFFIC).stdout)
    assert report["requests"]["unavailable"] > 0
    assert report["requests"]["throttled"] > 0


def test_against_prints_what_two_rate_limits_change(slow):
    result = simulate("--config", slow, "--against", QUICK, TRAFFIC)
    assert result.exit_code == 0
    assert "worst wait, critical  0.2 s  5.0 s" in result.stdout
    assert "pages are the same" in result.stdout
    assert "+5.0 s" in result.stdout


def test_against_in_json_has_both_reports_and_the_difference(slow):
    found = json.loads(simulate("--config", slow, "--against", QUICK, "--json", TRAFFIC).stdout)
    assert found.keys() == {"old", "new", "difference"}
    old, new = found["difference"]["terms"]["pages"]
    assert (old, new) == (len(found["old"]["pages"]), len(found["new"]["pages"]))


def test_a_summary_has_no_single_pages():
    assert "Disk full" not in simulate("--config", QUICK, "--summary", TRAFFIC).stdout
    assert json.loads(simulate("--config", QUICK, "--summary", "--json", TRAFFIC).stdout)["pages"] == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--config", QUICK, EXAMPLES / "none.ndjson"], "does not exist"),
        (["--config", EXAMPLES / "none.yaml", TRAFFIC], "no such file"),
        (["--config", QUICK, QUICK], "line 1: expected"),
        (["--config", QUICK, "--outage", "fire", TRAFFIC], "--outage"),
        (["--config", QUICK, "--outage", "503:target=x", TRAFFIC], "target x: not in the configuration"),
        (["--config", QUICK, "--scenario", TRAFFIC, TRAFFIC], "must end in"),
        ([TRAFFIC], "--config"),
    ],
)
def test_what_cannot_be_simulated_is_a_line_and_exit_code_2(args, said):
    result = simulate(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_producers_text_cannot_drive_the_terminal(tmp_path):
    path = tmp_path / "t.ndjson"
    hostile = {"mcp_id": "a\u001b[2J", "source": "s", "summary": "x\u0007\n"}
    path.write_text(json.dumps({"at": 0, "event": hostile}) + "\n")
    out = simulate("--config", QUICK, path).stdout
    assert "\u001b" not in out
    assert "\u0007" not in out
