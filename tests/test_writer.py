"""The writer: its end by a mistake of ours, which is told, logged once, and leaves nobody waiting; and the limit."""

from pathlib import Path
from typing import Never

import pytest
import structlog
import trio

from mcp_ilert.errors import McpIlertError, StartError, UnavailableError
from mcp_ilert.events import Entry, Severity
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.folder import Folder
from mcp_ilert.spool.job import Job
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.store import SqliteStore
from mcp_ilert.spool.tail import PART_EVENTS
from mcp_ilert.spool.view import SpoolView
from mcp_ilert.spool.writer import Writer
from spools import T0, Clock, entry, opened

RULES = Rules(min_free_bytes=1)
FLOOD = [entry(key=f"k{i}") for i in range(100)]
"""More than are folded at once."""


def mistaken(*_args: object, **_kwargs: object) -> Never:
    raise KeyError("a mistake")


class Asked:
    """Who asks a spool for something, and what they were told."""

    def __init__(self) -> None:
        self.refused: list[McpIlertError] = []
        self.taken = 0

    async def put(self, spool: WrittenSpool, entries: list[Entry]) -> None:
        try:
            await spool.put(entries)
            self.taken += len(entries)
        except McpIlertError as error:
            self.refused.append(error)

    async def lease(self, spool: WrittenSpool) -> None:
        with pytest.raises(UnavailableError):
            await spool.lease([Want("default", 9, 9)], {}, T0)


def traces(logs: list[structlog.typing.EventDict]) -> list[object]:
    return [line["event"] for line in logs if line.get("exc_info")]


@pytest.mark.parametrize("kind", ["inline", "thread"])
async def test_a_fold_that_fails_by_a_mistake_ends_the_spool_and_keeps_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    asked = Asked()
    ends = pytest.RaisesGroup(pytest.RaisesExc(StartError, match="a mistake"))
    with trio.fail_after(20), structlog.testing.capture_logs() as logs, ends:
        async with opened(kind, tmp_path, RULES, Clock()) as spool:
            monkeypatch.setattr(Folder, "fold", mistaken)
            await asked.put(spool, FLOOD)
            await spool.failed.wait()
            await asked.put(spool, FLOOD)
            await asked.lease(spool)
            await trio.sleep_forever()
    assert (asked.taken, [type(e) for e in asked.refused]) == (100, [UnavailableError])
    assert traces(logs) == ["the spool's writer failed by a mistake of mcp-ilert"]
    with SpoolView(tmp_path / "spool.db") as view:
        assert (view.counts().accepted, view.counts().inbox, view.audit().error) == (100, 100, 0)


@pytest.mark.parametrize(
    ("of", "name"),
    [(SqliteStore, "free_bytes"), (Engine, "take_touched"), (Writer, "_lags"), (Writer, "_batch")],
)
async def test_whatever_fails_in_the_writer_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: type, name: str
) -> None:
    asked = Asked()
    ends = pytest.RaisesGroup(pytest.RaisesExc(StartError, match="a mistake"))
    with trio.fail_after(20), structlog.testing.capture_logs() as logs, ends:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            monkeypatch.setattr(of, name, mistaken)
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for _ in range(50):
                        nursery.start_soon(asked.put, spool, FLOOD)
                        nursery.start_soon(asked.lease, spool)
                        await trio.lowlevel.checkpoint()
            await trio.sleep_forever()
    assert (asked.taken, {type(e) for e in asked.refused}) == (0, {UnavailableError})
    assert len(asked.refused) == 50
    assert len(traces(logs)) == 1


async def test_a_request_that_cannot_be_folded_is_no_end_and_is_logged_with_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked()
    answers: list[McpIlertError | None] = []
    fold = Folder.fold
    monkeypatch.setattr(Folder, "fold", lambda *args: mistaken() if "bad" in args[1] else fold(*args))
    with structlog.testing.capture_logs() as logs:
        async with opened("thread", tmp_path, RULES, Clock()) as spool:
            spool.offer([[entry(key="good")], [entry(key="bad")]], answers.extend)
            await asked.put(spool, [entry(key="last")])
            with trio.fail_after(20):
                while (counts := spool.counts()).inbox:
                    await trio.lowlevel.checkpoint()
            assert (asked.taken, counts.lanes, counts.dead, counts.error()) == (1, 2, 1, 0), counts
    assert answers == [None, None]
    assert len(traces(logs)) == 2


# Near spool.max_pending --------------------------------------------------------------------------------------------


def test_a_lease_near_the_limit_waits_for_a_part_of_the_inbox_and_not_for_all_of_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "spool.db", Rules(max_pending=10_000), Clock())
    writer = Writer(store, Clock())
    for i in range(2):
        list(writer.run([Job(_nobody, puts=[[entry(key=f"{i}-{k}") for k in range(4_500)]])]))
    asked = store.engine.inbox.tail.events
    put = Job(_nobody, puts=[[entry(key=f"new-{k}")] for k in range(1_500)])
    lease = Job(_nobody, work=lambda engine: engine.lease([Want("default", 1, 1)], {}, T0))
    told = next(news for news in writer.run([put, lease]) if lease in news.jobs)
    assert put not in told.jobs
    assert asked - store.engine.inbox.tail.events <= PART_EVENTS
    while put not in [job for news in writer.run([]) for job in news.jobs]:
        assert writer.holds
    assert [answer is None for answer in put.answers] == [True] * 1_000 + [False] * 500
    store.close()


def test_near_the_limit_requests_of_the_same_new_key_take_one_lane(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "spool.db", Rules(max_pending=20), Clock())
    writer = Writer(store, Clock())
    list(writer.run([Job(_nobody, puts=[[entry(key=f"k{i}") for i in range(19)]])]))
    put = Job(_nobody, puts=[[entry(key="new")], [entry(key="NEW", text="again")], [entry(key="other")]])
    list(writer.run([put]))
    assert [answer is None for answer in put.answers] == [True, True, False]
    store.close()


def test_near_the_limit_the_highest_severity_of_a_new_key_decides(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "spool.db", Rules(max_pending=20), Clock())
    writer = Writer(store, Clock())
    list(writer.run([Job(_nobody, puts=[[entry(key=f"k{i}") for i in range(20)]])]))
    fire = [entry(key="fire", severity=Severity.CRITICAL), entry(key="fire", text="lesser")]
    put = Job(_nobody, puts=[fire])
    list(writer.run([put]))
    assert put.answers == [None]
    store.close()


def _nobody(_job: Job) -> None:
    pass
