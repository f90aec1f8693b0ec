"""What a configuration file may say, what comes of it, and how each mistake is told."""

# ruff: noqa: E501 - a mistake and its line stand side by side

import json
import os
from pathlib import Path

import pytest

from mcp_ilert import config
from mcp_ilert.config import Secret, Settings
from mcp_ilert.errors import ConfigError

PATH = Path("/etc/mcp-ilert/config.yaml")
KEY = "ilert: {webhook_key: k}\n"
API = "ilert: {webhook_key: k, api_key: a}\n"

SEED_YAML = """
listen:
  address: 0.0.0.0
  port: 8080
ilert:
  api_key: your-api-key
  api_url: https://api.ilert.com
mapping:
  priority_map:
    1: critical
    2: high
    3: medium
    4: low
"""
SEED_TOML = """
[listen]
address = "0.0.0.0"
port = 8080
[ilert]
api_key = "your-api-key"
api_url = "https://api.ilert.com"
[mapping.priority_map]
1 = "critical"
2 = "high"
3 = "medium"
4 = "low"
"""
FULL_YAML = (
    SEED_YAML.replace("  api_url", "  webhook_key: your-webhook-key\n  api_url")
    + """
tls:
  cert_file: tls.crt
  key_file: tls.key
rate_limit:
  per_minute: 120
retries:
  max_attempts: 5
  base_interval_seconds: 2
  max_interval_seconds: 300
logging:
  level: info
  format: json
metrics:
  enabled: true
  listen_address: 0.0.0.0
  listen_port: 9090
"""
)
FULL_TOML = (
    SEED_TOML.replace("api_url", 'webhook_key = "your-webhook-key"\napi_url')
    + """
[tls]
cert_file = "tls.crt"
key_file = "tls.key"
[rate_limit]
per_minute = 120
[retries]
max_attempts = 5
base_interval_seconds = 2
max_interval_seconds = 300
[logging]
level = "info"
format = "json"
[metrics]
enabled = true
listen_address = "0.0.0.0"
listen_port = 9090
"""
)


def loaded(
    text: str, suffix: str = ".yaml", environ: dict[str, str] | None = None, path: Path = PATH
) -> Settings:
    return config.loads(text.encode(), suffix, environ or {}, path)


