"""What the history says of a target that was stopped, and of what it answered: the real dispatcher on virtual time."""

import trio
from trio.testing import MockClock

from dispatch_world import World, world
from mcp_ilert.events import Delivered, Refused, Said, Throttled, Unavailable
from mcp_ilert.spool.history import DECODE, Attempt, End, Stop, Taken

DOWN = Unavailable("answered 503", certain=False, status=503, correlation_id="c-0")


def attempts(w: World, key: str) -> list[Attempt]:
    found = w.spool._store.engine.shelf.history(key, 1 << 62, 100)
    notes = [DECODE(body).what for _, _, body in reversed(found)]
    return [what for what in notes if isinstance(what, Attempt)]


def last_taken(w: World, key: str) -> Taken:
    taken = attempts(w, key)[-1].taken
    assert taken is not None
    return taken


async def test_what_was_answered_is_remembered_as_it_was(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.target.script(DOWN, Throttled(None, "c-1"), then=Delivered(202, "c-2"))
        await w.put("a")
        await trio.sleep(120)
        assert [(a.end, a.said, a.number, a.certain) for a in attempts(w, "a")] == [
            (End.AGAIN, Said(503, "answered 503", "c-0"), 1, False),
            (End.AGAIN, Said(429, "rate limit of the integration key", "c-1"), 2, True),
            (End.DELIVERED, Said(202, "", "c-2"), 2, True),
        ]


async def test_a_lane_says_how_long_an_operator_had_paused_its_target(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(30)
        await w.dispatcher.pause("default")
        await trio.sleep(60)
        await w.put("a")
        await trio.sleep(90)
        await w.dispatcher.resume("default")
        await trio.sleep(1)
        assert (last_taken(w, "a").stop, last_taken(w, "a").stop_ms) == (Stop.PAUSED, 90_000)
        await trio.sleep(60)
        await w.put("b")
        await trio.sleep(1)
        assert (last_taken(w, "b").stop, last_taken(w, "b").stop_ms) == (None, 0)


async def test_a_lane_says_how_long_a_429_of_another_had_paused_the_key(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.target.script(Throttled(100.0))
        await w.put("a")
        await trio.sleep(10)
        await w.put("b")
        await trio.sleep(200)
        taken = last_taken(w, "b")
        assert taken.stop is Stop.THROTTLED
        assert taken.at_ms - taken.ready_ms >= taken.stop_ms >= 89_000


async def test_a_lane_says_that_the_circuit_was_open_or_the_key_parked(autojump_clock: MockClock) -> None:
    for outcomes, stop in (((DOWN,) * 6, Stop.CIRCUIT), ((Refused(401, "no"),), Stop.PARKED)):
        async with world(max_interval=20) as w:
            w.target.script(*outcomes)
            await w.put(*("abcdef"[: len(outcomes)]))
            await trio.sleep(0.5)
            await w.put("waits", "waits-too")
            await trio.sleep(400)
            stops = {last_taken(w, key).stop for key in ("waits", "waits-too") if attempts(w, key)}
            assert stop in stops
            assert w.spool.counts().pending == 0


async def test_probes_are_remembered_as_such(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.target.script(Refused(401, "no", "c-7"))
        await w.put("a")
        await trio.sleep(1_000)
        first, second = attempts(w, "a")
        assert (first.end, first.said) == (End.AGAIN, Said(401, "no", "c-7"))
        assert first.taken is not None
        assert second.taken is not None
        assert (first.taken.probe, second.taken.probe, second.end) == (False, True, End.DELIVERED)
