"""Secrets stay secret, and whatever a configuration holds, reading it raises nothing but ConfigError."""

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert import config
from mcp_ilert.config import Secret, Settings, hide_secrets
from mcp_ilert.config.load import settings_of
from mcp_ilert.errors import ConfigError

PLANTED = "s3cr3t-9f8e7d"
PATH = Path("/nowhere/config.yaml")


def test_a_secret_shows_itself_to_nobody_but_reveal() -> None:
    secret = Secret(PLANTED)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", format(secret, ">20")]
    shown += ["%s %r" % (secret, secret)]  # noqa: UP031 - the old way must not leak either
    shown += [repr([secret]), repr({secret: secret}), repr(Settings(ilert=config.Ilert(api_key=secret)))]
    shown += [msgspec.json.encode({"k": secret}, enc_hook=hide_secrets).decode()]
    assert all("<secret>" in text and PLANTED not in text for text in shown)
    assert secret.reveal() == PLANTED
    assert msgspec.json.encode(secret, enc_hook=hide_secrets) == b'"<secret>"'


def test_several_secrets_may_stand_in_a_file_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    wanted = ("whsec_" + "a" * 32, "whsec_" + "b" * 32)
    file.write_text("\n".join(wanted) + "\n\n")
    text = f"{{ilert: {{webhook_key: k}}, auth: {{webhook_secrets_file: '{file}'}}}}"
    found = config.loads(text.encode(), ".yaml", {})
    assert tuple(secret.reveal() for secret in found.auth.webhook_secrets) == wanted
    assert file in config.watched_files(found)
    file.write_text(f"{wanted[0]}\nwhsec_{PLANTED}\n")
    with pytest.raises(ConfigError) as refused:
        config.loads(text.encode(), ".yaml", {})
    line = 'auth.webhook_secrets[1]: expected a Standard Webhooks secret: "whsec_" and base64'
    assert refused.value.problems == [line]
    both = text.replace("auth: {", f"auth: {{webhook_secrets: [{wanted[0]}], ")
    with pytest.raises(ConfigError, match=r"given here and in auth\.webhook_secrets_file; keep one"):
        config.loads(both.encode(), ".yaml", {})


def test_a_secret_is_not_taken_for_text() -> None:
    secret = Secret(PLANTED)
    with pytest.raises(TypeError) as caught:
        msgspec.json.encode(secret)
    assert PLANTED not in str(caught.value)
    with pytest.raises(TypeError):
        json.dumps(secret)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(Settings(ilert=config.Ilert(api_key=secret)), protocol)
    assert not hasattr(secret, "__dict__")


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("ü\ud800") != Secret("u")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret()
    assert Secret("a")
    secret = Secret("a")
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


def outcome(raw: object, environ: dict[str, str] | None = None) -> Settings | list[str]:
    """The settings, or the problems."""
    try:
        return settings_of(raw, environ or {}, PATH)
    except ConfigError as error:
        return error.problems


SECRET_PLACES: list[Any] = [
    {"ilert": {"api_key": ...}},
    {"ilert": {"webhook_key": ...}},
    {"ilert": {"api_key_file": ...}},
    {"ilert": {"heartbeat_url": ...}},
    {"ilert": {"api_keyy": ...}},
    {"ilert": ...},
    {"ilert": [...]},
    {"ilert": {"api_url": ["https://user:", ..., "@x"]}},
    {"auth": ...},
    {"auth": {"tokens": ...}},
    {"auth": {"tokens": [...]}},
    {"auth": {"tokens": [{"token": ...}, {"name": "a", "token": ...}]}},
    {"auth": {"tokens": [{"name": "a", "token_file": ...}]}},
    {"auth": {"webhook_secrets": [...]}},
    {"auth": {"webhook_secrets": ...}},
    {"routes": ...},
    {"routes": [...]},
    {"routes": [{"webhook_key": ...}, {"name": "default", "webhook_key": ...}]},
    {"routes": [{"name": "a", "webhook_key": "x"}, {"name": "a", "webhook_key": ...}]},
    {"tls": {"key_file": ...}},
    {"webhooks": {"a": {"hmac_secret": ...}}},
    {"webhooks": ...},
    {"unknown": ...},
    ...,
]


def _filled(place: Any, value: object) -> Any:
    if place is ...:
        return value
    if isinstance(place, dict):
        return {key: _filled(item, value) for key, item in place.items()}
    if isinstance(place, list) and len(place) == 3:
        return f"{place[0]}{value}{place[2]}"
    return [_filled(item, value) for item in place] if isinstance(place, list) else place


secrets = st.one_of(
    st.just(PLANTED),
    st.text(max_size=5).map(lambda tail: PLANTED + tail),
    st.text(max_size=5).map(lambda head: head + PLANTED),
    st.sampled_from(["${", "${NOPE}", "$${", "/", "\n", "\0", " ", "@", ":"]).map(
        lambda head: head + PLANTED
    ),
    st.just([PLANTED]),
    st.just({"a": PLANTED}),
)


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(SECRET_PLACES), secret=secrets)
def test_a_planted_secret_never_appears_in_a_problem(place: Any, secret: object) -> None:
    read = outcome(_filled(place, secret))
    assert PLANTED not in repr(read)
    if isinstance(read, Settings):
        assert PLANTED not in "".join(config.warnings(read))


