"""An incident target over the sandbox's core, without sockets: its faults, its ETags, what it was asked."""

from typing import Any

import httpx
import msgspec

from ilert_world import EVENT, FIELDS, T0, Facts, Secret, delivery
from mcp_ilert.config import Service
from mcp_ilert.events import Delivered, Event, Kind, Outcome
from mcp_ilert.sandbox import API_KEY, Fault, Request, SandboxIlert
from mcp_ilert.targets.incidents import IncidentTarget
from sandboxes import AT_ONCE, read, rest

__all__ = ["FIELDS", "IncidentWorld"]
ORDERS = Service(alias="orders", impact="MAJOR_OUTAGE")


class IncidentWorld:
    """One lane at an incident target: what an outcome says is kept, as the spool keeps it."""

    def __init__(self, *services: Service, name: str = "default-incident", event: Event = EVENT) -> None:
        self.core = SandboxIlert(AT_ONCE)
        self.event = event
        self.services = services or (ORDERS,)
        self.ref = ""
        self.unsure = False
        self.name = name
        self.target = self.hire()

    def hire(self) -> IncidentTarget:
        """A target as a new process has it."""
        self.target = IncidentTarget(
            self.name,
            Secret(API_KEY),
            "http://127.0.0.1:9",
            10,
            lambda _delivery: (self.event, Facts(services=self.services)),
            now_ms=lambda: T0,
            transport=httpx.MockTransport(self._handle),
        )
        return self.target

    def _handle(self, request: httpx.Request) -> httpx.Response:
        headers = tuple((k.lower(), v) for k, v in request.headers.items())
        path = request.url.raw_path.decode()
        wire = Request(method=request.method, target=path, headers=headers, body=request.content)
        answer = self.core.handle(wire, T0 / 1000)
        if answer.reset:
            raise httpx.ReadError("", request=request)
        return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def fault(self, **fields: Any) -> None:
        self.core.set_faults(Fault(**fields), now=T0 / 1000)

    async def send(self, kind: Kind = Kind.ALERT, **fields: Any) -> Outcome:
        """Send, and keep with the lane what the spool would keep."""
        given: dict[str, Any] = {"target": self.name, "kind": kind, "ref": self.ref, "unsure": self.unsure}
        outcome = await self.target.send(delivery(**given | fields))
        if isinstance(outcome, Delivered):
            self.unsure = False
            self.ref = self.ref if outcome.ref is None else outcome.ref
        elif not getattr(outcome, "certain", True):
            self.unsure = True
        return outcome

    def asked(self) -> list[str]:
        """The requests so far, without queries."""
        return [f"{r.method} {r.target.partition('?')[0].removeprefix('/api')}" for r in self.core.requests]

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents with their history, oldest first."""
        found = read(rest(self.core, "GET", "/incidents?max-results=25&include=history"))
        return sorted(found, key=lambda each: each["id"])

    def statuses(self) -> list[list[str]]:
        """Of each incident, the statuses that it went through."""
        return [[update["status"] for update in each["history"]] for each in self.incidents()]

    def edit(self, incident_id: int, **fields: Any) -> None:
        """Somebody changes an incident at iLert."""
        now = read(rest(self.core, "GET", f"/incidents/{incident_id}"))
        rest(self.core, "PUT", f"/incidents/{incident_id}", now | fields)

    def say(self, **fields: Any) -> None:
        """The next event says something else."""
        self.event = msgspec.structs.replace(self.event, **fields)
