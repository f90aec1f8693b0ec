"""The one writer: takes jobs, makes one transaction of all that wait, commits, and tells their waiters.

While a commit syncs, the next batch grows; that is the group commit, and it needs no timer. On its own thread the
sync does not hold up the doors; inline (for virtual time, where threads cannot be waited for) each job is a
transaction at once.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import trio

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import StartError, UnavailableError
from mcp_ilert.events import Counts, Entry, Severity
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.store import FailedError, FullError, Store

DIRECT_FOLD = 32
"""So many events, and no more, are folded in the transaction that accepts them."""
FOLD_SLICE = 512
LAG_EVENTS = 8_192
"""Beyond so many events in the inbox, folding goes before accepting."""
MAX_JOBS = 4_096
PRUNE_EVERY_MS = 10_000
REST_SECONDS = 1.0
"""After a fault, until what is in the inbox is tried again by itself."""


class Job:
    """Work for one transaction, and the event that its waiter waits for."""

    __slots__ = ("done", "entries", "error", "result", "work")

    def __init__(
        self, *, entries: Sequence[Entry] = (), work: Callable[[Engine], object] | None = None
    ) -> None:
        self.entries = entries
        self.work = work
        self.result: object = None
        self.error: Exception | None = None
        self.done = trio.Event()


class News:
    """What a finished batch tells the Trio side."""

    __slots__ = ("commit_seconds", "counts", "fatal", "jobs", "touched")

    def __init__(
        self, jobs: list[Job], counts: Counts, touched: frozenset[str], commit_seconds: float
    ) -> None:
        self.jobs = jobs
        self.counts = counts
        self.touched = touched
        self.commit_seconds = commit_seconds
        self.fatal: StartError | None = None


class Writer:
    """Runs batches of jobs on a store; synchronous, for one thread."""

    def __init__(self, store: Store, now_ms: NowMs) -> None:
        self._store = store
        self._now_ms = now_ms
        self._pruned_ms = now_ms()
        self.stalled = False
        """The last transaction failed: what is to be folded waits a while."""

    @property
    def busy(self) -> bool:
        """Whether the inbox holds something to be folded, or a digest has members to give back."""
        return bool(self._store.engine.tail) or self._store.engine.digests.busy

    def run(self, jobs: list[Job]) -> News:
        """Commit a batch; each job then has its result or its error."""
        started = time.monotonic()
        fatal: StartError | None = None
        try:
            self._run(jobs)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for a writer that is gone
            fatal = error if isinstance(error, StartError) else StartError(f"spool.path: {error!r}")
            for job in jobs:
                job.error = job.error or UnavailableError("the spool's disk fails")
        engine = self._store.engine
        news = News(jobs, engine.counts(), engine.take_touched(), time.monotonic() - started)
        news.fatal = fatal
        return news

    def _run(self, jobs: list[Job]) -> None:
        self._store.engine.history.muted = self._scarce()
        try:
            while self._store.engine.counts().inbox > LAG_EVENTS:
                self._transact([])
            jobs = self._admit(jobs)
            self._transact(jobs)
        except FullError:
            self._refuse(jobs, "the spool's disk is full")
        except FailedError as error:
            self._store.reopen()
            self._refuse(jobs, f"the spool's disk failed ({error})")
        except Exception:  # noqa: BLE001 - one job's error must not be its neighbours'
            for job in jobs:
                self._alone(job)

    def _refuse(self, jobs: list[Job], why: str) -> None:
        """What was to be accepted is answered 503; settlements are tried by themselves, for which room is kept.

        They are then written without their history: it would take of that room.
        """
        self._store.engine.history.muted = True
        self.stalled = True
        for job in jobs:
            if job.work is None:
                job.error = UnavailableError(why)
            else:
                self._alone(job)

    def _alone(self, job: Job) -> None:
        try:
            self._transact([job])
        except FullError:
            job.error = UnavailableError("the spool's disk is full")
        except FailedError as error:
            self._store.reopen()
            job.error = UnavailableError(f"the spool's disk failed ({error})")
        except Exception as error:  # noqa: BLE001 - handed to the waiter
            job.error = error

    def _transact(self, jobs: list[Job]) -> None:
        entries = [e for job in jobs for e in job.entries]
        results: list[tuple[Job, object]] = []

        def work(engine: Engine) -> None:
            now_ms = self._now_ms()
            if engine.tail and (not entries or engine.counts().inbox > LAG_EVENTS // 2):
                engine.fold(FOLD_SLICE, now_ms)
            if entries:
                self._accept(engine, entries, now_ms)
            results.extend((job, job.work(engine)) for job in jobs if job.work is not None)
            engine.digests.give_back(now_ms)
            self._prune(engine, now_ms)

        self._store.transact(work)
        self.stalled = False
        for job, result in results:
            job.result = result

    def _accept(self, engine: Engine, entries: list[Entry], now_ms: int) -> None:
        few = len(entries) <= DIRECT_FOLD
        critical = any(e.severity is Severity.CRITICAL for e in entries)
        if critical and engine.tail:
            while engine.tail:
                engine.fold(FOLD_SLICE, now_ms)
        engine.accept(entries, now_ms, fold=few or critical)

    def _prune(self, engine: Engine, now_ms: int) -> None:
        """Now and then, forget a slice of what is over; a clock that was set back only delays the next time."""
        if now_ms - self._pruned_ms >= PRUNE_EVERY_MS:
            self._pruned_ms = now_ms
            engine.prune(now_ms)

    def _scarce(self) -> bool:
        """Whether the disk has only the room left that is kept for settling deliveries."""
        least = self._store.engine.rules.min_free_bytes
        return bool(least) and self._store.free_bytes() < least

    # Admission ------------------------------------------------------------------------------------------------

    def _admit(self, jobs: list[Job]) -> list[Job]:
        """The jobs without those for which there is no room; all or nothing of each."""
        if not any(job.entries for job in jobs):
            return jobs
        rules, counts = self._store.engine.rules, self._store.engine.counts()
        if self._scarce():
            return self._without(jobs, "the disk has less free room than spool.min_free_bytes")
        arriving = sum(len(job.entries) for job in jobs)
        if counts.lanes + counts.inbox + arriving <= rules.max_pending:
            return jobs
        while self._store.engine.tail:
            self._transact([])
        return self._admit_slowly(jobs, rules.max_pending)

    def _admit_slowly(self, jobs: list[Job], max_pending: int) -> list[Job]:
        """Near the limit each entry is looked up: what adds no lane is taken, critical may go a tenth further."""
        engine = self._store.engine
        lanes = engine.counts().lanes
        admitted = []
        for job in jobs:
            adding = engine.adds_lanes(job.entries)
            critical = all(e.severity is Severity.CRITICAL for e in adding)
            limit = max_pending + max_pending // 10 if critical else max_pending
            if adding and lanes + len(adding) > limit:
                job.error = UnavailableError("the spool is full (spool.max_pending)", retry_after_seconds=30)
            else:
                lanes += len(adding)
                admitted.append(job)
        return admitted

    def _without(self, jobs: list[Job], why: str) -> list[Job]:
        for job in jobs:
            if job.entries:
                job.error = UnavailableError(why, retry_after_seconds=30)
        return [job for job in jobs if not job.entries]


class InlineRunner:
    """Each job is a transaction at once, in the caller's thread."""

    def __init__(self, writer: Writer, tell: Callable[[News], None]) -> None:
        self._writer = writer
        self._tell = tell

    def submit(self, job: Job) -> None:
        """Run the job, and fold what it left."""
        self._tell(self._writer.run([job]))
        while self._writer.busy and not self._writer.stalled:
            self._tell(self._writer.run([]))

    def left(self) -> Sequence[Job]:
        """Each is run at once."""
        return ()

    def stop(self) -> None:
        """Nothing runs."""