VARIABLES = [
    "ILERT__API_KEY",
    "ILERT__API_KEY_FILE",
    "ILERT",
    "AUTH",
    "AUTH__TOKENS",
    "ROUTES",
    "AUTH__WEBHOOK_SECRETS",
]


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(VARIABLES),
    head=st.sampled_from(["", "'", '"', "[", "{", "*", "!", "- ", "&a ", "a: ", "%"]),
)
def test_a_planted_secret_never_appears_in_a_problem_of_the_environment(name: str, head: str) -> None:
    environ = {f"MCP_ILERT__{name}": head + PLANTED, "OTHER": PLANTED}
    read = outcome({"logging": {"level": "${OTHER}"}}, environ)
    assert isinstance(read, list)
    assert PLANTED not in repr(read)


WORDS = [
    *(
        "listen",
        "tls",
        "auth",
        "ilert",
        "mapping",
        "routes",
        "webhooks",
        "rate_limit",
        "delivery",
        "storm",
        "spool",
    ),
    *(
        "port",
        "tokens",
        "name",
        "token",
        "webhook_key",
        "webhook_key_file",
        "priority_map",
        "severity",
        "alert_key",
    ),
    *(
        "match",
        "labels",
        "critical",
        "HIGH",
        "1",
        "${A}",
        "${",
        "path",
        "cert_file",
        "api_url",
        "http://[",
        "",
    ),
]
words = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | st.binary(max_size=4) | st.dates()
keys = words | st.integers(-3, 9) | st.none() | st.booleans() | st.tuples(st.integers())
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
sections = {field.encode_name: field for field in msgspec.structs.fields(Settings)}


@st.composite
def near_misses(draw: st.DrawFn) -> dict[str, object]:
    """Sections with keys that exist and values that may not fit."""
    result: dict[str, object] = {}
    for name in draw(st.lists(st.sampled_from(sorted(sections)), max_size=4)):
        struct = sections[name].type
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
            known = st.sampled_from([field.encode_name for field in msgspec.structs.fields(struct)])
            result[name] = draw(st.dictionaries(known, junk, max_size=4))
        else:
            result[name] = draw(junk)
    return result


@settings(max_examples=200, deadline=None)
@given(
    raw=junk | near_misses(),
    environ=st.dictionaries(words.map(lambda w: f"MCP_ILERT__{w.upper()}"), words, max_size=2),
)
def test_junk_raises_nothing_but_a_config_error(raw: object, environ: dict[str, str]) -> None:
    read = outcome(raw, environ)
    if not isinstance(read, Settings):
        assert read
        assert all(len(line.splitlines()) == 1 and line.isprintable() for line in read)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=60) | st.text("ab:-[]{}'\"#&*!|>%@`?, \n\t0${}", max_size=30).map(str.encode),
       suffix=st.sampled_from([".yaml", ".json", ".toml"]))  # fmt: skip
def test_bytes_raise_nothing_but_a_config_error(raw: bytes, suffix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.loads(raw, suffix, {}, PATH)
    assert all(len(line.splitlines()) == 1 for line in caught.value.problems)


@settings(max_examples=100, deadline=None)
@given(
    port=st.integers(0, 65535).filter(lambda port: port != 9090),
    per_minute=st.integers(1, 10**6),
    seconds=st.floats(0.001, 10**6) | st.integers(1, 10**6),
    labels=st.dictionaries(st.text("abc", min_size=1), st.text("xyz €"), max_size=3),
    severities=st.dictionaries(
        st.integers(-(2**63), 2**63 - 1), st.sampled_from(["critical", "low"]), max_size=5
    ),
)
def test_what_is_valid_is_read_as_it_was_written(
    port: int, per_minute: int, seconds: float, labels: dict[str, str], severities: dict[int, str]
) -> None:
    raw = {
        "listen": {"port": port},
        "ilert": {"webhook_key": "k", "timeout_seconds": seconds},
        "rate_limit": {"per_minute": per_minute, "burst": per_minute},
        "mapping": {"priority_map": severities},
        "routes": [{"labels": labels}],
    }
    read = config.loads(json.dumps(raw).encode(), ".json", {}, PATH)
    assert (read.listen.port, read.rate_limit.burst, read.ilert.timeout_seconds) == (
        port,
        per_minute,
        seconds,
    )
    assert read.mapping.priority_map == severities
    assert read.routes[0].labels == labels
    assert read == config.loads(json.dumps(raw).encode(), ".yaml", {}, PATH)


def test_a_secret_in_a_folder_that_is_closed_to_us_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_self: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", closed)  # root, as whom tests may run, is let in everywhere
    with pytest.raises(ConfigError) as caught:
        settings_of({"ilert": {"webhook_key_file": "/run/credentials/x/key"}}, {}, PATH)
    assert "no permission to look at the file" in caught.value.problems[0]
