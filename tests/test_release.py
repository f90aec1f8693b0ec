"""A tag becomes a release only where everything that shows the version agrees; and the workflows keep their rules."""

import re
import sys

import pytest
from ruamel.yaml import YAML

from charts import ROOT

sys.path += [str(ROOT / "deploy/release"), str(ROOT / "deploy/helm")]
import derive
import release
import sbom

CHART = "name: mcp-ilert\nversion: 1.2.3\nappVersion: 1.2.3\n"
CHANGELOG = """# Changelog

## [Unreleased]

- Something later.

## [1.2.3] - 2026-02-03

### Added

- A thing.

## [1.2.2] - 2026-01-01

- Another.
"""
WORKFLOWS = sorted((ROOT / ".github").rglob("*.yml"))


def test_a_tag_that_agrees_with_all_is_released_with_its_own_notes() -> None:
    assert release.problems("v1.2.3", "1.2.3", CHART, CHANGELOG) == []
    assert release.notes(CHANGELOG, "1.2.3") == "### Added\n\n- A thing."


def test_a_release_candidate_is_a_version() -> None:
    chart, changelog = CHART.replace("1.2.3", "1.2.3rc1"), CHANGELOG.replace("1.2.3", "1.2.3rc1")
    assert release.problems("v1.2.3rc1", "1.2.3rc1", chart, changelog) == []


@pytest.mark.parametrize(
    ("tag", "version", "chart", "changelog", "word"),
    [
        ("v1.2.4", "1.2.3", CHART, CHANGELOG, "tag v1.2.3"),
        ("1.2.3", "1.2.3", CHART, CHANGELOG, "tag v1.2.3"),
        (
            "v1.2",
            "1.2",
            CHART.replace("1.2.3", "1.2"),
            CHANGELOG.replace("1.2.3", "1.2"),
            "MAJOR.MINOR.PATCH",
        ),
        ("v1.2.3", "1.2.3", CHART.replace("appVersion: 1.2.3", "appVersion: 1.2.2"), CHANGELOG, "appVersion"),
        ("v1.2.3", "1.2.3", CHART, CHANGELOG.replace("[1.2.3] - 2026-02-03", "[1.2.3]"), "CHANGELOG.md"),
        (
            "v1.2.3",
            "1.2.3",
            CHART,
            "# Changelog\n\n## [1.2.3] - 2026-02-03\n\n## [1.2.2] - 2026-01-01\n",
            "CHANGELOG",
        ),
    ],
)
def test_what_keeps_a_tag_from_being_released_is_one_line_that_says_what_to_do(
    tag: str, version: str, chart: str, changelog: str, word: str
) -> None:
    (problem,) = release.problems(tag, version, chart, changelog)
    assert word in problem


def test_the_command_tells_the_version_that_pyproject_has() -> None:
    from importlib.metadata import version

    assert version("mcp-ilert") == derive.version((ROOT / "pyproject.toml").read_text())


def test_every_action_of_the_workflows_is_pinned_by_its_commit() -> None:
    used = [
        line for path in WORKFLOWS for line in path.read_text().splitlines() if re.search(r"\buses: ", line)
    ]
    assert used
    ours = "uses: ./.github/"
    pinned = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+){0,2}$")
    assert [line for line in used if ours not in line and not pinned.search(line)] == []


def test_no_workflow_may_do_more_than_read_unless_a_job_says_so() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        loaded = YAML(typ="safe", pure=True).load(path.read_text())
        assert loaded["permissions"] == {"contents": "read"}, path.name
        for name, job in loaded["jobs"].items():
            assert "timeout-minutes" in job, f"{path.name}: {name}"
            for step in job["steps"]:
                if "actions/checkout@" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False, f"{path.name}: {name}"


def test_the_workflows_ask_for_goals_that_there_are() -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked: list[str] = []
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for job in YAML(typ="safe", pure=True).load(path.read_text())["jobs"].values():
            asked += job.get("strategy", {}).get("matrix", {}).get("goal", [])
            for line in "\n".join(step.get("run", "") for step in job["steps"]).splitlines():
                asked += re.findall(r"(?:^|&& )make (.*)", line)
    words = {word for line in asked for word in re.sub(r'-C \w+|\S+="[^"]*"|\S+=\S+', "", line).split()}
    assert {"lint", "test", "wheels", "soak", "chart-test"} <= words
    assert words - {"$" + "{{", "matrix.goal", "}}", ".venv/.built.stamp"} <= goals


def test_the_bill_of_materials_names_the_libnghttp2_that_the_wheels_hold() -> None:
    source = (ROOT / "wheels/nghttp2_source.sh").read_text()
    assert f"version={sbom.NGHTTP2}\n" in source
    patches = {
        path.stem.removeprefix("nghttp2-") for path in (ROOT / "wheels/patches").glob("nghttp2-*.patch")
    }
    assert patches == set(sbom.NGHTTP2_PATCHED)
