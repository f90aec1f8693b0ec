"""Where settings come from: files of each kind, however broken, and the environment."""

# ruff: noqa: E501 - a mistake and its line stand side by side

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_ilert import config
from mcp_ilert.config import Secret, Settings
from mcp_ilert.errors import ConfigError

KEY = "ilert: {webhook_key: k}\n"
LEAST = "it needs at least ilert.api_key or ilert.webhook_key, or {} where the environment gives one of them"
PATH = Path("/etc/mcp-ilert/config.yaml")


def loaded(
    text: str | bytes, environ: dict[str, str] | None = None, suffix: str = ".yaml", path: Path = PATH
) -> Settings:
    raw = text if isinstance(text, bytes) else text.encode()
    return config.loads(raw, suffix, environ or {}, path)


def problems(
    text: str | bytes, environ: dict[str, str] | None = None, suffix: str = ".yaml", path: Path = PATH
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, environ, suffix, path)
    return caught.value.problems


# Files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("config.yaml", None, "no such file"),
        ("config.ini", "x", "the file's name must end in .yaml, .yml, .json, .toml"),
        ("config", "x", "the file's name must end in .yaml, .yml, .json, .toml"),
        ("config.yaml", "", f"is empty; {LEAST}"),
        ("config.yaml", " \n", f"is empty; {LEAST}"),
        ("config.yaml", "# nothing\n", f"says nothing; {LEAST}"),
        ("config.yaml", "- a\n", "holds a list, expected a mapping of sections"),
        ("config.yaml", "text", "holds a text, expected a mapping of sections"),
        ("config.json", "[]", "holds a list, expected a mapping of sections"),
        ("config.json", "null", f"says nothing; {LEAST}"),
        ("config.yaml", "#" * (1 << 20) + "#", "is larger than 1048576 bytes"),
        ("config.yaml", "[" * 1000, "is nested too deeply"),
        ("config.json", "[" * 100_000, "is nested too deeply"),
        (
            "config.yaml",
            "a: [1, 2",
            "is not YAML: expected ',' or ']', but got '<stream end>' (line 1, column 9)",
        ),
        ("config.yaml", "a: 1\n b: 2", "is not YAML: mapping values are not allowed here (line 2, column 3)"),
        ("config.yaml", "a: 1\n---\nb: 2", "is not YAML: but found another document (line 2, column 1)"),
        ("config.yaml", "a: 2024-13-45", "is not YAML: a value is malformed"),
        ("config.yaml", "a: !!int x", "is not YAML: a value is malformed"),
        ("config.yaml", "a: " + "9" * 5000, "is not YAML: a value is malformed"),
        ("config.json", '{"a": 1,}', "is not JSON: "),
        ("config.json", '{"a": ' + "9" * 5000 + "}", "is not JSON: a number has too many digits"),
        ("config.toml", "a = ", "is not TOML: Invalid value (at end of document)"),
        ("config.toml", "a = 1\na = 2", "is not TOML: Cannot overwrite a value (at end of document)"),
        ("config.toml", "a = 2024-13-45", "is not TOML: "),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, name: str, text: str | None, line: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    (told,) = caught.value.problems
    assert told.startswith(f"{path}: {line}")


def test_a_directory_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").mkdir()
    os.mkfifo(tmp_path / "p.yaml")
    for name in ("d.yaml", "p.yaml"):
        with pytest.raises(ConfigError, match="is not a file"):
            config.load(tmp_path / name, {})


def test_a_path_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read|no such file"):
        config.load(Path("a\0b.yaml"), {})
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(Path("x" * 5000 + ".yaml"), {})


def test_bytes_that_are_no_utf_8_are_told() -> None:
    assert problems(b"a: \xff") == [f"{PATH}: is not UTF-8 (byte 3)"]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert loaded(b"\xef\xbb\xbf" + KEY.encode()) == loaded(KEY)


def test_every_key_given_twice_is_told_without_its_value() -> None:
    text = "ilert:\n  webhook_key: s3cret\n  webhook_key: s3cret2\nlisten: {port: 1, port: 2}\nroutes: [{drop: 1, drop: 2}]\nilert: 1\n"
    lines = problems(text)
    assert sorted(lines) == [
        f"{PATH}: ilert.webhook_key: given 2 times (lines 2, 3); keep one",
        f"{PATH}: ilert: given 2 times (lines 1, 6); keep one",
        f"{PATH}: listen.port: given 2 times (lines 4, 4); keep one",
        f"{PATH}: routes[0].drop: given 2 times (lines 5, 5); keep one",
    ]
    assert problems('{"a": {"b": 1, "b": 2}}', suffix=".json") == [
        f'{PATH}: "b": given 2 times in one object; keep one'
    ]


