"""The whole way of an event: HTTP in, spool, dispatch, sandbox iLert, all on real sockets."""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

from bridge import Bridge, event, post_raw, running, until, write_config
from mcp_ilert import config
from mcp_ilert.config import Secret, Settings
from mcp_ilert.control import PauseTarget, ReplayDead, ask
from mcp_ilert.sandbox import INTEGRATION_KEY, Fault
from mcp_ilert.sandbox.server import SandboxServer
from mcp_ilert.service import Service, open_service
from mcp_ilert.spool.view import SpoolView


def settings_for(folder: Path, sandbox: SandboxServer, **sections: Any) -> Settings:
    made = Settings(
        listen=config.Listen(address="127.0.0.1", port=0),
        ilert=config.Ilert(api_url=sandbox.url, webhook_key=Secret(INTEGRATION_KEY)),
        delivery=config.DeliverySettings(shutdown_grace_seconds=1),
        retries=config.Retries(base_interval_seconds=0.05, max_interval_seconds=0.2),
        spool=config.SpoolSettings(path=str(folder / "spool.db")),
        metrics=config.MetricsSettings(listen_address="127.0.0.1", listen_port=0),
    )
    return msgspec.structs.replace(made, **sections)


@asynccontextmanager
async def bridge_on(settings: Settings) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    async with open_service(settings) as service, httpx.AsyncClient(trust_env=False) as client:
        client.base_url = httpx.URL(service.url)
        yield service, client


def keys_at(sandbox: SandboxServer) -> list[tuple[str | None, str | None]]:
    """What arrived and was taken, in order: (event type, alert key)."""
    return [(r.event_type, r.key) for r in sandbox.core.events() if r.status == 202]


async def test_an_event_is_at_ilert_within_moments(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with bridge_on(settings_for(tmp_path, sandbox)) as (_, client):
        sample = {
            "mcp_id": "evt-0001",
            "source": "probe-1",
            "priority": 1,
            "summary": "Disk full",
            "details": "root disk at 98%",
            "tags": ["disk", "storage"],
            "volume": {"free": 1.50},
        }
        answer = await client.post("/events", json=sample)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
        await until(sandbox.core.events, seconds=5)
    (received,) = sandbox.core.events()
    body = json.loads(received.body)
    assert body | {"customDetails": None} == {
        "integrationKey": INTEGRATION_KEY,
        "eventType": "ALERT",
        "alertKey": "evt-0001",
        "summary": "Disk full",
        "details": "root disk at 98%",
        "priority": "HIGH",
        "severity": 1,
        "labels": {"source": "probe-1"},
        "customDetails": None,
    }
    assert body["customDetails"]["tags"] == ["disk", "storage"]
    assert body["customDetails"]["volume"] == {"free": 1.5}


@pytest.mark.parametrize("http2", [False, True])
async def test_both_protocols_bring_all_forms(tmp_path: Path, sandbox: SandboxServer, http2: bool) -> None:
    async with bridge_on(settings_for(tmp_path, sandbox)) as (service, _):
        async with httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False) as client:
            url = f"{service.url}/events"
            one = await client.post(url, json=event("one"))
            some = await client.post(url, json=[event("two"), {"mcp_id": 7}, event("three")])
            lines = b"\n".join(json.dumps(event(name)).encode() for name in ("four", "five"))
            many = await client.post(url, content=lines, headers={"content-type": "application/x-ndjson"})
        assert one.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert [a.status_code for a in (one, some, many)] == [202, 202, 202]
        assert (some.json()["accepted"], some.json()["rejected"][0]["index"]) == (2, 1)
        await until(lambda: service.counts().delivered == 5)
    assert {key for _, key in keys_at(sandbox)} == {"one", "two", "three", "four", "five"}


async def test_a_resolve_follows_its_alert_in_order(tmp_path: Path, sandbox: SandboxServer) -> None:
    """The alert's answer is slow; its accept and resolve must wait for it, and others need not."""
    slow = Fault(kind="hang", seconds=0.5, applied=True, times=1, key="a")
    sandbox.core.set_faults(slow, now=sandbox.now())
    async with bridge_on(settings_for(tmp_path, sandbox)) as (service, client):
        await client.post("/events", json=event("a"))
        await until(sandbox.core.events)
        await client.post("/events", json=event("a", status="resolved"))
        await client.post("/events", json=event("b"))
        await until(lambda: service.counts().delivered == 3)
        assert service.counts().error() == 0
    assert keys_at(sandbox) == [("ALERT", "a"), ("ALERT", "b"), ("RESOLVE", "a")]
    assert sandbox.core.stats().inversions == 0
    assert sandbox.core.stats().early_resolves == 0
    sandbox.core.advance(sandbox.now() + 1)
    assert sandbox.core.open_alert("a") is None
    assert sandbox.core.open_alert("b") is not None


async def test_a_rest_api_that_hangs_delays_no_alert(tmp_path: Path, sandbox: SandboxServer) -> None:
    sandbox.core.set_faults(Fault(kind="hang", method="GET"), now=sandbox.now())
    ilert = config.Ilert(
        api_url=sandbox.url, webhook_key=Secret(INTEGRATION_KEY), api_key=Secret("sandbox-api-key")
    )
    routes = (config.RouteSettings(escalate_if_nobody="night"),)
    async with bridge_on(settings_for(tmp_path, sandbox, ilert=ilert, routes=routes)) as (service, client):
        await until(lambda: any(r.method == "GET" for r in sandbox.core.requests))
        await client.post("/events", json=event("a"))
        await until(lambda: service.counts().delivered == 1, seconds=5)
        assert not service.on_call.now().known
    (received,) = sandbox.core.events()
    assert "routingKey" not in json.loads(received.body)


