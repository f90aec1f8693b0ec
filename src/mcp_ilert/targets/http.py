"""One HTTP exchange with iLert. Whatever httpx may raise ends here, as an outcome."""

import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import trio

from mcp_ilert import __version__
from mcp_ilert.events import Unavailable
from mcp_ilert.targets.answers import MAX_BODY_BYTES, Answer, decoded, failed

BODY_SECONDS = 2.0
"""How long a body is waited for whose status is all that counts."""
USER_AGENT = f"mcp-ilert/{__version__}"


class SecretText(Protocol):
    """A key that shows itself only when asked to."""

    def reveal(self) -> str: ...


def api_base(api_url: str) -> str:
    """The root of iLert's API: "/api" is added unless the URL ends with it."""
    base = api_url.rstrip("/")
    return base if urlsplit(base).path.endswith("/api") else f"{base}/api"


class Caller:
    """Connections to one base address. Make it in a Trio task; `aclose` ends them."""

    def __init__(
        self,
        base: str,
        bearer: str,
        seconds: float,
        *,
        max_in_flight: int = 8,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`seconds` bound each request; `transport` in place of the network, for tests."""
        self._seconds = seconds
        self._client = _client(base, bearer, seconds, max_in_flight, tls, transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        most_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> Answer | Unavailable:
        """Make the request once. The status decides; of a body that is slow, cut or endless comes what can be had."""
        answer: list[Answer] = []
        with trio.move_on_after(self._seconds):
            try:
                async with self._client.stream(method, url, content=content, headers=headers) as response:
                    said = {name.lower(): value for name, value in response.headers.items()}
                    answer.append(Answer(response.status_code, said))
                    beginning = await _beginning(response, most_bytes, body_seconds)
                    answer.append(Answer(response.status_code, said, beginning))
            except Exception as error:  # noqa: BLE001 - below httpx, h2 and ssl have errors of their own
                if not answer:
                    return failed(error)
        return answer[-1] if answer else Unavailable("timeout", certain=False)


async def _beginning(response: httpx.Response, most_bytes: int, seconds: float) -> bytes:
    if response.is_stream_consumed:  # an answer made in memory comes as a whole
        return response.content[:most_bytes]
    raw = bytearray()
    with trio.move_on_after(seconds) as scope:
        async for chunk in response.aiter_raw():
            raw += chunk[: most_bytes - len(raw)]
            if len(raw) == most_bytes:
                scope.cancel()  # not break: httpx's generators close cleanly only from within
    return decoded(bytes(raw), response.headers.get("content-encoding", ""), most_bytes)


async def _do_not_follow(response: httpx.Response) -> None:
    """Take the redirection's address away before httpx looks at it: a malformed one would hide the status."""
    response.headers.pop("location", None)


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _client(
    url: str,
    bearer: str,
    seconds: float,
    max_in_flight: int,
    tls: ssl.SSLContext | None,
    transport: httpx.AsyncBaseTransport | None,
) -> httpx.AsyncClient:
    headers = {
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    return httpx.AsyncClient(
        http2=True,
        verify=True if tls is None else tls,
        follow_redirects=False,
        event_hooks={"response": [_do_not_follow]},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept
        trust_env=not _loopback(url),  # a proxy does not reach this machine's own sandbox
        headers=headers,
        # Half for connecting, so that it fails as such, which is certain, before the deadline of the whole attempt.
        timeout=httpx.Timeout(seconds, connect=seconds / 2, pool=seconds / 2),
        limits=httpx.Limits(
            max_connections=max_in_flight, max_keepalive_connections=max_in_flight, keepalive_expiry=60
        ),
        transport=transport,
    )
