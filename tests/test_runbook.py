"""The runbook leaves nothing out: every metric, every line of /readyz, every alarm. Alarms ring when they must."""

import ast
import inspect
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from mcp_ilert.dispatch import Dispatcher
from mcp_ilert.metrics import Metrics
from mcp_ilert.service import health

ROOT = Path(__file__).parent.parent
RUNBOOK = (ROOT / "docs/operations.md").read_text()
ALARMS = ROOT / "deploy/prometheus"
PROMTOOL = shutil.which("promtool")
SUFFIXES = re.compile(r"_(bucket|count|sum)$")


def section(title: str) -> str:
    return RUNBOOK.split(f"\n## {title}\n")[1].split("\n## ")[0]


def told(text: str) -> set[str]:
    """What a section's tables have in code, in their first column, without labels."""
    first = (line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    return {re.sub(r"\{.*\}", "", name) for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def exported() -> set[str]:
    """The names by which one asks Prometheus for our metrics."""
    metrics = Metrics()
    metrics.use_targets(["default"])
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {SUFFIXES.sub("", sample.name) for family in families for sample in family.samples}


def lines_of(function: Callable[..., Any]) -> Iterator[str]:
    """Every text that a function of /readyz may put into its list; what differs is an ellipsis."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            yield worded(node.args[0])
        elif isinstance(node, ast.List):
            yield from map(worded, node.elts)


def worded(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(worded, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def rules() -> list[dict[str, Any]]:
    loaded = YAML(typ="safe", pure=True).load((ALARMS / "mcp-ilert.rules.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def test_the_runbook_has_every_metric_and_no_other() -> None:
    assert told(section("Every metric")) == exported()


def test_the_runbook_has_every_line_that_readyz_can_say_and_no_other() -> None:
    sources = (health.reasons, health.notes, Dispatcher.notes, Dispatcher.ailments)
    said = {line for source in sources for line in lines_of(source)}
    assert len(said) == 10
    assert told(section("What /readyz says")) == said


def test_the_runbook_has_every_alarm_and_no_other() -> None:
    assert told(section("Alarms")) == {rule["alert"] for rule in rules()}


def test_the_alarms_ask_for_metrics_that_there_are() -> None:
    asked = {name for rule in rules() for name in re.findall(r"\b(?:mcp|process)_\w+", rule["expr"])}
    assert {SUFFIXES.sub("", name) for name in asked} <= exported()


def test_every_alarm_is_tried_where_it_must_ring_and_where_it_must_not() -> None:
    loaded = YAML(typ="safe", pure=True).load((ALARMS / "mcp-ilert.test.yml").read_text())
    tried = [one for case in loaded["tests"] for one in case["alert_rule_test"]]
    for rings in (True, False):
        names = {one["alertname"] for one in tried if bool(one["exp_alerts"]) is rings}
        assert names == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here (Debian: apt install prometheus)")
@pytest.mark.parametrize("arguments", ["check rules mcp-ilert.rules.yml", "test rules mcp-ilert.test.yml"])
def test_the_alarms_are_what_prometheus_takes_them_for(arguments: str) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments.split()], cwd=ALARMS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_within_the_runbook_lead_somewhere() -> None:
    heads = re.findall(r"^#+ (.*)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors
