"""HTTP/2 streams that are no plain requests for events, brought to Hypercorn's streams and so to the app.

A task a stream: it feeds the app what has come, and only then lets the client send more. What the app sends goes
into the session, at most HELD_BYTES ahead of what the client takes. A stream's fault ends that stream and nothing else.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
import structlog
import trio
from hypercorn.config import Config
from hypercorn.protocol.events import (
    Body,
    Data,
    EndBody,
    EndData,
    Event,
    InformationalResponse,
    Request,
    Response,
    StreamClosed,
)
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import _handle
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    Scope,
)
from hypercorn.utils import filter_pseudo_headers

from mcp_ilert.doors.places import Bounds, Places
from mcp_ilert.problems import CONTENT_TYPE, refusal

log = structlog.get_logger()

HELD_BYTES: Final = 65_536
STREAMS: Final = Bounds(connections=4_096, per_address=512)
"""Of all connections, so many are worked on at once; each has a task and an app's request, some 30 KiB."""
Address = tuple[str, int]
RawHeaders = list[tuple[bytes, bytes]]


class Carrier(Protocol):
    """What is used of a session (`_fast.http2.Http2Session`)."""

    def respond(self, stream: int, status: int, headers: RawHeaders, end: bool = False) -> None: ...
    def send(self, stream: int, data: bytes, end: bool = False) -> int: ...
    def taken(self, stream: int, size: int) -> None: ...
    def reset(self, stream: int) -> None: ...


class Peers(msgspec.Struct, frozen=True):
    """Who speaks, as the app is told."""

    ssl: bool
    client: Address | None
    server: Address | None


class Stage(msgspec.Struct, frozen=True):
    """What the streams of all connections have in common."""

    app: AppWrapper
    config: Config
    context: WorkerContext
    nursery: trio.Nursery
    """Where their tasks live."""
    places: Places = msgspec.field(default_factory=lambda: Places(STREAMS))


class ForeignStreams:
    """Those of one connection: what its session tells of them, to the app. `flush` sends what the session gives out."""

    def __init__(self, stage: Stage, peers: Peers, flush: Callable[[Any], object]) -> None:
        self._stage = stage
        self._peers = peers
        self._flush = flush
        self._address = peers.client[0] if peers.client is not None else ""
        self._streams: dict[int, _Stream] = {}

    def begin(self, session: Carrier, stream: int, headers: RawHeaders) -> None:
        if not self._stage.places.enter(self._address):
            refused = refusal(503, "too many requests of HTTP/2 are being worked on")
            size = b"%d" % len(refused.body)
            head = [
                (b"content-type", CONTENT_TYPE.encode()),
                (b"content-length", size),
                (b"retry-after", b"1"),
            ]
            session.respond(stream, refused.status, head)
            session.send(stream, refused.body, end=True)
            return
        task = _Stream(self._stage, self._peers, session, stream, lambda: self._flush(session))
        self._streams[stream] = task
        self._stage.nursery.start_soon(self._serve, task, headers)

    def data(self, _session: Carrier, stream: int, data: bytes) -> None:
        self._put(Body(stream, data))

    def end(self, _session: Carrier, stream: int) -> None:
        self._put(EndBody(stream))

    def reset(self, _session: Carrier, stream: int) -> None:
        self._put(StreamClosed(stream))

    def drained(self, _session: Carrier, stream: int) -> None:
        if stream in self._streams:
            self._streams[stream].drained()

    def _put(self, event: Event) -> None:
        if event.stream_id in self._streams:
            self._streams[event.stream_id].put(event)

    async def _serve(self, task: "_Stream", headers: RawHeaders) -> None:
        try:
            await task.run(headers)
        except Exception as error:  # noqa: BLE001 - a stream's fault is its own
            log.warning("a stream failed", error=f"{type(error).__name__}: {error}"[:300])
        finally:
            self._stage.places.leave(self._address)
            del self._streams[task.number]
            task.give_up()