async def test_an_alert_that_is_resolved_before_it_was_sent_pages_nobody(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    async with bridge_on(settings_for(tmp_path, sandbox)) as (service, client):
        await trio.to_thread.run_sync(ask, service.path, PauseTarget("default"))
        await client.post("/events", json=[event("a"), event("a"), event("b")])
        await client.post("/events", json=event("a", status="resolved"))
        await until(lambda: service.counts().inbox == 0)
        counts = service.counts()
        assert (counts.accepted, counts.coalesced, counts.cancelled, counts.pending) == (4, 1, 2, 1)
        assert counts.error() == 0


async def test_alert_resolve_the_same_alert_within_a_minute_pages_twice(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    async with bridge_on(settings_for(tmp_path, sandbox)) as (service, client):
        for number, status in enumerate(("firing", "resolved", "firing"), start=1):
            await client.post("/events", json=event("a", status=status))
            await until(lambda number=number: service.counts().delivered == number)
    assert keys_at(sandbox) == [("ALERT", "a"), ("RESOLVE", "a"), ("ALERT", "a")]


async def test_an_alert_whose_answer_was_lost_then_its_resolve_ends_resolved_at_ilert(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    """The alert was applied and its answer lost; the back-off is long, so the resolve finds the alert waiting."""
    sandbox.core.set_faults(Fault(kind="lost", times=1), now=sandbox.now())
    retries = config.Retries(base_interval_seconds=1, max_interval_seconds=1)
    async with bridge_on(settings_for(tmp_path, sandbox, retries=retries)) as (service, client):
        await client.post("/events", json=event("a"))
        await until(sandbox.core.events)
        await client.post("/events", json=event("a", status="resolved"))
        await until(lambda: service.counts().pending == 0)
        assert (service.counts().cancelled, service.counts().error()) == (0, 0)
    sandbox.core.advance(sandbox.now() + 1)
    assert sandbox.core.open_alert("a") is None
    assert [received.event_type for received in sandbox.core.events()][-1] == "RESOLVE"


async def test_a_dead_letter_is_never_sent_behind_a_newer_resolve(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    sandbox.core.set_faults(Fault(kind="status", status=400, event_type="ALERT", times=2), now=sandbox.now())
    async with bridge_on(settings_for(tmp_path, sandbox)) as (service, client):
        await client.post("/events", json=event("a"))
        await until(lambda: service.counts().dead == 1)
        await client.post("/events", json=event("a", status="resolved"))
        await until(lambda: service.counts().delivered == 1)
        await service.handle(ReplayDead(None))
        await client.post("/events", json=event("b"))
        await until(lambda: service.counts().delivered == 2)
        assert service.counts().dead == 1
    assert keys_at(sandbox) == [("RESOLVE", "a"), ("ALERT", "b")]


async def test_an_outage_is_ridden_out(tmp_path: Path, sandbox: SandboxServer) -> None:
    sandbox.core.set_faults(
        Fault(kind="status", status=503, times=1),
        Fault(kind="reset", times=1),
        Fault(kind="status", status=500, html=True, times=1),
        now=sandbox.now(),
    )
    async with bridge_on(settings_for(tmp_path, sandbox)) as (service, client):
        await client.post("/events", json=event("a"))
        await until(lambda: service.counts().delivered == 1)
        assert service.counts().error() == 0
        text = service.metrics.exposition().decode()
    assert 'mcp_out_retries_total{reason="unavailable"} 3.0' in text
    assert keys_at(sandbox) == [("ALERT", "a")]


async def test_what_waits_is_sent_after_a_restart(tmp_path: Path, sandbox: SandboxServer) -> None:
    settings = settings_for(tmp_path, sandbox)
    down = msgspec.structs.replace(
        settings, ilert=msgspec.structs.replace(settings.ilert, api_url="http://127.0.0.1:9")
    )
    async with bridge_on(down) as (service, client):
        await client.post("/events", json=[event(f"k{i}") for i in range(5)])
        assert service.counts().accepted == 5
    with SpoolView(tmp_path / "spool.db") as view:
        found = view.audit()
    assert (found.error, found.counts.delivered) == (0, 0)
    async with bridge_on(settings) as (service, _):
        await until(lambda: service.counts().delivered == 5)
        assert service.counts().error() == 0
    assert {key for _, key in keys_at(sandbox)} == {f"k{i}" for i in range(5)}


async def test_a_storm_becomes_a_digest_at_ilert_and_its_resolves_close_it(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    settings = settings_for(
        tmp_path,
        sandbox,
        rate_limit=config.RateLimit(per_minute=600, burst=1),
        delivery=config.DeliverySettings(storm=config.Storm(after_seconds=5)),
    )

    def digests() -> list[dict[str, Any]]:
        bodies = (json.loads(r.body) for r in sandbox.core.events() if r.status == 202)
        return [body for body in bodies if body["alertKey"].startswith("mcp-digest/")]

    async with bridge_on(settings) as (service, client):
        keys = [f"k{i}" for i in range(300)]
        await client.post("/events", json=[event(key, priority=3) for key in keys])
        await client.post("/events", json=event("fire", priority=1))
        await until(digests)
        (opened,) = digests()
        assert opened["labels"] == {"source": "probe-1"}
        assert (opened["eventType"], opened["priority"]) == ("ALERT", "LOW")
        assert ("ALERT", "fire") in keys_at(sandbox)
        members = [key for key in keys if ("ALERT", key) not in keys_at(sandbox)]
        many = len(members)
        assert opened["summary"].startswith(f"Storm digest: {many} alerts of probe-1 ({many} medium): ")
        with SpoolView(tmp_path / "spool.db") as view:
            (lane,) = view.show(members[0])
            (own,) = view.show(opened["alertKey"])
        assert (lane.state, lane.digest) == ("digested", opened["alertKey"])
        assert (own.members, len(own.member_keys)) == (many, 100)
        await client.post("/events", json=[event(key, status="resolved") for key in members])
        await until(lambda: b"mcp_digest_alerts_total 2.0" in service.metrics.exposition())
        assert digests()[-1]["eventType"] == "RESOLVE"
        counts = service.counts()
        assert (counts.error(), counts.digested) == (0, 2 * many)
    with SpoolView(tmp_path / "spool.db") as view:
        assert view.audit().error == 0


async def test_a_spool_full_of_what_waits_in_digests_answers_503_but_to_what_adds_no_lane_and_to_critical(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    settings = settings_for(
        tmp_path,
        sandbox,
        rate_limit=config.RateLimit(per_minute=1, burst=1),
        delivery=config.DeliverySettings(storm=config.Storm(after_seconds=5)),
        spool=config.SpoolSettings(path=str(tmp_path / "spool.db"), max_pending=50),
    )
    async with bridge_on(settings) as (service, client):

        async def post(key: str, **fields: Any) -> int:
            answer = await client.post("/events", json=event(key, **fields))
            assert (answer.status_code == 503) == ("retry-after" in answer.headers)
            return answer.status_code

        await client.post("/events", json=[event(f"k{i}", priority=3) for i in range(50)])
        await until(lambda: keys_at(sandbox))  # the key's only token of this minute
        while service.counts().members < 50:
            await post(f"more{service.counts().accepted}", priority=3)
            await until(lambda: not service.counts().lanes)
        assert (await post("new", priority=2), await post("new-resolve", status="resolved")) == (503, 503)
        assert [await post(f"fire-{i}", priority=1) for i in range(6)] == [202] * 5 + [503]
        member = next(k for k in ("k48", "k49") if ("ALERT", k) not in keys_at(sandbox))
        assert await post(member, priority=4, summary="again") == 202
        assert await post(member, status="resolved") == 202
        assert (service.counts().members, await post("new", priority=2)) == (49, 503)
        accepted = service.counts().accepted
        answer = await client.post("/events", json=[event(member, priority=3), event("new", priority=2)])
        assert (answer.status_code, service.counts().accepted) == (503, accepted)
        assert service.counts().error() == 0


# kill -9 ---------------------------------------------------------------------------------------------------------

PRODUCERS = 4
KEYS = 15
"""Of each producer: a key is sent by one alone, so that the order of its events is known."""
PER_REQUEST = 3
ROUNDS = 3


class Load:
    """Producers that post as fast as they are answered, and remember what was answered 202.

    Each event bears a growing number, by which the sandbox notices what comes out of order.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.highest: dict[str, int] = {}
        """Of each key, the number of its newest event that was answered 202."""
        self._number = 0

    async def produce(self, url: str, producer: int) -> None:
        """Post until the bridge is gone."""
        where = httpx.URL(url)
        stream = await trio.open_tcp_stream(where.host, where.port or 0)
        async with stream:
            while True:
                numbers = [self._next() for _ in range(PER_REQUEST)]
                keys = {n: f"key-{producer}-{n % KEYS}" for n in numbers}
                events = [event(keys[n], priority=1 + n % 4, sequence=n) for n in numbers]
                try:
                    answer = await post_raw(stream, json.dumps(events).encode())
                except (trio.BrokenResourceError, EOFError):
                    return
                assert answer == (202, {"accepted": PER_REQUEST})
                self.answered += PER_REQUEST
                self.highest |= {keys[n]: n for n in numbers}

    def _next(self) -> int:
        self._number += 1
        return self._number


async def kill_under_load(bridge: Bridge, load: Load, requests: int) -> None:
    """Let the producers work until so many requests more were answered, then kill the bridge in the midst."""
    goal = load.answered + requests * PER_REQUEST
    async with trio.open_nursery() as nursery:
        for producer in range(PRODUCERS):
            nursery.start_soon(load.produce, bridge.url, producer)
        await until(lambda: load.answered >= goal)
        os.kill(bridge.process.pid, signal.SIGKILL)
        await bridge.exit_code()


async def test_kill_9_under_load_loses_nothing_that_was_answered_202(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    path = write_config(
        tmp_path,
        sandbox.url,
        rate_limit={"per_minute": 100_000, "burst": 10_000},
        delivery={"dedupe_seconds": 0},
    )
    spool, load = tmp_path / "spool.db", Load()
    for _ in range(ROUNDS):
        async with running(path) as bridge:
            await kill_under_load(bridge, load, requests=25)
        with SpoolView(spool) as view:
            found = view.audit()
        assert found.error == 0
        assert found.counts.accepted >= load.answered
    async with running(path) as bridge:
        await drained(spool)
        bridge.signal(signal.SIGTERM)
        assert await bridge.exit_code() == 0
    with SpoolView(spool) as view:
        found = view.audit()
    assert found.error == 0
    assert found.counts.dead == 0
    assert load.highest
    for key, number in load.highest.items():
        assert (sandbox.core.tally(key).highest_sequence or 0) >= number, key
    assert sandbox.core.stats().inversions == 0


async def drained(spool: Path) -> None:
    """Wait until nothing waits in the spool."""

    def empty() -> bool:
        with SpoolView(spool) as view:
            return view.counts().pending == 0

    await until(empty)
