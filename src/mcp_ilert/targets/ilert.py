"""The client of iLert's events API. Whatever httpx may raise ends here, as an outcome."""

import ssl
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import trio

from mcp_ilert import __version__
from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.errors import InvalidEventError, MalformedError
from mcp_ilert.events import Delivery, Event, Outcome, Rejected, Severity, Unavailable
from mcp_ilert.targets.answers import MAX_BODY_BYTES, Answer, classify, decoded, failed
from mcp_ilert.targets.payload import RouteFacts, SeverityFields, body

_BODY_SECONDS = 2.0
USER_AGENT = f"mcp-ilert/{__version__}"
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
        self._client = _client(self._url, bearer, timeout_seconds, max_in_flight, tls, transport)

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
            beginning = await _beginning(response)
            answer.append(Answer(response.status_code, headers, beginning))


async def _beginning(response: httpx.Response) -> bytes:
    if response.is_stream_consumed:  # an answer made in memory comes as a whole
        return response.content[:MAX_BODY_BYTES]
    raw = b""
    with trio.move_on_after(_BODY_SECONDS) as scope:
        async for chunk in response.aiter_raw():
            raw += chunk[: MAX_BODY_BYTES - len(raw)]
            if len(raw) == MAX_BODY_BYTES:
                scope.cancel()  # not break: httpx's generators close cleanly only from within
    return decoded(raw, response.headers.get("content-encoding", ""))


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
