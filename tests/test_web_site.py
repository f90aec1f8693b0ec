"""Health, readiness, the API's description, through a real socket."""

import json

import pytest
from click.testing import CliRunner

from doors import DOORS, EVENT, Client, open_bridge
from mcp_ilert.cli.openapi import commands
from mcp_ilert.web.openapi import document


@pytest.fixture
async def bridge():
    async with open_bridge() as bridge:
        yield bridge


@pytest.fixture
async def client(bridge):
    async with Client(bridge.port, http2=False) as client:
        yield client


async def test_ready_with_notes_and_not_ready_with_reasons(bridge, client):
    bridge.notes.append("the key of default is parked")
    answer = await client.send("GET", "/readyz")
    assert (answer.status, answer.json) == (200, {"ready": True, "notes": ["the key of default is parked"]})
    bridge.reasons.append("shutting down")
    answer = await client.send("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"ready": False, "reasons": ["shutting down"]})
    assert (await client.send("GET", "/healthz")).json == {"alive": True}


async def test_a_head_of_what_can_be_got(client):
    answer = await client.send("HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")


async def test_the_description_is_an_openapi_document_that_knows_every_answer(client):
    found = (await client.send("GET", "/openapi.json")).json
    assert found == document("1.2.3")
    assert found["openapi"].startswith("3.1.")
    assert set(found["paths"]) >= {"/events", "/healthz", "/readyz", "/openapi.json", "/"}
    answers = found["paths"]["/events"]["post"]["responses"]
    assert set(answers) == {"202", "400", "401", "403", "408", "413", "415", "422", "429", "503"}


def test_every_reference_in_the_description_leads_somewhere():
    found = document("1")

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                yield from references(one)

    known = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert set(references(found)) <= known
    assert found["components"]["schemas"]["Event"]["examples"] == [EVENT]


def test_the_command_prints_the_same_document():
    [command] = commands
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0
    assert json.loads(result.output)["paths"].keys() == document("1")["paths"].keys()


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/"])
async def test_what_is_only_read_is_405_for_others(door, path):
    async with door.open() as bridge, door.client(bridge) as client:
        answer = await client.send("POST", path, body=b"x")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_document_bounds_what_is_bounded_and_asks_for_nothing_that_is_not():
    """Found by schemathesis: a page's number beyond 64 bits, and a change whose path says already which it is."""
    told = document("1")
    parameters = [p for path in told["paths"].values() for p in path.get("get", {}).get("parameters", [])]
    numbers = [p["schema"] for p in parameters if p["schema"]["type"] == "integer"]
    assert numbers
    assert all(schema["maximum"] < 2**63 for schema in numbers)
    for name in ("ReplayDead", "DropKey", "PauseTarget", "ResumeTarget"):
        assert "op" not in told["components"]["schemas"][name]["required"]
