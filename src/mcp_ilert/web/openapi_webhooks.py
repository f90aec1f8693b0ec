"""The part of the OpenAPI document that describes `/webhooks`; of other systems' bodies only the frame is told."""

from collections.abc import Mapping
from typing import Any, Final

SECURITY: Final[list[dict[str, list[str]]]] = [
    {"bearer": []},
    {"basic": []},
    {"hmac": []},
    {"standardWebhooks": []},
    {},
]
SCHEMES: Final[dict[str, Any]] = {
    "basic": {"type": "http", "scheme": "basic", "description": "Webhooks: the password is a bearer token."},
    "hmac": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Hub-Signature-256",
        "description": "Webhooks with an hmac_secret: sha256= and the body's HMAC-SHA256 in hexadecimal digits.",
    },
    "standardWebhooks": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Webhooks: Standard Webhooks, with webhook-id and webhook-timestamp beside it.",
    },
}
_ALERT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["status", "fingerprint"],
    "properties": {
        "status": {"enum": ["firing", "resolved"]},
        "fingerprint": {"type": "string", "minLength": 1},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "startsAt": {"type": "string"},
        "endsAt": {"type": "string"},
        "generatorURL": {"type": "string"},
    },
}
NOTIFICATION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["alerts"],
    "properties": {
        "alerts": {"type": "array", "minItems": 1, "items": _ALERT},
        "receiver": {"type": "string"},
        "truncatedAlerts": {"type": "integer"},
    },
}
_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "A key of `webhooks` in the configuration.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
}


def webhook_paths(responses: Mapping[str, Any]) -> dict[str, Any]:
    """The paths below /webhooks; `responses` are those of POST /events."""
    known = _post(
        "Notify of Prometheus Alertmanager's alerts (webhook format 4)",
        "Alertmanager",
        NOTIFICATION,
        responses,
    )
    grafana = _post("Notify of Grafana's alerts (unified alerting)", "Grafana", NOTIFICATION, responses)
    missing = {"404": {**responses["422"], "description": "There is no webhook of this name."}}
    named = _post(
        "Notify by a configured webhook", "Webhook", {}, dict(sorted({**responses, **missing}.items()))
    )
    return {
        "/webhooks/alertmanager": {"post": known},
        "/webhooks/grafana": {"post": grafana},
        "/webhooks/{name}": {"post": named | {"parameters": [_NAME, *named["parameters"]]}},
    }


def _post(
    summary: str, operation: str, schema: dict[str, Any], responses: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "tags": ["webhooks"],
        "summary": summary,
        "operationId": f"notify{operation}",
        "security": SECURITY,
        "parameters": [ENCODING],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": responses,
    }


ENCODING: Final[dict[str, Any]] = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is compressed; one of these alone.",
    "schema": {"enum": ["gzip", "zstd", "identity"]},
}