class _Stream:
    """One request and its answer. To Hypercorn it is also the task group that the app is started in."""

    def __init__(
        self, stage: Stage, peers: Peers, session: Carrier, number: int, flush: Callable[[], object]
    ) -> None:
        self.number = number
        self._stage = stage
        self._peers = peers
        self._session = session
        self._flush = flush
        self._came: deque[Event] = deque()
        self._news = trio.Event()
        self._drained = trio.Event()
        self._over = False
        """The answer is complete, or nobody waits for it any more."""
        self._websocket = False
        self._feeding = trio.CancelScope()
        self._nursery: trio.Nursery

    # From the session ----------------------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        self._came.append(event)
        self._news.set()
        if isinstance(event, StreamClosed):
            self._over = True
            self._drained.set()

    def drained(self) -> None:
        self._drained.set()

    def give_up(self) -> None:
        """An answer that is not complete ends here."""
        if not self._over:
            self._over = True
            self._session.reset(self.number)
            self._flush()

    async def run(self, headers: RawHeaders) -> None:
        """Feed the app until it ends, or the client goes; returns once the app has ended."""
        async with trio.open_nursery() as self._nursery:
            with self._feeding:
                await self._feed(headers)

    async def _feed(self, headers: RawHeaders) -> None:
        pseudo = dict(headers)
        method = pseudo[b":method"].decode("ascii").upper()
        self._websocket = method == "CONNECT"
        protocol = self._protocol(WSStream if self._websocket else HTTPStream)
        request = Request(
            stream_id=self.number,
            headers=filter_pseudo_headers(headers),
            http_version="2",
            method=method,
            raw_path=pseudo[b":path"],
            state=ConnectionState({}),
        )
        await protocol.handle(request)
        while not protocol.closed:
            event = await self._next()
            await protocol.handle(event)
            if isinstance(event, Body):
                self._session.taken(self.number, len(event.data))
                self._flush()

    def _protocol(self, kind: type[HTTPStream] | type[WSStream]) -> HTTPStream | WSStream:
        stage, peers = self._stage, self._peers
        tasks: Any = self
        return kind(
            stage.app,
            stage.config,
            stage.context,
            tasks,
            peers.ssl,
            peers.client,
            peers.server,
            self._send,
            self.number,
        )

    async def _next(self) -> Event:
        while not self._came:
            self._news = trio.Event()
            await self._news.wait()
        return self._came.popleft()

    # The app -------------------------------------------------------------------------------------------------

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """As Hypercorn's task group does; but an app that has ended is fed no more."""
        to_app, from_client = trio.open_memory_channel[ASGIReceiveEvent](config.max_app_queue_size)

        async def run() -> None:
            try:
                await _handle(
                    app,
                    config,
                    scope,
                    from_client.receive,
                    send,
                    trio.to_thread.run_sync,
                    trio.from_thread.run,
                )
            finally:
                self._feeding.cancel()

        self._nursery.start_soon(run)
        return to_app.send

    async def _send(self, event: Event) -> None:
        if self._over:
            return
        if isinstance(event, Response | InformationalResponse):
            headers = event.headers + self._stage.config.response_headers("h2")
            self._session.respond(self.number, event.status_code, headers)
            self._flush()
        elif isinstance(event, Body | Data):
            await self._send_body(event.data)
        elif isinstance(event, EndBody | EndData):
            self._over = True
            self._session.send(self.number, b"", end=True)
            self._flush()
        elif isinstance(event, StreamClosed):
            self._close()

    def _close(self) -> None:
        """Hypercorn is done with the stream: a websocket has closed, or an app has left its answer."""
        if self._websocket:
            self._session.send(self.number, b"", end=True)
            self._flush()
            self.put(StreamClosed(self.number))
        else:
            self.give_up()

    async def _send_body(self, data: bytes) -> None:
        for at in range(0, len(data), HELD_BYTES):
            if self._over:
                return
            self._drained = trio.Event()
            queued = self._session.send(self.number, data[at : at + HELD_BYTES])
            self._flush()
            if queued >= HELD_BYTES:
                await self._drained.wait()
