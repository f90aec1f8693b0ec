"""What jobs become in one transaction: events are accepted, and folded at once where these are few; work is done."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import RepeatedError
from mcp_ilert.events import Entry
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.job import Job, entries_of
from mcp_ilert.spool.store import Store
from mcp_ilert.spool.tail import Batch

T = TypeVar("T")

DIRECT_FOLD = 32
"""So many events, and no more, are folded in the transaction that accepts them."""
QUICK_FOLD = 512
"""So many events that wait, and no more, are folded before a lease or a settlement."""
PRUNE_EVERY_MS = 10_000


class Transactions:
    """Those of one writer. What they raise is the store's to say; the jobs then have no answer yet."""

    def __init__(self, store: Store, now_ms: NowMs) -> None:
        self._store = store
        self._now_ms = now_ms
        self._pruned_ms = now_ms()

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all of them, or fold a part of what waits where there are none."""
        now_ms = self._now_ms()
        entries = entries_of(jobs)
        batch = Batch(entries)
        works = [job for job in jobs if job.work is not None]
        named = [(job, job.message) for job in jobs if job.message is not None and job.answers[0] is None]
        engine = self._store.engine
        direct = batch.events <= DIRECT_FOLD and not engine.inbox.tail
        if batch.events and not (works or named or direct or batch.critical or engine.digests.busy):
            self._store.append(batch)
            return
        results: list[tuple[Job, object]] = []
        twins: dict[Job, RepeatedError] = {}

        def work(engine: Engine) -> None:
            for job, message in named:  # two of one transaction may be the same
                if repeated := engine.messages.take(message, now_ms):
                    twins[job] = repeated
            fresh = entries if not twins else entries_of(job for job in jobs if job not in twins)
            if fresh:
                engine.accept(fresh, now_ms, fold=direct)
            elif not works or engine.inbox.tail.events <= QUICK_FOLD:
                engine.fold(now_ms)
            results.extend((job, job.work(engine)) for job in works if job.work is not None)
            engine.digests.give_back(now_ms)
            self._prune(engine, now_ms)

        self._store.transact(work)
        for job, repeated in twins.items():
            job.answers = [repeated]
        for job, result in results:
            job.result = result

    def _prune(self, engine: Engine, now_ms: int) -> None:
        """Now and then, forget a slice of what is over; a clock that was set back only delays the next time."""
        if now_ms - self._pruned_ms >= PRUNE_EVERY_MS:
            self._pruned_ms = now_ms
            engine.prune(now_ms)

    def take(self, entry: Entry) -> bool:
        """Take one event, accepted now, as a batch of itself would be; False: its batch has more to do, or to look at.

        For a store that cannot fail, and of which nobody reads what a transaction leaves but the next one.
        """
        engine = self._store.engine
        if (
            engine.inbox.tail
            or engine.digests.busy
            or engine.ledger.occupied >= engine.lanes.rules.max_pending
        ):
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
