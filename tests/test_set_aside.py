"""An event that cannot be folded by a mistake of ours: it stops nothing, and it is kept where an operator finds it."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import running, spawned, until, write_config
from mcp_ilert.clock import wall_ms
from mcp_ilert.errors import RepeatedError, SpoolError, StartError
from mcp_ilert.events import DROP, Again, Delivery, Done, Entry, Kind, Message, Settlement, Severity
from mcp_ilert.sandbox import SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.spool import aside, fate
from mcp_ilert.spool.folder import _Chunk
from mcp_ilert.spool.lane import Folded, Lane, arrive
from mcp_ilert.spool.port import Replay, Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.store import SqliteStore
from mcp_ilert.spool.tail import Batch
from mcp_ilert.spool.view import SpoolView
from poisoned_bridge import KEY
from spools import T0, Clock, entry, opened

PROGRAM = Path(__file__).with_name("poisoned_bridge.py")
ON_FILE = ("inline", "thread")


@contextmanager
def failing(*texts: bytes) -> Iterator[list[structlog.typing.EventDict]]:
    """Events of these texts cannot be folded; gives what is logged meanwhile."""
    one = _Chunk._fold_entry

    def no_run(*_args: Any) -> bool:
        return False

    def fold(self: _Chunk, new: Entry, *args: Any) -> None:
        one(self, new, *args)  # so that something is done already
        if new.payload in texts:
            raise KeyError("a mistake")

    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(_Chunk, "_fold_run", no_run)
        patch.setattr(_Chunk, "_fold_entry", fold)
        yield logs


def flood(*bad: Entry, keys: int = 60) -> list[Entry]:
    """More than are folded with their acceptance, the bad ones in the middle."""
    rest = [entry(key=f"k{i}") for i in range(keys)]
    return [*rest[:30], *bad, *rest[30:]]


async def folded(spool: WrittenSpool) -> None:
    with trio.fail_after(20):
        while spool.counts().inbox:
            await trio.lowlevel.checkpoint()


async def deliver(spool: WrittenSpool, n: int = 1) -> list[Delivery]:
    leased = (await spool.lease([Want("default", n, n)], {}, T0)).deliveries
    await spool.settle([Settlement(d.lease, Done(), T0) for d in leased], {}, T0)
    return list(leased)


@pytest.mark.parametrize("kind", ON_FILE)
async def test_the_rest_of_the_slice_is_folded_and_the_event_is_a_dead_letter(
    tmp_path: Path, kind: str
) -> None:
    bad = entry(key="Poison", text="bad")
    with failing(bad.payload) as logs:
        async with opened(kind, tmp_path, Rules(), Clock()) as spool:
            await spool.put(flood(bad))
            await folded(spool)
            counts = spool.counts()
            assert (counts.lanes, counts.dead, counts.pending, counts.error()) == (60, 1, 60, 0)
            assert len(await deliver(spool, 60)) == 60
    with SpoolView(tmp_path / "spool.db") as view:
        assert view.audit().error == 0
        (lane,) = view.dead(10)
        (letter,) = lane.letters
        assert (lane.key, lane.target, letter.op.payload) == ("Poison", "default", b"bad")
        assert "a mistake" in letter.detail
    (told,) = [line for line in logs if line["event"].startswith("event set aside")]
    assert (told["alert_key"], told["target"]) == ("Poison", "default")
    assert isinstance(told["exc_info"], KeyError)


@pytest.mark.parametrize("kind", ON_FILE)
async def test_what_came_before_and_after_it_of_its_key_is_folded_in_order(tmp_path: Path, kind: str) -> None:
    bad = entry("C", "x", at=T0 + 1, text="bad")
    with failing(bad.payload):
        async with opened(kind, tmp_path, Rules(cancel_resolved=False), Clock()) as spool:
            await spool.put(flood(entry("A", "x", text="first"), bad, entry("R", "x", text="last")))
            await folded(spool)
            assert (spool.counts().dead, spool.counts().lanes) == (1, 61)
    with SpoolView(tmp_path / "spool.db") as view:
        (lane,) = view.show("x")
        assert [op.payload for op in lane.waiting] == [b"first", b"last"]


async def test_leases_and_settlements_go_on_though_it_waits_to_be_folded(tmp_path: Path) -> None:
    bad = entry(key="x", text="bad")
    async with opened("thread", tmp_path, Rules(), Clock()) as spool:
        await spool.put([entry(key="before")])
        (before,) = (await spool.lease([Want("default", 1, 1)], {}, T0)).deliveries
        with failing(bad.payload):
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(spool.put, flood(bad))
                    nursery.start_soon(spool.settle, [Settlement(before.lease, Done(), T0)], {}, T0)
            await folded(spool)
            assert (spool.counts().delivered, spool.counts().dead, spool.counts().error()) == (1, 1, 0)


async def test_a_resolve_that_cannot_be_folded_is_kept_at_each_target_that_knows_its_key(
    tmp_path: Path,
) -> None:
    bad = entry("R", "x", text="bad", target=DROP)
    async with opened("inline", tmp_path, Rules(), Clock()) as spool:
        await spool.put([entry("A", "x"), entry("A", "x", target="west")])
        with failing(bad.payload):
            await spool.put(flood(bad))
        counts = spool.counts()
        assert (counts.fanned_out, counts.dead, counts.error()) == (1, 2, 0)


async def test_replayed_it_is_sent_behind_what_is_older_and_waits(tmp_path: Path) -> None:
    bad = entry("R", "x", text="bad")
    async with opened("inline", tmp_path, Rules(cancel_resolved=False), Clock()) as spool:
        with failing(bad.payload):
            await spool.put([*flood(entry("A", "x", text="first"), bad, keys=59)])
        assert (await spool.change(Replay(("x",)), T0)).events == 1
        sent = [d for _ in range(62) for d in await deliver(spool) if d.key == "x"]
        assert [d.kind for d in sent] == [Kind.ALERT, Kind.RESOLVE]


async def test_what_is_older_does_not_supersede_it_and_what_is_newer_does(tmp_path: Path) -> None:
    bad = entry("R", "x", text="bad")
    async with opened("inline", tmp_path, Rules(cancel_resolved=False), Clock()) as spool:
        with failing(bad.payload):
            await spool.put(flood(entry("A", "x", text="first"), bad, keys=59))
        await deliver(spool, 99)
        assert (await spool.change(Replay(None), T0)).events == 1
        assert [d.kind for d in await deliver(spool)] == [Kind.RESOLVE]
        with failing(bad.payload):
            await spool.put(flood(bad, keys=59))
        await spool.put([entry("A", "x", text="newer")])
        await deliver(spool, 99)
        assert (await spool.change(Replay(None), T0)).events == 0


async def test_where_nothing_can_be_folded_all_stays_in_the_inbox_and_the_spool_ends(tmp_path: Path) -> None:
    all_of_it = [entry(key=f"k{i}", text=f"bad {i}") for i in range(60)]
    ends = pytest.RaisesGroup(pytest.RaisesExc(StartError, match="a mistake"))
    with failing(*(each.payload for each in all_of_it)), ends:
        async with opened("thread", tmp_path, Rules(), Clock()) as spool:
            await spool.put(all_of_it)
            await trio.sleep_forever()
    async with opened("thread", tmp_path, Rules(), Clock()) as spool:
        await folded(spool)
        assert (spool.counts().lanes, spool.counts().dead, spool.counts().error()) == (60, 0, 0)


async def test_a_few_that_are_all_bad_are_set_aside(tmp_path: Path) -> None:
    bad = [entry(key=f"k{i % aside.KEYS_IN_VAIN}", text="bad") for i in range(40)]
    with failing(b"bad"):
        async with opened("inline", tmp_path, Rules(), Clock()) as spool:
            await spool.put(bad)
            counts = spool.counts()
            assert (counts.dead, counts.coalesced, counts.error()) == (aside.KEYS_IN_VAIN, 24, 0)


ACTS = st.lists(
    st.sampled_from([*"ACRacr", "send", "send", "send", "fails", "replay", "replay"]), max_size=20
)


@given(acts=ACTS, cancel=st.booleans())
@settings(max_examples=1_000)
def test_whatever_comes_around_it_nothing_is_lost_and_no_alert_or_resolve_goes_behind_something_newer(
    acts: list[str], *, cancel: bool
) -> None:
    """Small letters cannot be folded."""
    lane, events, over, sent = Lane("x"), 0, 0, list[int]()
    for act in acts:
        made: Folded | fate.Settling | None = None
        flying = lane.flying
        if act in "ACR":
            events += 1
            made = arrive(lane, entry(act, text=f"{events}"), dedupe_ms=0, cancel_resolved=cancel)
        elif act in "acr":
            events += 1
            lane, merged = fate.set_aside(lane, entry(act.upper(), text=f"{events}"), "why", T0)
            over += merged
        elif act == "replay":
            made = fate.replay(lane, force=False, cancel_resolved=cancel)
        elif flying is None and lane.waiting:
            lane = fate.take(lane)  # something may come before the answer
        elif act == "send" and flying is not None:
            assert flying.seq > max(sent, default=0) or flying.kind is Kind.ACCEPT
            sent.append(flying.seq)
            over += 1
            made = fate.settle(lane, Done(), T0, cancel_resolved=cancel)
        elif flying is not None:
            made = fate.settle(lane, Again(0, 1, 0, certain=False), T0, cancel_resolved=cancel)
        if made is not None:
            lane = made.lane
            over += made.coalesced + made.cancelled
        assert lane.pending() + lane.dead_count() + over == events


# With its acceptance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ON_FILE)
@pytest.mark.parametrize("severity", [Severity.CRITICAL, Severity.HIGH])
async def test_a_request_of_few_events_is_taken_and_the_bad_one_of_them_is_a_dead_letter(
    tmp_path: Path, kind: str, severity: Severity
) -> None:
    bad = entry(key="Poison", text="bad", severity=severity)
    with failing(bad.payload) as logs:
        async with opened(kind, tmp_path, Rules(), Clock()) as spool:
            await spool.put([entry(key="a", severity=severity), bad, entry(key="b")])
            with SpoolView(tmp_path / "spool.db") as view:  # on disk with the answer
                (lane,) = view.dead(10)
                assert (lane.key, lane.letters[0].op.payload) == ("Poison", b"bad")
                assert "a mistake" in lane.letters[0].detail
            counts = spool.counts()
            assert (counts.accepted, counts.lanes, counts.dead, counts.inbox, counts.error()) == (
                3,
                2,
                1,
                0,
                0,
            )
            await spool.put([entry(key="c")])
            assert len(await deliver(spool, 9)) == 3
    assert [line["alert_key"] for line in logs if line["event"].startswith("event set aside")] == ["Poison"]


async def test_its_neighbours_in_the_same_transaction_are_taken_as_ever(tmp_path: Path) -> None:
    bad = entry(key="x", text="bad")
    with failing(bad.payload):
        async with opened("thread", tmp_path, Rules(), Clock()) as spool:
            async with trio.open_nursery() as nursery:
                for i in range(8):
                    nursery.start_soon(spool.put, [entry(key=f"k{i}")] if i != 4 else [bad])
            await folded(spool)
            counts = spool.counts()
            assert (counts.accepted, counts.lanes, counts.dead, counts.error()) == (8, 7, 1, 0)


async def test_what_came_before_a_bad_one_of_its_key_and_what_comes_after_is_in_order(tmp_path: Path) -> None:
    bad = entry("C", "x", text="bad")
    async with opened("inline", tmp_path, Rules(cancel_resolved=False), Clock()) as spool:
        with failing(bad.payload):
            await spool.put([entry("A", "x", text="first"), bad])
            await spool.put([entry("R", "x", text="last")])
        assert [d.payload for _ in range(2) for d in await deliver(spool)] == [b"first", b"last"]


async def test_a_signed_message_with_a_bad_event_is_taken_once(tmp_path: Path) -> None:
    bad, message = entry(key="x", text="bad"), Message("msg_1", 1)
    with failing(bad.payload):
        async with opened("inline", tmp_path, Rules(), Clock()) as spool:
            await spool.put([bad], message)
            with pytest.raises(RepeatedError):
                await spool.put([bad], message)
            assert (spool.counts().accepted, spool.counts().dead) == (1, 1)


async def test_where_nothing_can_be_folded_with_its_acceptance_it_is_refused(tmp_path: Path) -> None:
    """Then the mistake is not the event's."""
    with failing(b"bad"):
        async with opened("inline", tmp_path, Rules(), Clock()) as spool:
            for i in range(aside.KEYS_IN_VAIN):
                await spool.put([entry(key=f"k{i}", text="bad")])
            for _ in range(3):
                with pytest.raises(SpoolError):
                    await spool.put([entry(key="more", text="bad")])
            assert (spool.counts().dead, spool.counts().pending) == (aside.KEYS_IN_VAIN, 0)
            await spool.put([entry(key="sound")])
            await spool.put([entry(key="x", text="bad")])
            assert (spool.counts().dead, spool.counts().error()) == (aside.KEYS_IN_VAIN + 1, 0)


# Through a process -------------------------------------------------------------------------------------------------


def event_of(key: str) -> Entry:
    text = json.dumps({"mcp_id": key, "source": "probe", "summary": f"{key} is down"})
    return entry(key=key, text=text)


def killed_with(path: Path, keys: list[str]) -> None:
    """Leave a spool as a kill leaves it: these are accepted, and not folded."""
    store = SqliteStore(path, Rules(), wall_ms)
    store.append(Batch([event_of(key) for key in keys]))
    store.close()


async def queue(path: Path, *args: str) -> Any:
    command = [sys.executable, "-m", "mcp_ilert", *args, "--spool", str(path), "--json"]
    return json.loads((await trio.run_process(command, capture_stdout=True)).stdout)


async def test_an_event_that_cannot_be_folded_stops_no_start_is_listed_and_can_be_sent(
    tmp_path: Path,
) -> None:
    sandbox, path = SandboxIlert(), tmp_path / "spool.db"
    killed_with(path, ["a", KEY, "b"])

    def arrived() -> list[str]:
        return sorted(str(received.key) for received in sandbox.events())

    async with open_sandbox(sandbox) as ilert:
        config = write_config(tmp_path, ilert.url)
        for _ in range(2):
            async with spawned(["serve", "--config", str(config)], program=[str(PROGRAM)]) as bridge:
                await bridge.logged("started")
                await until(lambda: arrived() == ["a", "b"])
                with SpoolView(path) as view:
                    await until(lambda: not view.counts().pending)
                    assert (view.counts().dead, view.audit().error) == (1, 0)
                bridge.signal(signal.SIGTERM)
                assert await bridge.exit_code() == 0
        assert [lane["key"] for lane in (await queue(path, "queue", "dead"))["lanes"]] == [KEY]
        told = await trio.run_process(
            [sys.executable, "-m", "mcp_ilert", "why", KEY, "--spool", str(path)], capture_stdout=True
        )
        assert b"is a dead letter since " in told.stdout
        assert b"answered 0" not in told.stdout
        async with running(config):
            await queue(path, "queue", "replay", KEY)
            await until(lambda: arrived() == ["a", "b", KEY])
    assert (await queue(path, "audit"))["error"] == 0
