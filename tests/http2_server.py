"""A server of the tests' own around `Http2Session`: every event is accepted, every other stream is the app's.

Run as a program it prints its port and serves until its standard input ends.
"""

import contextlib
import sys
from functools import partial
from typing import Any

import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app

from mcp_ilert._fast.http2 import Http2Session
from mcp_ilert.doors.foreign import ForeignStreams, Peers, Stage
from mcp_ilert.doors.hyper import hypercorn_config
from mcp_ilert.wire import Arrival, Bounds


async def serve(app: Any, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the app on a free port of loopback, which is the status, until cancelled."""
    async with trio.open_nursery() as nursery:
        stage = Stage(wrap_app(app, 0, "asgi"), hypercorn_config(), WorkerContext(None), nursery)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(partial(_connection, stage), [listener], handler_nursery=nursery)


async def _connection(stage: Stage, stream: trio.SocketStream) -> None:
    peers = Peers(ssl=False, client=stream.socket.getpeername()[:2], server=stream.socket.getsockname()[:2])
    ready, waiting = trio.open_memory_channel[None](1)

    def flush(_: Any) -> None:
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
            ready.send_nowait(None)

    session = Http2Session(Bounds(), ForeignStreams(stage, peers, flush))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, session, stream, waiting, nursery.cancel_scope)
            flush(session)
            while not session.closing:
                arrivals: list[Arrival] = []
                session.receive(bytes(await stream.receive_some(65536)), arrivals)
                for one, number, _, _ in arrivals:
                    one.accepted(number)
                flush(session)
            await trio.sleep_forever()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        session.receive(b"", [])
    finally:
        await trio.aclose_forcefully(stream)


async def _write(
    session: Http2Session,
    stream: trio.SocketStream,
    waiting: trio.MemoryReceiveChannel[None],
    scope: trio.CancelScope,
) -> None:
    async for _ in waiting:
        data = session.output()
        if data:
            await stream.send_all(data)
        if session.closing and not session.pending:
            await stream.send_eof()
            scope.cancel()


async def _main() -> None:
    from quart_trio import QuartTrio

    app = QuartTrio(__name__)

    @app.route("/", methods=["GET", "POST"])
    async def index() -> str:
        return "hello"

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, app)
        print(port, flush=True)  # noqa: T201 - who started it reads it
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main)
