"""The one writer: commits what comes in batches, and folds what was accepted in between; it says which is next.

Each batch is a transaction of all jobs that wait, and its waiters are told. runners.py has it run.
"""

import time
from collections.abc import Iterator, Sequence

import structlog

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import StartError, UnavailableError
from mcp_ilert.spool.admission import nearly_full
from mcp_ilert.spool.job import Job, News
from mcp_ilert.spool.mending import Mending
from mcp_ilert.spool.store import Store
from mcp_ilert.spool.transactions import Transactions

log = structlog.get_logger()

LAG_EVENTS = 65_536
LAG_BYTES = 16 * 1024 * 1024
"""Beyond so much in the inbox, in events or bytes of their texts, folding goes before accepting."""
FOLD_AFTER = 0.25
"""So long, in seconds, nothing waits to be folded, however much else is to be done."""
FOLD_IDLE = 0.005
"""So long there is nothing else to be done before what waits is folded: the more at once, the less a lane costs."""
REST_SECONDS = 1.0
"""After a fault, until what is in the inbox is tried again by itself."""


class Writer:
    """Runs batches of jobs on a store; synchronous, for one thread."""

    def __init__(self, store: Store, now_ms: NowMs) -> None:
        self._store = store
        self.transactions = Transactions(store, now_ms)
        self._mending = Mending(store, self.transactions, now_ms)
        self._held: list[Job] = []
        self._counts = store.engine.counts()

    @property
    def stalled(self) -> bool:
        """The last transaction failed: what is to be folded waits a while."""
        return self._mending.stalled

    @property
    def busy(self) -> bool:
        """Whether the inbox holds something to be folded, or a digest has members to give back, or jobs are held."""
        return bool(self._store.engine.inbox.tail) or self._store.engine.digests.busy or self.holds

    @property
    def holds(self) -> bool:
        """Whether jobs are held, so that the next call is due at once."""
        return bool(self._held)

    @property
    def patience(self) -> float | None:
        """So long, in seconds, jobs are to be waited for before the next call; None: until there is one."""
        if self._held:
            return 0.0
        if not self.busy:
            return None
        if self.stalled:
            return REST_SECONDS
        return 0.0 if self._store.engine.inbox.tail.begun else FOLD_IDLE

    def run(self, jobs: list[Job]) -> Iterator[News]:
        """Commit a batch; each job then has its result or its error. Without jobs, fold a slice of what waits.

        Where too much waits, or it must be known how many lanes there are, folding goes before accepting, whose jobs
        are held for the next call; where much waits, they take turns. Leases and settlements wait for neither.
        """
        jobs, self._held = [*self._held, *jobs], []
        if jobs and (
            self._lags(1) or (self._store.engine.inbox.tail and nearly_full(self._store.engine, jobs))
        ):
            works = [job for job in jobs if job.work is not None]
            self._held = [job for job in jobs if job.work is None]
            if works:
                yield self._batch(works)
            yield self._batch([])
            if self.stalled:  # it cannot be folded, so nothing more is taken
                yield self._refused()
            return
        yield self._batch(jobs)
        if jobs and (self._lags(2) or self._store.engine.inbox.tail.age > FOLD_AFTER):
            yield self._batch([])

    def _refused(self) -> News:
        """Refuse what is held."""
        jobs, self._held = self._held, []
        for job in jobs:
            job.refuse(UnavailableError("the spool's disk takes nothing more"))
        return News(jobs, self._store.engine.counts(), frozenset(), 0.0)

    def _lags(self, parts: int) -> bool:
        """Whether more waits to be folded than the bound, or than one of so many parts of it."""
        tail = self._store.engine.inbox.tail
        return tail.events > LAG_EVENTS // parts or tail.bytes > LAG_BYTES // parts

    def _batch(self, jobs: list[Job]) -> News:
        started = time.monotonic()
        try:
            self._mending.run(jobs)
            engine = self._store.engine
            self._counts = engine.counts()
            news = News(jobs, self._counts, engine.take_touched(), time.monotonic() - started)
            news.set_aside = self._mending.take_set_aside()
            return news  # noqa: TRY300 - as the last thing that may fail
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for a writer that is gone
            return self.fail(error, jobs)

    def fail(self, error: Exception, jobs: Sequence[Job]) -> News:
        """The end of this writer: these jobs and those that are held are refused, an unforeseen error is logged."""
        refused = list(dict.fromkeys([*jobs, *self._held]))
        self._held = []
        for job in refused:
            if job.error is None:
                job.refuse(UnavailableError("the spool fails"))
        news = News(refused, self._counts, frozenset(), 0.0)
        news.fatal = error if isinstance(error, StartError) else _mistake(error)
        return news


def _mistake(error: Exception) -> StartError:
    log.error("the spool's writer failed by a mistake of mcp-ilert", exc_info=error)
    return StartError(
        f"spool: the writer failed by a mistake of mcp-ilert ({error!r}): report the traceback in the log, and start "
        "again; what was answered with 202 is kept"
    )
