"""What a person or an orchestrator asks the port: health, readiness, the API's description, a status page."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from mcp_ilert.events import Counts
from mcp_ilert.problems import RequestError
from mcp_ilert.web.auth import Guard
from mcp_ilert.web.openapi import document

Readiness = Callable[[], tuple[Sequence[str], Sequence[str]]]
"""Gives (reasons, notes): what keeps the bridge from accepting, and what an operator should know."""

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def add_health(app: QuartTrio) -> None:
    """`GET /healthz`: the process lives."""

    @app.get("/healthz")
    async def healthz() -> Response:
        return _json({"alive": True})


def add_site(
    app: QuartTrio, readiness: Readiness, counts: Callable[[], Counts], guard: Guard, version: str
) -> None:
    """Give the app `/readyz`, `/openapi.json` and `/`."""
    page = Template(files("mcp_ilert.web").joinpath("status.html").read_text("utf-8"))
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

    @app.get("/")
    async def status() -> Response:
        reasons, notes = readiness()
        shown = counts() if _may_see(guard) else None
        html = page.substitute(_fields(reasons, notes, shown, version))
        return Response(html, content_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


def _may_see(guard: Guard) -> bool:
    """The counters are for whoever has a token, where tokens are in use."""
    try:
        guard.admit(request.headers.get("Authorization"))
    except RequestError:
        return False
    return True


def _json(value: Mapping[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(value), status=status, headers=headers or {}, content_type="application/json"
    )


# The status page -------------------------------------------------------------------------------------------------

TILES = (
    ("Accepted", "accepted", "events taken and synced to disk"),
    ("Delivered", "delivered", "at iLert"),
    ("Waiting", "pending", "on disk, on their way"),
    ("Folded", "coalesced", "shared an alert's fate"),
    ("Cancelled", "cancelled", "resolved before they were sent"),
    ("Dead letters", "dead", "kept, for replay"),
)


def _fields(
    reasons: Sequence[str], notes: Sequence[str], counts: Counts | None, version: str
) -> dict[str, str]:
    return {
        "version": escape(version),
        "state": "not accepting events" if reasons else "accepting events",
        "mood": "bad" if reasons else "note" if notes else "good",
        "lines": "".join(f"<li>{escape(line)}</li>" for line in (*reasons, *notes)),
        "tiles": _tiles(counts)
        if counts
        else '<p class="quiet">The counters are shown to holders of a token.</p>',
    }


def _tiles(counts: Counts) -> str:
    return "".join(
        f'<div class="tile"><b>{getattr(counts, field):,}</b><span>{name}</span><small>{what}</small></div>'
        for name, field, what in TILES
    )
