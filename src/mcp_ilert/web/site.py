"""What a person or an orchestrator asks the port: health, readiness, the API's description."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from quart import Response
from quart_trio import QuartTrio

from mcp_ilert.web.openapi import document

Readiness = Callable[[], tuple[Sequence[str], Sequence[str]]]
"""Gives (reasons, notes): what keeps the bridge from accepting, and what an operator should know."""


def add_health(app: QuartTrio) -> None:
    """`GET /healthz`: the process lives."""

    @app.get("/healthz")
    async def healthz() -> Response:
        return _json({"alive": True})


def add_site(app: QuartTrio, readiness: Readiness, version: str) -> None:
    """Give the app `/readyz` and `/openapi.json`."""
    openapi = msgspec.json.encode(document(version))

    @app.get("/readyz")
    async def readyz() -> Response:
        reasons, notes = readiness()
        if reasons:
            return _json({"ready": False, "reasons": list(reasons)}, 503, {"Retry-After": "5"})
        return _json({"ready": True, "notes": list(notes)})

    @app.get("/openapi.json")
    async def openapi_json() -> Response:
        return Response(openapi, content_type="application/json")


def _json(value: Mapping[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(value), status=status, headers=headers or {}, content_type="application/json"
    )
