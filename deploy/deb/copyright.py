"""Prints the package's copyright file: ours, and of each Python package in it by what licence it comes.

python deploy/deb/copyright.py SITE
"""

import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

LICENSE = Path(__file__).parents[2] / "LICENSE"
WITHIN = """\
Compiled into these: libnghttp2 (MIT) into mcp_ilert, SQLite (public domain) into apsw, Zstandard (BSD-3-Clause) into
backports.zstd. The Apache License is in /usr/share/common-licenses/Apache-2.0, too."""


def main(site: Path) -> None:
    own = "mcp-ilert"
    others = sorted((d for d in distributions(path=[str(site)]) if d.metadata["Name"] != own), key=name)
    lines = ["MCP iLert", "", LICENSE.read_text().strip(), ""]
    where = f"In /usr/lib/mcp-ilert/{site.name} are these Python packages"
    lines += [f"{where}, with their licences' texts in NAME-VERSION.dist-info:", ""]
    lines += [f"{name(d)} {d.version}: {licence(d)}" for d in others]
    print("\n".join([*lines, "", WITHIN]))


def name(distribution: Distribution) -> str:
    return str(distribution.metadata["Name"])


def licence(distribution: Distribution) -> str:
    """By SPDX where the package says, else in its own words."""
    told = distribution.metadata.json
    classes = [c.split(" :: ")[-1] for c in told.get("classifier", ()) if c.startswith("License ::")]
    first = str(told.get("license") or "").split("\n", maxsplit=1)[0]
    return str(told.get("license_expression") or "; ".join(classes) or first or "see its dist-info")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