def test_anchors_and_merge_keys_are_yaml() -> None:
    text = KEY + "routes:\n- &one {name: a, match: {source: x}}\n- {<<: *one, name: b}\n"
    assert [route.match.source for route in loaded(text).routes] == ["x", "x"]


def test_a_mapping_that_contains_itself_is_told() -> None:
    assert problems(KEY + "listen: &a {port: *a}") == [
        "listen.port: got a mapping, expected a port number, 0 to 65535"
    ]


def test_a_flood_of_aliases_is_no_flood_of_work() -> None:
    text = KEY + "a0: &a0 [x, x]\n"
    text += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert len(problems(text + "routes: *a29")) == 31 + 8


@pytest.mark.parametrize(
    "text",
    [
        "a: *s3cret",
        "a: !s3cret x",
        "a: !s'3'cret x",
        "a: &s3cret &s3cret x",
        "%s3cret\n---\n",
        "a: 's3cret",
        'a: "\\qs3cret"',
    ],
)
def test_a_yaml_readers_complaint_quotes_nothing_of_the_file(text: str) -> None:
    assert "s3cret" not in problems(text)[0]
    assert "3" not in problems(text)[0].split("(line")[0].removeprefix(str(PATH))


def test_a_mark_without_quotes_within_braces_is_explained() -> None:
    assert problems("ilert: {webhook_key: ${KEY}}")[0].endswith('within { } and [ ], put "${NAME}" in quotes')


# ${NAME} ------------------------------------------------------------------------------------------------


def test_environment_variables_stand_in_texts() -> None:
    environ = {"KEY": "k1", "HOST": "ilert.example", "LEVEL": "debug", "EMPTY": ""}
    text = (
        'ilert: {webhook_key: "${KEY}", api_url: "https://${HOST}${EMPTY}"}\nlogging: {level: "${LEVEL}"}\n'
        'routes: [{labels: {a: "$${KEY} $KEY $$ ${KEY}"}}]'
    )
    settings = loaded(text, environ)
    assert settings.ilert.webhook_key == Secret("k1")
    assert settings.ilert.api_url == "https://ilert.example"
    assert settings.logging.level == "debug"
    assert settings.routes[0].labels == {"a": "${KEY} $KEY $$ k1"}


def test_what_a_variable_holds_is_not_read_again() -> None:
    settings = loaded('ilert: {webhook_key: "${A}"}', {"A": "${B}"})
    assert settings.ilert.webhook_key == Secret("${B}")


def test_a_wrong_text_is_told_as_written_for_its_variable_may_hold_a_secret() -> None:
    (line,) = problems(KEY + 'logging: {level: "${LEVEL}"}', {"LEVEL": "s3cret"})
    assert line.startswith('logging.level: got "${LEVEL}", expected one of')


# x_file -------------------------------------------------------------------------------------------------


