"""The one writer: takes jobs, makes one transaction of all that wait, commits, and tells their waiters.

While a commit syncs, the next batch grows; that is the group commit, and it needs no timer. On its own thread the
sync does not hold up the doors; inline (for virtual time, where threads cannot be waited for) each job is a
transaction at once.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog
import trio

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import McpIlertError, RepeatedError, SpoolError, StartError, UnavailableError
from mcp_ilert.events import DROP, Counts, Entry, Kind, Message, Severity
from mcp_ilert.spool.aside import DISK, KEYS_IN_VAIN, fold_around, keep_unfolded
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.store import FailedError, FullError, Store
from mcp_ilert.spool.tail import Batch

log = structlog.get_logger()

DIRECT_FOLD = 32
"""So many events, and no more, are folded in the transaction that accepts them."""
QUICK_FOLD = 512
"""So many events that wait, and no more, are folded before a lease or a settlement."""
LAG_EVENTS = 65_536
LAG_BYTES = 16 * 1024 * 1024
"""Beyond so much in the inbox, in events or bytes of their texts, folding goes before accepting."""
FOLD_AFTER = 0.25
"""So long, in seconds, nothing waits to be folded, however much else is to be done."""
FOLD_IDLE = 0.005
"""So long there is nothing else to be done before what waits is folded: the more at once, the less a lane costs."""
MAX_JOBS = 4_096
MAX_EVENTS = 16_384
"""Of a batch; one offer may have more."""
SWITCH_SECONDS = 0.0005
"""So long a thread that computes keeps the interpreter's lock from the writer; with Python's 5 ms, beside one that
always does, batches of 64 were committed at less than half the rate (benchmarks/bench_spool.py, "lock wanted")."""
PRUNE_EVERY_MS = 10_000
REST_SECONDS = 1.0
"""After a fault, until what is in the inbox is tried again by itself."""


T = TypeVar("T")


class Job:
    """Work for one transaction, or requests whose entries are to be accepted; and what came of it.

    `over` is called in the Trio thread once there is a result, or an error, or an answer to each request.
    """

    __slots__ = ("answers", "error", "message", "over", "puts", "result", "work")

    def __init__(
        self,
        over: Callable[["Job"], None],
        *,
        puts: Sequence[Sequence[Entry]] = (),
        message: Message | None = None,
        work: Callable[[Engine], object] | None = None,
    ) -> None:
        self.over = over
        self.puts = puts
        self.message = message
        """What its only request is, where it says so."""
        self.work = work
        self.result: object = None
        self.error: Exception | None = None
        self.answers: list[McpIlertError | None] = [None] * len(puts)

    def refuse(self, error: McpIlertError) -> None:
        """Nothing of it was kept."""
        self.error = error
        self.answers = [answer or error for answer in self.answers]

    def taken(self) -> Iterator[Sequence[Entry]]:
        """The entries of the requests that nothing speaks against."""
        return (entries for entries, answer in zip(self.puts, self.answers, strict=True) if answer is None)


class News:
    """What a finished batch tells the Trio side."""

    __slots__ = ("commit_seconds", "counts", "fatal", "jobs", "set_aside", "touched")

    def __init__(
        self, jobs: list[Job], counts: Counts, touched: frozenset[str], commit_seconds: float
    ) -> None:
        self.jobs = jobs
        self.counts = counts
        self.touched = touched
        self.commit_seconds = commit_seconds
        self.fatal: StartError | None = None
        self.set_aside = 0
        """Events that could not be folded and became dead letters."""


class Writer:
    """Runs batches of jobs on a store; synchronous, for one thread."""

    def __init__(self, store: Store, now_ms: NowMs) -> None:
        self._store = store
        self._now_ms = now_ms
        self._pruned_ms = now_ms()
        self._held: list[Job] = []
        self._counts = store.engine.counts()
        self.stalled = False
        """The last transaction failed: what is to be folded waits a while."""
        self._set_aside = 0
        """Events that could not be folded and became dead letters, not told yet."""
        self._vain = 0
        """Requests in a row whose events could not be folded with their acceptance."""

    @property
    def busy(self) -> bool:
        """Whether the inbox holds something to be folded, or a digest has members to give back, or jobs are held."""
        return bool(self._store.engine.tail) or self._store.engine.digests.busy or self.holds

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
        return 0.0 if self._store.engine.tail.begun else FOLD_IDLE

    def lone(self, entry: Entry) -> bool:
        """Take one event, accepted now, as a batch of itself would be; False: its batch has more to do, or to look at.

        For a store that cannot fail, and of which nobody reads what a transaction leaves but the next one.
        """
        engine = self._store.engine
        if engine.tail or engine.digests.busy or engine.occupied >= engine.rules.max_pending:
            return False
        engine.take(entry, entry.accepted_ms)
        self._prune(engine, entry.accepted_ms)
        return True

    def at_once(self, work: Callable[[Engine], T]) -> T:
        """Do a job's work, as a batch of it alone would; for a store that cannot fail."""
        now_ms = self._now_ms()
        made: list[T] = []

        def whole(engine: Engine) -> None:
            engine.fold(now_ms)
            made.append(work(engine))
            engine.digests.give_back(now_ms)
            self._prune(engine, now_ms)

        self._store.transact(whole)
        return made[0]

    def run(self, jobs: list[Job]) -> Iterator[News]:
        """Commit a batch; each job then has its result or its error. Without jobs, fold a slice of what waits.

        Where too much waits, or it must be known how many lanes there are, folding goes before accepting, whose jobs
        are held for the next call; where much waits, they take turns. Leases and settlements wait for neither.
        """
        jobs, self._held = [*self._held, *jobs], []
        if jobs and (self._lags(1) or (self._store.engine.tail and self._nearly_full(jobs))):
            works = [job for job in jobs if job.work is not None]
            self._held = [job for job in jobs if job.work is None]
            if works:
                yield self._batch(works)
            yield self._batch([])
            if self.stalled:  # it cannot be folded, so nothing more is taken
                yield self._refused()
            return
        yield self._batch(jobs)
        if jobs and (self._lags(2) or self._store.engine.tail.age > FOLD_AFTER):
            yield self._batch([])

    def _refused(self) -> News:
        """Refuse what is held."""
        jobs, self._held = self._held, []
        for job in jobs:
            job.refuse(UnavailableError("the spool's disk takes nothing more"))
        return News(jobs, self._store.engine.counts(), frozenset(), 0.0)

    def _lags(self, parts: int) -> bool:
        """Whether more waits to be folded than the bound, or than one of so many parts of it."""
        tail = self._store.engine.tail
        return tail.events > LAG_EVENTS // parts or tail.bytes > LAG_BYTES // parts

    def _batch(self, jobs: list[Job]) -> News:
        started = time.monotonic()
        try:
            self._run(jobs)
            engine = self._store.engine
            self._counts = engine.counts()
            news = News(jobs, self._counts, engine.take_touched(), time.monotonic() - started)
            news.set_aside, self._set_aside = self._set_aside, 0
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

    def _run(self, jobs: list[Job]) -> None:
        scarce = self._scarce()
        self._store.engine.history.muted = scarce
        try:
            self._recognise(jobs)
            self._admit(jobs, scarce=scarce)
            self._transact(jobs)
        except FullError:
            self._refuse(jobs, "the spool's disk is full")
        except FailedError as error:
            self._store.reopen()
            self._refuse(jobs, f"the spool's disk failed ({error})")
        except Exception as error:
            mended = self._mended(error)
            if (
                not jobs and not mended
            ):  # nobody is to blame but ourselves, and the next time it will be the same
                raise
            if jobs and not isinstance(error, McpIlertError):
                log.exception("a transaction of the spool failed; each of its jobs is tried by itself")
            for job in jobs:  # one's error must not be its neighbours'
                self._alone(job)

    def _mended(self, error: Exception) -> bool:
        """Have what cannot be folded set aside, if that may be it; whether it makes sense to go on.

        Also where the disk did not let that be done: it is tried again.
        """
        waited = self._store.engine.tail.events
        if isinstance(error, McpIlertError | MemoryError) or not waited:
            return False
        try:
            self._set_aside += fold_around(self._store, self._now_ms())
        except FullError:
            self.stalled = True
        except FailedError:
            self._store.reopen()
            self.stalled = True
        return self.stalled or self._store.engine.tail.events < waited

    def _refuse(self, jobs: list[Job], why: str) -> None:
        """What was to be accepted is answered 503; settlements are tried by themselves, for which room is kept.

        They are then written without their history: it would take of that room.
        """
        self._store.engine.history.muted = True
        self.stalled = True
        for job in jobs:
            if job.work is None:
                job.refuse(UnavailableError(why))
            else:
                self._alone(job)

    def _alone(self, job: Job) -> None:
        """Try it by itself; of several requests each by itself."""
        if len(job.puts) > 1:
            for i, entries in enumerate(job.puts):
                if job.answers[i] is None:
                    one = Job(job.over, puts=(entries,))
                    self._alone(one)
                    job.answers[i] = one.answers[0]
            return
        try:
            self._transact_around(job)
        except FullError:
            job.refuse(UnavailableError("the spool's disk is full"))
        except FailedError as error:
            self._store.reopen()
            job.refuse(UnavailableError(f"the spool's disk failed ({error})"))
        except Exception as error:  # noqa: BLE001 - handed to the waiter
            wrong = SpoolError(f"the spool failed to take events ({error!r})")
            wrong.__cause__ = error
            job.refuse(wrong)
            job.error = error

    def _transact_around(self, job: Job) -> None:
        """Do it; a request that cannot be folded is kept, and what is bad of it set aside before it is answered."""
        try:
            self._transact([job])
        except DISK:
            raise
        except Exception as error:
            whole_failed = isinstance(error, McpIlertError | MemoryError) or self._vain >= KEYS_IN_VAIN
            if job.work is not None or whole_failed:
                raise
            self._vain += 1
            for entries in job.taken():
                job.answers = [keep_unfolded(self._store, entries, job.message, self._now_ms())]
            with suppress(Exception):  # it is kept, and the next fold will tell
                self._mended(error)

    def _transact(self, jobs: list[Job]) -> None:
        now_ms = self._now_ms()
        entries = _entries(jobs)
        batch = Batch(entries)
        works = [job for job in jobs if job.work is not None]
        named = [(job, job.message) for job in jobs if job.message is not None and job.answers[0] is None]
        engine = self._store.engine
        direct = batch.events <= DIRECT_FOLD and not engine.tail
        if batch.events and not (works or named or direct or batch.critical or engine.digests.busy):
            self._store.append(batch)
            self.stalled = False
            return
        results: list[tuple[Job, object]] = []
        twins: dict[Job, RepeatedError] = {}

        def work(engine: Engine) -> None:
            for job, message in named:  # two of one transaction may be the same
                if repeated := engine.messages.take(message, now_ms):
                    twins[job] = repeated
            fresh = entries if not twins else _entries(job for job in jobs if job not in twins)
            if fresh:
                engine.accept(fresh, now_ms, fold=direct)
            elif not works or engine.tail.events <= QUICK_FOLD:
                engine.fold(now_ms)
            results.extend((job, job.work(engine)) for job in works if job.work is not None)
            engine.digests.give_back(now_ms)
            self._prune(engine, now_ms)

        self._store.transact(work)
        self.stalled = False
        self._vain = 0 if direct and entries else self._vain
        for job, repeated in twins.items():
            job.answers = [repeated]
        for job, result in results:
            job.result = result

    def _prune(self, engine: Engine, now_ms: int) -> None:
        """Now and then, forget a slice of what is over; a clock that was set back only delays the next time."""
        if now_ms - self._pruned_ms >= PRUNE_EVERY_MS:
            self._pruned_ms = now_ms
            engine.prune(now_ms)

    def _scarce(self) -> bool:
        """Whether the disk has only the room left that is kept for settling deliveries."""
        least = self._store.engine.rules.min_free_bytes
        return bool(least) and self._store.free_bytes() < least

    def _recognise(self, jobs: Iterable[Job]) -> None:
        """Refuse what was taken before, whether there is room or not."""
        for job in jobs:
            if job.message is not None:
                job.answers = [self._store.engine.messages.known(job.message)]

    # Admission ------------------------------------------------------------------------------------------------

    def _admit(self, jobs: list[Job], *, scarce: bool) -> None:
        """Refuse the requests for which there is no room; all or nothing of each."""
        why = "the disk has less free room than spool.min_free_bytes" if scarce else ""
        if any(job.puts for job in jobs) and not self._store.in_place():
            why = "the spool's file is not where it was"
        if why:
            for job in jobs:
                job.answers = [a or UnavailableError(why, retry_after_seconds=30) for a in job.answers]
        elif self._nearly_full(jobs):
            self._admit_slowly(jobs)

    def _nearly_full(self, jobs: list[Job]) -> bool:
        """Whether there may be too many lanes with all that these jobs bring."""
        arriving = sum(len(entries) for job in jobs for entries in job.puts)
        engine = self._store.engine
        return arriving > 0 and engine.occupied + arriving > engine.rules.max_pending

    def _admit_slowly(self, jobs: list[Job]) -> None:
        """Near the limit, what adds no lane is taken, and critical may go a tenth further; the inbox is folded."""
        engine = self._store.engine
        limit, counts = engine.rules.max_pending, engine.counts()
        lanes = counts.lanes + counts.members
        there = engine.kept({e.key.lower() for job in jobs for entries in job.puts for e in entries})
        for job in jobs:
            for i, entries in enumerate(job.puts):
                if job.answers[i] is not None:
                    continue
                adding = _adding(entries, there)
                critical = all(severity is Severity.CRITICAL for severity in adding.values())
                if adding and lanes + len(adding) > limit + (limit // 10 if critical else 0):
                    full = "the spool is full (spool.max_pending)"
                    job.answers[i] = UnavailableError(full, retry_after_seconds=30)
                else:
                    lanes += len(adding)
                    there |= adding.keys()


def _adding(entries: Sequence[Entry], there: set[str]) -> dict[str, Severity]:
    """The keys that would make something wait where nothing is kept, and the highest severity of each."""
    adding: dict[str, Severity] = {}
    for entry in entries:
        key = entry.key.lower()
        if key not in there and not (entry.target == DROP and entry.kind is Kind.ALERT):
            adding[key] = min(entry.severity, adding.get(key, entry.severity))
    return adding


def _entries(jobs: Iterable[Job]) -> list[Entry]:
    return [e for job in jobs for taken in job.taken() for e in taken]


class InlineRunner:
    """Each job is a transaction at once, in the caller's thread."""

    def __init__(self, writer: Writer, tell: Callable[[News], None]) -> None:
        self._writer = writer
        self._tell = tell

    def submit(self, job: Job) -> None:
        """Run the job, and fold what it left."""
        if self._run([job]):
            self.go_on()

    def go_on(self) -> None:
        """Do what is left to be done, batch by batch."""
        going = True
        while going and self._writer.busy and not self._writer.stalled:
            going = self._run([])

    def _run(self, jobs: list[Job]) -> bool:
        """False once the writer has failed."""
        for news in self._writer.run(jobs):
            self._tell(news)
            if news.fatal is not None:
                return False
        return True

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
        self._switch = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)

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
        sys.setswitchinterval(self._switch)

    def _loop(self) -> None:
        jobs: list[Job] = []
        told: set[Job] = set()
        going = True
        try:
            while going or self._writer.holds:
                jobs = []
                if going:
                    jobs, going = self._take()
                told.clear()
                for news in self._writer.run(jobs):
                    told.update(news.jobs)
                    self._trio.run_sync_soon(self._tell, news)
                    if news.fatal is not None:
                        return
        except trio.RunFinishedError:
            return  # nobody is there who could wait
        except Exception as error:  # noqa: BLE001 - as in Writer
            self._trio.run_sync_soon(
                self._tell, self._writer.fail(error, [job for job in jobs if job not in told])
            )

    def _take(self) -> tuple[list[Job], bool]:
        """All that is queued; waits for the first, not for long where there is something to fold."""
        jobs: list[Job] = []
        events = 0
        try:
            job = self._jobs.get(timeout=self._writer.patience)
            while job is not None:
                jobs.append(job)
                events += sum(map(len, job.puts))
                if len(jobs) >= MAX_JOBS or events >= MAX_EVENTS:
                    return jobs, True
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False


def _mistake(error: Exception) -> StartError:
    log.error("the spool's writer failed by a mistake of mcp-ilert", exc_info=error)
    return StartError(
        f"spool: the writer failed by a mistake of mcp-ilert ({error!r}): report the traceback in the log, and start "
        "again; what was answered with 202 is kept"
    )
