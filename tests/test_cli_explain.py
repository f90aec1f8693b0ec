"""`mcp-ilert explain`: the routes that were asked and what failed, how severity and key were found, the request."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.cli import cli
from mcp_ilert.config import Match, RouteSettings, Service, Settings
from mcp_ilert.decode.native import decode_event
from mcp_ilert.mapping import Mapper
from mcp_ilert.service.explaining import explain

EVENT = {"mcp_id": "evt-1", "source": "db-1", "summary": "Disk full", "priority": 1, "tags": ["disk"]}
SECRETS = {"webhook_key": "planted-webhook", "api_key": "planted-api"}
ROUTES: list[dict[str, Any]] = [
    {"match": {"source": "web-*", "severity": ["low"], "labels": {"team": "shop"}}},
    {"match": {"tags": ["disk", "raid"]}},
    {"name": "db", "match": {"source": "db-*"}, "webhook_key": "planted-route", "labels": {"team": "dba"}},
    {"match": {"source": "never asked"}},
]


def ask(tmp_path: Path, event: Any = EVENT, *args: str, **sections: Any) -> Result:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"ilert": SECRETS, "routes": ROUTES} | sections))
    text = event if isinstance(event, str) else json.dumps(event)
    found = CliRunner().invoke(cli, ["explain", "-", "--config", str(config), *args], input=text)
    assert "planted" not in found.output
    return found


def told(tmp_path: Path, event: Any = EVENT, **sections: Any) -> Any:
    found = ask(tmp_path, event, "--json", **sections)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_it_says_of_each_route_before_the_match_what_failed(tmp_path: Path) -> None:
    found = told(tmp_path)
    assert found["routes"] == [
        {
            "route": "routes[0]",
            "failed": [
                "source 'db-1' does not match 'web-*'",
                "severity critical is none of low",
                "label team is missing, not 'shop'",
            ],
        },
        {"route": "routes[1]", "failed": ["tag 'raid' is missing"]},
        {"route": 'routes[2] "db"', "failed": []},
    ]
    assert (found["route"], found["target"]) == ('routes[2] "db"', "db")


def test_it_shows_the_request_with_its_keys_masked(tmp_path: Path) -> None:
    request = told(tmp_path)["request"]
    assert (request["method"], request["url"]) == ("POST", "https://api.ilert.com/api/events")
    assert request["headers"]["Authorization"] == "Bearer <secret>"
    assert request["body"] == {
        "integrationKey": "<secret>",
        "eventType": "ALERT",
        "alertKey": "evt-1",
        "summary": "Disk full",
        "priority": "HIGH",
        "severity": 1,
        "labels": {"source": "db-1", "team": "dba"},
        "customDetails": {"mcp_id": "evt-1", "tags": ["disk"]},
    }


@pytest.mark.parametrize(
    ("fields", "severity", "by"),
    [
        ({}, "critical", "mapping.priority_map: priority 1"),
        ({"priority": 9}, "high", "mapping.default_severity: mapping.priority_map has no priority 9"),
        ({"priority": None}, "high", "mapping.default_severity: the event gives no priority"),
        ({"severity": "low", "priority": 3}, "medium", "mapping.priority_map: priority 3"),
    ],
)
def test_it_says_how_the_severity_was_found(
    tmp_path: Path, fields: dict[str, Any], severity: str, by: str
) -> None:
    found = told(tmp_path, EVENT | fields)
    assert (found["severity"], found["severity_by"]) == (severity, by)


def test_it_says_how_the_alert_key_was_found(tmp_path: Path) -> None:
    mapping = {"alert_key": "{source}/{labels.check}"}
    with_it = told(tmp_path, EVENT | {"labels": {"check": "disk"}}, mapping=mapping)
    assert (with_it["alert_key"], with_it["alert_key_by"]) == (
        "db-1/disk",
        "mapping.alert_key {source}/{labels.check}",
    )
    without = told(tmp_path, mapping=mapping)
    assert without["alert_key"] == "evt-1"
    assert without["alert_key_by"].startswith("mcp_id")


def test_an_incident_is_explained_too(tmp_path: Path) -> None:
    routes = [{"target": "incident", "services": [{"alias": "orders"}, {"id": 7, "impact": "MAJOR_OUTAGE"}]}]
    request = told(tmp_path, routes=routes)["request"]
    assert (request["method"], request["url"]) == ("POST", "https://api.ilert.com/api/incidents")
    assert request["body"]["status"] == "INVESTIGATING"
    assert request["body"]["affectedServices"] == [
        {"impact": "DEGRADED", "service": {"id": "<the id of orders>"}},
        {"impact": "MAJOR_OUTAGE", "service": {"id": 7}},
    ]
    resolve = told(tmp_path, EVENT | {"status": "resolved"}, routes=routes)
    assert resolve["request"]["method"] == "PUT"
    assert any("every target where the key is open" in note for note in resolve["notes"])


def test_what_a_route_drops_makes_no_request(tmp_path: Path) -> None:
    found = told(tmp_path, routes=[{"drop": True}])
    assert (found["request"], found["target"], found["route"]) == (None, None, "routes[0]")


def test_for_people_it_is_lines(tmp_path: Path) -> None:
    found = ask(tmp_path)
    assert found.exit_code == 0
    assert "alert key  evt-1 (by mapping.alert_key {mcp_id})" in found.stdout
    assert "route      routes[1]: tag 'raid' is missing" in found.stdout
    assert 'route      routes[2] "db": matches' in found.stdout
    assert "POST https://api.ilert.com/api/events\n" in found.stdout
    assert "no route matches" in ask(tmp_path, routes=ROUTES[:1]).stdout


@pytest.mark.parametrize(
    ("text", "line"),
    [("{", "not an event"), ('{"mcp_id": "a", "source": "b"}', "summary"), ("x" * 70_000, "max_event_bytes")],
)
def test_what_is_no_event_is_a_line_and_exit_code_2(tmp_path: Path, text: str, line: str) -> None:
    found = ask(tmp_path, text)
    assert found.exit_code == 2
    assert line in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_wrong_configuration_and_a_missing_file_are_exit_code_2(tmp_path: Path) -> None:
    assert ask(tmp_path, EVENT, ilert={}).exit_code == 2
    found = CliRunner().invoke(cli, ["explain", str(tmp_path / "none.json"), "--config", "x"])
    assert found.exit_code == 2


async def test_the_request_is_the_one_that_goes_out() -> None:
    """Word for word what the target posts, but for the key."""
    from ilert_world import FIELDS, Secret, delivery
    from mcp_ilert.targets.ilert import IlertTarget

    payload = json.dumps(EVENT | {"labels": {"a": "b"}, "x": 1.50}).encode()
    settings = Settings(routes=(RouteSettings(routing_key="ops", services=(Service(alias="orders"),)),))
    said = explain(payload, settings, 0).request
    sent: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(202)

    mapper = Mapper(settings)
    target = IlertTarget(
        "default",
        Secret("<secret>"),
        None,
        "http://127.0.0.1:9",
        1,
        FIELDS,
        lambda sent: (decode_event(sent.payload), mapper.route(decode_event(sent.payload))),
        transport=httpx.MockTransport(handler),
    )
    await target.send(delivery(payload=payload, severity=mapper.severity(decode_event(payload))))
    assert said is not None
    assert sent == [bytes(said.body)]


words = st.sampled_from(["a", "b", "web-1", "web-2", "db"])
matches = st.builds(
    Match,
    source=st.none() | st.sampled_from(["*", "web-*", "db", "[ab]"]),
    tags=st.lists(words, max_size=2).map(tuple),
    severity=st.lists(st.sampled_from(["critical", "low"]), max_size=2, unique=True).map(tuple),
    labels=st.dictionaries(words, words, max_size=2),
)


@given(st.lists(matches, max_size=4), words, st.lists(words, max_size=3), st.dictionaries(words, words))
def test_a_route_fails_a_condition_exactly_where_the_table_passes_it_over(
    asked: list[Match], source: str, tags: list[str], labels: dict[str, str]
) -> None:
    settings = Settings(routes=tuple(RouteSettings(match=match) for match in asked))
    event = decode_event(
        json.dumps(
            {"mcp_id": "x", "source": source, "summary": "s", "tags": tags, "labels": labels, "priority": 1}
        ).encode()
    )
    mapper = Mapper(settings)
    considered = mapper.considered(event)
    found = mapper.rule(event)
    assert [c.route for c in considered if not c.failed] == ([found] if found else [])
    assert len(considered) == (int(found[7:-1]) + 1 if found else len(asked))
