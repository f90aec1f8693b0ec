"""Incidents in a simulation: the bridge's own adapter, whose connections end in the sandbox's core."""

from collections.abc import Awaitable, Callable, Sequence

import httpx
import trio

from mcp_ilert.config import Secret, Service
from mcp_ilert.config import Settings as Configured
from mcp_ilert.events import Delivery, Outcome
from mcp_ilert.sandbox import API_KEY, Request, SandboxIlert
from mcp_ilert.sandbox.directory import Directory
from mcp_ilert.sandbox.directory import Service as Known
from mcp_ilert.simulation.model import BODY_SECONDS, Attempted, Interpret
from mcp_ilert.targets.around import Around
from mcp_ilert.targets.incidents import IncidentTarget
from mcp_ilert.targets.port import More, at_once

FIRST_ID = 1_000_000_000
"""Services that are configured by alias alone get ids from here."""


def directory_of(settings: Configured) -> Directory:
    """An account that has the services which the routes name."""
    named = [service for route in settings.routes for service in route.services]
    ids = {service.id for service in named if service.id is not None}
    aliases = sorted({service.alias for service in named if service.alias is not None})
    return Directory(
        services=(
            *(Known(id=id_, name=f"service {id_}", alias="") for id_ in sorted(ids)),
            *(Known(id=FIRST_ID + i, name=alias, alias=alias) for i, alias in enumerate(aliases)),
        )
    )


class ModelIncidents(Around):
    """A target of incidents whose iLert is a model; `now` gives seconds since 1970, `sleep` waits for so many."""

    def __init__(
        self,
        name: str,
        core: SandboxIlert,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        timeout_seconds: float,
        services: Sequence[Service],
        interpret: Interpret,
        attempted: Attempted,
    ) -> None:
        incidents = IncidentTarget(
            name,
            Secret(API_KEY),
            "http://127.0.0.1",
            timeout_seconds,
            interpret,
            services,
            now_ms=lambda: round(now() * 1000),
            transport=_Core(core, now, sleep),
        )
        super().__init__(incidents)
        self._interpret = interpret
        self._attempted = attempted
        self.mistake: Exception | None = None
        """Something that must not happen here, and did."""

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:
        try:
            outcome = await self._target.send(delivery, more)
            self._attempted(delivery, self._interpret(delivery)[0], outcome)
        except Exception as mistake:  # the dispatcher would take it for an outage
            self.mistake = mistake
            raise
        return outcome


class _Core(httpx.AsyncBaseTransport):
    """Where the network would be."""

    def __init__(
        self, core: SandboxIlert, now: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._core = core
        self._now = now
        self._sleep = sleep

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._core.script.connecting(self._now()) is not None:
            self._core.connect(self._now())
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError("")
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        path = request.url.raw_path.decode()
        wire = Request(method=request.method, target=path, headers=headers, body=request.content)
        answer = self._core.handle(wire, self._now())
        await self._sleep(answer.hang_seconds)
        if answer.reset:
            raise httpx.ReadError("")
        if answer.drip_seconds:
            await self._sleep(min(answer.drip_seconds, BODY_SECONDS))
        return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)
