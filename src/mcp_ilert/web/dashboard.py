"""`GET /`: the dashboard. A page without data; its script asks `/api/v1` in the name of whoever looks at it.

What is served here holds what `/readyz` tells everybody, and nothing else. All of it is read into memory at the
start, is the same for all, and comes from this port alone: nothing inline, nothing from elsewhere.
"""

import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from mcp_ilert.problems import RequestError
from mcp_ilert.web.site import Readiness

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE: Final = "index.html"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Part(msgspec.Struct, frozen=True):
    """A file of the page, as it is sent."""

    body: bytes
    content_type: str
    tag: str


def add_dashboard(app: QuartTrio, readiness: Readiness, version: str) -> None:
    """Give the app `/` and what the page needs, below `/ui/`."""
    folder = files("mcp_ilert.web").joinpath("ui")
    page = Template(folder.joinpath(PAGE).read_text("utf-8"))
    parts = {f.name: _part(f.name, f.read_bytes()) for f in folder.iterdir() if f.name != PAGE}

    @app.get("/")
    async def dashboard() -> Response:
        html = page.substitute(_fields(*readiness(), version))
        headers = {**HEADERS, "Cache-Control": "no-store"}
        return Response(html, content_type="text/html; charset=utf-8", headers=headers)

    @app.get("/ui/<name>")
    async def part(name: str) -> Response:
        found = parts.get(name)
        if found is None:
            raise RequestError(404, "there is nothing at this path; the dashboard is at /")
        # Asked for again each time, so that an upgraded bridge and a cached page never meet; a 304 costs nothing.
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": found.tag}
        if request.headers.get("If-None-Match") == found.tag:
            return Response(b"", status=304, headers=headers)
        return Response(found.body, headers=headers, content_type=found.content_type)


def _part(name: str, body: bytes) -> Part:
    suffix = name[name.rindex(".") :]
    return Part(body, TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _fields(reasons: Sequence[str], notes: Sequence[str], version: str) -> dict[str, str]:
    return {
        "version": escape(version),
        "level": "bad" if reasons else "note" if notes else "good",
        "says": "Nothing is accepted." if reasons else "Events are accepted.",
        "lines": "".join(f"<li>{escape(line)}</li>" for line in (*reasons, *notes)),
    }
