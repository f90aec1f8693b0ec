"""The spool that the bridge uses: the port of port.py over a writer, and how it is opened and closed."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import trio

from mcp_ilert.callback import answer_of
from mcp_ilert.clock import NowMs
from mcp_ilert.errors import McpIlertError, SpoolError, StartError, UnavailableError
from mcp_ilert.events import Counts, Entry, Message, Settlement
from mcp_ilert.spool import changes
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.job import Job, News
from mcp_ilert.spool.lock import own
from mcp_ilert.spool.port import (
    Change,
    Changed,
    Done,
    Leased,
    Rules,
    Settled,
    TargetRecord,
    Wake,
    Want,
    put,
)
from mcp_ilert.spool.runners import InlineRunner, Runner, ThreadRunner
from mcp_ilert.spool.store import MemoryStore, Store, open_store
from mcp_ilert.spool.view import SpoolView
from mcp_ilert.spool.writer import Writer

T = TypeVar("T")
Some = TypeVar("Some", bound="WrittenSpool")
MAX_QUEUED_BYTES = 64 * 1024 * 1024
Observer = Callable[[News], None]


class WrittenSpool:
    """A `Spool` (port.py) whose every change is a job for one writer."""

    def __init__(self, store: Store, path: Path | None, wake: Wake, observe: Observer | None) -> None:
        self._store = store
        self._path = path
        self._wake = wake
        self._observe = observe
        self._counts = store.engine.counts()
        self._queued_bytes = 0
        self._closing = False
        self._runner: Runner | None = None
        self._fatal: StartError | None = None
        self.failed = trio.Event()

    def attach(self, runner: Runner) -> None:
        """Take the runner, which needs `tell` to be made."""
        self._runner = runner

    def tell(self, news: News) -> None:
        """Take the outcome of a batch; runs in the Trio thread."""
        self._counts = news.counts
        if news.fatal is not None:
            self._fatal = news.fatal
            self._closing = True
            self.failed.set()
            self._refuse_queued()
        for job in news.jobs:
            job.over(job)
        if self._observe is not None:
            self._observe(news)
        if news.touched:
            self._wake(news.touched)

    def _refuse_queued(self) -> None:
        """Nobody runs them any more, and somebody waits."""
        for job in self._runner.left() if self._runner is not None else ():
            job.refuse(UnavailableError("the spool's disk fails"))
            job.over(job)

    def close(self) -> None:
        """Take nothing more; finish what is queued."""
        self._closing = True
        if self._runner is not None:
            self._runner.stop()

    def raise_fatal(self) -> None:
        """Raise what made the spool fail, if it has."""
        if self._fatal is not None:
            raise self._fatal

    def _submit(self, job: Job) -> None:
        if self._closing or self._runner is None:
            raise UnavailableError("the bridge is shutting down")
        self._runner.submit(job)

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done, message: Message | None = None) -> None:
        size = sum(len(e.payload) for entries in puts for e in entries)

        def over(job: Job) -> None:
            self._queued_bytes -= size
            done(job.answers)

        job = Job(over, puts=puts, message=message)
        self._queued_bytes += size
        try:
            if self._queued_bytes > MAX_QUEUED_BYTES:
                raise UnavailableError("too much waits for the disk", retry_after_seconds=1)  # noqa: TRY301
            self._submit(job)
        except UnavailableError as error:
            job.refuse(error)
            over(job)

    async def put(self, entries: Sequence[Entry], message: Message | None = None) -> None:
        """`offer` for one request, awaited."""
        await put(self, entries, message)

    async def _do(self, work: Callable[[Engine], T]) -> T:
        def submit(over: Callable[[Job], None]) -> None:
            self._submit(Job(over, work=work))

        with trio.CancelScope(shield=True):  # a lease that nobody receives would hold its lane
            job = await answer_of(submit)
        if job.error is not None:
            raise job.error
        return cast("T", job.result)

    async def lease(self, wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
        return await self._do(lambda engine: engine.lease(wants, states, now_ms))

    async def settle(
        self, settlements: Sequence[Settlement], states: Mapping[str, bytes], now_ms: int
    ) -> Settled:
        return await self._do(lambda engine: engine.settle(settlements, states, now_ms))

    async def change(self, change: Change, now_ms: int) -> Changed:
        events, cursor = 0, 0
        while True:
            made = await self._do(partial(changes.step, change=change, cursor=cursor, now_ms=now_ms))
            events += made.events
            if made.cursor is None:
                return Changed(events)
            cursor = made.cursor

    async def records(self) -> Mapping[str, TargetRecord]:
        return await self._do(
            lambda engine: {
                name: TargetRecord(t.paused, t.state) for name, t in engine.targets.by_name.items()
            }
        )

    def counts(self) -> Counts:
        return self._counts

    async def backup(self, path: Path) -> None:
        if self._path is None:
            raise SpoolError("a spool in memory cannot be backed up")
        spool = self._path

        def copy() -> None:
            with SpoolView(spool) as view:
                view.backup(path)

        await trio.to_thread.run_sync(copy)

    def use(self, rules: Rules) -> None:
        self._store.engine.lanes.rules = rules

    def in_place(self) -> bool:
        """Whether the file is where the next start will look for it: without it nothing is accepted."""
        return self._store.in_place()


class MemorySpool(WrittenSpool):
    """A spool that forgets. What comes event by event needs no jobs."""

    def __init__(self, store: MemoryStore, wake: Wake, now_ms: NowMs) -> None:
        super().__init__(store, None, wake, None)
        self._writer = Writer(store, now_ms)
        self._transactions = self._writer.transactions
        self._runner: InlineRunner = InlineRunner(self._writer, self.tell)

    def take(self, entry: Entry) -> McpIlertError | None:
        """As an offer of one event by itself: why it is not kept, if it is not."""
        if not self._transactions.take(entry):
            answers: list[McpIlertError | None] = []
            self.offer(((entry,),), answers.extend)
            return answers[0]
        self._tell()
        return None

    async def _do(self, work: Callable[[Engine], T]) -> T:
        if self._closing or self._writer.busy:
            return await super()._do(work)
        made = self._transactions.at_once(work)
        self._tell()
        self._runner.go_on()
        return made

    def _tell(self) -> None:
        if self._store.engine.lanes.wakes.touched:
            self._wake(self._store.engine.take_touched())

    def counts(self) -> Counts:
        return self._store.engine.counts()


@asynccontextmanager
async def open_spool(
    path: Path,
    rules: Rules,
    wake: Wake,
    now_ms: NowMs,
    *,
    inline: bool = False,
    observe: Observer | None = None,
) -> AsyncIterator[WrittenSpool]:
    """Own the spool at `path` and run it; a start folds what the inbox holds, and nothing else.

    Raises StartError (locked, unwritable; later: the disk failed twice) and SpoolError (a newer version).
    `inline` works without a thread, for virtual time.
    """
    with own(path):
        store = open_store(path, rules, now_ms)
        try:
            spool = WrittenSpool(store, path, wake, observe)
            writer = Writer(store, now_ms)
            spool.attach(InlineRunner(writer, spool.tell) if inline else ThreadRunner(writer, spool.tell))
            async with _watched(spool):
                yield spool
        finally:
            store.close()


@asynccontextmanager
async def open_memory_spool(rules: Rules, wake: Wake, now_ms: NowMs) -> AsyncIterator[MemorySpool]:
    """A spool that forgets, for tests and simulations; always inline."""
    async with _watched(MemorySpool(MemoryStore(rules), wake, now_ms)) as spool:
        yield spool


@asynccontextmanager
async def _watched(spool: Some) -> AsyncIterator[Some]:
    """Run it: what makes it fail ends whoever uses it."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, spool)
            yield spool
            nursery.cancel_scope.cancel()
    finally:
        spool.close()


async def _watch(spool: WrittenSpool) -> None:
    await spool.failed.wait()
    spool.raise_fatal()
