"""Templates such as `mapping.alert_key`: text with `{field}` and `{labels.name}`, and nothing else."""

import difflib
import re

import msgspec

FIELDS = ("mcp_id", "source", "summary", "priority", "severity", "status", "timestamp", "details")
LABEL = "labels."
_BRACES = re.compile(r"\{([^{}]*)\}|[{}]")


class TemplateError(ValueError):
    """What was expected of the template."""


class Field(msgspec.Struct, frozen=True):
    """Stands for an event's field; `label` is true where `name` is that of a label."""

    name: str
    label: bool = False


def parse_template(text: str) -> tuple[str | Field, ...]:
    """The template's parts in order: texts and fields. Raises TemplateError, saying what was expected."""
    parts: list[str | Field] = []
    end = 0
    for found in _BRACES.finditer(text):
        if found.group(1) is None:
            raise TemplateError(
                "a template in which each '{' is closed by a '}', such as \"{source}/{mcp_id}\""
            )
        if found.start() > end:
            parts.append(text[end : found.start()])
        parts.append(_field(found.group(1)))
        end = found.end()
    if end < len(text):
        parts.append(text[end:])
    if not any(isinstance(part, Field) for part in parts):
        raise TemplateError('a template with at least one field, such as "{mcp_id}"')
    return tuple(parts)


def _field(name: str) -> Field:
    if name.startswith(LABEL) and len(name) > len(LABEL):
        return Field(name.removeprefix(LABEL), label=True)
    if name in FIELDS:
        return Field(name)
    near = difflib.get_close_matches(name[:100], FIELDS, n=1)
    hint = f'; did you mean "{{{near[0]}}}"?' if near else ""
    known = ", ".join(f"{{{field}}}" for field in FIELDS)
    raise TemplateError(f"a template of {known} and {{labels.NAME}} only{hint}")
