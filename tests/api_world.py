"""A whole bridge beside a sandbox iLert, and a client of its API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bridge import until
from mcp_ilert import config
from mcp_ilert.config import Secret, Settings
from mcp_ilert.sandbox import INTEGRATION_KEY, Limits, Options
from mcp_ilert.sandbox.server import SandboxServer
from mcp_ilert.service import Service, open_service

UNLIMITED = Options(limits=Limits(integration_key=None, ip=None))
TOKENS = (
    config.Token(name="boss", token=Secret("operator-token-1"), role="operator"),
    config.Token(name="probe", token=Secret("producer-token-1")),
)
READS = (
    *(
        "overview",
        "stats",
        "on-call",
        "lanes",
        "waiting",
        "digests",
        "dead",
        "deliveries",
        "why?key=k",
        "audit",
    ),
)
WRITES = {
    "replay": {"keys": None},
    "drop": {"key": "k"},
    "pause": {"target": "default"},
    "resume": {"target": "default"},
}


class Api:
    """A client of one running bridge."""

    def __init__(self, service: Service, client: httpx.AsyncClient, sandbox: SandboxServer) -> None:
        self.service, self.client, self.sandbox = service, client, sandbox

    async def send(self, *events: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        answer = await self.client.post("/events", json=list(events), headers=headers)
        assert answer.status_code == 202

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"/api/v1/{path}", headers=headers)

    async def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"/api/v1/{path}", json=body, headers=named)

    async def json(self, path: str) -> Any:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def delivered(self, number: int) -> None:
        await until(lambda: self.service.counts().delivered == number)


@asynccontextmanager
async def open_api(folder: Path, sandbox: SandboxServer, **sections: Any) -> AsyncIterator[Api]:
    made = Settings(
        listen=config.Listen(address="127.0.0.1", port=0),
        ilert=config.Ilert(api_url=sandbox.url, webhook_key=Secret(INTEGRATION_KEY)),
        delivery=config.DeliverySettings(shutdown_grace_seconds=1),
        spool=config.SpoolSettings(path=str(folder / "spool.db")),
        metrics=config.MetricsSettings(enabled=False),
    )
    settings = msgspec.structs.replace(made, **sections)
    async with open_service(settings) as service, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        client.base_url = httpx.URL(service.url)
        yield Api(service, client, sandbox)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"]
    return answer.status_code, body["detail"]
