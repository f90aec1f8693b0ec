"""What other people's web pages make a browser send is refused, where nothing else is asked of whoever comes.

With tokens nothing of this is needed: they travel in a header, which no foreign page can make a browser add, and
there are no cookies.
"""

from typing import cast

from prometheus_client import Counter
from quart import request
from quart_trio import QuartTrio

from mcp_ilert.problems import RequestError
from mcp_ilert.web.access import from_foreign_page, rebound
from mcp_ilert.web.auth import Guard
from mcp_ilert.web.base import BridgeRequest

API = "/api/"


def refuse_foreign_pages(app: QuartTrio, guard: Guard, in_events: Counter) -> None:
    """Look at each request before its handler does. Events so refused are counted as unauthorized."""

    async def look() -> None:
        why = None if guard.knows else _why()
        if why is None:
            return
        if not request.path.startswith(API):
            in_events.labels(door=_door(), result="unauthorized").inc()
        raise RequestError(403, f"without auth.tokens web pages of others are kept out; {why}")

    app.before_request(look)


def _why() -> str | None:
    reading = request.method in {"GET", "HEAD"}
    api = request.path.startswith(API)
    if reading and not api:
        return None
    host = cast("BridgeRequest", request).host
    headers = {name.lower(): value for name, value in request.headers.items()}
    why = None if reading else from_foreign_page(host, headers)
    return why or (rebound(client_address(), host) if api else None)


def client_address() -> str | None:
    """Of whoever is connected."""
    client = request.scope.get("client")
    return client[0] if client else None


def _door() -> str:
    if request.path.startswith("/webhooks/"):
        return "webhook"
    return "http2" if request.http_version == "2" else "http1"
