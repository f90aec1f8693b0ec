"""What the environment adds: `${NAME}` within texts, and `MCP_ILERT__SECTION__KEY` in place of keys."""

import re
from collections.abc import Mapping

import msgspec
from msgspec.inspect import StructType

from mcp_ilert.config.kinds import did_you_mean
from mcp_ilert.config.read import parse_value
from mcp_ilert.config.shape import bare
from mcp_ilert.config.show import show_key

PREFIX = "MCP_ILERT__"
_NULLS = {"", "~", "null"}
_MARK = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class Override(msgspec.Struct, frozen=True):
    """A value that stands in an environment variable: as written, and as YAML reads it."""

    variable: str
    text: str
    value: object

    def as_text(self) -> object:
        """The value where a text is wanted: 12345 or 1e5 is text there, though no number."""
        if isinstance(self.value, str) or self.text.strip().lower() in _NULLS:
            return self.value
        return self.text.strip()

    def as_secret(self) -> object:
        """The value where a secret is wanted: as written, unless quoted, for a '#' is no comment there."""
        text = self.text.strip()
        return self.as_text() if text[:1] in {'"', "'"} or text.lower() in _NULLS else text


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """The text with each `${NAME}` replaced, or what is wrong with it; `$${` stands for `${`."""
    parts: list[str] = []
    end = 0
    for found in _MARK.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        if found.group() == "$${":
            parts.append("${")
        elif found.group(1) is None:
            return text, "'${' must be followed by a name and '}'; write '$${' for the characters themselves"
        elif found.group(1) not in environ:
            return text, f"the environment variable {found.group(1)} is not set"
        else:
            parts.append(environ[found.group(1)])
    return "".join(parts) + text[end:], None


def overridden(
    raw: dict[object, object], root: StructType, environ: Mapping[str, str]
) -> tuple[dict[object, object], list[str]]:
    """A copy of `raw` in which the environment's values stand, and what is wrong with them."""
    problems: list[str] = []
    result = dict(raw)
    # A section's own variable sorts before those of its keys, so these win.
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        value, faults = parse_value(environ[variable])
        override = Override(variable, environ[variable], None if faults else value)
        path = [part.lower() for part in variable.removeprefix(PREFIX).split("__")]
        problem = _put(result, root, path, override, textual=bool(faults))
        if problem:
            problems.append(f"{show_key(variable)}: {problem}")
    return result, problems


def _put(
    into: dict[object, object], section: StructType, path: list[str], override: Override, *, textual: bool
) -> str | None:
    """Put the override where its path says; returns what is wrong."""
    key, rest = path[0], path[1:]
    kinds = {field.encode_name: bare(field.type) for field in section.fields}
    if key not in kinds:
        return f"names no key{did_you_mean(key, kinds)}"
    kind = kinds[key]
    if rest and isinstance(kind, StructType):
        below = into.get(key)
        if isinstance(below, Override):
            below = below.value
        into[key] = inner = dict(below) if isinstance(below, dict) else {}
        return _put(inner, kind, rest, override, textual=textual)
    if rest:
        whole = override.variable.removesuffix("__" + "__".join(rest).upper())
        return f"names what is inside a value; give the value whole, in {whole}"
    if textual and not isinstance(kind, msgspec.inspect.StrType | msgspec.inspect.CustomType):
        return "its value is not YAML"
    into[key] = override
    # A secret given either way replaces the one that the file gives the other way.
    other = key.removesuffix("_file") if key.endswith("_file") else f"{key}_file"
    if other in kinds and not isinstance(into.get(other), Override):
        into.pop(other, None)
    return None
