"""The comparators on the stock stack: a bare Quart-Trio app on Hypercorn that reads the body and answers 202.

    python benchmarks/bare_app.py PORT [SPOOL.db]

Without a file it keeps nothing; with one, each request is an SQLite transaction, synced before the answer.
"""

import sqlite3
import sys
from collections.abc import Callable

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.trio import run, serve
from hypercorn.trio.tcp_server import TCPServer
from quart import Response, request
from quart_trio import QuartTrio

Keep = Callable[[bytes], object]


class Survivor(TCPServer):
    """Hypercorn 0.18 ends the whole server when an HTTP/2 client leaves while answers are on their way to it.

    `_close` awaits `send_eof` outside of the lock that `send_all` holds. Without this no comparison gets to its end.
    """

    async def protocol_send(self, event: Event) -> None:
        try:
            await super().protocol_send(event)
        except trio.BusyResourceError:
            await self.protocol.handle(Closed())


def keeping(path: str) -> Keep:
    """Stores a body durably."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, payload BLOB)")
    return lambda body: database.execute("INSERT INTO inbox (payload) VALUES (?)", (body,))


def app(keep: Keep | None) -> QuartTrio:
    made = QuartTrio(__name__)

    @made.post("/events")
    async def events() -> Response:
        body: bytes = await request.body
        if keep is not None:
            keep(body)
        return Response(b'{"accepted":1}', status=202, content_type="application/json")

    @made.get("/healthz")
    async def healthz() -> Response:
        return Response(b"{}", content_type="application/json")

    return made


def main() -> None:
    setattr(run, "TCPServer", Survivor)  # noqa: B010 - mypy knows that the name is not exported
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.accesslog = None
    config.loglevel = "WARNING"
    trio.run(serve, app(keeping(sys.argv[2]) if len(sys.argv) > 2 else None), config)


if __name__ == "__main__":
    main()
