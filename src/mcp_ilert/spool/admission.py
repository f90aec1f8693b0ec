"""Which of the requests that came may be accepted: those for which there is room, and which were not taken before."""

from collections.abc import Iterable, Sequence

from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import DROP, Entry, Kind, Severity
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.job import Job
from mcp_ilert.spool.store import Store

RETRY_SECONDS = 30


def scarce(store: Store) -> bool:
    """Whether the disk has only the room left that is kept for settling deliveries."""
    least = store.engine.lanes.rules.min_free_bytes
    return bool(least) and store.free_bytes() < least


def nearly_full(engine: Engine, jobs: Iterable[Job]) -> bool:
    """Whether there may be too many lanes with all that these jobs bring."""
    arriving = sum(len(entries) for job in jobs for entries in job.puts)
    return arriving > 0 and engine.ledger.occupied + arriving > engine.lanes.rules.max_pending


def admit(store: Store, jobs: Sequence[Job], *, scarce: bool) -> None:
    """Refuse the requests for which there is no room, and what was taken before; all or nothing of each."""
    _recognise(store.engine, jobs)
    why = "the disk has less free room than spool.min_free_bytes" if scarce else ""
    if any(job.puts for job in jobs) and not store.in_place():
        why = "the spool's file is not where it was"
    if why:
        for job in jobs:
            job.answers = [a or UnavailableError(why, retry_after_seconds=RETRY_SECONDS) for a in job.answers]
    elif nearly_full(store.engine, jobs):
        _admit_slowly(store.engine, jobs)


def _recognise(engine: Engine, jobs: Iterable[Job]) -> None:
    """Refuse what was taken before, whether there is room or not."""
    for job in jobs:
        if job.message is not None:
            job.answers = [engine.messages.known(job.message)]


def _admit_slowly(engine: Engine, jobs: Iterable[Job]) -> None:
    """Near the limit, what adds no lane is taken, and critical may go a tenth further; the inbox is folded."""
    limit, counts = engine.lanes.rules.max_pending, engine.counts()
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
                job.answers[i] = UnavailableError(full, retry_after_seconds=RETRY_SECONDS)
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
