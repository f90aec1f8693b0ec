"""`POST /events`: one event, an array of them, or one a line."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Protocol

import msgspec
from prometheus_client import Counter, Histogram
from quart import Response, request
from quart_trio import QuartTrio

from mcp_ilert.intake import Intake, Receipt
from mcp_ilert.media import JSON, NDJSON, media_type
from mcp_ilert.problems import RequestError
from mcp_ilert.web.auth import Guard, Principal
from mcp_ilert.web.encodings import encoding_of
from mcp_ilert.web.receiving import Clock, Receiver


class IngestMetrics(Protocol):
    """What this door tells; `Metrics` has them."""

    @property
    def in_events(self) -> Counter: ...
    @property
    def ingest_latency(self) -> Histogram: ...


def add_events(app: QuartTrio, intake: Intake, guard: Guard, metrics: IngestMetrics) -> None:
    """Give the app its door for events."""
    receiver = Receiver()

    @app.post("/events")
    async def events() -> Response:
        door = "http2" if request.http_version == "2" else "http1"
        principal = admit(guard, metrics, door)
        kind = media_type(request.headers.get("Content-Type"))
        encoding = encoding_of(request.headers.getlist("Content-Encoding"))
        clock = Clock()
        parts = clock.read(receiver.parts())
        if encoding is None:
            receipt = await _taken(intake, parts, kind, door, principal)
        else:
            sent = b"".join([part async for part in parts])
            async with aclosing(receiver.decoded(sent, encoding, intake.limits.max_body_bytes)) as plain:
                receipt = await _taken(intake, plain, kind, door, principal)
        metrics.ingest_latency.observe(clock.elapsed())
        return accepted(receipt)


async def _taken(
    intake: Intake, parts: AsyncIterator[bytes], kind: str, door: str, principal: Principal
) -> Receipt:
    if kind == NDJSON:
        return await intake.accept_lines(parts, door=door, allows=principal.allows, quota=principal.quota)
    whole = b"".join([part async for part in parts])
    return await intake.accept_body(whole, door=door, allows=principal.allows, quota=principal.quota)


def admit(guard: Guard, metrics: IngestMetrics, door: str) -> Principal:
    """Who sends the request, by its bearer token. Raises RequestError (401), counted."""
    try:
        return guard.admit(request.headers.get("Authorization"))
    except RequestError:
        metrics.in_events.labels(door=door, result="unauthorized").inc()
        raise


def accepted(receipt: Receipt) -> Response:
    """202, with what came of the events."""
    return Response(msgspec.json.encode(receipt), status=202, content_type=JSON)
