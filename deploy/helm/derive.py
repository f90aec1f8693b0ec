"""What of the chart and of the plain manifests comes from elsewhere, so that nothing is said twice.

    python deploy/helm/derive.py       needs build/chart (make manifests makes it)

Chart.yaml's version comes from pyproject.toml; the values' `config` from the bridge's own JSON Schema;
deploy/kubernetes/ from the chart. A digest of what the manifests come from stands in their first line, so that the
test suite sees without Helm when they are out of date.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mcp_ilert.config import json_schema

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHART = HERE / "mcp-ilert"
MANIFESTS = ROOT / "deploy/kubernetes"
HELM = ROOT / "build/chart/bin/python", HERE / "helm.py"
PREFIX = "config."
THE_CHARTS_OWN = {"SpoolSettings": ["path"], "Tls": ["cert_file", "key_file", "client_ca_file"]}
"""Keys that the chart sets itself; whoever gives one is told at once, and not overruled in silence."""
MONITORING = ("ServiceMonitor", "PrometheusRule")
SECRET = {"type": "string", "not": {"not": {"pattern": r"^$|^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"}}}
"""A secret in a ConfigMap could be read by whoever may read the namespace; a variable's name may stand there.
`not` twice, since Helm prints what fails a pattern."""


def version(pyproject: str) -> str:
    return str(tomllib.loads(pyproject)["project"]["version"])


def chart_yaml(text: str, version: str) -> str:
    """Chart.yaml of this version."""
    return re.sub(r"^(version|appVersion): .*$", rf"\1: {version}", text, flags=re.MULTILINE)


def values_schema(schema: Mapping[str, Any], bridge: Mapping[str, Any]) -> dict[str, Any]:
    """The values' schema with the bridge's own for `config`."""
    own = {name: kind for name, kind in schema["$defs"].items() if not name.startswith(PREFIX)}
    kinds = {PREFIX + name: _taken(name, kind) for name, kind in bridge["$defs"].items()}
    config = {key: value for key, value in bridge.items() if key not in {"$schema", "$defs"}}
    return {
        **schema,
        "properties": {**schema["properties"], "config": _within_chart(config)},
        "$defs": {**own, **kinds},
    }


def _taken(name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    taken: dict[str, Any] = _within_chart(kind)
    for key in THE_CHARTS_OWN.get(name, ()):
        del taken["properties"][key]
    for key, what in taken.get("properties", {}).items():
        if key in {"port", "tcp_port", "listen_port"}:  # 0 takes a free one, which no Service would know
            for choice in what.get("anyOf", [what]):
                if "minimum" in choice:
                    choice["minimum"] = 1
    return taken


def _within_chart(schema: Any) -> Any:
    """The same with references to where it stands now, secrets by reference only, and no defaults of its own."""
    if isinstance(schema, list):
        return [_within_chart(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == ["string", "null"]:
        return {key: schema[key] for key in schema if key == "description"} | SECRET
    choices = schema.get("anyOf")
    if choices and len(choices) == 2 and "$ref" in choices[0] and choices[1] == {"type": "null"}:
        return _within_chart(
            choices[0]
        )  # a section; Helm takes null for leaving it out, and says less of one choice
    kept = {key: value for key, value in schema.items() if key != "default" or isinstance(value, dict)}
    return {
        key: value.replace("#/$defs/", "#/$defs/" + PREFIX) if key == "$ref" else _within_chart(value)
        for key, value in kept.items()
    }


def digest(files: Iterable[Path]) -> str:
    """Of the names and contents of what the manifests are made from."""
    told = hashlib.sha256()
    for path in sorted(files):
        told.update(f"{path.relative_to(CHART)}\0".encode() + path.read_bytes() + b"\0")
    return told.hexdigest()


def sources() -> list[Path]:
    """Files of the chart that decide what is rendered; links count as what they point at."""
    judges = {"README.md", "values.schema.json", ".helmignore"}
    return [path for path in CHART.rglob("*") if path.is_file() and path.name not in judges]


def manifests(rendered: Mapping[str, str], made_from: str) -> dict[str, str]:
    """File name → text: what everybody needs, and what needs the Prometheus operator."""
    documents = list(_documents(rendered))
    monitoring = [text for text in documents if kind(text) in MONITORING]
    core = [text for text in documents if text not in monitoring]
    head = f"# Rendered from deploy/helm/mcp-ilert ({made_from}) by make manifests; do not edit.\n"
    return {
        "mcp-ilert.yaml": head + NAMESPACE + "".join(f"---\n{text}\n" for text in core),
        "monitoring.yaml": head + "".join(f"---\n{text}\n" for text in monitoring),
    }


NAMESPACE = """---
apiVersion: v1
kind: Namespace
metadata:
  name: mcp-ilert
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def _documents(rendered: Mapping[str, str]) -> Iterator[str]:
    """Each object's text, in an order that does not change."""
    for name in sorted(rendered):
        if name.endswith(".yaml"):
            yield from (text for part in rendered[name].split("\n---\n") if (text := part.strip()))


def kind(text: str) -> str:
    """Of an object's text; "" where it has none."""
    found = re.search(r"^kind: (\w+)$", text, re.MULTILINE)
    return found[1] if found else ""


def helm(*requests: Mapping[str, Any]) -> list[Any]:
    """What Helm answers (helm.py), asked in its own environment."""
    done = subprocess.run(  # noqa: S603 - ours
        list(map(str, HELM)), input=json.dumps(requests), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"mcp-ilert: make manifests: {done.stderr}")
    answers: list[Any] = json.loads(done.stdout)
    return answers


PLAIN_VALUES = {
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "tests": {"enabled": False},
}


def rendered() -> dict[str, str]:
    request = {"do": "render", "chart": str(CHART), "values": PLAIN_VALUES}
    (answer,) = helm(request | {"name": "mcp-ilert", "namespace": "mcp-ilert"})
    if "error" in answer:
        sys.exit(f"mcp-ilert: make manifests: {answer['error']}")
    found: dict[str, str] = answer["manifests"]
    return {name: text.replace("managed-by: Helm", "managed-by: kubectl") for name, text in found.items()}


def main() -> None:
    chart = CHART / "Chart.yaml"
    chart.write_text(chart_yaml(chart.read_text(), version((ROOT / "pyproject.toml").read_text())))
    schema = CHART / "values.schema.json"
    derived = values_schema(json.loads(schema.read_text()), json_schema())
    schema.write_text(json.dumps(derived, indent=2, ensure_ascii=False) + "\n")
    MANIFESTS.mkdir(exist_ok=True)
    for name, text in manifests(rendered(), digest(sources())).items():
        (MANIFESTS / name).write_text(text)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    main()