def test_a_secret_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\r\n")
    path = tmp_path / "config.yaml"
    assert loaded("ilert: {webhook_key_file: key}", path=path).ilert.webhook_key == Secret("from-file")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    text = 'ilert: {webhook_key_file: "${CREDENTIALS_DIRECTORY}/key"}'
    assert loaded(text, environ).ilert.webhook_key == Secret("from-file")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "no such file; expected the path of a readable file"),
        (b"", "is empty, expected a secret"),
        (b"\n", "is empty, expected a secret"),
        (b"\xff", "is not text, expected a secret alone"),
        (b"s3cret\ns3cret", "expected a secret of printable ASCII characters without blanks"),
        (b"s" * 70_000, "holds more than 65536 bytes, expected a secret alone"),
    ],
)
def test_a_secret_file_of_no_use_is_told_once(tmp_path: Path, content: bytes | None, line: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    lines = problems("ilert: {webhook_key_file: key}", path=tmp_path / "config.yaml")
    assert lines == [f"ilert.webhook_key_file: {line}"]


def test_a_secret_is_given_in_one_way_only(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    lines = problems("ilert: {webhook_key: a, webhook_key_file: key}", path=tmp_path / "config.yaml")
    assert lines == ["ilert.webhook_key: given here and in ilert.webhook_key_file; keep one"]


# MCP_ILERT__… -------------------------------------------------------------------------------------------


def test_the_environment_overrides_the_file() -> None:
    environ = {
        "MCP_ILERT__LISTEN__PORT": "9999",
        "MCP_ILERT__DELIVERY__CANCEL_RESOLVED": "false",
        "MCP_ILERT__MAPPING__PRIORITY_MAP": "{1: low}",
        "MCP_ILERT__ROUTES": "[{drop: true}]",
        "MCP_ILERT__RATE_LIMIT": "{per_minute: 5}",
        "MCP_ILERT__RATE_LIMIT__BURST": "2",
        "MCP_ILERT__LISTEN__TCP_PORT": "",
        "MCP_ILERT_PURE": "1",
    }
    settings = loaded(KEY + "listen: {port: 1, max_connections: 7}\nrate_limit: {per_minute: 9}", environ)
    assert (settings.listen.port, settings.listen.max_connections) == (9999, 7)
    assert settings.delivery.cancel_resolved is False
    assert settings.mapping.priority_map == {1: "low"}
    assert settings.routes == (config.RouteSettings(drop=True),)
    assert settings.rate_limit == config.RateLimit(5, 2)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("plain", "plain"), ("12345", "12345"), ("1e5", "1e5"), ("'quoted'", "quoted"), ("a#b", "a#b"),
        ("*star", "*star"), ("!bang", "!bang"), ("{brace", "{brace"), ("true", "true"), ("2024-01-01", "2024-01-01"),
        ("@at", "@at"), ("a:b", "a:b"), (" k ", "k"), ("${OTHER}", "other"),
    ],
)  # fmt: skip
def test_a_key_in_the_environment_is_taken_as_it_stands(text: str, key: str) -> None:
    environ = {"MCP_ILERT__ILERT__WEBHOOK_KEY": text, "OTHER": "other"}
    assert loaded("listen: {}", environ).ilert.webhook_key == Secret(key)


