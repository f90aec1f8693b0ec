"""A bridge's doors on loopback, and clients that speak one protocol each, so that one suite tries all doors."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import msgspec
import trio
from quart_trio import QuartTrio

from fake_spool import FakeSpool
from mcp_ilert.config import Settings, Token
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.server import Bounds, Server
from mcp_ilert.doors.sockets import listening_sockets
from mcp_ilert.intake import Intake, Limits
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.web.app import bridge_app
from mcp_ilert.web.auth import Guard

NOW_MS = 1_700_000_000_000
EVENT = {
    "mcp_id": "evt-0001",
    "source": "probe-1",
    "priority": 1,
    "summary": "Disk full",
    "details": "root disk at 98%",
    "tags": ["disk", "storage"],
}
BODY = json.dumps(EVENT).encode()


def event(**fields: Any) -> bytes:
    """An event's JSON text, these fields in place of the sample's."""
    return json.dumps({**EVENT, **fields}).encode()


def count(metrics: Metrics, door: str, result: str) -> float:
    """What `mcp_in_events_total` says."""
    return metrics.registry.get_sample_value("mcp_in_events_total", {"door": door, "result": result}) or 0.0


class Bridge:
    """The doors over a fake spool; `port` is known once it is open."""

    def __init__(self, *, limits: Limits, tokens: Sequence[Token], settings: Settings, read_timeout: float):
        self.spool = FakeSpool()
        self.metrics = Metrics()
        self.reasons: list[str] = []
        self.notes: list[str] = []
        self.guard = Guard(tokens)
        self.intake = Intake(self.spool, Mapper(settings), self.metrics, lambda: NOW_MS, limits)
        self.app: QuartTrio = bridge_app(
            intake=self.intake,
            guard=self.guard,
            metrics=self.metrics,
            readiness=lambda: (self.reasons, self.notes),
            counts=self.spool.counts,
            version="1.2.3",
            read_timeout_seconds=read_timeout,
        )
        self.port = 0
        self.server: Server

    def count(self, door: str, result: str) -> float:
        return count(self.metrics, door, result)


@asynccontextmanager
async def open_bridge(
    *,
    limits: Limits | None = None,
    tokens: Sequence[Token] = (),
    settings: Settings | None = None,
    read_timeout: float = 10,
    tls: ssl.SSLContext | None = None,
    bounds: Bounds | None = None,
    deadlines: Deadlines | None = None,
) -> AsyncIterator[Bridge]:
    """The doors, served on a free port of loopback until the block is left."""
    bridge = Bridge(
        limits=limits or Limits(), tokens=tokens, settings=settings or Settings(), read_timeout=read_timeout
    )
    sockets = listening_sockets("127.0.0.1", 0, keys=("listen.address", "listen.port"))
    bridge.server = Server(bridge.app, sockets, tls=tls, bounds=bounds, deadlines=deadlines)
    bridge.port = bridge.server.addresses[0][1]
    async with trio.open_nursery() as nursery:
        await nursery.start(bridge.server.serve, 1)
        try:
            yield bridge
        finally:
            bridge.server.stop()


class Answer(msgspec.Struct):
    """What a client got; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Door(msgspec.Struct, frozen=True):
    """A way in. A faster door that serves the same port is one more of these, with its own `open`."""

    name: str
    http2: bool
    label: str
    """Of its metrics."""
    open: Callable[..., AbstractAsyncContextManager[Bridge]] = open_bridge

    def client(self, bridge: Bridge, **options: Any) -> "Client":
        return Client(bridge.port, http2=self.http2, **options)


DOORS = (Door("http1", http2=False, label="http1"), Door("http2", http2=True, label="http2"))


class Client:
    """One connection's worth of a protocol; `http2` by prior knowledge."""

    def __init__(self, port: int, *, http2: bool, verify: ssl.SSLContext | None = None):
        self.http2 = http2
        scheme = "https" if verify else "http"
        self._client = httpx.AsyncClient(
            base_url=f"{scheme}://127.0.0.1:{port}",
            http1=not http2,
            http2=http2,
            verify=verify or False,
            timeout=20,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            trust_env=False,
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._client.aclose()

    async def send(self, method="POST", path="/events", body: Any = None, headers=None) -> Answer:
        answer = await self._client.request(method, path, content=body, headers=headers)
        assert answer.http_version == ("HTTP/2" if self.http2 else "HTTP/1.1")
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    async def post(self, body: Any, content_type: str | None = "application/json", **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            given["content-type"] = content_type
        return await self.send(body=body, headers=given)
