"""A bridge's doors on loopback, and clients that speak one protocol each, so that one suite tries all doors."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, Literal, get_args

import httpx
import msgspec
import trio
import trustme
from quart_trio import QuartTrio

from fake_spool import FakeSpool
from mcp_ilert.config import Settings, Token
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.hyper2 import Commons
from mcp_ilert.doors.server import Bounds, Fast, Server
from mcp_ilert.doors.sockets import listening_sockets
from mcp_ilert.doors.tls import ALPN, Clients
from mcp_ilert.intake import Intake, Limits
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.service.doors import MOST_BODY_BYTES
from mcp_ilert.web.app import bridge_app
from mcp_ilert.web.auth import Guard
from mcp_ilert.web.webhooks import Webhooks
from mcp_ilert.wire import Bounds as Sizes

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

    def __init__(
        self,
        *,
        limits: Limits,
        tokens: Sequence[Token],
        settings: Settings,
        read_timeout: float,
        mutual: bool = False,
    ):
        self.seconds = 0.0
        """The clock of the tokens' rates."""
        self.spool = FakeSpool()
        self.metrics = Metrics()
        self.reasons: list[str] = []
        self.notes: list[str] = []
        self.guard = Guard(tokens, mutual=mutual, now=lambda: self.seconds)
        self.intake = Intake(self.spool, Mapper(settings), self.metrics, lambda: NOW_MS, limits)
        self.webhooks = Webhooks(self.guard, settings)
        self.app: QuartTrio = bridge_app(
            intake=self.intake,
            guard=self.guard,
            metrics=self.metrics,
            readiness=lambda: (self.reasons, self.notes),
            version="1.2.3",
            read_timeout_seconds=read_timeout,
            webhooks=self.webhooks,
        )
        self.events = EventsDoor(self.intake, self.guard, self.metrics)
        self.port = 0
        self.tcp_port = 0
        self.secure = False
        self.server: Server

    def count(self, door: str, result: str) -> float:
        return count(self.metrics, door, result)


Carry = Literal["reactor", "stream", "hypercorn"]
CARRIES: tuple[Carry, ...] = get_args(Carry)


@asynccontextmanager
async def open_bridge(
    *,
    limits: Limits | None = None,
    tokens: Sequence[Token] = (),
    settings: Settings | None = None,
    read_timeout: float = 10,
    tls: ssl.SSLContext | None = None,
    clients: Clients | None = None,
    bounds: Bounds | None = None,
    deadlines: Deadlines | None = None,
    carry: Carry = "reactor",
    commons: Commons | None = None,
) -> AsyncIterator[Bridge]:
    """The doors, served on free ports of loopback until the block is left; `carry`: what moves the bytes."""
    limits = limits or Limits()
    settings = settings or Settings()
    mutual = clients is not None
    bridge = Bridge(limits=limits, tokens=tokens, settings=settings, read_timeout=read_timeout, mutual=mutual)
    sockets, lines = (listening_sockets("127.0.0.1", 0, keys=("listen.address", port)) for port in "ab")
    fast = None
    if carry != "hypercorn":
        sizes = Sizes(min(limits.max_body_bytes, MOST_BODY_BYTES), line_bytes=limits.max_event_bytes)
        fast = Fast(bridge.events, sizes, lines, pump=carry)
    deadlines = deadlines or Deadlines(body=read_timeout)
    bridge.secure = tls is not None
    bridge.server = Server(
        bridge.app,
        sockets,
        tls=tls,
        clients=clients,
        bounds=bounds,
        deadlines=deadlines,
        fast=fast,
        commons=commons,
    )
    bridge.port = bridge.server.addresses[0][1]
    bridge.tcp_port = lines[0].getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(bridge.server.serve, 1)
        try:
            yield bridge
        finally:
            bridge.server.stop()
    lines[0].close()


class Answer(msgspec.Struct):
    """What a client got; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Door(msgspec.Struct, frozen=True):
    """A way in."""

    name: str
    http2: bool
    label: str
    """Of its metrics."""
    carry: Carry
    secure: bool = False

    def open(self, **options: Any) -> AbstractAsyncContextManager[Bridge]:
        tls = server_tls() if self.secure else None
        return open_bridge(carry=self.carry, tls=tls, **options)

    def client(self, bridge: Bridge, **options: Any) -> "Client":
        return Client(bridge.port, http2=self.http2, verify=client_tls() if self.secure else None, **options)


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(list(ALPN))
    _authority().issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    """A new one each time, for httpx writes into it which protocols it offers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    return context


def secured(bridge: Bridge, stream: trio.SocketStream) -> trio.abc.Stream:
    """The stream as a client of this bridge uses it; TLS shakes hands when it is first used."""
    if not bridge.secure:
        return stream
    return trio.SSLStream(stream, client_tls(), server_hostname="127.0.0.1", https_compatible=True)


WAYS: tuple[tuple[str, Carry, bool], ...] = (
    ("reactor", "reactor", False),
    ("reactor-tls", "reactor", True),
    ("stream-tls", "stream", True),
    ("hypercorn", "hypercorn", False),
)
DOORS = tuple(
    Door(f"{label}-{name}", http2=label == "http2", label=label, carry=carry, secure=secure)
    for label in ("http1", "http2")
    for name, carry, secure in WAYS
)
"""Each protocol over each way of carrying it: both pumps, with TLS and without, and the app's own path."""


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
