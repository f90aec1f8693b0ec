"""The composition root in process: what each part gets, the order of opening and closing, and reloads."""

import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog
import trio
import trio.testing
import trustme

from bridge import event, until
from mcp_ilert import config
from mcp_ilert.config import Secret, Settings
from mcp_ilert.control import Answer, DropKey, PauseTarget, ReplayDead, ResumeTarget, ask
from mcp_ilert.errors import ConfigError, StartError
from mcp_ilert.events import DROP
from mcp_ilert.mapping import Mapper
from mcp_ilert.sandbox import INTEGRATION_KEY, Fault, Options, SandboxIlert, Source
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox
from mcp_ilert.service import Service, open_service, rules_of
from mcp_ilert.service import watch as watching
from mcp_ilert.service.parts import same_targets, with_what_stays
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.view import SpoolView

replace = msgspec.structs.replace
OTHER_KEY = "other-key"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    sources = (Source(), Source(key=OTHER_KEY, id=1002, name="Other"))
    async with open_sandbox(SandboxIlert(Options(sources=sources))) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A reload sets the process's logging up anew; no other test shall notice."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [found for found in root.handlers if type(found).__module__ == "mcp_ilert.logs"]:
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)


def settings_for(folder: Path, sandbox_url: str = "http://127.0.0.1:9", **sections: Any) -> Settings:
    made = Settings(
        listen=config.Listen(address="127.0.0.1", port=0),
        ilert=config.Ilert(api_url=sandbox_url, webhook_key=Secret(INTEGRATION_KEY)),
        delivery=config.DeliverySettings(shutdown_grace_seconds=1),
        spool=config.SpoolSettings(path=str(folder / "spool.db")),
        metrics=config.MetricsSettings(listen_address="127.0.0.1", listen_port=0),
    )
    return replace(made, **sections)


class World:
    """A running service, and a client of it. `settings` is what the next reload will read."""

    def __init__(self, service: Service, settings: Settings, client: httpx.AsyncClient) -> None:
        self.service = service
        self.settings = settings
        self.broken: list[str] = []
        self.client = client

    async def post(self, mcp_id: str, **fields: Any) -> int:
        answer = await self.client.post(f"{self.service.url}/events", json=event(mcp_id, **fields))
        return answer.status_code

    async def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get(f"{self.service.url}/readyz")).json()
        return found

    async def metric(self, name: str) -> float:
        text = (await self.client.get(f"{self.service.metrics_url}/metrics")).text
        return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[-1])

    async def reload(self, **sections: Any) -> None:
        """Have the service read these settings, and wait until it has."""
        self.settings = replace(self.settings, **sections)
        done = self.service.reloaded
        self.service.ask_reload()
        with trio.fail_after(20):
            await done.wait()


@asynccontextmanager
async def world(settings: Settings) -> AsyncIterator[World]:
    made: list[World] = []

    def load() -> Settings:
        if made[0].broken:
            raise ConfigError(made[0].broken)
        return made[0].settings

    async with open_service(settings, load=load) as service, httpx.AsyncClient(trust_env=False) as client:
        made.append(World(service, settings, client))
        yield made[0]


async def test_an_event_reaches_ilert_and_the_law_holds(tmp_path: Path, sandbox: SandboxServer) -> None:
    settings = settings_for(tmp_path, sandbox.url)
    async with world(settings) as w:
        assert await w.post("a") == 202
        await until(lambda: w.service.counts().delivered == 1)
        assert w.service.counts().error() == 0
        assert await w.metric("mcp_out_success_total") == 1
        assert await w.metric("mcp_conservation_error") == 0
    assert [received.key for received in sandbox.core.events()] == ["a"]


async def test_a_route_with_a_key_of_its_own_is_a_target(tmp_path: Path, sandbox: SandboxServer) -> None:
    route = config.RouteSettings(
        name="other",
        match=config.Match(source="web-*"),
        webhook_key=Secret(OTHER_KEY),
        labels={"team": "web"},
    )
    async with world(settings_for(tmp_path, sandbox.url, routes=(route,))) as w:
        await w.post("a", source="web-1")
        await w.post("b", source="db-1")
        await until(lambda: w.service.counts().delivered == 2)
    found = {received.key: received for received in sandbox.core.events()}
    assert {key: received.source for key, received in found.items()} == {"a": "Other", "b": "Sandbox"}
    assert msgspec.json.decode(found["a"].body)["labels"]["team"] == "web"