def problems(
    text: str, suffix: str = ".yaml", environ: dict[str, str] | None = None, path: Path = PATH
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, suffix, environ, path)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "suffix"), [(SEED_YAML, ".yaml"), (SEED_YAML, ".yml"), (SEED_TOML, ".toml")]
)
def test_the_seed_configuration_loads_unchanged(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"config{suffix}"
    path.write_text(text)
    settings = config.load(path, {})
    assert settings.listen == config.Listen(address="0.0.0.0", port=8080)
    assert settings.ilert.api_key == Secret("your-api-key")
    assert settings.mapping.priority_map == {1: "critical", 2: "high", 3: "medium", 4: "low"}
    assert config.targets(settings) == {"default": config.TargetSettings(Secret("your-api-key"), "alert")}


@pytest.mark.parametrize(("text", "suffix"), [(FULL_YAML, ".yaml"), (FULL_TOML, ".toml")])
def test_the_full_seed_configuration_loads_unchanged(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"config{suffix}"
    path.write_text(text)
    (tmp_path / "tls.crt").write_text("certificate")
    (tmp_path / "tls.key").write_text("key")
    settings = config.load(path, {})
    assert settings.tls.cert_file == str(tmp_path / "tls.crt")
    assert settings.rate_limit.per_minute == 120
    assert settings.rate_limit.capacity == 24
    assert settings.retries == config.Retries(5, 2.0, 300.0)
    assert config.targets(settings)["default"].key == Secret("your-webhook-key")


def test_json_is_read_with_integer_keys_as_text() -> None:
    text = json.dumps(
        {"ilert": {"webhook_key": "k"}, "mapping": {"priority_map": {"-7": "low"}}}, indent="\t"
    )
    assert loaded(text, ".json").mapping.priority_map == {-7: "low"}


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert (settings.listen.port, settings.listen.tcp_port, settings.listen.max_body_bytes) == (
        8080,
        None,
        1048576,
    )
    assert (settings.listen.max_event_bytes, settings.listen.max_connections) == (65536, 10000)
    assert (settings.listen.max_connections_per_address, settings.listen.read_timeout_seconds) == (1000, 10)
    assert settings.mapping.severity["low"] == config.SeverityFields("LOW", 4)
    assert settings.mapping.severity_names == {
        "page": "critical",
        "error": "high",
        "warning": "medium",
        "info": "low",
    }
    assert (settings.rate_limit.per_minute, settings.rate_limit.burst, settings.rate_limit.capacity) == (
        50,
        None,
        10,
    )
    assert settings.delivery.storm == config.Storm(300, "high", "source")
    assert (settings.history.keep_days, settings.history.max_bytes) == (7, 268435456)
    assert (settings.spool.path, settings.spool.max_pending, settings.spool.min_free_bytes) == (
        None,
        1000000,
        67108864,
    )
    assert (settings.metrics.listen_port, settings.metrics.enabled) == (9090, True)
    delivery = settings.delivery
    assert (delivery.max_in_flight, delivery.dedupe_seconds, delivery.cancel_resolved) == (8, 60, True)
    assert (delivery.remember_open_days, delivery.shutdown_grace_seconds) == (30, 8)


def test_what_is_given_as_null_or_at_its_default_is_as_if_left_out() -> None:
    text = (
        KEY
        + """
listen:
tls: {client_ca_file: null, client_allowed_sans: []}
auth: {webhook_secrets: [], tokens: []}
webhooks: {}
delivery: {storm: {after_seconds: 300, digest_below: high}}
history: {keep_days: 7, max_bytes: 268435456}
routes: []
"""
    )
    assert loaded(text) == loaded(KEY)


# One mistake, one line; each line is exact where an operator is to act on it.
MISTAKES = [
    ("ilert: {timeout_seconds: ten, webhook_key: k}", 'ilert.timeout_seconds: got "ten", expected a number of seconds > 0'),
    ("ilert: {timeout_seconds: 0, webhook_key: k}", "ilert.timeout_seconds: got 0, expected a number of seconds > 0"),
    ("ilert: {timeout_seconds: .inf, webhook_key: k}", "ilert.timeout_seconds: got Infinity, expected a number of seconds > 0"),
    (KEY + "retries: {base_interval_seconds: .nan}", "retries.base_interval_seconds: got NaN, expected a number of seconds > 0"),
    (KEY + "listen: {port: true}", "listen.port: got true, expected a port number, 0 to 65535"),
    (KEY + "listen: {port: 65536}", "listen.port: got 65536, expected a port number, 0 to 65535"),
    (KEY + "listen: {port: 80.0}", "listen.port: got 80.0, expected a port number, 0 to 65535"),
    (KEY + "listen: {port: null}", "listen.port: got null, expected a port number, 0 to 65535"),
    (KEY + "listen: {port: [80]}", "listen.port: got a list, expected a port number, 0 to 65535"),
    (KEY + f"listen: {{port: 0x{'f' * 5000}}}", "listen.port: got a number beyond 64 bits, expected a port number, 0 to 65535"),
    (KEY + "listen: {max_body_bytes: -1}", "listen.max_body_bytes: got -1, expected a number of bytes ≥ 1"),
    (KEY + "listen: {address: 'not an address'}", 'listen.address: got "not an address", expected an IP address or a host name to listen on, such as 0.0.0.0'),
    (KEY + "listen: 8080", "listen: got 8080, expected a mapping of keys to values"),
    (KEY + "tls: {client_ca_file: /etc/passwd}", "tls.cert_file: missing; expected a file, since tls.client_ca_file is given: it takes TLS to ask clients for certificates"),
    (KEY + "tls: {client_allowed_sans: [a]}", "tls.client_ca_file: missing; expected a file, since tls.client_allowed_sans is given"),
    (KEY + "tls: {client_allowed_sans: [' ']}", 'tls.client_allowed_sans[0]: got " ", expected a text that is not empty'),
    (KEY + "auth: {tokens: [{name: a, token: t, per_second: 0}]}", "auth.tokens[0].per_second: got 0, expected a number > 0"),
    (KEY + "auth: {webhook_secrets: [s3cr3t]}", 'auth.webhook_secrets[0]: expected a Standard Webhooks secret: "whsec_" and base64'),
    (KEY + "auth: {webhook_secrets: [whsec_c2hvcnQ=]}", "auth.webhook_secrets[0]: has 5 bytes, expected at least 16 (24 are usual)"),
    ("ilert: {webhook_key: k, heartbeat_url: 'ftp://x/h'}", "ilert.heartbeat_url: expected the https:// URL of a heartbeat monitor, without user and query"),
    (API + "routes: [{target: incident}]", "routes[0].services: empty; expected a service at least, since the route opens incidents"),
    (KEY + "routes: [{target: incident, services: [{id: 1}]}]", "routes[0].target: incident, but ilert.api_key is empty; expected the account's API key there"),
    (API + "routes: [{target: incident, services: [{id: 1, alias: a}]}]", "routes[0].services[0]: got id and alias, expected one of them"),
    (KEY + "routes: [{services: [{impact: DEGRADED}]}]", "routes[0].services[0]: got neither id nor alias, expected one of them"),
    (API + "routes: [{name: a, webhook_key: r}, {name: a, webhook_key: r, target: incident, services: [{id: 1}]}]", 'routes[1].target: got "incident", but routes[0], which has the same name "a", opens another kind; expected a name for each kind'),
    (KEY + "routes: [{services: [{id: 0}]}]", "routes[0].services[0].id: got 0, expected a whole number ≥ 1"),
    (KEY + "routes: [{escalate_if_nobody: x}]", "routes[0].escalate_if_nobody: needs the account's API key in ilert.api_key, to ask who is on call, and the integration key in ilert.webhook_key"),
    (KEY + "webhooks: {x: {}}", "webhooks.x.event: lacks mcp_id and summary; expected an expression for each, or a preset"),
    (KEY + "webhooks: {x: {preset: zabix}}", 'webhooks.x.preset: got "zabix", expected one of alertmanager, cloudwatch, grafana, icinga, sentry, uptime-kuma, zabbix; did you mean "zabbix"?'),
    (KEY + "webhooks: {'a/b': {preset: zabbix}}", "webhooks.\"a/b\": as a key, got \"a/b\", expected a name of 1 to 64 letters, digits, '.', '_' and '-', with a letter or digit first"),
    (KEY + "webhooks: {x: {event: {mcp_id: 'a[', summary: b}}}", 'webhooks.x.event.mcp_id: got "a[", expected a JMESPath expression (Invalid jmespath expression: Incomplete expression)'),
    (KEY + "webhooks: {x: {event: {mcp_id: 'jion(a, b)', summary: b}}}", 'webhooks.x.event.mcp_id: got "jion(a, b)", expected a function that JMESPath has, not jion(); did you mean "join"?'),
    (KEY + "webhooks: {x: {event: {mcp_id: 'a[::0]', summary: b}}}", 'webhooks.x.event.mcp_id: got "a[::0]", expected a slice whose step is not 0'),
    (KEY + "webhooks: {alertmanager: {preset: zabbix}}", "webhooks.alertmanager.preset: expected alertmanager, or none: this is the built-in webhook; give yours another name"),
    (KEY + "webhooks: {x: {preset: grafana, each: a}}", "webhooks.x.each: given, but the preset grafana has no expressions; leave it out"),
    (KEY + "webhooks: {x: {preset: zabbix, confirm_sns: true}}", "webhooks.x.confirm_sns: true, but only the preset cloudwatch has subscriptions to confirm"),
    (KEY + "history: {keep_days: 0}", "history.keep_days: got 0, expected a number of days > 0"),
    (KEY + "history: {max_bytes: -1}", "history.max_bytes: got -1, expected a number of bytes ≥ 0"),
    (KEY + "lisen: {}", 'lisen: unknown key; did you mean "listen"?'),
    (KEY + "port: 1", 'port: unknown key; did you mean "listen.port"?'),
    (KEY + "listen: {prot: 1}", 'listen.prot: unknown key; did you mean "port"?'),
    (KEY + "? [a, b]\n: 1\n", "a tuple: unknown key"),
    (KEY + 'listen: {"a\\nb": 1}', 'listen."a\\nb": unknown key'),
    (KEY + "rate_limit: {burst: 51}", "rate_limit.burst: got 51, expected a whole number, 1 to per_minute (50), or null"),
    (KEY + "rate_limit: {burst: 0}", "rate_limit.burst: got 0, expected a whole number ≥ 1"),
    (KEY + "retries: {max_interval_seconds: 1}", "retries.max_interval_seconds: got 1, expected a number of seconds ≥ base_interval_seconds (2)"),
    (KEY + "delivery: {shutdown_grace_seconds: -1}", "delivery.shutdown_grace_seconds: got -1, expected a number of seconds ≥ 0"),
    (KEY + "listen: {drain_seconds: 99999999}", "listen.drain_seconds: got 99999999, expected a number of seconds ≥ 0, at most 31622400"),
    (KEY + "delivery: {cancel_resolved: 1}", "delivery.cancel_resolved: got 1, expected true or false"),
    (KEY + "logging: {level: warn}", 'logging.level: got "warn", expected one of critical, debug, error, info, warning; did you mean "warning"?'),
    (KEY + "mapping: {default_severity: hihg}", 'mapping.default_severity: got "hihg", expected one of critical, high, medium, low; did you mean "high"?'),
    (KEY + "mapping: {priority_map: {1: crit}}", 'mapping.priority_map.1: got "crit", expected one of critical, high, medium, low; did you mean "critical"?'),
    (KEY + "mapping: {priority_map: {one: low}}", 'mapping.priority_map.one: as a key, got "one", expected a whole number'),
    (KEY + "mapping: {priority_map: {1: low, '1': low}}", "mapping.priority_map.1: given twice, as a number and as a text; keep one"),
    (KEY + "mapping: {severity: {critical: {priority: high, severity: 1}, high: {priority: HIGH, severity: 2}, medium: {priority: LOW, severity: 3}, low: {priority: LOW, severity: 4}}}", 'mapping.severity.critical.priority: got "high", expected one of HIGH, LOW; did you mean "HIGH"?'),
    (KEY + "mapping: {priority_map: {}, severity_names: {}, default_severity: low, severity: {low: {priority: LOW, severity: 6}}}", "mapping.severity.low.severity: got 6, expected a whole number, 1 (worst) to 5"),
    (KEY + "mapping: {priority_map: {}, severity_names: {}, default_severity: low, severity: {low: {priority: LOW}}}", "mapping.severity.low.severity: missing; expected a whole number, 1 (worst) to 5"),
    (KEY + "mapping: {priority_map: {1: high}, severity_names: {}, default_severity: low, severity: {low: {priority: LOW, severity: 4}}}", 'mapping.priority_map.1: got "high", expected a severity that mapping.severity has (low)'),
    (KEY + "mapping: {severity_names: {critical: low}}", 'mapping.severity_names.critical: got "low", but critical is a severity itself; leave it out'),
    (KEY + "auth: {required: true}", "auth.required: true, but auth.tokens is empty; expected at least one token, or tls.client_ca_file"),
    (KEY + "auth: {tokens: [{name: a, token: t}, {name: a, token: u}]}", 'auth.tokens[1].name: got "a", which auth.tokens[0] has already; expected a name of its own'),
    (KEY + "auth: {tokens: [{name: a, token: t}, {name: b, token: t}]}", "auth.tokens[1].token: is the same as that of auth.tokens[0]; expected its own"),
    (KEY + "auth: {tokens: [{name: a}]}", "auth.tokens[0].token: empty; expected the token, here or in a file named by token_file"),
    (KEY + "auth: {tokens: [{token: t}]}", "auth.tokens[0].name: missing; expected a text"),
    (KEY + "auth: {tokens: [{name: a, token: t, role: admin}]}", 'auth.tokens[0].role: got "admin", expected one of operator, producer'),
    (KEY + "auth: {tokens: [{name: a, token: t, sources: []}]}", 'auth.tokens[0].sources: empty; expected globs such as "web-*" (leave it out for all sources)'),
    (KEY + "routes: [{webhook_key: r}]", "routes[0].name: missing; expected a name, since the route has a webhook_key of its own"),
    (KEY + "routes: [{name: default, webhook_key: r}]", 'routes[0].name: got "default", expected another name: it is that of routes without a key'),
    (KEY + "routes: [{name: a, webhook_key: r}, {name: b, webhook_key: r}]", 'routes[1].name: got "b", expected "a": routes[0] has the same webhook_key'),
    (KEY + "routes: [{name: a, webhook_key: r}, {name: a, webhook_key: s}]", 'routes[1].webhook_key: differs from that of routes[0], which has the same name "a"; expected a name for each key'),
    (KEY + "routes: [{name: a, webhook_key: k}]", "routes[0].webhook_key: is the key of the target default; leave it out, and the route goes there"),
    (KEY + "routes: [{match: {severity: [hgih]}}]", 'routes[0].match.severity[0]: got "hgih", expected one of critical, high, medium, low; did you mean "high"?'),
    (KEY + "routes: {a: 1}", "routes: got a mapping, expected a list"),
    (KEY + "metrics: {listen_port: 8080}", "metrics.listen_port: got 8080, expected another port: it is listen.port's"),
    (KEY + "listen: {tcp_port: 8080}", "listen.tcp_port: got 8080, expected another port: it is listen.port's"),
    (KEY + "listen: {tcp_port: 9090}", "metrics.listen_port: got 9090, expected another port: it is listen.tcp_port's"),
    ("listen: {}", "ilert.webhook_key: empty, and so is ilert.api_key; expected the integration key of an alert source in one of them"),
    ("ilert: {webhook_key: 123}", 'ilert.webhook_key: got a number, expected a text (a key of digits alone needs quotes: "123")'),
    ("ilert: {webhook_key: 'a b'}", "ilert.webhook_key: expected a secret of printable ASCII characters without blanks"),
    ("ilert: {webhook_key: k, api_url: 'ftp://x'}", 'ilert.api_url: got "ftp://x", expected an http:// or https:// URL without user, query and fragment, such as https://api.ilert.com'),
    ("ilert: {webhook_key: '${NOT_SET}'}", "ilert.webhook_key: the environment variable NOT_SET is not set"),
    ("ilert: {webhook_key: 'a${'}", "ilert.webhook_key: '${' must be followed by a name and '}'; write '$${' for the characters themselves"),
    (KEY + "listen: {port: '${PORT}'}", 'listen.port: got "${PORT}", expected a port number, 0 to 65535; only texts may be ${NAME}: set MCP_ILERT__LISTEN__PORT in its place'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), MISTAKES)
def test_a_mistake_gives_one_readable_line(text: str, line: str) -> None:
    assert problems(text) == [line]


@pytest.mark.parametrize(
    "template", ["{", "}", "{mcp_id", "{{mcp_id}}", "{mcp_id!r}", "{nope}", "{labels.}", "static", ""]
)
def test_an_alert_key_that_is_no_template_is_refused(template: str) -> None:
    (line,) = problems(KEY + f"mapping: {{alert_key: {json.dumps(template)}}}")
    assert line.startswith(f"mapping.alert_key: got {json.dumps(template)}, expected a template")


def test_an_unknown_field_of_the_alert_key_is_told_with_the_nearest_known() -> None:
    (line,) = problems(KEY + 'mapping: {alert_key: "{sorce}"}')
    assert line.endswith('did you mean "{source}"?')


def test_a_template_is_texts_and_fields() -> None:
    parts = config.parse_template("{source}/{labels.data center}-x")
    assert parts == (config.Field("source"), "/", config.Field("data center", label=True), "-x")


def test_all_problems_are_told_at_once() -> None:
    lines = problems(
        "lisen: {}\nlisten: {port: -1, max_body_bytes: x}\nrate_limit: {per_minute: 5, burst: 6}\n"
        "auth: {tokens: [{}, {name: a, token: t}, {name: a, token: t}]}\nlogging: {level: loud}\n"
    )
    starts = ["lisen:", "listen.port:", "listen.max_body_bytes:", "auth.tokens[0].name:", "logging.level:"]
    starts += ["ilert.webhook_key:", "auth.tokens[0].token:", "auth.tokens[2].name:", "auth.tokens[2].token:"]
    starts += ["rate_limit.burst:"]
    assert sorted(line.split(" ")[0] for line in lines) == sorted(starts)


def test_a_broken_key_is_not_blamed_a_second_time_by_the_checks_across_keys() -> None:
    assert len(problems("ilert: {webhook_key: [x]}")) == 1
    assert len(problems(KEY + "rate_limit: {per_minute: 0, burst: 40}")) == 1
    assert len(problems(KEY + "tls: {cert_file: /does/not/exist}")) == 1
    assert len(problems(KEY + "mapping: {severity: 5}")) == 1


def test_thousands_of_problems_are_cut() -> None:
    lines = problems(KEY + "".join(f"wrong_{i}: 1\n" for i in range(1000)))
    assert len(lines) == 101
    assert lines[-1] == "… and 900 more"


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("x")
    lines = problems(KEY + "tls: {cert_file: c.pem}", path=tmp_path / "config.yaml")
    assert lines == [
        "tls.key_file: missing; expected a file, since tls.cert_file is given (or leave both out)"
    ]
    lines = problems(KEY + "tls: {cert_file: c.pem, key_file: .}", path=tmp_path / "config.yaml")
    assert lines == ["tls.key_file: not a file; expected the path of a readable file"]
    lines = problems(KEY + "tls: {cert_file: d.pem, key_file: c.pem}", path=tmp_path / "config.yaml")
    assert lines == ['tls.cert_file: got "d.pem", no such file; expected the path of a readable file']


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    (tmp_path / "key").chmod(0)
    lines = problems("ilert: {webhook_key_file: key}", path=tmp_path / "config.yaml")
    assert lines == [
        "ilert.webhook_key_file: no permission to read the file; expected the path of a readable file"
    ]


def test_routes_with_a_key_of_their_own_are_targets() -> None:
    settings = loaded(
        KEY + "routes: [{match: {source: 'db-*', tags: [a], labels: {dc: b}}, name: db, webhook_key: r},"
        " {name: also, routing_key: x, labels: {a: b}}, {name: db, webhook_key: r}, {drop: true}]"
    )
    assert config.targets(settings) == {
        "default": config.TargetSettings(Secret("k")),
        "db": config.TargetSettings(Secret("r")),
    }
    assert list(config.targets(settings)) == ["default", "db"]
    assert settings.routes[0].match == config.Match("db-*", ("a",), (), {"dc": "b"})


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.ilert.com", "https://api.ilert.com/api"),
        ("https://api.ilert.com/", "https://api.ilert.com/api"),
        ("https://api.ilert.com/api", "https://api.ilert.com/api"),
        ("https://api.ilert.com/api/", "https://api.ilert.com/api"),
        ("http://127.0.0.1:8099", "http://127.0.0.1:8099/api"),
        ("http://[::1]:1/proxy", "http://[::1]:1/proxy/api"),
        ("https://proxy/xapi", "https://proxy/xapi/api"),
    ],
)
def test_api_is_added_to_the_url_unless_it_is_there(given: str, base: str) -> None:
    assert loaded(f"ilert: {{webhook_key: k, api_url: '{given}'}}").ilert.api_base == base


def test_what_is_unwise_is_warned_of_and_not_refused() -> None:
    settings = loaded(
        "ilert: {webhook_key: k, api_url: 'http://ilert.example'}\n"
        "listen: {drain_seconds: 5}\nauth: {tokens: [{name: a, token: short}]}\n"
        "webhooks: {aws: {preset: cloudwatch, confirm_sns: true, hmac_secret: short}}"
    )
    assert [line.split(":")[0] for line in config.warnings(settings)] == [
        "ilert.api_url",
        "delivery.shutdown_grace_seconds",
        "auth.tokens[0].token",
        "webhooks.aws.hmac_secret",
        "webhooks.aws.confirm_sns",
    ]
    assert config.warnings(loaded(KEY))[0].startswith(
        "auth.tokens: empty, and listen.address 0.0.0.0 is beyond"
    )
    quiet = "ilert: {webhook_key: k, api_url: 'http://localhost:1'}\nlisten: {address: '::1'}"
    assert config.warnings(loaded(quiet)) == []


def test_client_certificates_count_as_authentication() -> None:
    tls = f"tls: {{cert_file: {__file__}, key_file: {__file__}, client_ca_file: {__file__}}}\n"
    settings = loaded(KEY + tls + "auth: {required: true}")
    assert config.warnings(settings) == []
    assert Path(__file__) in config.watched_files(settings)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/mcp-ilert", "XDG_STATE_HOME": "/x"}, "/var/lib/mcp-ilert/spool.db"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/spool.db"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/mcp-ilert/spool.db"),
        ({"XDG_STATE_HOME": "not/absolute", "HOME": "/h"}, "/h/.local/state/mcp-ilert/spool.db"),
        ({"HOME": "/h"}, "/h/.local/state/mcp-ilert/spool.db"),
    ],
)
def test_the_spool_has_a_place_by_default(environ: dict[str, str], expected: str) -> None:
    assert config.spool_path(Settings(), environ) == Path(expected)


