"""The bridge's own doors and intake over a spool that keeps nothing: what the wire and the decoding cost by themselves.

python benchmarks/unstored.py PORT
"""

from collections.abc import Callable, Sequence

import trio

from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import Counts, Entry

Done = Callable[[Sequence[UnavailableError | None]], None]


class Nothing:
    """A spool that takes all and keeps nothing."""

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done) -> None:
        done([None] * len(puts))

    def counts(self) -> Counts:
        return Counts()


async def main() -> None:
    raise NotImplementedError


if __name__ == "__main__":
    trio.run(main)
