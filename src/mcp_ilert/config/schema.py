"""The configuration's JSON Schema (draft 2020-12), from the model itself."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec.inspect import CustomType, DictType, Field, IntType, Metadata, StructType, VarTupleType

from mcp_ilert.config.kinds import SEVERITY_WORDS
from mcp_ilert.config.model import Settings
from mcp_ilert.config.secret import Secret
from mcp_ilert.config.shape import bare, default_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """What a configuration file may hold. What must hold between keys is for `check-config` to say."""
    definitions: dict[str, Any] = msgspec.json.schema(Settings, schema_hook=_secret)["$defs"]
    root = cast("StructType", msgspec.inspect.type_info(Settings))
    for struct in _structs(root):
        properties = definitions[struct.cls.__name__]["properties"]
        for field in struct.fields:
            properties[field.encode_name] = _finished(field, properties[field.encode_name])
    top = definitions.pop("Settings") | {
        "title": "Configuration of MCP iLert",
        "description": "${NAME} in a text stands for an environment variable, $${ for ${ itself.",
    }
    return {"$schema": DIALECT, **top, "$defs": definitions}


def _secret(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": ["string", "null"]}
    raise NotImplementedError


def _structs(root: StructType) -> Iterator[StructType]:
    """The struct and all those within it, each once."""
    found = {root.cls: root}
    waiting = [root]
    while waiting:
        struct = waiting.pop()
        yield struct
        for field in struct.fields:
            kind = bare(field.type)
            if isinstance(kind, VarTupleType):
                kind = bare(kind.item_type)
            elif isinstance(kind, DictType):
                kind = bare(kind.value_type)
            if isinstance(kind, StructType) and kind.cls not in found:
                found[kind.cls] = kind
                waiting.append(kind)


def _finished(field: Field, schema: dict[str, Any]) -> dict[str, Any]:
    """The property with what msgspec leaves out: defaults, keys of maps and `${NAME}`."""
    kind = bare(field.type)
    if isinstance(kind, StructType):
        note = {"description": schema["description"]} if "description" in schema else {}
        return {
            **note,
            "anyOf": [{"$ref": schema.get("$ref") or schema["allOf"][0]["$ref"]}, {"type": "null"}],
        }
    schema = _opened(schema)
    if isinstance(kind, DictType):
        schema["propertyNames"] = _keys(kind)
    if isinstance(kind, CustomType):
        schema["default"] = ""
    elif not field.required:
        schema["default"] = msgspec.json.decode(msgspec.json.encode(default_of(field)))
    return schema


def _opened(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in which `${NAME}` may stand for each word of a fixed choice."""
    opened = {key: _opened(value) if isinstance(value, dict) else value for key, value in schema.items()}
    words = opened.pop("enum", None)
    return opened if words is None else opened | {"anyOf": [{"enum": words}, _FROM_ENVIRONMENT]}


def _keys(kind: DictType) -> dict[str, Any]:
    key = bare(kind.key_type)
    if isinstance(key, IntType):
        return {"pattern": "^-?[0-9]{1,19}$"}
    words = isinstance(kind.key_type, Metadata) and "enum" in (kind.key_type.extra_json_schema or {})
    return {"enum": list(SEVERITY_WORDS)} if words else {"minLength": 1}
