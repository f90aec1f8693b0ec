"""Who is on call: known from a cache within the REST budget, never waited for, and unknown rather than wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from ilert_world import FIELDS, T0, Secret, delivery
from mcp_ilert.config import Ilert, RouteSettings, Settings
from mcp_ilert.config import Secret as ConfigSecret
from mcp_ilert.decode.native import decode_event
from mcp_ilert.events import Delivered, Kind
from mcp_ilert.mapping import Mapper, Route
from mcp_ilert.metrics import Metrics
from mcp_ilert.sandbox import API_KEY, INTEGRATION_KEY, Fault, Request, SandboxIlert
from mcp_ilert.sandbox.directory import Directory, Policy, Schedule
from mcp_ilert.service.parts import escalated, interpreter, wanted_of
from mcp_ilert.targets.ilert import IlertTarget
from mcp_ilert.targets.on_call import CALLS, OnCall, Wanted
from sandboxes import AT_ONCE

ADA = "Ada Sandbox (level 1, Primary)"
EMPTY = Directory(
    policies=(
        Policy(id=5001, name="Default", routing_key="default", schedules=(4002,)),
        Policy(id=5002, name="Managers", routing_key="managers", schedules=(4001,)),
    ),
    schedules=(
        Schedule(id=4001, name="Primary", users=(3001,)),
        Schedule(id=4002, name="Nobody", users=()),
    ),
)
FULL = Directory(
    schedules=(Schedule(id=4001, name="Primary", users=(3001,)), Schedule(id=4002, name="N", users=()))
)


class World:
    """The cache over the sandbox's core; REST may be made to fail."""

    def __init__(self, directory: Directory) -> None:
        self.core = SandboxIlert(AT_ONCE, directory=directory)
        self.metrics = Metrics()
        self.cache = OnCall(self.metrics.asked_on_call, httpx.MockTransport(self._handle))
        self.wanted = Wanted(
            "http://127.0.0.1:9/api",
            Secret(API_KEY),
            10,
            {"default": Secret(INTEGRATION_KEY)},
            ("managers", "default,managers", "unknown"),
        )
        self.empty_list = False
        """/on-calls says that there is nobody at all."""

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        headers = tuple((k.lower(), v) for k, v in request.headers.items())
        path = request.url.raw_path.decode()
        now = T0 / 1000 + trio.current_time()
        if self.empty_list and path.startswith("/api/on-calls"):
            return httpx.Response(200, json=[])
        answer = self.core.handle(Request(method=request.method, target=path, headers=headers), now)
        if answer.hang_seconds:
            await trio.sleep(answer.hang_seconds)
        return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def fault(self, **fields: Any) -> None:
        self.core.set_faults(Fault(**fields), now=T0 / 1000 + trio.current_time())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OnCall]:
        self.cache.use(self.wanted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.cache.run)
            await trio.sleep(1)
            yield self.cache
            nursery.cancel_scope.cancel()


async def test_it_knows_who_is_on_call_for_a_source_and_for_routing_keys(autojump_clock: MockClock) -> None:
    async with World(EMPTY).running() as cache:
        assert cache.who("default", None) == "nobody"
        assert cache.nobody("default", None)
        assert cache.who("default", "managers") == ADA
        assert cache.who("default", "unknown") == "nobody", "the source's policy, as iLert does"
        assert cache.who("default", "unknown, managers") == ADA, "the first that iLert knows"
        assert cache.who("default", "never asked for") == "", "not known"
        assert cache.who("elsewhere", None) == "", "not known"
        now = cache.now()
        assert now.known
        assert [(p.policy, p.name, len(p.on_call)) for p in now.policies] == [
            (5001, "Default", 0),
            (5002, "Managers", 1),
        ]


async def test_requests_errors_and_age_are_counted(autojump_clock: MockClock) -> None:
    world = World(EMPTY)
    said = world.metrics.registry.get_sample_value
    assert world.cache.age() == 0
    async with world.running() as cache:
        assert said("mcp_on_call_requests_total") == len(world.core.requests) > 0
        assert (said("mcp_on_call_errors_total"), cache.age()) == (0, 1)
        world.fault(kind="status", status=500)
        await trio.sleep(300)
        assert said("mcp_on_call_errors_total") == 2
        assert cache.age() == 301
        cache.use(None)
        assert cache.age() == 0


async def test_nobody_is_confirmed_by_the_schedules_204(autojump_clock: MockClock) -> None:
    world = World(EMPTY)
    async with world.running() as cache:
        assert any(
            r.target == "/api/schedules/4002/user-on-call" and r.status == 204 for r in world.core.requests
        )
        assert cache.nobody("default", None)


