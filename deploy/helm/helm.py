"""Helm and the checkers of Kubernetes, as Python packages have them: questions as JSON on stdin, answers on stdout.

Runs in build/chart, an environment of its own, for they take 400 MB. It needs neither a cluster nor a network.
"""

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml
import yamllint.config
import yamllint.linter

YAML_RULES = """
extends: default
rules:
  line-length: disable      # Prometheus' expressions
  document-start: disable   # one object a template
  braces: {max-spaces-inside: 0}
  truthy: {check-keys: false}
  indentation: {indent-sequences: whatever}   # toYaml has it its own way
"""


def render(request: dict[str, Any]) -> dict[str, Any]:
    """The manifests by their template's name, or Helm's words on what is wrong with the values."""
    try:
        with helm_python.Chart.load(request["chart"]) as chart:
            chart.validate_schema(request["values"])
            return {
                "manifests": chart.render(
                    request["values"], name=request["name"], namespace=request["namespace"]
                )
            }
    except helm_python.HelmError as error:
        return {"error": str(error)}


def lint(request: dict[str, Any]) -> dict[str, Any]:
    report = helm_python.lint(request["chart"], request["values"], strict=True)
    return {
        "problems": [*report["errors"], *(m["error"] for m in report["messages"] if m["severity"] > 1)],
        "messages": report["messages"],
    }


def lint_yaml(request: dict[str, Any]) -> dict[str, Any]:
    found = yamllint.linter.run(request["text"], yamllint.config.YamlLintConfig(YAML_RULES))
    return {"problems": [str(problem) for problem in found]}


def validate(request: dict[str, Any]) -> dict[str, Any]:
    """What Kubernetes of a version says of each object; objects of the Prometheus operator it does not know."""
    problems = []
    for document in filter(None, yaml.safe_load_all(request["text"])):
        try:
            kubernetes_validate.validate(document, request["version"], strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            problems.append(f"{document.get('kind')}: {error}")
    return {"problems": problems}


def package(request: dict[str, Any]) -> dict[str, Any]:
    return {"path": helm_python.package(request["chart"], destination=request["into"])}


DOES = {"render": render, "lint": lint, "lint yaml": lint_yaml, "validate": validate, "package": package}


if __name__ == "__main__":
    json.dump([DOES[request["do"]](request) for request in json.load(sys.stdin)], sys.stdout)