async def test_the_control_socket_changes_the_running_bridge(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with world(settings_for(tmp_path, sandbox.url)) as w:
        spool = w.service.path

        async def tell(request: Any) -> Answer:
            return await trio.to_thread.run_sync(ask, spool, request)

        assert (await tell(PauseTarget("default"))).ok
        assert "paused" in (await w.ready())["notes"][0]
        await w.post("a")
        await w.post("b")
        assert (await tell(DropKey("a"))).events == 1
        assert (await tell(ReplayDead(None))).events == 0
        assert (await tell(ResumeTarget("default"))).ok
        await until(lambda: w.service.counts().delivered == 1)
        refused = await tell(PauseTarget("nowhere"))
        assert not refused.ok
        assert "default" in str(refused.error)
        assert await tell(DropKey("a", "nowhere")) == refused
        assert (await tell(DropKey("a", "default"))).ok
    assert [received.key for received in sandbox.core.events()] == ["b"]
    with SpoolView(spool) as view:
        assert view.audit().error == 0


async def test_leaving_ends_the_deliveries_in_flight_first(tmp_path: Path, sandbox: SandboxServer) -> None:
    sandbox.core.set_faults(Fault(kind="hang", seconds=0.3, applied=True, times=1), now=sandbox.now())
    settings = settings_for(
        tmp_path, sandbox.url, delivery=config.DeliverySettings(shutdown_grace_seconds=10)
    )
    async with world(settings) as w:
        await w.post("a")
        await until(sandbox.core.events)
        assert w.service.counts().delivered == 0
    assert w.service.counts().delivered == 1


async def test_an_error_in_the_body_ends_it_without_waiting(tmp_path: Path, sandbox: SandboxServer) -> None:
    listen = config.Listen(address="127.0.0.1", port=0, drain_seconds=3600)
    settings = settings_for(tmp_path, sandbox.url, listen=listen)
    with (
        trio.fail_after(20),
        pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True),
    ):
        async with world(settings):
            raise ZeroDivisionError


# Reloads ---------------------------------------------------------------------------------------------------------


async def test_a_reload_takes_mapping_limits_and_tokens(tmp_path: Path, sandbox: SandboxServer) -> None:
    settings = settings_for(tmp_path, sandbox.url)
    async with world(settings) as w:
        mapping = replace(settings.mapping, alert_key="{source}/{mcp_id}")
        token = config.Token(name="probes", token=Secret("a-token-of-some-length"))
        listen = replace(settings.listen, max_body_bytes=300)
        await w.reload(mapping=mapping, listen=listen, auth=config.Auth(tokens=(token,)))
        assert await w.post("a") == 401
        w.client.headers["authorization"] = "Bearer a-token-of-some-length"
        assert await w.post("a") == 202
        assert await w.post("b", details="x" * 300) == 413
        await until(lambda: w.service.counts().delivered == 1)
    assert [received.key for received in sandbox.core.events()] == ["probe-1/a"]


async def test_what_waits_follows_the_routes_of_a_reload(tmp_path: Path, sandbox: SandboxServer) -> None:
    """A lane whose target is gone moves to the target that the routes now give."""
    route = config.RouteSettings(
        name="gone", match=config.Match(source="probe-*"), webhook_key=Secret("unknown-to-ilert")
    )
    async with world(settings_for(tmp_path, sandbox.url, routes=(route,))) as w:
        await w.post("a")
        await until(lambda: any("gone" in note for note in w.service.readiness()[1]))
        await w.reload(routes=())
        await until(lambda: w.service.counts().delivered == 1)
        assert w.service.counts().error() == 0
        assert (await w.service.handle(DropKey("a", "gone"))).ok, "what stays there may be dropped"
    assert [received.source for received in sandbox.core.events() if received.status == 202] == ["Sandbox"]


