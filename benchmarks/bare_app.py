"""The comparator: a bare Quart-Trio app on Hypercorn that reads the body, answers 202 and stores nothing.

python benchmarks/bare_app.py PORT
"""

import sys

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.trio import run, serve
from hypercorn.trio.tcp_server import TCPServer
from quart import Response, request
from quart_trio import QuartTrio

app = QuartTrio(__name__)


class Survivor(TCPServer):
    """Hypercorn 0.18 ends the whole server when an HTTP/2 client leaves while answers are on their way to it.

    `_close` awaits `send_eof` outside of the lock that `send_all` holds. Without this no comparison gets to its end.
    """

    async def protocol_send(self, event: Event) -> None:
        try:
            await super().protocol_send(event)
        except trio.BusyResourceError:
            await self.protocol.handle(Closed())


@app.post("/events")
async def events() -> Response:
    await request.get_data()
    return Response(b'{"accepted":1}', status=202, content_type="application/json")


@app.get("/healthz")
async def healthz() -> Response:
    return Response(b"{}", content_type="application/json")


def main() -> None:
    setattr(run, "TCPServer", Survivor)  # noqa: B010 - mypy knows that the name is not exported
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.accesslog = None
    config.loglevel = "WARNING"
    trio.run(serve, app, config)


if __name__ == "__main__":
    main()
