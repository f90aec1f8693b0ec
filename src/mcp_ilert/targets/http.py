"""One HTTP exchange with iLert. Whatever httpx may raise ends here, as an outcome."""

import ssl
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import trio

from mcp_ilert.events import Unavailable
from mcp_ilert.targets.answers import MAX_BODY_BYTES, Answer
from mcp_ilert.targets.client import BODY_SECONDS, async_client, beginning
from mcp_ilert.targets.failures import failed


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
        self._client = async_client(
            base,
            seconds=seconds,
            headers=_headers(bearer),
            max_connections=max_in_flight,
            tls=tls,
            transport=transport,
        )

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
                    text = await beginning(response, most_bytes, body_seconds)
                    answer.append(Answer(response.status_code, said, text))
            except Exception as error:  # noqa: BLE001 - below httpx, h2 and ssl have errors of their own
                if not answer:
                    return failed(error)
        return answer[-1] if answer else Unavailable("timeout", certain=False)


def _headers(bearer: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    return headers | {"Authorization": f"Bearer {bearer}"} if bearer else headers
