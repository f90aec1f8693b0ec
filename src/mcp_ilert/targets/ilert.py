"""The client of iLert's events API."""

import ssl
from collections.abc import Callable, Mapping

import httpx
import msgspec

from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.errors import InvalidEventError, MalformedError
from mcp_ilert.events import Delivered, Delivery, Event, Kind, Outcome, Rejected, Severity, Unavailable
from mcp_ilert.targets.answers import classify
from mcp_ilert.targets.http import Caller, SecretText, api_base
from mcp_ilert.targets.payload import RouteFacts, SeverityFields, body
from mcp_ilert.targets.port import More, at_once, seal

Interpret = Callable[[Delivery], tuple[Event, RouteFacts]]
"""Makes an event's bytes into the event, and finds the route that it matches now."""


def events_url(api_url: str) -> str:
    """Where events are posted."""
    return f"{api_base(api_url)}/events"


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
        self._fields = {severity: severity_fields[severity.name.lower()] for severity in Severity}
        self._interpret = interpret
        self._now_ms = now_ms
        bearer = api_key.reveal() if api_key else ""
        self._hidden = tuple(text for text in (self._key, bearer) if text)
        self._caller = Caller(
            self._url, bearer, timeout_seconds, max_in_flight=max_in_flight, tls=tls, transport=transport
        )

    @property
    def name(self) -> str:
        """The target's name."""
        return self._name

    @property
    def credential(self) -> str:
        """Its key is its own."""
        return self._name

    def sealed(self, salt: bytes) -> bytes:
        """Of the integration key."""
        return seal(self._key, salt)

    @property
    def requests(self) -> int:
        """One."""
        return 1

    def __repr__(self) -> str:
        return f"IlertTarget({self._name!r}, {self._url!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._caller.aclose()

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:  # noqa: ARG002 - one request is all
        """Post the operation once. Never raises for what a server or a network may do."""
        try:
            event, facts = self._interpret(delivery)
            content = body(delivery, event, facts, self._key, self._fields)
        except (InvalidEventError, MalformedError) as error:  # the rules became stricter since it was taken
            return Rejected(0, f"not sent, the event is not valid any more: {error.detail}")
        answer = await self._caller.ask("POST", self._url, content)
        if isinstance(answer, Unavailable):
            return answer
        outcome = classify(answer, self._now_ms(), self._hidden)
        if isinstance(outcome, Delivered) and facts.on_call and delivery.kind is Kind.ALERT:
            return msgspec.structs.replace(outcome, note=f"on call: {facts.on_call}")
        return outcome
