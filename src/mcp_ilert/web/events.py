"""`POST /events`: one event, an array of them, or one a line."""

from collections.abc import AsyncIterator
from typing import Protocol, cast

import msgspec
import trio
from prometheus_client import Counter, Histogram
from quart import Response, request
from quart_trio import QuartTrio

from mcp_ilert.intake import Intake, Receipt
from mcp_ilert.media import JSON, NDJSON, media_type
from mcp_ilert.problems import RequestError
from mcp_ilert.web.auth import Guard, Principal
from mcp_ilert.web.base import BridgeRequest


class IngestMetrics(Protocol):
    """What this door tells; `Metrics` has them."""

    @property
    def in_events(self) -> Counter: ...
    @property
    def ingest_latency(self) -> Histogram: ...


def add_events(app: QuartTrio, intake: Intake, guard: Guard, metrics: IngestMetrics) -> None:
    """Give the app its door for events."""

    @app.post("/events")
    async def events() -> Response:
        door = "http2" if request.http_version == "2" else "http1"
        principal = _admit(guard, metrics, door)
        kind = media_type(request.headers.get("Content-Type"))
        _refuse_encodings()
        clock = _Clock()
        body = cast("BridgeRequest", request).body
        deadline = trio.current_time() + (request.body_timeout or 0)
        if kind == NDJSON:
            parts = clock.read(_within(body.parts(), deadline))
            receipt = await intake.accept_lines(
                parts, door=door, allows=principal.allows, quota=principal.quota
            )
        else:
            whole = b"".join([part async for part in clock.read(_within(body.parts(), deadline))])
            receipt = await intake.accept_body(
                whole, door=door, allows=principal.allows, quota=principal.quota
            )
        metrics.ingest_latency.observe(clock.elapsed())
        return _accepted(receipt)


class _Clock:
    """Measures from the end of the body to the answer, in seconds."""

    def __init__(self) -> None:
        self._since = trio.current_time()

    async def read(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            yield part
        self._since = trio.current_time()

    def elapsed(self) -> float:
        return trio.current_time() - self._since


async def _within(parts: AsyncIterator[bytes], deadline: float) -> AsyncIterator[bytes]:
    """The same parts, as long as they come before the deadline (Trio's clock)."""
    while True:
        with trio.CancelScope(deadline=deadline) as scope:
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
        if scope.cancelled_caught:
            raise RequestError(408, "the body did not arrive in time (listen.read_timeout_seconds)")
        yield part


def _admit(guard: Guard, metrics: IngestMetrics, door: str) -> Principal:
    try:
        return guard.admit(request.headers.get("Authorization"))
    except RequestError:
        metrics.in_events.labels(door=door, result="unauthorized").inc()
        raise


def _refuse_encodings() -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise RequestError(
            415, f"Content-Encoding: expected identity, got {encoding[:80]}", {"Accept-Encoding": "identity"}
        )


def _accepted(receipt: Receipt) -> Response:
    return Response(msgspec.json.encode(receipt), status=202, content_type=JSON)
