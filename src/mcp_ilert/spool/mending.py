"""A batch of jobs is one transaction, and one's error must not be its neighbours': what fails is tried again in parts.

Where the disk fails or is full, what was to be accepted is refused; where something cannot be folded, it is set aside.
"""

from collections.abc import Sequence
from contextlib import suppress

import structlog

from mcp_ilert.clock import NowMs
from mcp_ilert.errors import McpIlertError, SpoolError, UnavailableError
from mcp_ilert.spool import admission
from mcp_ilert.spool.aside import DISK, KEYS_IN_VAIN, fold_around, keep_unfolded
from mcp_ilert.spool.job import Job
from mcp_ilert.spool.store import FailedError, FullError, Store
from mcp_ilert.spool.transactions import Transactions

log = structlog.get_logger()


class Mending:
    """Runs the batches of one writer, whatever becomes of them."""

    def __init__(self, store: Store, transactions: Transactions, now_ms: NowMs) -> None:
        self._store = store
        self._transactions = transactions
        self._now_ms = now_ms
        self.stalled = False
        """The last transaction failed: what is to be folded waits a while."""
        self._set_aside = 0
        self._vain = 0
        """Requests in a row whose events could not be folded with their acceptance."""

    def take_set_aside(self) -> int:
        """How many events could not be folded and became dead letters, once."""
        events, self._set_aside = self._set_aside, 0
        return events

    def run(self, jobs: Sequence[Job]) -> None:
        """Commit a batch; without jobs, fold a part of what waits. Each job then has its result or its error.

        Raises StartError where the disk stays unusable, and what is nobody's fault but ours.
        """
        scarce = admission.scarce(self._store)
        self._store.engine.history.muted = scarce
        try:
            admission.admit(self._store, jobs, scarce=scarce)
            self._transact(jobs)
        except FullError:
            self._refuse(jobs, "the spool's disk is full")
        except FailedError as error:
            self._store.reopen()
            self._refuse(jobs, f"the spool's disk failed ({error})")
        except Exception as error:
            mended = self._mended(error)
            if not jobs and not mended:  # the next time it would be the same
                raise
            if jobs and not isinstance(error, McpIlertError):
                log.exception("a transaction of the spool failed; each of its jobs is tried by itself")
            for job in jobs:  # one's error must not be its neighbours'
                self._alone(job)

    def _mended(self, error: Exception) -> bool:
        """Have what cannot be folded set aside, if that may be it; whether it makes sense to go on.

        Also where the disk did not let that be done: it is tried again.
        """
        waited = self._store.engine.inbox.tail.events
        if isinstance(error, McpIlertError | MemoryError) or not waited:
            return False
        try:
            self._set_aside += fold_around(self._store, self._now_ms())
        except FullError:
            self.stalled = True
        except FailedError:
            self._store.reopen()
            self.stalled = True
        return self.stalled or self._store.engine.inbox.tail.events < waited

    def _refuse(self, jobs: Sequence[Job], why: str) -> None:
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

    def _transact(self, jobs: Sequence[Job]) -> None:
        self._transactions.run(jobs)
        self.stalled = False
        if any(job.puts for job in jobs) and not self._store.engine.inbox.tail:
            self._vain = 0  # what came was folded