async def test_where_list_and_schedule_differ_somebody_is_on_call(autojump_clock: MockClock) -> None:
    world = World(FULL)
    world.empty_list = True
    async with world.running() as cache:
        assert cache.who("default", None).startswith("user 3001")
        assert not cache.nobody("default", None)


async def test_it_stays_within_its_budget_and_learns_policies_seldom(autojump_clock: MockClock) -> None:
    world = World(EMPTY)
    world.wanted = msgspec.structs.replace(world.wanted, routing_keys=tuple(f"k{i}" for i in range(50)))
    async with world.running():
        await trio.sleep(1800)
        times = [r.at for r in world.core.requests]
    assert max(sum(1 for t in times if at <= t < at + 59) for at in times) <= CALLS
    learnt = sum("resolve" in r.target for r in world.core.requests)
    assert learnt == 50, "each once in half an hour, a few at a time"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 403},
        {"kind": "status", "status": 200},
        {"kind": "hang", "seconds": 100.0},
    ],
)
async def test_what_cannot_be_read_is_known_for_a_while_and_then_not(
    autojump_clock: MockClock, fault: dict[str, Any]
) -> None:
    world = World(EMPTY)
    async with world.running() as cache:
        world.fault(**fault)
        await trio.sleep(200)
        assert cache.nobody("default", None), "still fresh"
        await trio.sleep(200)
        assert not cache.nobody("default", None)
        assert cache.who("default", "managers") == ""
        assert not cache.now().known
        world.core.clear_faults()
        await trio.sleep(700)
        assert cache.who("default", "managers") == ADA


async def test_a_rest_that_fails_is_asked_less_and_less(autojump_clock: MockClock) -> None:
    world = World(EMPTY)
    async with world.running():
        world.fault(kind="status", status=403)
        before = len(world.core.requests)
        await trio.sleep(86_400)
        assert len(world.core.requests) - before < 200


async def test_without_anything_wanted_nothing_is_asked(autojump_clock: MockClock) -> None:
    world = World(EMPTY)
    async with world.running() as cache:
        cache.use(None)
        await trio.sleep(1)
        before = len(world.core.requests)
        await trio.sleep(10_000)
        assert len(world.core.requests) == before
        cache.use(world.wanted)
        await trio.sleep(1)
        assert cache.who("default", "managers") == ADA, "at once after a reload"


def test_it_is_off_without_an_account_key() -> None:
    key, account = ConfigSecret("k"), ConfigSecret("a")
    assert wanted_of(Settings(ilert=Ilert(webhook_key=key))) is None
    assert wanted_of(Settings(ilert=Ilert(api_key=account))) is None
    found = wanted_of(
        Settings(
            ilert=Ilert(webhook_key=key, api_key=account),
            routes=(RouteSettings(routing_key="x", escalate_if_nobody="y"), RouteSettings(routing_key="x")),
        )
    )
    assert found is not None
    assert (dict(found.sources), found.routing_keys) == ({"default": key}, ("x", "y"))


async def test_an_alert_goes_by_the_other_routing_key_while_nobody_is_on_call(
    autojump_clock: MockClock,
) -> None:
    async with World(EMPTY).running() as cache:
        moved = escalated(Route(escalate_if_nobody="managers"), cache)
        assert (moved.routing_key, moved.on_call) == ("managers", ADA)
        kept = escalated(Route(routing_key="managers", escalate_if_nobody="default"), cache)
        assert (kept.routing_key, kept.on_call) == ("managers", ADA)
        plain = escalated(Route(), cache)
        assert (plain.routing_key, plain.on_call) == (None, "nobody")
    unknown = escalated(Route(escalate_if_nobody="managers"), OnCall())
    assert (unknown.routing_key, unknown.on_call) == (None, "")


async def test_the_delivery_tells_who_was_on_call(autojump_clock: MockClock) -> None:
    sent: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(msgspec.json.decode(request.content))
        return httpx.Response(202)

    settings = Settings(routes=(RouteSettings(escalate_if_nobody="managers"),))
    async with World(EMPTY).running() as cache:
        target = IlertTarget(
            "default",
            Secret(INTEGRATION_KEY),
            None,
            "http://127.0.0.1:9",
            10,
            FIELDS,
            interpreter(Mapper(settings), cache),
            transport=httpx.MockTransport(handler),
        )
        payload = b'{"mcp_id": "a", "source": "s", "summary": "x"}'
        assert decode_event(payload).source == "s"
        assert await target.send(delivery(payload=payload)) == Delivered(202, note=f"on call: {ADA}")
        assert await target.send(delivery(payload=payload, kind=Kind.RESOLVE)) == Delivered(202)
    assert [body.get("routingKey") for body in sent] == ["managers", None]
