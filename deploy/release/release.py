"""Whether a tag may become a release: python deploy/release/release.py v1.2.3 [--notes FILE].

The version stands in pyproject.toml alone; what else shows it is made from that. 0: all agree, and the changelog's
section of the version goes to FILE; 1 with a line for each thing that does not.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)\d+)?")
"""Semantic versions as Python packages write them: 1.2.3, and 1.2.3rc1 before it."""


def notes(changelog: str, version: str) -> str:
    """What the changelog says of a version; empty where it has no dated section of it."""
    found = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## \[|\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    return found[1].strip() if found else ""


def problems(tag: str, version: str, chart: str, changelog: str) -> list[str]:
    """What keeps the tag from being released, a line each."""
    found = []
    if not SEMANTIC.fullmatch(version):
        found.append(
            f"pyproject.toml: version is {version}, expected MAJOR.MINOR.PATCH, or that and a1, b1, rc1"
        )
    if tag != f"v{version}":
        found.append(
            f"the tag is {tag} and pyproject.toml says {version}: tag v{version}, or change the version first"
        )
    found += [
        f"deploy/helm/mcp-ilert/Chart.yaml: {key} is not {version}: make manifests"
        for key in ("version", "appVersion")
        if f"\n{key}: {version}\n" not in chart
    ]
    if not notes(changelog, version):
        found.append(
            f"CHANGELOG.md: no section '## [{version}] - YYYY-MM-DD' that says anything: move Unreleased there"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag")
    parser.add_argument("--notes", type=Path)
    options = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    chart = (ROOT / "deploy/helm/mcp-ilert/Chart.yaml").read_text()
    found = problems(options.tag, version, chart, changelog)
    if found:
        sys.exit("\n".join(found))
    if options.notes is not None:
        options.notes.write_text(notes(changelog, version) + "\n")


if __name__ == "__main__":
    main()
