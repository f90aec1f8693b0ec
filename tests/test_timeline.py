"""Turns that a bridge's life takes: reloads under load, a start with a backlog, clocks that jump, an iLert that is ill.

On the real process and real sockets where these are the point; on virtual time where waiting is.
"""

import datetime as dt
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from trio.testing import MockClock

from bridge import event, until, write_config
from bridge import running as process
from dispatch_world import FakeTarget, idle_world, running, settings, world
from ilert_world import delivery, target
from mcp_ilert.events import Kind, Severity, Throttled, Unavailable
from mcp_ilert.sandbox import Fault, Limits, Options, SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.port import Rules
from mcp_ilert.targets.ilert import IlertTarget
from test_target_ilert_socket import request, server

UNLIMITED = Options(limits=Limits(integration_key=None, ip=None))
HOUR_MS = 3_600_000
DOWN = Unavailable("connect error", certain=True)
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


# Reload under load ------------------------------------------------------------------------------------------------


async def test_reloads_under_load_drop_no_connection_refuse_no_event_and_cancel_no_attempt(
    tmp_path: Path,
) -> None:
    """Each reload gives iLert's clients another timeout, so each takes new ones into use."""
    addresses: set[tuple[int, Any]] = set()
    answers: Counter[int] = Counter()
    posted = 0

    async def produce(url: str, producer: int, stop: trio.Event) -> None:
        nonlocal posted
        async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=1)) as client:
            number = 0
            while not stop.is_set():
                answer = await client.post(f"{url}/events", json=event(f"{producer}-{number}"))
                addresses.add((producer, answer.extensions["network_stream"].get_extra_info("client_addr")))
                answers[answer.status_code] += 1
                posted, number = posted + 1, number + 1
                await trio.sleep(0.01)  # a connection may serve so many requests and no more

    async with open_sandbox(SandboxIlert(UNLIMITED)) as sandbox:
        slowly = Fault(kind="hang", seconds=0.3, applied=True)
        sandbox.core.set_faults(slowly, now=sandbox.now())
        fast = {"rate_limit": {"per_minute": 600, "burst": 500}, "delivery": {"max_in_flight": 16}}
        config = write_config(tmp_path, sandbox.url, **fast)
        async with process(config) as bridge:
            stop = trio.Event()
            async with trio.open_nursery() as nursery:
                for producer in range(4):
                    nursery.start_soon(produce, bridge.url, producer, stop)
                for times in range(1, 6):
                    await until(lambda times=times: posted >= 20 * times and sandbox.core.events())
                    write_config(tmp_path, sandbox.url, ilert={"timeout_seconds": 10 + times}, **fast)
                    bridge.signal(signal.SIGHUP)
                    await bridge.logged("configuration reloaded", times=times)
                stop.set()
            sandbox.core.set_faults(now=sandbox.now())
            bridge.signal(signal.SIGTERM)
            assert await bridge.exit_code() == 0
            delivered = [r for r in bridge.records if r["event"] == "delivered"]
        arrived = Counter(received.key for received in sandbox.core.events())
    assert set(answers) == {202}
    assert len(addresses) == 4, "each producer had one connection all the time"
    assert len(delivered) > 20
    assert {r["attempt"] for r in delivered} == {1}
    assert set(arrived.values()) == {1}, "none was sent twice"
    assert {r["alert_key"] for r in delivered} == set(arrived)


# Start with a backlog ---------------------------------------------------------------------------------------------


