"""The bridge's own doors and intake over a spool that keeps nothing: what the wire and the decoding cost by themselves.

python benchmarks/unstored.py PORT
"""

import sys
from collections.abc import Callable, Sequence

import trio

from mcp_ilert.clock import wall_ms
from mcp_ilert.config import Settings
from mcp_ilert.doors.events import EventsDoor
from mcp_ilert.doors.server import Fast, Server
from mcp_ilert.doors.sockets import listening_sockets
from mcp_ilert.errors import UnavailableError
from mcp_ilert.events import Entry, Message
from mcp_ilert.intake import Intake, Limits
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.web.app import metrics_app
from mcp_ilert.web.auth import Guard
from mcp_ilert.wire import Bounds

Done = Callable[[Sequence[UnavailableError | None]], None]


class Nothing:
    """A spool that takes all and keeps nothing."""

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done, message: Message | None = None) -> None:  # noqa: ARG002 - the port has it
        done([None] * len(puts))


async def main() -> None:
    metrics = Metrics()
    intake = Intake(Nothing(), Mapper(Settings()), metrics, wall_ms, Limits())
    events = EventsDoor(intake, Guard(), metrics)
    sockets = listening_sockets("127.0.0.1", int(sys.argv[1]), keys=("PORT", "PORT"))
    others = metrics_app(metrics.exposition)
    await Server(others, sockets, fast=Fast(events, Bounds())).serve(0)


if __name__ == "__main__":
    trio.run(main)
