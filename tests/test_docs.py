"""What the README, the examples and the unit say is what the code does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from mcp_ilert.cli import cli
from mcp_ilert.config import Settings, load
from mcp_ilert.decode.native import decode_event
from mcp_ilert.decode.presets import PRESETS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NESTED_NOT_LISTED = ("mapping.severity.NAME",)  # shown by its default


def keys(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each key of the model: its path and its default."""
    for field in msgspec.structs.fields(kind):
        path = prefix + field.encode_name
        element, inner = unwrap(field.type)
        if inner is not None and element:
            yield path, default_of(field)
            if path + element not in NESTED_NOT_LISTED:
                yield from keys(inner, path + element + ".")
        elif inner is not None:
            yield from keys(inner, path + ".")
        else:
            yield path, default_of(field)


def unwrap(annotation: Any) -> tuple[str, type | None]:
    """How an element of it is named ("" where it has none), and the Struct in it if any."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is tuple:
        inner = unwrap(arguments[0])[1]
        return "[]", inner
    if getattr(annotation, "__origin__", None) is dict:
        inner = unwrap(arguments[1])[1]
        return ".NAME", inner
    is_struct = isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)
    return "", annotation if is_struct else None


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    if field.default_factory is msgspec.NODEFAULT:
        return "required"
    value = field.default_factory()
    return "" if str(value) == "<secret>" else msgspec.to_builtins(value)


def rows() -> dict[str, tuple[str, str]]:
    """The README's configuration table: key → default and meaning."""
    section = README.split("## Configuration")[1].split("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) ?\|$", section, re.MULTILINE)
    return {key: (default, meaning) for key, default, meaning in found}


def test_the_readme_lists_every_key_of_the_configuration_and_no_other() -> None:
    assert set(rows()) == {path for path, _ in keys(Settings)}


def test_the_readme_gives_the_default_of_every_key() -> None:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    told = {key: default for key, (default, _) in rows().items()}
    wrong = {}
    for path, default in keys(Settings):
        text = told[path].strip("`")
        value = "required" if not text else yaml.load(text)
        same = json.dumps(value) == json.dumps(default) or (value == default and isinstance(default, float))
        if not same and value != json.loads(json.dumps(default), object_hook=whole_keys):
            wrong[path] = (value, default)
    assert wrong == {}


def whole_keys(mapping: dict[str, Any]) -> dict[Any, Any]:
    return {int(key) if key.isdigit() else key: value for key, value in mapping.items()}


def test_the_first_line_of_the_readme_says_which_mcp_is_meant() -> None:
    first = README.splitlines()[0]
    assert "custom monitoring events, not the Model Context Protocol" in first
    assert "iLert" in first


def test_the_readme_names_the_commands_that_there_are_and_no_other() -> None:
    section = README.split("## Commands")[1].split("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    told = set(re.findall(r"`mcp-ilert ([a-z-]+)", table)) - {"--config", "--version"}
    assert {name for name in told if not name.startswith("-")} == set(cli.commands)


def test_the_readme_names_the_queue_commands_that_there_are() -> None:
    section = README.split("## Commands")[1].split("\n## ")[0]
    told = set(re.findall(r"`mcp-ilert queue ([a-z]+)", section))
    for line in section.splitlines():
        if "mcp-ilert queue" in line:
            told |= set(re.findall(r"· `([a-z]+)", line.split("|")[1].strip()))
    queue = cli.commands["queue"]
    assert isinstance(queue, click.Group)
    assert told == set(queue.commands)


def test_the_goals_that_the_readme_and_the_contributing_guide_name_can_be_made() -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"):
        told = set(re.findall(r"(?:`|^)make ([a-z]+(?:-[a-z]+)*)", (ROOT / name).read_text(), re.MULTILINE))
        assert told <= goals, name


def test_the_quick_start_of_the_readme_is_the_example_file() -> None:
    block = README.split("```yaml\n")[1].split("```")[0]
    without_comments = re.sub(r" *#.*", "", (ROOT / "examples/quickstart.yaml").read_text()).strip()
    assert [line.strip() for line in block.strip().splitlines()] == [
        line.strip() for line in without_comments.splitlines()
    ]


@pytest.mark.parametrize("name", ["quickstart.yaml", "mcp-ilert.yaml", "webhooks.yaml", "edge.yaml"])
def test_the_examples_load(name: str) -> None:
    settings = load(ROOT / "examples" / name, {"ILERT_WEBHOOK_KEY": "il1api-example"})
    assert settings.listen.port == 8080
    assert settings.mapping.priority_map == {1: "critical", 2: "high", 3: "medium", 4: "low"}


def test_the_full_example_holds_the_defaults_but_for_the_key() -> None:
    settings = load(ROOT / "examples/mcp-ilert.yaml", {"ILERT_WEBHOOK_KEY": "il1api-example"})
    for section in msgspec.structs.fields(Settings):
        if section.name != "ilert":
            assert getattr(settings, section.name) == getattr(Settings(), section.name), section.name


def test_the_sample_events_of_the_readme_are_events() -> None:
    samples = re.findall(r"-d '(\{.*?\})'", README, re.DOTALL)
    events = [decode_event(sample.encode()) for sample in samples]
    assert [(event.mcp_id, event.status) for event in events] == [
        ("evt-0001", "firing"),
        ("evt-0002", "firing"),
        ("evt-0002", "resolved"),
    ]


def test_the_presets_are_told_of() -> None:
    table = (ROOT / "docs/webhooks.md").read_text().split("## Presets")[1].split("\n### ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(PRESETS)
    assert all(f"`{name}`" in rows()["webhooks.NAME.preset"][1] for name in PRESETS)


def test_what_the_documents_point_at_exists() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name} points at {link}"


def test_every_security_check_that_is_passed_over_says_why() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for line in path.read_text().splitlines():
            if re.search(r"noqa:[^#]*\bS\d", line):
                assert re.search(r"noqa: [A-Z0-9, ]+ - \S", line), f"{path}: {line.strip()}"


def test_each_test_that_the_reliability_page_names_is_there() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    files = set(re.findall(r"`(?:tests/)?(test_\w+\.py)", text))
    named = re.findall(r"(test_\w+\.py)::(test_\w+)", text)
    assert files
    assert named
    assert [name for name in files if not (ROOT / "tests" / name).exists()] == []
    missing = [
        (file, test) for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []
