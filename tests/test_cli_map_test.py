"""`mcp-ilert map-test`: what a payload would become, and what it says and exits with where it is refused."""

import json

import pytest
from click.testing import CliRunner

from mcp_ilert.cli import cli
from samples import FOLDER, payload

CONFIG = """
ilert: {webhook_key: k}
mapping: {severity_names: {sev1: critical}}
routes: [{name: shops, match: {source: "shop-*"}}]
webhooks:
  shop: {each: items, event: {mcp_id: id, summary: title, severity: level, source: "'shop-1'"}}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return str(path)


def run(*args, body=None):
    return CliRunner().invoke(cli, ["map-test", *args], input=None if body is None else json.dumps(body))


@pytest.mark.parametrize(
    "name", ["alertmanager", "grafana", "zabbix", "icinga", "uptime-kuma", "cloudwatch", "sentry"]
)
def test_presets_are_known_without_a_configuration(name):
    result = run(name, str(FOLDER / f"{name}.json"), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["events"]
    assert found["rejected"] == []


def test_the_events_are_shown_with_key_severity_and_route(config):
    result = run(
        "shop", "-", "--config", config, body={"items": [{"id": "A", "title": "Down", "level": "SEV1"}]}
    )
    assert result.exit_code == 0
    first, *rest = result.stdout.splitlines()
    assert first == 'event 0: ALERT of A, severity critical, routes[0] "shops"'
    assert json.loads("".join(rest)) == {
        "mcp_id": "A",
        "source": "shop-1",
        "summary": "Down",
        "severity": "sev1",
    }


def test_what_is_rejected_is_told_and_ends_with_1(config):
    body = {
        "items": [
            {"id": 1, "title": "t"},
            {"id": 2},
            {"id": 3, "title": "x" * 2000},
            {"id": " ", "title": "t"},
        ]
    }
    result = run("shop", "-", "--config", config, body=body)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "event 1: rejected: $.summary: the webhook's expression gives nothing",
        "event 3: rejected: $.mcp_id: expected an alert key, got nothing but white space",
    ]
    found = json.loads(run("shop", "-", "--config", config, "--json", body=body).stdout)
    assert [one["index"] for one in found["events"]] == [0, 2]
    assert [one["index"] for one in found["rejected"]] == [1, 3]


def test_a_body_that_cannot_be_used_ends_with_1(config):
    result = run("shop", "-", "--config", config, body={})
    assert (result.exit_code, result.stderr) == (
        1,
        "rejected: the webhook's expression `each` gives no array\n",
    )
    result = run("alertmanager", str(FOLDER / "sentry.json"))
    assert (result.exit_code, result.stderr) == (1, "rejected: $.alerts: required, but missing\n")


def test_a_payload_that_says_nothing_is_no_error():
    result = run("cloudwatch", str(FOLDER / "sns-confirmation.json"))
    assert (result.exit_code, result.stdout) == (
        0,
        "no event: the payload says nothing that is to be reported\n",
    )


def test_a_name_or_a_configuration_that_is_wrong_ends_with_2(config, tmp_path):
    result = run("zabbix", str(FOLDER / "zabbix.json"), "--config", config)
    assert result.exit_code == 2
    assert (
        "there is no webhook zabbix in this configuration; known are alertmanager, grafana, shop"
        in result.stderr
    )
    assert run("nobody", "-", body=1).exit_code == 2
    assert run("zabbix", str(tmp_path / "missing.json")).exit_code == 2
    broken = tmp_path / "broken.yaml"
    broken.write_text("webhooks: {x: {preset: y}}")
    assert run("x", "-", "--config", str(broken), body=1).exit_code == 2


def test_numbers_of_a_notification_keep_their_digits():
    result = run("grafana", str(FOLDER / "grafana.json"))
    assert '"B": 44.230' in result.stdout
    assert payload("grafana")["alerts"][0]["values"]["B"] == 44.23
