"""What tests of the iLert target build it from."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from mcp_ilert.events import Delivery, Event, Kind, Severity
from mcp_ilert.targets.ilert import IlertTarget

KEY, API_KEY = "il1api-the-integration-key", "il1-the-api-key"
T0 = 1_800_000_000_000


class Secret:
    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<secret>"


class Fields(msgspec.Struct, frozen=True):
    priority: str
    severity: int


class Facts(msgspec.Struct, frozen=True):
    labels: dict[str, str] = {}
    routing_key: str | None = None
    on_call: str = ""
    services: tuple[Any, ...] = ()


FIELDS = {
    "critical": Fields("HIGH", 1),
    "high": Fields("HIGH", 2),
    "medium": Fields("LOW", 3),
    "low": Fields("LOW", 4),
}
EVENT = Event(mcp_id="evt-1", source="probe-1", summary="Disk full")


def delivery(**values: Any) -> Delivery:
    base: dict[str, Any] = {
        "lease": 1,
        "target": "default",
        "key": "evt-1",
        "kind": Kind.ALERT,
        "severity": Severity.HIGH,
        "payload": b"{}",
        "count": 1,
        "first_ms": T0,
        "last_ms": T0,
        "attempts": 0,
        "rejections": 0,
        "revivals": 0,
    }
    return Delivery(**(base | values))


def target(
    *,
    url: str = "http://127.0.0.1:9",
    event: Event = EVENT,
    facts: Facts = Facts(),  # noqa: B008 - frozen
    api_key: str = "",
    seconds: float = 10,
    handler: Callable[[httpx.Request], Any] | None = None,
    **values: Any,
) -> IlertTarget:
    if handler is not None:
        values["transport"] = httpx.MockTransport(handler)
    return IlertTarget(
        "default",
        Secret(KEY),
        Secret(api_key) if api_key else None,
        url,
        seconds,
        FIELDS,
        lambda _payload: (event, facts),
        now_ms=lambda: T0,
        **values,
    )
