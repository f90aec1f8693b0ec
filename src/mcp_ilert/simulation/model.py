"""iLert in a simulation: a target over the sandbox's core, without httpx, which would cost more than all else.

What is sent is the true request, and what comes back is judged by the true table of answers.
"""

from collections.abc import Awaitable, Callable, Mapping

import httpx
import trio

from mcp_ilert.events import Delivery, Event, Outcome, Severity, Unavailable
from mcp_ilert.sandbox import Request, SandboxIlert
from mcp_ilert.targets.answers import Answer, classify
from mcp_ilert.targets.failures import failed
from mcp_ilert.targets.payload import RouteFacts, SeverityFields, body
from mcp_ilert.targets.port import More, at_once, seal

BODY_SECONDS = 2.0
"""How long the client waits for a body whose status it knows."""
HEADERS = (("content-type", "application/json"),)

Attempted = Callable[[Delivery, Event, Outcome], None]
Interpret = Callable[[Delivery], tuple[Event, RouteFacts]]


class ModelTarget:
    """A target whose iLert is a model; `now` gives seconds since 1970, `sleep` waits for so many."""

    def __init__(
        self,
        name: str,
        core: SandboxIlert,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        timeout_seconds: float,
        fields: Mapping[Severity, SeverityFields],
        interpret: Interpret,
        attempted: Attempted,
    ) -> None:
        self.name = name
        self._core = core
        self._now = now
        self._sleep = sleep
        self._seconds = timeout_seconds
        self._fields = fields
        self._interpret = interpret
        self._attempted = attempted
        self.mistake: Exception | None = None
        """Something that must not happen here, and did."""

    @property
    def credential(self) -> str:
        return self.name

    def sealed(self, salt: bytes) -> bytes:
        """It is its name."""
        return seal(self.name, salt)

    @property
    def requests(self) -> int:
        """One."""
        return 1

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:  # noqa: ARG002 - one request is all
        try:
            event, facts = self._interpret(delivery)
            outcome = await self._post(body(delivery, event, facts, self.name, self._fields))
            self._attempted(delivery, event, outcome)
        except Exception as mistake:  # the dispatcher would take it for an outage
            self.mistake = mistake
            raise
        return outcome

    async def _post(self, content: bytes) -> Outcome:
        if self._core.script.connecting(self._now()) is not None:
            self._core.connect(self._now())
            await trio.lowlevel.checkpoint()
            return failed(httpx.ConnectError(""))
        request = Request(method="POST", target="/api/events", headers=HEADERS, body=content)
        answer = self._core.handle(request, self._now())
        if answer.hang_seconds > self._seconds:
            await self._sleep(self._seconds)
            return Unavailable("timeout", certain=False)
        await self._sleep(answer.hang_seconds)
        if answer.reset:
            return failed(httpx.ReadError(""))
        if answer.drip_seconds:
            await self._sleep(min(answer.drip_seconds, BODY_SECONDS))
        return classify(Answer(answer.status, dict(answer.headers), answer.body), round(self._now() * 1000))

    async def aclose(self) -> None:
        """Nothing is open."""
