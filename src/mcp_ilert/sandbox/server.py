"""The sandbox on real sockets: HTTP/1.1 and HTTP/2 by Hypercorn behind the gate, and the introspection port beside it.

Hypercorn's own accept loop would hide the connections from us, and faults need to break them; so its TCPServer, one
for each connection, runs here, as it does inside Hypercorn.
"""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState

from mcp_ilert.sandbox.admin import Admin
from mcp_ilert.sandbox.asgi import Handle, application
from mcp_ilert.sandbox.gate import Connection, Gate, Stream
from mcp_ilert.sandbox.ilert import SandboxIlert
from mcp_ilert.sandbox.messages import Answer, Request

KEEP_ALIVE_SECONDS = 75.0


class SandboxServer:
    """A running sandbox: `url` goes where `ilert.api_url` stands, `admin_url` is for tests and the curious."""

    def __init__(self, core: SandboxIlert, url: str, admin_url: str, now: Callable[[], float]) -> None:
        self.core = core
        self.url = url
        self.admin_url = admin_url
        self.now = now
        """The sandbox's clock: seconds since 1970."""


@asynccontextmanager
async def open_sandbox(
    core: SandboxIlert,
    address: str = "127.0.0.1",
    port: int = 0,
    *,
    admin_port: int = 0,
    tls: ssl.SSLContext | None = None,
    now: Callable[[], float] | None = None,
) -> AsyncIterator[SandboxServer]:
    """Serve `core` while the context is open; port 0 takes a free one. Raises StartError."""
    now = now or steady_wall_clock()
    if tls is not None:
        tls.set_alpn_protocols(["h2", "http/1.1"])
    gate = Gate(core, address, port, tls, now)
    try:
        # Introspection is a second sandbox's gate: nothing is ever scripted there.
        admin = Gate(SandboxIlert(), address, admin_port, None, now)
    except BaseException:
        gate.close()
        raise
    core.on_script = gate.obey
    handle = _clocked(core.handle, now)
    server = SandboxServer(
        core,
        f"{'http' if tls is None else 'https'}://{_host(address)}:{gate.port}",
        f"http://{_host(address)}:{admin.port}",
        now,
    )
    gate.obey()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate.run, partial(_serve, handle))
            nursery.start_soon(
                admin.run, partial(_serve, _clocked(Admin(core, tls=tls is not None).handle, now))
            )
            yield server
            gate.close()
            admin.close()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The nursery is ours: an error of the caller's own shall reach it as it was raised.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
    finally:
        core.on_script = None
        gate.close()
        admin.close()


async def _serve(handle: Handle, connection: Connection, stream: Stream) -> None:
    app = ASGIWrapper(application(handle, connection.number, connection.reset))
    await TCPServer(app, _config(), WorkerContext(None), LifespanState({}), stream).run()  # type: ignore[arg-type]


def _config() -> Config:
    config = Config()
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 1_000_000
    return config


def _clocked(handle: Callable[[Request, float], Answer], now: Callable[[], float]) -> Handle:
    return lambda request: handle(request, now())


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def steady_wall_clock() -> Callable[[], float]:
    """Seconds since 1970 that never go back."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()
