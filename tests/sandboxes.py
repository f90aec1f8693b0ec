"""Short ways to talk to a sandbox in tests."""

import json
from typing import Any

from mcp_ilert.sandbox import API_KEY, INTEGRATION_KEY, Answer, Limits, Options, Request, SandboxIlert
from mcp_ilert.sandbox.alerts import Alert

JSON = (("content-type", "application/json"),)
BEARER = (("authorization", f"Bearer {API_KEY}"),)
UNLIMITED = Limits(integration_key=None, api_key=None, ip=None, heartbeat_key=None)
AT_ONCE = Options(limits=UNLIMITED, apply_seconds=0)
"""Options for tests that are about neither limits nor delay."""


def event(event_type: str = "ALERT", key: str | None = "k", **fields: Any) -> dict[str, Any]:
    """A valid event's body; a field given as None is left out."""
    body = {"integrationKey": INTEGRATION_KEY, "eventType": event_type, "alertKey": key, "summary": "s"}
    return {name: value for name, value in (body | fields).items() if value is not None}


def raw(core: SandboxIlert, body: bytes, now: float = 0.0, content_type: str | None = None) -> Answer:
    """POST these bytes as an event."""
    headers = JSON if content_type is None else (("content-type", content_type),)
    return core.handle(Request(method="POST", target="/api/events", headers=headers, body=body), now)


def post(core: SandboxIlert, body: Any, now: float = 0.0) -> Answer:
    """POST an event."""
    return raw(core, json.dumps(body).encode(), now)


def rest(
    core: SandboxIlert, method: str, path: str, body: Any = None, now: float = 0.0, **headers: str
) -> Answer:
    """Call the REST API with the sandbox's API key; header names are given with underscores."""
    extra = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    sent = b"" if body is None else json.dumps(body).encode()
    return core.handle(
        Request(method=method, target=f"/api{path}", headers=(*BEARER, *JSON, *extra), body=sent), now
    )


def read(answer: Answer) -> Any:
    """An answer's JSON body."""
    return json.loads(answer.body)


def headers(answer: Answer) -> dict[str, str]:
    return dict(answer.headers)


def the_alert(core: SandboxIlert, key: str = "k") -> Alert:
    """The open alert of a key, which must be there."""
    alert = core.open_alert(key)
    assert alert is not None
    return alert