async def test_a_start_with_a_backlog_sends_critical_first_and_keeps_the_pace_of_the_life_before(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The life before ends by a crash with its whole burst just spent and some of it in flight."""
    async with idle_world(FakeTarget(seconds=5), per_minute=50, max_in_flight=16) as w:
        path = tmp_path / "spool.db"
        async with open_spool(path, Rules(), w.wake, w.now_ms, inline=True) as w.spool:
            w.hire()
            async with running(w):
                await w.put(*(f"k{i}" for i in range(200)))
                await trio.sleep(1)
        assert len(w.target.came) == 10
        await trio.sleep(0.5)
        async with open_spool(path, Rules(), w.wake, w.now_ms, inline=True) as w.spool:
            await w.put("fire", severity=Severity.CRITICAL)
            w.hire()
            async with running(w):
                await trio.sleep(400)
                assert w.target.keys[10] == "fire"
                assert w.spool.counts().delivered == 201
        sent = w.target.times
        assert all(sum(1 for at in sent if start <= at < start + 60) <= 50 for start in sent)
        twice = [key for key, times in Counter(w.target.keys).items() if times > 1]
        assert set(twice) <= set(w.target.keys[:10]), "only what was in flight at the crash is sent again"


# Clocks that jump -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_a_clock_that_jumps_moves_no_deadline_by_more_than_the_jump(
    autojump_clock: MockClock, jump_ms: int
) -> None:
    async with world(per_minute=50, base_interval_seconds=60, chance=0.5) as w:
        w.target.script(DOWN)
        await w.put("again")  # due in 30 s
        await trio.sleep(1)
        w.skew_ms += jump_ms
        await w.put("new")
        await trio.sleep(0.1)
        assert "new" in w.target.keys, "what is new is not held up"
        await trio.sleep(29 + max(0, -jump_ms) / 1000 + 1)
        assert sorted(w.target.keys) == ["again", "again", "new"]
        await trio.sleep(2 * 3600)
        assert len(w.target.came) == 3
        counts = w.spool.counts()
        assert (counts.delivered, counts.pending, counts.error()) == (2, 0, 0)


async def test_a_clock_that_is_put_back_by_days_holds_no_back_off_up(autojump_clock: MockClock) -> None:
    async with world(per_minute=50, base_interval_seconds=60, chance=0.5) as w:
        w.target.script(DOWN, DOWN)
        await w.put("again", "likewise")  # due in 30 s
        await trio.sleep(1)
        w.skew_ms -= 9 * 24 * HOUR_MS
        await trio.sleep(30)
        assert sorted(w.target.keys) == ["again", "again", "likewise", "likewise"]
        assert (w.spool.counts().delivered, w.spool.counts().error()) == (2, 0)


async def test_a_clock_that_is_put_back_by_days_holds_no_dead_letter_up_as_a_probe(
    autojump_clock: MockClock,
) -> None:
    async with world(per_minute=50, max_attempts=1, max_interval_seconds=300) as w:
        w.target.script(DOWN)
        await w.put("dead")
        await trio.sleep(1)
        assert w.spool.counts().dead == 1
        w.skew_ms -= 9 * 24 * HOUR_MS
        await trio.sleep(301)
        assert w.target.keys == ["dead", "dead"]
        assert (w.spool.counts().delivered, w.spool.counts().error()) == (1, 0)


async def test_a_clock_that_is_put_back_by_days_lets_dead_letters_return_at_the_usual_pace(
    autojump_clock: MockClock,
) -> None:
    async with world(FakeTarget(seconds=1), per_minute=6000, burst=3000, max_attempts=1) as w:
        w.target.script(DOWN, DOWN, DOWN, DOWN)
        await w.put("a", "b", "c", "d")
        await trio.sleep(2)
        assert w.spool.counts().dead == 4
        w.skew_ms -= 9 * 24 * HOUR_MS
        await w.put("new")
        start = trio.current_time()
        await trio.sleep(60)
        waves = Counter(round(at - start) for at, delivery in w.target.came if delivery.revivals)
        assert list(waves.values()) == [1, 2, 1]
        assert (w.spool.counts().delivered, w.spool.counts().error()) == (5, 0)


async def test_a_clock_that_is_put_back_makes_no_later_event_a_repeat(autojump_clock: MockClock) -> None:
    async with world(per_minute=50) as w:
        await w.put("fire")
        await trio.sleep(1)
        w.skew_ms -= 24 * HOUR_MS
        await trio.sleep(90)  # above delivery.dedupe_seconds
        w.numbers = 0  # the same text again
        await w.put("fire")
        await trio.sleep(1)
        assert w.target.keys == ["fire", "fire"]


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_a_clock_that_jumps_in_a_storm_changes_neither_pace_nor_order_and_sends_nothing_twice(
    autojump_clock: MockClock, jump_ms: int
) -> None:
    async with world(FakeTarget(seconds=1), per_minute=50) as w:
        await w.put(*(f"k{i}" for i in range(100)))
        await w.put("k0", kind=Kind.RESOLVE)
        for _ in range(4):
            await trio.sleep(20)
            w.skew_ms += jump_ms
            jump_ms = -jump_ms
            await w.put(f"fire {w.numbers}", severity=Severity.CRITICAL)
        await trio.sleep(200)
        sent = w.target.times
        assert all(sum(1 for at in sent if start <= at < start + 60) <= 50 for start in sent)
        assert set(Counter((d.key, d.kind) for _, d in w.target.came).values()) == {1}
        counts = w.spool.counts()
        assert (counts.pending, counts.error()) == (0, 0)


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_a_clock_that_jumps_while_the_bridge_is_down_gives_no_token_and_lengthens_no_pause(
    autojump_clock: MockClock, tmp_path: Path, jump_ms: int
) -> None:
    async with idle_world(per_minute=50) as w:
        path = tmp_path / "spool.db"
        async with open_spool(path, Rules(), w.wake, w.now_ms, inline=True) as w.spool:
            w.hire()
            async with running(w):
                await w.put(*(f"k{i}" for i in range(30)))
                await trio.sleep(0.1)
                w.target.script(Throttled(100.0))
                await trio.sleep(2)
        before = len(w.target.came)
        w.skew_ms += jump_ms
        async with open_spool(path, Rules(), w.wake, w.now_ms, inline=True) as w.spool:
            w.hire()
            async with running(w):
                await trio.sleep(0.5)
                assert len(w.target.came) == before, (
                    "the burst of the life before is spent, whatever the clock says"
                )
                await trio.sleep(200)
                counts = w.spool.counts()
        assert (counts.delivered, counts.pending, counts.error()) == (30, 0, 0)


# An iLert that is ill ---------------------------------------------------------------------------------------------


async def rides_out(to: IlertTarget, received: list[bytes], mend: Callable[[], None]) -> None:
    """Alerts wait while nothing can be sent; one that is resolved meanwhile is cancelled, for nothing was applied."""
    quickly = settings(
        per_minute=600, max_attempts=1_000, base_interval_seconds=0.01, max_interval_seconds=0.05
    )
    async with idle_world() as w:
        w.settings = quickly
        w.targets = {"default": to}  # type: ignore[dict-item]
        w.hire()
        async with running(w):
            await w.put("a", "b")
            await until(lambda: w.metrics.value("circuit", target="default") == 2)
            assert w.dispatcher.notes() == [
                "target default: circuit open, iLert does not answer; its events wait"
            ]
            await w.put("a", kind=Kind.RESOLVE)
            await until(lambda: w.spool.counts().cancelled == 2)
            assert received == []
            mend()
            await until(lambda: w.spool.counts().pending == 0)
            await until(lambda: w.dispatcher.notes() == [])
            counts = w.spool.counts()
            assert (counts.delivered, counts.dead, counts.error()) == (1, 0, 0)
            assert len(received) == 1


def keeping(received: list[bytes]) -> Callable[[trio.abc.Stream], Any]:
    """Serve a connection, and keep each request that has come through."""

    async def serve(stream: trio.abc.Stream) -> None:
        while data := await request(stream):
            received.append(data)
            await stream.send_all(ACCEPTED)

    return serve


async def test_an_expired_certificate_is_waited_out() -> None:
    """Nothing leaves before the handshake has ended well, so it is certain that nothing was applied."""
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    authority.issue_cert("127.0.0.1", not_after=long_ago).configure_cert(offered)
    received: list[bytes] = []
    async with server(keeping(received), offered) as port:
        to = target(url=f"https://127.0.0.1:{port}", tls=trusting)
        expired = Unavailable("connect error (certificate has expired)", certain=True)
        assert await to.send(delivery()) == expired
        await rides_out(to, received, lambda: authority.issue_cert("127.0.0.1").configure_cert(offered))


async def test_a_name_that_cannot_be_resolved_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    class Names(trio.abc.HostnameResolver):
        known = False

        async def getaddrinfo(self, host: Any, port: Any, *hints: Any) -> Any:
            if not self.known:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    names, received = Names(), list[bytes]()
    before = trio.socket.set_custom_hostname_resolver(names)
    try:
        async with server(keeping(received)) as port:
            to = target(url=f"http://api.ilert.example:{port}")
            unknown = Unavailable("connect error (Temporary failure in name resolution)", certain=True)
            assert await to.send(delivery()) == unknown
            await rides_out(to, received, lambda: setattr(names, "known", True))
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def test_bodies_that_never_end_hold_up_nothing(tmp_path: Path) -> None:
    """The status decides; a place in flight is given back although the answer's body goes on for a minute."""
    async with open_sandbox(SandboxIlert(UNLIMITED)) as sandbox:
        sandbox.core.set_faults(Fault(kind="slow", seconds=60.0, applied=True), now=sandbox.now())
        config = write_config(tmp_path, sandbox.url, delivery={"max_in_flight": 2})
        async with process(config) as bridge, httpx.AsyncClient(trust_env=False) as client:
            for name in ("a", "b"):
                assert (await client.post(f"{bridge.url}/events", json=event(name))).status_code == 202
            last = await bridge.logged("delivered", times=2)
            assert {r["status"] for r in bridge.records if r["event"] == "delivered"} == {202}
            assert last["attempt"] == 1
        assert set(Counter(received.key for received in sandbox.core.events()).values()) == {1}