def test_a_key_in_the_environment_replaces_the_file_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file")
    path = tmp_path / "config.yaml"
    settings = loaded("ilert: {webhook_key_file: nowhere}", {"MCP_ILERT__ILERT__WEBHOOK_KEY": "k"}, path=path)
    assert settings.ilert.webhook_key == Secret("k")
    settings = loaded("ilert: {webhook_key: k}", {"MCP_ILERT__ILERT__WEBHOOK_KEY_FILE": "key"}, path=path)
    assert settings.ilert.webhook_key == Secret("from-file")
    both = {"MCP_ILERT__ILERT__WEBHOOK_KEY_FILE": "key", "MCP_ILERT__ILERT__WEBHOOK_KEY": "k"}
    assert problems("listen: {}", both, path=path) == [
        "ilert.webhook_key: given here and in ilert.webhook_key_file; keep one"
    ]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("MCP_ILERT__LISTEN__PROT", "1", 'MCP_ILERT__LISTEN__PROT: names no key; did you mean "port"?'),
        ("MCP_ILERT__", "1", "MCP_ILERT__: names no key"),
        ("MCP_ILERT__LISTEN__PORT", "x", 'listen.port (from MCP_ILERT__LISTEN__PORT): got "x", expected a port number, 0 to 65535'),
        ("MCP_ILERT__LISTEN", "{prot: 1}", 'listen.prot (from MCP_ILERT__LISTEN): unknown key; did you mean "port"?'),
        ("MCP_ILERT__LISTEN__PORT", "[", "MCP_ILERT__LISTEN__PORT: its value is not YAML"),
        ("MCP_ILERT__LISTEN__PORT__X", "1", "MCP_ILERT__LISTEN__PORT__X: names what is inside a value; give the value whole, in MCP_ILERT__LISTEN__PORT"),
        ("MCP_ILERT__WEBHOOKS", "{x: {}}", "webhooks.x.event: lacks mcp_id and summary; expected an expression for each, or a preset"),
        ("MCP_ILERT__LISTEN__PORT", "", "listen.port (from MCP_ILERT__LISTEN__PORT): got null, expected a port number, 0 to 65535"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment_names_its_variable(variable: str, value: Any, line: str) -> None:
    assert problems(KEY, {variable: value}) == [line]


def test_an_empty_section_in_the_environment_is_its_default() -> None:
    assert loaded(KEY + "listen: {port: 1}", {"MCP_ILERT__LISTEN": ""}).listen == config.Listen()


# The schema ---------------------------------------------------------------------------------------------


def complaints(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> Iterator[str]:
    """A validator of the part of JSON Schema that the configuration's schema uses."""
    known = {
        "$ref",
        "$schema",
        "$defs",
        "title",
        "description",
        "default",
        "anyOf",
        "enum",
        "type",
        "properties",
    }
    known |= {"additionalProperties", "required", "items", "propertyNames", "pattern", "minLength"}
    known |= {"minimum", "maximum", "exclusiveMinimum"}
    assert set(schema) <= known
    if "$ref" in schema:
        yield from complaints(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "anyOf" in schema and all(list(complaints(one, value, root)) for one in schema["anyOf"]):
        yield f"{value!r} is none of {schema['anyOf']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is not in {schema['enum']}"
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "null": type(None),
        "boolean": bool,
        "number": (int, float),
        "integer": int,
    }
    wanted = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    fits = [
        kind
        for kind in wanted
        if isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))
    ]
    if wanted and not fits:
        yield f"{value!r} is no {wanted}"
        return
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        yield from (f"{key} is missing" for key in schema.get("required", []) if key not in value)
        for key, item in value.items():
            if key in properties:
                yield from complaints(properties[key], item, root)
            elif schema.get("additionalProperties", True) is False:
                yield f"{key} is unknown"
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from complaints(schema["additionalProperties"], item, root)
            yield from complaints(schema.get("propertyNames", {}), key, root)
    if isinstance(value, list):
        for item in value:
            yield from complaints(schema.get("items", {}), item, root)
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{value!r} does not match"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield f"{value} is out of range"
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            yield f"{value} is too small"


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"listen": {"address": "0.0.0.0", "port": 8080}, "ilert": {"api_key": "k"}}, True),
        ({"mapping": {"priority_map": {"1": "critical", "-2": "low"}}, "tls": None}, True),
        ({"routes": [{"name": "a", "webhook_key": "k", "match": {"severity": ["high"]}}]}, True),
        ({"auth": {"tokens": [{"name": "a", "token": "t", "role": "operator"}]}}, True),
        ({"logging": {"level": "${LEVEL}"}, "retries": {"base_interval_seconds": 2.5}}, True),
        ({"listen": {"prot": 1}}, False),
        ({"listen": {"port": 70000}}, False),
        ({"listen": {"port": "80"}}, False),
        ({"listen": {"port": True}}, False),
        ({"mapping": {"priority_map": {"x": "low"}}}, False),
        ({"mapping": {"priority_map": {"1": "lo"}}}, False),
        ({"mapping": {"severity": {"bad": {"priority": "HIGH", "severity": 1}}}}, False),
        ({"auth": {"tokens": [{"token": "t"}]}}, False),
        ({"ilert": {"timeout_seconds": 0}}, False),
        ({"ilert": {"api_key": 5}}, False),
        ({"logging": {"level": "loud"}}, False),
    ],
)
def test_the_schema_and_the_reader_agree(value: Any, fits: bool) -> None:
    schema = config.json_schema()
    assert (not list(complaints(schema, value, schema))) is fits
    value = {**value, "ilert": {"webhook_key": "default-key", **value.get("ilert", {})}}
    environ = {"LEVEL": "info"}
    if fits:
        loaded(json.dumps(value), environ, ".json")
    else:
        assert problems(json.dumps(value), environ, ".json")


def test_the_schema_describes_every_key_and_knows_its_default() -> None:
    schema = config.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name, definition in {"": schema, **schema["$defs"]}.items():
        assert definition["additionalProperties"] is False
        for key, part in definition["properties"].items():
            section = "anyOf" in part and "$ref" in part["anyOf"][0]
            required = key in definition["required"]
            assert section or required or "default" in part, (name, key)
            assert section or name == "Service" or part["description"], (name, key)
            if "default" in part:
                assert not list(complaints(part, part["default"], schema)), (name, key)
    assert schema["$defs"]["Ilert"]["properties"]["api_key"]["type"] == ["string", "null"]
    assert json.loads(json.dumps(schema)) == schema
