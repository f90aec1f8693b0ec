"""The client of iLert's events API. Whatever httpx may raise ends here, as an outcome."""

import ssl
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import trio

from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.errors import InvalidEventError, MalformedError
from mcp_ilert.events import Delivery, Event, Outcome, Rejected, Severity, Unavailable
from mcp_ilert.targets.answers import Answer, classify, failed
from mcp_ilert.targets.client import async_client, beginning
from mcp_ilert.targets.payload import RouteFacts, SeverityFields, body

Interpret = Callable[[Delivery], tuple[Event, RouteFacts]]
"""Makes an event's bytes into the event, and finds the route that it matches now."""


class SecretText(Protocol):
    """A key that shows itself only when asked to."""

    def reveal(self) -> str: ...


def events_url(api_url: str) -> str:
    """Where events are posted: "/api" is added unless the URL ends with it."""
    base = api_url.rstrip("/")
    return f"{base}/events" if urlsplit(base).path.endswith("/api") else f"{base}/api/events"


class IlertTarget:
    """One integration key at iLert. Open it in a Trio task; `aclose` ends its connections."""

    def __init__(
        self,
        name: str,
        key: SecretText,
        api_key: SecretText | None,
        api_url: str,
        timeout_seconds: float,
        severity_fields: Mapping[str, SeverityFields],
        interpret: Interpret,
        *,
        max_in_flight: int = 8,
        now_ms: NowMs = wall_ms,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`severity_fields` by the words of `mapping.severity`; `transport` in place of the network, for tests."""
        self._name = name
        self._key = key.reveal()
        self._url = events_url(api_url)
        self._seconds = timeout_seconds
        self._fields = {severity: severity_fields[severity.name.lower()] for severity in Severity}
        self._interpret = interpret
        self._now_ms = now_ms
        bearer = api_key.reveal() if api_key else ""
        self._hidden = tuple(text for text in (self._key, bearer) if text)
        self._client = async_client(
            self._url,
            seconds=timeout_seconds,
            headers=_headers(bearer),
            max_connections=max_in_flight,
            tls=tls,
            transport=transport,
        )

    @property
    def name(self) -> str:
        """The target's name."""
        return self._name

    def __repr__(self) -> str:
        return f"IlertTarget({self._name!r}, {self._url!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, delivery: Delivery) -> Outcome:
        """Post the operation once. Never raises for what a server or a network may do."""
        try:
            event, facts = self._interpret(delivery)
            content = body(delivery, event, facts, self._key, self._fields)
        except (InvalidEventError, MalformedError) as error:  # the rules became stricter since it was taken
            return Rejected(0, f"not sent, the event is not valid any more: {error.detail}")
        answer: list[Answer] = []
        with trio.move_on_after(self._seconds):
            try:
                await self._post(content, answer)
            except Exception as error:  # noqa: BLE001 - below httpx, h2 and ssl have errors of their own
                if not answer:
                    return failed(error)
        if answer:
            return classify(answer[-1], self._now_ms(), self._hidden)
        return Unavailable("timeout", certain=False)

    async def _post(self, content: bytes, answer: list[Answer]) -> None:
        """Fill `answer`, first with the status and headers, then with what can be had of the body.

        The status decides; a body that is slow, cut or endless changes nothing.
        """
        async with self._client.stream("POST", self._url, content=content) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            answer.append(Answer(response.status_code, headers))
            answer.append(Answer(response.status_code, headers, await beginning(response)))


def _headers(bearer: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    return headers | {"Authorization": f"Bearer {bearer}"} if bearer else headers