def test_relative_paths_start_at_the_folder_of_the_file() -> None:
    settings = loaded(KEY + "spool: {path: state/spool.db}")
    assert config.spool_path(settings, {"STATE_DIRECTORY": "/s"}) == Path("/etc/mcp-ilert/state/spool.db")


def test_a_reload_names_what_needs_a_restart() -> None:
    old = loaded(KEY)
    new = loaded(KEY + "listen: {port: 1, max_connections: 5}\nmetrics: {listen_port: 2}\nspool: {path: /x}")
    assert config.reload_differences(old, new) == ["listen.port", "spool.path", "metrics.listen_port"]
    assert config.reload_differences(old, old) == []


def test_a_target_is_one_key_and_one_kind() -> None:
    settings = loaded(
        API + "routes: ["
        "{target: incident, services: [{id: 1}]}, {name: plain, target: incident, services: [{id: 2}]},"
        " {name: db, webhook_key: r}, {name: calls, webhook_key: r, target: incident, services: [{id: 3}]},"
        " {name: gone, webhook_key: g, target: incident, drop: true}]"
    )
    found = {
        name: (target.key.reveal(), target.kind, [service.id for service in target.services])
        for name, target in config.targets(settings).items()
    }
    assert found == {
        "default": ("k", "alert", []),
        "default-incident": ("a", "incident", [1]),
        "db": ("r", "alert", []),
        "calls": ("a", "incident", [3]),
    }


def test_watched_files_are_those_that_hold_secrets_and_certificates(tmp_path: Path) -> None:
    for name in ("a", "w", "t", "r", "c.pem", "k.pem"):
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "h").write_text("https://beat.ilert.com/api/pings/h\n")
    settings = loaded(
        "ilert: {api_key_file: a, webhook_key_file: w, heartbeat_url_file: h}\ntls: {cert_file: c.pem, key_file: k.pem}\n"
        "auth: {tokens: [{name: n, token_file: t}]}\nroutes: [{name: r, webhook_key_file: r}]",
        path=tmp_path / "config.yaml",
    )
    watched = {path.name for path in config.watched_files(settings)}
    assert watched == {"a", "w", "h", "t", "r", "c.pem", "k.pem"}
    assert settings.ilert.api_key == Secret("a")
    assert settings.auth.tokens[0].token == Secret("t")
    assert config.targets(settings)["r"].key == Secret("r")
