"""A spool for the doors' tests: keeps what it is given, or fails as it is told."""

from collections.abc import Sequence

import trio

from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import Counts, Entry


class FakeSpool:
    def __init__(self):
        self.puts: list[list[Entry]] = []
        self.full = False
        self.broken = False
        self.gate = trio.Event()
        """Puts wait for it."""
        self.gate.set()
        self._waiting = 0
        self._came = trio.Event()

    async def put(self, entries: Sequence[Entry]) -> None:
        self._waiting += 1
        self._came.set()
        await self.gate.wait()
        self._waiting -= 1
        if self.full:
            raise UnavailableError("the spool is full", retry_after_seconds=7)
        if self.broken:
            raise RuntimeError("a bug in the spool")
        self.puts.append(list(entries))

    async def waiting(self, number: int) -> None:
        """Returns once so many puts wait at the gate."""
        while self._waiting < number:
            self._came = trio.Event()
            await self._came.wait()

    @property
    def entries(self) -> list[Entry]:
        return [entry for put in self.puts for entry in put]

    def counts(self) -> Counts:
        return Counts(accepted=len(self.entries))
