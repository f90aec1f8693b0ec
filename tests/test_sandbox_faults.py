"""The sandbox's faults: the script by itself, and what a client sees of it in process on virtual time."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from mcp_ilert.sandbox import Fault, Options, Request, SandboxIlert, brown_out
from mcp_ilert.sandbox.faults import Facts, Script
from mcp_ilert.sandbox.transport import SandboxTransport
from sandboxes import AT_ONCE, event, post, read, the_alert


@asynccontextmanager
async def client(core: SandboxIlert, read_timeout: float | None = 10.0) -> AsyncIterator[httpx.AsyncClient]:
    timeout = httpx.Timeout(5.0, read=read_timeout)
    transport = SandboxTransport(core)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://ilert.test", timeout=timeout
    ) as opened:
        yield opened


def core_with(*faults: Fault, options: Options = AT_ONCE) -> SandboxIlert:
    core = SandboxIlert(options)
    core.set_faults(*faults, now=0.0)
    return core


# The script ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "explode"}, "kind"),
        ({"kind": "refused", "times": 1}, "refused"),
        ({"kind": "refused", "key": "k"}, "refused"),
        ({"kind": "tls", "every": 2}, "tls"),
        ({"kind": "hang", "after": 5, "until": 5}, "until"),
        ({"kind": "hang", "times": 0}, "times"),
        ({"kind": "status", "status": 100}, "status"),
        ({"kind": "status", "statis": 500}, "statis"),
    ],
)
def test_an_impossible_fault_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(fields, Fault)


def facts(key: str | None = "k", event_type: str = "ALERT", path: str = "/api/events") -> Facts:
    return Facts(
        request=Request(method="POST", target=path), key=key, event_type=event_type, integration_key="i"
    )


@pytest.mark.parametrize(
    ("fault", "hits"),
    [
        (Fault(kind="reset"), True),
        (Fault(kind="reset", key=" K "), True),
        (Fault(kind="reset", key="k*"), True),
        (Fault(kind="reset", key="other"), False),
        (Fault(kind="reset", event_type="ALERT"), True),
        (Fault(kind="reset", event_type="RESOLVE"), False),
        (Fault(kind="reset", integration_key="i"), True),
        (Fault(kind="reset", integration_key="j"), False),
        (Fault(kind="reset", path="/api/*", method="POST"), True),
        (Fault(kind="reset", path="/api/alerts"), False),
        (Fault(kind="reset", method="GET"), False),
    ],
)
def test_a_fault_hits_what_it_matches(fault: Fault, hits: bool) -> None:
    script = Script()
    script.set((fault,), 0.0)
    assert (script.of_request(facts(), 0.0) is fault) is hits


def test_a_fault_has_a_time_a_number_and_a_share() -> None:
    script = Script()
    script.set((Fault(kind="reset", after=10, until=20, times=2, every=3),), 100.0)
    hits = [script.of_request(facts(), at) is not None for at in (100, 109.9, *[110.0] * 10)]
    assert hits == [False, False] + [False, False, True] * 2 + [False] * 4
    assert script.faults(110.0) == ()


def test_a_fault_ends_at_its_time_and_tells_its_edges() -> None:
    script = Script()
    script.set((Fault(kind="refused", after=10, until=20), Fault(kind="reset")), 0.0)
    seen = [(script.connecting(at) is not None, script.next_edge(at)) for at in (0, 9.9, 10, 19.9, 20)]
    assert seen == [(False, 10), (False, 10), (True, 20), (True, 20), (False, None)]
    assert len(script.faults(20)) == 1


def test_the_first_fault_that_hits_is_the_one() -> None:
    script = Script()
    script.set((Fault(kind="reset", every=2), Fault(kind="hang")), 0.0)
    hit = [script.of_request(facts(), 0.0) for _ in range(4)]
    assert [fault.kind for fault in hit if fault] == ["hang", "reset", "hang", "reset"]


def test_a_brown_out_lets_little_through_and_is_over_in_time() -> None:
    core = core_with(*brown_out(until=3_600))
    answers = [post(core, event(key=f"k{n}"), now=n) for n in range(200)]
    good = [a for a in answers if a.status == 202 and not (a.reset or a.hang_seconds)]
    assert 0 < len(good) < 100
    assert {received.fault for received in core.requests} == {None, "hang", "lost", "slow", "status"}
    assert len(core.alerts.all()) > len(good)  # some have had their effect, and nobody was told
    assert post(core, event(), now=3_600).status == 202
    assert core.script.faults(3_600) == ()


# What a client sees -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_an_error_comes_as_json_or_as_a_gateways_html_and_nothing_is_applied(status: int) -> None:
    core = core_with(
        Fault(kind="status", status=status, times=1), Fault(kind="status", status=status, times=1, html=True)
    )
    async with client(core) as http:
        first, second = [await http.post("/api/events", json=event()) for _ in range(2)]
    assert (first.status_code, first.json()["status"]) == (status, status)
    assert (second.status_code, second.headers["content-type"]) == (status, "text/html")
    assert "correlation-id" not in second.headers
    assert core.alerts.all() == []


def test_a_status_can_have_a_code_of_its_own_none_or_a_retry_after() -> None:
    core = core_with(
        Fault(kind="status", status=403, code="", times=1),
        Fault(kind="status", status=402, code="FEATURE_REQUIRED", times=1),
        Fault(kind="status", status=429, retry_after="17", times=1),
    )
    first, second, third = (post(core, event()) for _ in range(3))
    assert "code" not in read(first)
    assert read(second)["code"] == "FEATURE_REQUIRED"
    assert dict(third.headers)["retry-after"] == "17"
    assert core.stats().throttled == 1


def test_an_answer_can_be_false_about_what_was_applied() -> None:
    core = core_with(Fault(kind="status", status=503, applied=True, times=1))
    assert post(core, event()).status == 503
    assert the_alert(core).events == 1


async def test_a_hang_ends_with_the_clients_patience(autojump_clock: MockClock) -> None:
    core = core_with(Fault(kind="hang"))
    async with client(core, read_timeout=10) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/api/events", json=event())
    assert trio.current_time() == 10
    assert core.alerts.all() == []


async def test_without_a_time_out_a_hang_lasts_for_ever(autojump_clock: MockClock) -> None:
    core = core_with(Fault(kind="hang"))
    async with client(core, read_timeout=None) as http:
        with trio.move_on_after(1_000_000) as scope:
            await http.post("/api/events", json=event())
    assert scope.cancelled_caught


async def test_a_late_answer_is_the_true_one_if_applied(autojump_clock: MockClock) -> None:
    core = core_with(Fault(kind="hang", seconds=8, applied=True))
    async with client(core) as http:
        answer = await http.post("/api/events", json=event())
    assert (answer.status_code, trio.current_time()) == (202, 8)
    assert the_alert(core).reported == 0


async def test_a_slow_body_comes_in_pieces_and_each_may_be_waited_for(autojump_clock: MockClock) -> None:
    core = core_with(Fault(kind="slow", seconds=32, times=1), Fault(kind="slow", seconds=320, applied=True))
    async with client(core) as http:
        answer = await http.post("/api/events", json=event())
        assert (answer.status_code, answer.json()["code"]) == (503, "INTERNAL_ERROR")
        assert trio.current_time() == 32
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/api/events", json=event())
    assert the_alert(core).events == 1


@pytest.mark.parametrize(("kind", "alerts"), [("reset", 0), ("lost", 1)])
async def test_a_reset_loses_the_request_and_a_lost_answer_does_not(kind: str, alerts: int) -> None:
    core = core_with(msgspec.convert({"kind": kind, "times": 1}, Fault))
    async with client(core) as http:
        with pytest.raises(httpx.ReadError):
            await http.post("/api/events", json=event())
        assert len(core.alerts.all()) == alerts
        assert (await http.post("/api/events", json=event())).status_code == 202
    assert [received.connection for received in core.requests] == [1, 2]


@pytest.mark.parametrize("kind", ["refused", "tls"])
async def test_no_connection_means_no_request(kind: str, autojump_clock: MockClock) -> None:
    core = core_with(msgspec.convert({"kind": kind, "after": 5, "until": 10}, Fault))
    async with client(core) as http:
        assert (await http.post("/api/events", json=event())).status_code == 202
        await trio.sleep(5)
        with pytest.raises(httpx.ConnectError):
            await http.post("/api/events", json=event())
        await trio.sleep(5)
        assert (await http.post("/api/events", json=event())).status_code == 202
    assert core.stats().requests == 2


async def test_tls_fails_as_often_as_said() -> None:
    core = core_with(Fault(kind="tls", times=2))
    async with client(core) as http:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await http.post("/api/events", json=event())
        assert (await http.post("/api/events", json=event())).status_code == 202


async def test_every_answer_takes_the_latency(autojump_clock: MockClock) -> None:
    core = SandboxIlert(Options(latency_seconds=0.25))
    async with client(core) as http:
        for _ in range(4):
            await http.post("/api/events", json=event())
    assert trio.current_time() == 1
    assert [received.at for received in core.requests] == [0, 0.25, 0.5, 0.75]


def test_faults_count_towards_no_limit() -> None:
    core = core_with(Fault(kind="status", times=60), options=Options())
    assert [post(core, event()).status for _ in range(111)] == [503] * 60 + [202] * 50 + [429]


def test_a_fault_hides_nothing_from_the_record() -> None:
    core = core_with(Fault(kind="hang", times=1), Fault(kind="lost", times=1))
    for _ in range(3):
        post(core, event())
    seen = [(received.fault, received.applied) for received in core.requests]
    assert seen == [("hang", False), ("lost", True), (None, True)]
    assert core.stats().faults == 2


def test_an_endless_hang_is_infinite_in_the_answer() -> None:
    assert post(core_with(Fault(kind="hang")), event()).hang_seconds == math.inf
