"""A spool for the doors' tests: keeps what it is given, or fails as it is told."""

from collections.abc import Sequence

import trio

from mcp_ilert.errors import McpIlertError, RepeatedError, UnavailableError
from mcp_ilert.events import Counts, Entry, Message
from mcp_ilert.spool.port import Done


class Gate:
    """Offers wait for it while it is shut; opened as a trio.Event is set."""

    def __init__(self, *, shut: bool = True):
        self.shut = shut
        self.behind: list[tuple[Sequence[Sequence[Entry]], Done, Message | None]] = []
        self._spool: FakeSpool

    def at(self, spool: "FakeSpool") -> None:
        self._spool = spool

    def set(self) -> None:
        self.shut = False
        while self.behind:
            self._spool.answer(*self.behind.pop(0))


class FakeSpool:
    def __init__(self):
        self.puts: list[list[Entry]] = []
        self.messages: dict[str, Message] = {}
        self.offers = 0
        self.full = False
        self.broken = False
        self.gate = Gate(shut=False)
        """Offers wait for it."""
        self._came = trio.Event()

    def shut(self) -> Gate:
        """Have offers wait from now on."""
        self.gate = Gate()
        self.gate.at(self)
        return self.gate

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done, message: Message | None = None) -> None:
        if self.broken:
            raise RuntimeError("a bug in the spool")
        self.offers += 1
        if self.gate.shut:
            self.gate.behind.append((puts, done, message))
            self._came.set()
        else:
            self.answer(puts, done, message)

    def answer(self, puts: Sequence[Sequence[Entry]], done: Done, message: Message | None) -> None:
        answers: list[McpIlertError | None] = [None] * len(puts)
        if self.full:
            answers = [UnavailableError("the spool is full", retry_after_seconds=7)] * len(puts)
        elif message is not None and message.name in self.messages:
            known = self.messages[message.name]
            answers = [RepeatedError(known.accepted, known.rejected)]
        else:
            self.puts += [list(entries) for entries in puts]
            if message is not None:
                self.messages[message.name] = message
        done(answers)

    async def waiting(self, number: int) -> None:
        """Returns once so many requests wait at the gate."""
        while sum(len(puts) for puts, *_ in self.gate.behind) < number:
            self._came = trio.Event()
            await self._came.wait()

    @property
    def entries(self) -> list[Entry]:
        return [entry for put in self.puts for entry in put]

    def counts(self) -> Counts:
        return Counts(accepted=len(self.entries))
