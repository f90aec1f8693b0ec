"""The bytes of a configuration file → plain Python values, by the file's suffix.

A reader's own complaint may quote the file, and with it a secret: what is quoted is never passed on.
"""

import json
import re
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from mcp_ilert.config.files import found, is_file
from mcp_ilert.config.show import clean, quoted, show_key
from mcp_ilert.errors import ConfigError

LARGEST = 1 << 20
LEAST = "it needs at least ilert.api_key or ilert.webhook_key, or {} where the environment gives one of them"
"""A file without anything is rather half written than meant: a reload must not take all tokens away."""
MERGE_TAG = "tag:yaml.org,2002:merge"
_SHORT_QUOTATION = re.compile(r"'(\\?[^\w\s]|\\?.|<[a-z ]+>)'|\"\\?.\"")


def read_file(path: Path) -> object:
    """What the file says. Raises ConfigError: a line for each thing that keeps it from being read."""
    label = clean(str(path))
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigError([f"{label}: the file's name must end in {', '.join(_PARSERS)}"])
    try:
        there = found(path)
        if there is None or not is_file(there):
            raise ConfigError([f"{label}: {'is not a file' if there else 'no such file'}"])
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError([f"{label}: cannot be read: {error.strerror}"]) from None
    return parse_bytes(raw, path.suffix, label)


def parse_bytes(raw: bytes, suffix: str, label: str) -> object:
    """What the text says; `label` is the file's name in problems."""
    if len(raw) > LARGEST:
        raise ConfigError([f"{label}: is larger than {LARGEST} bytes"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{label}: is not UTF-8 (byte {error.start})"]) from None
    if not text.strip():
        raise ConfigError([f"{label}: is empty; {LEAST}"])
    value, problems = _guarded(_PARSERS[suffix.lower()], text)
    if value is None and not problems:
        problems = [f"says nothing; {LEAST}"]
    if problems:
        raise ConfigError([f"{label}: {problem}" for problem in problems])
    return value


def parse_value(text: str) -> tuple[object, list[str]]:
    """The value of one environment variable, read as YAML, and what is wrong with it."""
    return _guarded(_yaml, text)


Parsed = tuple[object, list[str]]


def _guarded(parse: Callable[[str], Parsed], text: str) -> Parsed:
    try:
        return parse(text)
    except RecursionError:
        return None, ["is nested too deeply"]


def _yaml(text: str) -> Parsed:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            problems = _duplicates(YAML(typ="safe", pure=True).compose(text))
            if problems:
                return None, problems
            reader = YAML(typ="safe", pure=True)
            reader.allow_duplicate_keys = True  # found above, all of them, and without their values
            return reader.load(text), []
        except MarkedYAMLError as error:
            return None, [_yaml_problem(error, text)]
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - whatever a reader stumbles over is a text it cannot read
            return None, ["is not YAML: a value is malformed"]


def _yaml_problem(error: MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    line = text.splitlines()[mark.line : mark.line + 1] if mark else []
    hint = '; within { } and [ ], put "${NAME}" in quotes' if line and "${" in line[0] else ""
    return clean(f"is not YAML: {_unquoted(str(error.problem or error.context or 'syntax'))}{where}{hint}")


def _unquoted(complaint: str) -> str:
    """The reader's complaint without what it quotes, single characters apart: `*key` is quoted whole."""
    short = [found.span() for found in _SHORT_QUOTATION.finditer(complaint)]
    marks = [i for i, c in enumerate(complaint) if c in "'\"" and not any(a <= i < b for a, b in short)]
    if marks:
        complaint = f"{complaint[: marks[0]]}…{complaint[marks[-1] + 1 :]}"
    return " ".join(complaint.split())


def _duplicates(root: Node | None) -> list[str]:
    """Every key that stands twice in a mapping, each with its lines."""
    problems: list[str] = []
    seen: set[int] = set()
    stack: list[tuple[Node | None, str]] = [(root, "")]
    while stack:
        node, path = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            stack += [(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            problems += _repeated(node, path)
            stack += [
                (value, _join(path, key.value)) for key, value in node.value if isinstance(key, ScalarNode)
            ]
    return problems


def _repeated(node: MappingNode, path: str) -> list[str]:
    lines: dict[tuple[str, str], list[str]] = {}
    for key, _ in node.value:
        if isinstance(key, ScalarNode) and key.tag != MERGE_TAG:
            lines.setdefault((str(key.tag), key.value), []).append(str(key.start_mark.line + 1))
    return [
        f"{_join(path, key)}: given {len(found)} times (lines {', '.join(found[:5])}); keep one"
        for (_, key), found in lines.items()
        if len(found) > 1
    ]


def _join(path: str, key: str) -> str:
    return f"{path}.{show_key(key)}" if path else show_key(key)


def _json(text: str) -> Parsed:
    problems: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counted = Counter(key for key, _ in pairs)
        problems.extend(
            f"{quoted(key)}: given {n} times in one object; keep one" for key, n in counted.items() if n > 1
        )
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once), problems
    except json.JSONDecodeError as error:
        return None, [f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"]
    except ValueError:
        return None, ["is not JSON: a number has too many digits"]


def _toml(text: str) -> Parsed:
    try:
        return tomllib.loads(text), []
    except tomllib.TOMLDecodeError as error:
        return None, [clean(f"is not TOML: {_unquoted(str(error))}")]
    except ValueError:
        return None, ["is not TOML: a value is malformed"]


_PARSERS: dict[str, Callable[[str], Parsed]] = {".yaml": _yaml, ".yml": _yaml, ".json": _json, ".toml": _toml}
