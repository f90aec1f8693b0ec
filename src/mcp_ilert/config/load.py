"""A configuration file and the environment → Settings, or all that is wrong with them at once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import msgspec
from msgspec.inspect import StructType

from mcp_ilert.config.check import faults
from mcp_ilert.config.environ import overridden
from mcp_ilert.config.model import Settings
from mcp_ilert.config.read import parse_bytes, read_file
from mcp_ilert.config.shape import bare
from mcp_ilert.config.show import clean, kind_of
from mcp_ilert.config.walk import Spot, Walk
from mcp_ilert.errors import ConfigError

MOST_PROBLEMS = 100
_ENDS = re.compile(r"[.\[]|$")


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the file. Raises ConfigError with a line for each problem.

    Relative paths in it start at the file's folder, so that every command finds the same spool from anywhere.
    """
    return settings_of(read_file(path), environ, path)


def loads(raw: bytes, suffix: str, environ: Mapping[str, str], path: Path = Path("config")) -> Settings:
    """As `load`, of bytes; `path` says where relative paths start and what problems call the file."""
    return settings_of(parse_bytes(raw, suffix, clean(str(path))), environ, path)


def settings_of(raw: object, environ: Mapping[str, str], path: Path) -> Settings:
    """As `load`, of what a reader gave."""
    if not isinstance(raw, dict):
        raise ConfigError([f"{clean(str(path))}: holds {kind_of(raw)}, expected a mapping of sections"])
    root = cast("StructType", msgspec.inspect.type_info(Settings))
    raw, problems = overridden(raw, root, environ)
    walk = Walk(environ, path.absolute().parent, dict(_homes(root)))
    settings: Settings = walk.value(root, raw, Spot(hidden=True), {})
    problems += walk.problems
    problems += [fault.line for fault in faults(settings) if not _touches(fault.paths, walk.broken)]
    if problems:
        raise ConfigError(_bounded(problems))
    return settings


def _homes(root: StructType) -> Iterator[tuple[str, str]]:
    """Each section's keys with their paths, for who looked for a key on the wrong level."""
    for section in root.fields:
        kind = bare(section.type)
        if isinstance(kind, StructType):
            yield from (
                (field.encode_name, f"{section.encode_name}.{field.encode_name}") for field in kind.fields
            )


def _touches(paths: tuple[str, ...], broken: set[str]) -> bool:
    """Whether one of the paths, or what it lies in, could not be read."""
    return any(path[: end.start()] in broken for path in paths for end in _ENDS.finditer(path))


def _bounded(problems: list[str]) -> list[str]:
    lines = [clean(problem.replace("\n", " ")) for problem in problems[:MOST_PROBLEMS]]
    more = len(problems) - len(lines)
    return [*lines, f"… and {more} more"] if more else lines