async def test_a_dead_letter_of_a_target_that_is_gone_is_replayed_where_the_routes_send_it_now(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    sandbox.core.set_faults(Fault(kind="status", status=400, integration_key=OTHER_KEY), now=sandbox.now())
    route = config.RouteSettings(
        name="gone", match=config.Match(source="probe-*"), webhook_key=Secret(OTHER_KEY)
    )
    retries = config.Retries(base_interval_seconds=0.01)
    async with world(settings_for(tmp_path, sandbox.url, routes=(route,), retries=retries)) as w:
        await w.post("a")
        await until(lambda: w.service.counts().dead == 1)
        await w.reload(routes=())
        await w.service.handle(ReplayDead(("a",)))
        await until(lambda: w.service.counts().delivered == 1)
    assert [received.source for received in sandbox.core.events() if received.status == 202] == ["Sandbox"]


async def test_a_reload_mends_a_refused_key(tmp_path: Path, sandbox: SandboxServer) -> None:
    wrong = config.Ilert(api_url=sandbox.url, webhook_key=Secret("wrong"))
    async with world(settings_for(tmp_path, sandbox.url, ilert=wrong)) as w:
        await w.post("a")
        await until(lambda: any("refuses" in note for note in w.service.readiness()[1]))
        await w.reload(ilert=replace(wrong, webhook_key=Secret(INTEGRATION_KEY)))
        await until(lambda: w.service.counts().delivered == 1)
        assert (await w.ready())["notes"] == []


async def test_a_refused_reload_leaves_all_as_it_was(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with world(settings_for(tmp_path, sandbox.url)) as w:
        w.broken = ["mapping: wrong"]
        await w.reload()
        assert await w.metric("mcp_config_last_reload_success") == 0
        assert await w.post("a") == 202
        w.broken = []
        await w.reload()
        assert await w.metric("mcp_config_last_reload_success") == 1


async def test_a_certificate_that_is_none_refuses_the_whole_reload(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    settings = settings_for(tmp_path, sandbox.url)
    async with world(settings) as w:
        tls = config.Tls(cert_file=str(tmp_path / "none.pem"), key_file=str(tmp_path / "none.pem"))
        listen = replace(settings.listen, max_body_bytes=10)
        await w.reload(tls=tls, listen=listen)
        assert await w.metric("mcp_config_last_reload_success") == 0
        assert await w.post("a") == 202


async def test_a_reload_turns_tls_on(tmp_path: Path, sandbox: SandboxServer) -> None:
    ca = trustme.CA()
    made = ca.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with world(settings_for(tmp_path, sandbox.url)) as w:
        await w.reload(
            tls=config.Tls(cert_file=str(tmp_path / "both.pem"), key_file=str(tmp_path / "both.pem"))
        )
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            url = w.service.url.replace("http:", "https:")
            assert (await client.post(f"{url}/events", json=event("a"))).status_code == 202


async def test_a_certificate_out_of_its_time_is_told_at_the_start_and_at_a_reload(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    """The bridge goes on: that producers verify it is not for it to know."""
    authority = trustme.CA()

    def tls(name: str, begins: int, ends: int) -> config.Tls:
        times = [datetime(year, 1, 1, tzinfo=UTC) for year in (begins, ends)]
        made = authority.issue_cert("127.0.0.1", not_before=times[0], not_after=times[1])
        made.private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
        return config.Tls(cert_file=str(tmp_path / name), key_file=str(tmp_path / name))

    def told(logs: list[Any]) -> list[Any]:
        return [line for line in logs if line.get("key") == "tls.cert_file"]

    expired, future, good = tls("old", 2010, 2011), tls("new", 2900, 2901), tls("good", 2010, 2900)
    with structlog.testing.capture_logs() as logs:
        async with world(settings_for(tmp_path, sandbox.url, tls=expired)) as w:
            expected = {
                "event": "the certificate of the doors has expired",
                "log_level": "warning",
                "key": "tls.cert_file",
                "path": str(tmp_path / "old"),
                "not_before": "2010-01-01T00:00:00Z",
                "not_after": "2011-01-01T00:00:00Z",
            }
            assert told(logs) == [expected]
            await w.reload(tls=good)
            assert told(logs) == [expected]
    async with world(settings_for(tmp_path / "other", sandbox.url, tls=good)) as w:
        with structlog.testing.capture_logs() as logs:
            await w.reload(tls=future)
        assert [(line["event"], line["not_before"]) for line in told(logs)] == [
            ("the certificate of the doors is not valid yet", "2900-01-01T00:00:00Z")
        ]


async def test_lines_come_in_at_a_port_of_their_own(tmp_path: Path, sandbox: SandboxServer) -> None:
    listen = config.Listen(address="127.0.0.1", port=0, tcp_port=0)
    async with world(settings_for(tmp_path, sandbox.url, listen=listen)) as w:
        assert w.service.tcp_url is not None
        assert w.service.tcp_url.startswith("tcp://127.0.0.1:")
        port = int(w.service.tcp_url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(msgspec.json.encode(event("a")) + b"\n")
            assert await stream.receive_some(100) == b'{"ok":true}\n'
            taken = settings_for(tmp_path / "other", sandbox.url, listen=replace(listen, tcp_port=port))
            with pytest.RaisesGroup(
                pytest.RaisesExc(StartError, match=f"listen.tcp_port: {port} on 127.0.0.1 is taken"),
                flatten_subgroups=True,
                allow_unwrapped=True,
            ):
                async with open_service(taken):
                    raise AssertionError("it has started")


def test_what_needs_a_restart_stays_and_the_rest_is_taken(tmp_path: Path) -> None:
    old = settings_for(tmp_path)
    listen = replace(old.listen, port=1, address="::1", max_connections=7)
    new = replace(old, listen=listen, spool=config.SpoolSettings(path="/other", max_pending=5))
    merged = with_what_stays(new, old)
    assert (merged.listen.port, merged.listen.address, merged.listen.max_connections) == (0, "127.0.0.1", 7)
    assert (merged.spool.path, merged.spool.max_pending) == (old.spool.path, 5)
    assert config.reload_differences(old, merged) == []


def test_connections_to_ilert_stay_where_nothing_about_them_changed(tmp_path: Path) -> None:
    old = settings_for(tmp_path)
    assert same_targets(old, replace(old, retries=config.Retries(max_attempts=9)))
    assert not same_targets(old, replace(old, ilert=replace(old.ilert, webhook_key=Secret("new"))))
    assert not same_targets(old, replace(old, mapping=replace(old.mapping, alert_key="{source}")))


# Parts -----------------------------------------------------------------------------------------------------------


def test_folding_gets_the_rules_of_the_settings(tmp_path: Path) -> None:
    delivery = config.DeliverySettings(dedupe_seconds=1.5, cancel_resolved=False, remember_open_days=2)
    routes = (
        config.RouteSettings(match=config.Match(source="noise"), drop=True),
        config.RouteSettings(name="web", match=config.Match(source="web"), webhook_key=Secret("k")),
    )
    settings = settings_for(tmp_path, delivery=delivery, routes=routes)
    rules = rules_of(settings, Mapper(settings))
    assert isinstance(rules, Rules)
    assert (rules.dedupe_ms, rules.remember_open_ms, rules.cancel_resolved) == (1_500, 172_800_000, False)
    encode: Callable[[str], bytes] = lambda source: msgspec.json.encode(event("a", source=source))  # noqa: E731
    assert [rules.route(encode(source)) for source in ("noise", "web", "else")] == [DROP, "web", "default"]


@pytest.mark.parametrize("port_of", ["listen", "metrics"])
async def test_a_port_that_is_taken_leaves_the_spool_free(
    tmp_path: Path, sandbox: SandboxServer, port_of: str
) -> None:
    first = settings_for(tmp_path, sandbox.url)
    other = tmp_path / "other"
    other.mkdir()
    async with open_service(first) as service:
        port = httpx.URL(service.url if port_of == "listen" else str(service.metrics_url)).port or 0
        second = settings_for(other, sandbox.url)
        if port_of == "listen":
            second = replace(second, listen=replace(second.listen, port=port))
        else:
            second = replace(second, metrics=replace(second.metrics, listen_port=port))
        taken = pytest.RaisesExc(StartError, match="is taken")
        with pytest.RaisesGroup(taken, flatten_subgroups=True):
            async with open_service(second):
                pass
    async with open_service(settings_for(other, sandbox.url)) as again:
        assert again.url


async def test_a_full_disk_shows_in_readyz(tmp_path: Path, sandbox: SandboxServer) -> None:
    spool = config.SpoolSettings(path=str(tmp_path / "spool.db"), min_free_bytes=2**62)
    async with world(settings_for(tmp_path, sandbox.url, spool=spool)) as w:
        answer = await w.client.get(f"{w.service.url}/readyz")
        assert answer.status_code == 503
        assert "spool.min_free_bytes" in answer.json()["reasons"][0]
        assert await w.post("a") == 503


async def test_a_spool_whose_file_is_not_in_its_place_is_not_ready_until_it_is_back(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    async with world(settings_for(tmp_path, sandbox.url)) as w:
        path, away = w.service.path, tmp_path / "away.db"

        async def answers() -> tuple[bool, int]:
            return (await w.ready())["ready"], await w.post("a")

        assert await answers() == (True, 202)
        path.rename(away)
        assert await answers() == (False, 503)
        path.write_bytes(b"another")
        assert await answers() == (False, 503)
        (reason,) = (await w.ready())["reasons"]
        assert reason.startswith(f"spool.path: {path} is not the file")
        away.replace(path)
        assert await answers() == (True, 202)


async def test_a_changed_file_is_seen_and_an_unchanged_one_is_not(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    watched = [tmp_path / "key", tmp_path / "missing"]
    watched[0].write_text("one")
    seen: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.watch, lambda: watched, lambda: seen.append(trio.current_time()))
        await trio.sleep(3.5 * watching.WATCH_SECONDS)
        assert seen == []
        watched[0].write_text("another")
        await trio.sleep(watching.WATCH_SECONDS)
        assert len(seen) == 1
        watched[1].write_text("new")
        os.utime(watched[0], (1, 1))
        await trio.sleep(2 * watching.WATCH_SECONDS)
        assert len(seen) == 2
        added = tmp_path / "added"
        added.write_text("not a change by itself")
        watched.append(added)
        await trio.sleep(2 * watching.WATCH_SECONDS)
        assert len(seen) == 2
        nursery.cancel_scope.cancel()
