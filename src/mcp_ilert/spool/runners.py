"""How the writer is run: on a thread of its own, or in the caller's where virtual time cannot wait for threads.

While a commit syncs, the next batch grows; that is the group commit, and it needs no timer.
"""

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from mcp_ilert.spool.job import Job, News
from mcp_ilert.spool.writer import Writer

MAX_JOBS = 4_096
MAX_EVENTS = 16_384
"""Of a batch; one offer may have more."""
SWITCH_SECONDS = 0.0005
"""So long a thread that computes keeps the interpreter's lock from the writer; with Python's 5 ms, beside one that
always does, batches of 64 were committed at less than half the rate (benchmarks/bench_spool.py, "lock wanted")."""


class Runner(Protocol):
    """Runs jobs, here or on a thread."""

    def submit(self, job: Job) -> None: ...
    def left(self) -> Sequence[Job]: ...
    def stop(self) -> None: ...


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
