"""One list of requests, answered the same in process and over real sockets, by HTTP/1.1 and HTTP/2.

What runs against the sandbox on virtual time means something only if this holds.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import trio

from mcp_ilert.sandbox import Fault, Limits, Options, SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.sandbox.transport import SandboxTransport
from sandboxes import BEARER, JSON, event

NOW = 1_000_000.0
PATIENCE = httpx.Timeout(5.0, read=0.5)
LIMITS = Limits(integration_key=30, api_key=40, ip=None)
OPTIONS = Options(limits=LIMITS, apply_seconds=0, max_body_bytes=100_000)
Open = Callable[[SandboxIlert], AbstractAsyncContextManager[httpx.AsyncClient]]


class Step(msgspec.Struct, frozen=True):
    """A request, and the fault that is set just before it."""

    method: str
    target: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = JSON
    fault: Fault | None = None


def events(*bodies: Any, fault: Fault | None = None) -> list[Step]:
    """POSTs of events; bytes go as they are."""
    texts = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    return [Step("POST", "/api/events", text, fault=fault) for text in texts]


def calls(*calls_: tuple[str, str, Any]) -> list[Step]:
    """REST calls with the API key."""
    return [
        Step(method, f"/api{path}", b"" if body is None else json.dumps(body).encode(), (*BEARER, *JSON))
        for method, path, body in calls_
    ]


INCIDENT = {
    "summary": "down",
    "status": "IDENTIFIED",
    "affectedServices": [{"impact": "DEGRADED", "service": {"id": 6002}}],
}
STEPS = [
    *events(event(), event("ACCEPT"), event("RESOLVE"), event("COMMENT"), event(key="ключ/ß")),
    *events(b"", b"{", b"[]", b"\xff", event(severity="SEV1"), event(summary=""), event(eventType="X")),
    *events(event(integrationKey="unknown"), event(details="x" * 50_000), event(details="x" * 100_000)),
    Step("POST", "/api/events", b"{}", ()),
    Step("POST", "/api/events", b"{}", (("content-type", "text/plain"),)),
    Step("GET", "/api/events", headers=()),
    Step("GET", "/", headers=()),
    Step("GET", "/api/alerts", headers=()),
    Step("GET", "/api/alerts", headers=(("authorization", "Bearer wrong"),)),
    Step("GET", "/api/pings/sandbox-heartbeat", headers=()),
    Step("HEAD", "/api/pings/sandbox-heartbeat", headers=()),
    Step("HEAD", "/api/nothing", headers=()),
    Step("POST", "/api/heartbeats/il1hbt-sandbox", headers=()),
    Step("POST", "/api/v1/events/api/sandbox-key", json.dumps(event(key="hook")).encode()),
    Step("GET", "/api/alert-sources/%C3%9F%2F", headers=BEARER),
    *calls(
        ("GET", "/alerts?include=customDetails&max-results=2", None),
        ("GET", "/alerts?states=RESOLVED", None),
        ("GET", "/alerts/count", None),
        ("GET", "/alerts?max-results=101", None),
        ("PUT", "/alerts/2/resolve", None),
        ("GET", "/alerts/99", None),
        ("POST", "/incidents", INCIDENT),
        ("POST", "/incidents", {}),
        ("GET", "/incidents/1?include=history", None),
        ("PUT", "/incidents/1", INCIDENT | {"status": "RESOLVED"}),
        ("GET", "/schedules?include=currentShift,nextShift", None),
        ("GET", "/schedules/4002/user-on-call", None),
        ("GET", "/on-calls?expand=user", None),
        ("POST", "/users/search-email", {"email": "ada@example.org"}),
    ),
    *[
        step
        for fault in (
            Fault(kind="status", status=500, times=1),
            Fault(kind="status", status=502, html=True, times=1),
            Fault(kind="status", status=403, html=True, times=1),
            Fault(kind="status", status=429, retry_after="3", times=1),
            Fault(kind="status", status=204, times=1),
            Fault(kind="slow", seconds=0.3, times=1),
            Fault(kind="slow", seconds=0.3, times=1, applied=True),
            Fault(kind="hang", times=1),
            Fault(kind="hang", seconds=0.1, times=1, applied=True),
            Fault(kind="reset", times=1),
            Fault(kind="lost", times=1),
        )
        for step in events(event(key="fault"), fault=fault)
    ],
    *events(*[event(key=f"k{n}") for n in range(30)]),
]


async def results(core: SandboxIlert, opened: Open) -> list[Any]:
    """What a client saw of each step."""
    async with opened(core) as http:
        return [await result(core, http, step) for step in STEPS]


async def result(core: SandboxIlert, http: httpx.AsyncClient, step: Step) -> Any:
    if step.fault is not None:
        core.set_faults(step.fault, now=NOW)
    try:
        answer = await http.request(
            step.method, step.target, content=step.body or None, headers=dict(step.headers)
        )
    except httpx.TimeoutException:
        return "timeout"
    except httpx.ConnectError:
        return "no connection"
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return "cut"
    shown = sorted((name, value) for name, value in answer.headers.items() if name != "date")
    return answer.status_code, shown, answer.content


@asynccontextmanager
async def in_process(core: SandboxIlert) -> AsyncIterator[httpx.AsyncClient]:
    transport = SandboxTransport(core, now=lambda: NOW)
    async with httpx.AsyncClient(transport=transport, base_url="http://ilert.test", timeout=PATIENCE) as http:
        yield http


def over_sockets(*, http2: bool) -> Open:
    @asynccontextmanager
    async def opened(core: SandboxIlert) -> AsyncIterator[httpx.AsyncClient]:
        async with (
            open_sandbox(core, now=lambda: NOW) as server,
            httpx.AsyncClient(base_url=server.url, http1=not http2, http2=http2, timeout=PATIENCE) as http,
        ):
            yield http
            assert {received.http_version for received in core.requests} == {"2" if http2 else "1.1"}

    return opened


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
async def test_sockets_and_the_transport_answer_the_same(http2: bool) -> None:
    near, far = SandboxIlert(OPTIONS), SandboxIlert(OPTIONS)
    expected: list[Any] = []
    seen: list[Any] = []

    async def keep(core: SandboxIlert, opened: Open, into: list[Any]) -> None:
        into += await results(core, opened)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, near, in_process, expected)
        nursery.start_soon(keep, far, over_sockets(http2=http2), seen)
    for step, there, here in zip(STEPS, seen, expected, strict=True):
        assert there == here, step
    assert far.stats().statuses == near.stats().statuses
    assert far.alerts.all() == near.alerts.all()
    assert list(far.log) == list(near.log)
    kinds = {each if isinstance(each, str) else each[0] for each in expected}
    assert kinds == {200, 202, 204, 400, 401, 403, 404, 405, 413, 429, 500, 502, 503, "timeout", "cut"}


@pytest.mark.parametrize(
    "opened",
    [in_process, over_sockets(http2=False), over_sockets(http2=True)],
    ids=["in process", "http1", "http2"],
)
async def test_nobody_listens_while_connections_are_refused(opened: Open) -> None:
    core = SandboxIlert(OPTIONS)
    core.set_faults(Fault(kind="refused"), now=NOW)
    async with opened(core) as http:
        for step in events(event(), event()):
            assert await result(core, http, step) == "no connection"
        core.clear_faults()
        for step in events(event()):
            assert (await result(core, http, step))[0] == 202
    assert core.stats().requests == 1