class ThreadRunner:
    """The writer on a thread of its own, fed by a queue; tells the Trio thread once a batch."""

    def __init__(self, writer: Writer, tell: Callable[[News], None]) -> None:
        self._writer = writer
        self._tell = tell
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._trio = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._loop, name="mcp-ilert-spool", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue the job for the next transaction."""
        self._jobs.put(job)

    def left(self) -> Sequence[Job]:
        """What nobody will run, after a fatal fault."""
        jobs = (self._jobs.get_nowait() for _ in range(self._jobs.qsize()))
        return [job for job in jobs if job is not None]

    def stop(self) -> None:
        """Finish what is queued and end the thread; blocks for a commit or two."""
        self._jobs.put(None)
        self._thread.join()

    def _loop(self) -> None:
        going = True
        while going:
            jobs, going = self._take()
            news = self._writer.run(jobs)
            self._trio.run_sync_soon(self._tell, news)
            if news.fatal is not None:
                return

    def _take(self) -> tuple[list[Job], bool]:
        """All that is queued; waits for the first where there is nothing to fold, or no room to fold it."""
        jobs: list[Job] = []
        rest = REST_SECONDS if self._writer.busy else None
        try:
            job = self._jobs.get(block=self._writer.stalled or rest is None, timeout=rest)
            while job is not None:
                jobs.append(job)
                if len(jobs) >= MAX_JOBS:
                    return jobs, True
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False
