"""The OpenAPI 3.1 document of the doors, its schemas taken from the Structs that decode and answer."""

from typing import Any, Final

import msgspec

from mcp_ilert.decode.native import EventIn
from mcp_ilert.intake import Receipt
from mcp_ilert.problems import CONTENT_TYPE, Problem
from mcp_ilert.web.api import CHANGES
from mcp_ilert.web.openapi_api import API_TYPES, api_paths
from mcp_ilert.web.openapi_webhooks import ENCODING, SCHEMES, webhook_paths

_REF: Final = "#/components/schemas/{name}"
PROBLEMS: Final[dict[int, str]] = {
    400: "The body is no JSON, no UTF-8, nested too deep, or neither an object nor an array.",
    401: "A bearer token is needed, or the one given is not known.",
    403: "The token does not allow this event's source.",
    408: "The body did not arrive in time.",
    413: "The body, or a single event, is too large.",
    415: "The content type or the content encoding is not one of ours.",
    422: "No event is valid; `detail` names the field.",
    429: "Too many events from this holder; come again after Retry-After.",
    503: "Nothing of the request was kept; come again after Retry-After.",
}
_EXAMPLE: Final = {
    "mcp_id": "evt-0001",
    "source": "probe-1",
    "priority": 1,
    "summary": "Disk full",
    "details": "root disk at 98%",
    "tags": ["disk", "storage"],
}


def document(version: str) -> dict[str, Any]:
    """The document, ready to be encoded."""
    events = _events()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MCP iLert",
            "version": version,
            "description": "Takes MCP events (custom monitoring events) and delivers them to iLert, without loss.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/events": {"post": events},
            **webhook_paths(events["responses"]),
            "/healthz": {
                "get": _get("The process is alive.", _object({"alive": {"const": True}}), tag="health")
            },
            "/readyz": {"get": _readyz()},
            "/openapi.json": {"get": _get("This document.", {"type": "object"}, tag="about")},
            "/": {"get": _status()},
            **api_paths(),
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}, **SCHEMES},
        },
    }


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([EventIn, Receipt, Problem, *API_TYPES], ref_template=_REF)
    event = schemas.pop("EventIn")
    event["title"] = "Event"
    event["description"] = "An MCP event. Fields not listed here are kept, and reach iLert in customDetails."
    event["additionalProperties"] = True
    event["examples"] = [_EXAMPLE]
    event["properties"]["details"] = {"type": ["string", "object", "null"], "default": None}
    event["properties"]["timestamp"] = {"type": ["string", "null"], "format": "date-time", "default": None}
    schemas["Event"] = event
    schemas["Link"] = schemas.pop("LinkIn")
    schemas["Link"]["title"] = "Link"
    for kind in CHANGES.values():  # the path says which it is; the body may
        change = schemas[kind.__name__]
        change["required"] = [name for name in change["required"] if name != "op"]
    text = msgspec.json.encode(schemas).replace(b"schemas/LinkIn", b"schemas/Link")
    found: dict[str, Any] = msgspec.json.decode(text)
    return found


def _events() -> dict[str, Any]:
    event = {"$ref": _REF.format(name="Event")}
    responses = {str(status): _problem(text) for status, text in PROBLEMS.items()}
    responses["202"] = {
        "description": "The valid events are committed and synced to disk; `rejected` lists the others.",
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="Receipt")}}},
    }
    return {
        "tags": ["events"],
        "summary": "Send one event, an array of them, or one a line",
        "operationId": "sendEvents",
        "security": [{"bearer": []}, {}],
        "parameters": [ENCODING],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [event, {"type": "array", "items": event, "minItems": 1}]}
                },
                "application/x-ndjson": {"schema": {"type": "string", "description": "An event a line."}},
            },
        },
        "responses": dict(sorted(responses.items())),
    }


def _readyz() -> dict[str, Any]:
    texts = {"type": "array", "items": {"type": "string"}}
    ready = _get("Accepting events.", _object({"ready": {"const": True}, "notes": texts}), tag="health")
    not_ready = _object({"ready": {"const": False}, "reasons": texts})
    ready["responses"]["503"] = {
        "description": "Not accepting events.",
        "content": {"application/json": {"schema": not_ready}},
    }
    return ready


def _status() -> dict[str, Any]:
    return {
        "tags": ["about"],
        "summary": "The dashboard: a page for people.",
        "responses": {
            "200": {"description": "HTML.", "content": {"text/html": {"schema": {"type": "string"}}}}
        },
    }


def _get(summary: str, schema: dict[str, Any], *, tag: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {CONTENT_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}}
