"""What the writer is given, and what it tells of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from mcp_ilert.errors import McpIlertError, StartError
from mcp_ilert.events import Counts, Entry, Message
from mcp_ilert.spool.engine import Engine


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


def entries_of(jobs: Iterable[Job]) -> list[Entry]:
    """All that is to be accepted, in order."""
    return [e for job in jobs for taken in job.taken() for e in taken]


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
