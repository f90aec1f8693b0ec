"""Hypercorn's HTTP/2, mended and bounded: what serves it where `_fast/http2.pyx` is not compiled.

Data of a stream that has been answered is thrown away (Hypercorn would end the connection, and with it the server);
a stream answered before its request ended is reset with NO_ERROR; priorities are passed over (RFC 9113). All
connections together work on so many streams and hold so much of their bodies; who costs much and sends nothing is
sent away (`toll.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import h2.errors
import h2.events
import h2.exceptions
import msgspec
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import Body, Data, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope, TaskGroup

from mcp_ilert.doors.hyper import MAX_HEADER_BYTES
from mcp_ilert.doors.places import Bounds, Places
from mcp_ilert.doors.toll import Allowance, Toll
from mcp_ilert.problems import CONTENT_TYPE, refusal

STREAMS: Final = Bounds(connections=4_096, per_address=2_048)
"""Of all connections, so many are worked on at once; each has a task and an app's request, some 30 KiB."""
Codes = h2.errors.ErrorCodes


class Commons(msgspec.Struct, frozen=True):
    """What the streams of all connections draw on."""

    streams: Places = msgspec.field(default_factory=lambda: Places(STREAMS))
    bodies: Allowance = msgspec.field(default_factory=Allowance)


class _Apps:
    """In the place of a connection's task group: tells when a stream's app has ended, which may be after the stream."""

    def __init__(self, tasks: TaskGroup, ended: Callable[[int], None]) -> None:
        self._tasks = tasks
        self._ended = ended
        self.beginning: int | None = None
        """The stream whose app is asked for next."""
        self.spawn = tasks.spawn

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        stream, self.beginning = self.beginning, None

        async def run(*args: Any) -> None:
            try:
                await app(*args)
            finally:
                if stream is not None:
                    self._ended(stream)

        watched: Any = run
        return await self._tasks.spawn_app(watched, config, scope, send)


class Http2(H2Protocol):
    """HTTP/2 on one connection."""

    def __init__(self, commons: Commons, *args: Any) -> None:
        super().__init__(*args)
        self.connection.decoder.max_header_list_size = MAX_HEADER_BYTES  # Hypercorn only announces it
        self._commons = commons
        self._address = self.client[0] if self.client is not None else ""
        self._toll = Toll()
        self._apps = _Apps(self.task_group, self._app_ended)
        self.task_group = cast("TaskGroup", self._apps)  # all that is used of one
        self._held: dict[int, int] = {}
        """Bytes of their bodies, of the streams that an app works on; each has a place."""
        self._unfinished: set[int] = set()
        """Streams whose request has not ended."""
        self._answered: set[int] = set()
        """Streams whose answer has begun."""
        self._ends: dict[int, trio.Event] = {}
        """Set once the END_STREAM of an answer has been sent."""

    async def go_away(self) -> None:
        """Tell the client that no further stream will be taken."""
        try:
            self.connection.close_connection()
            await self._flush()
        except h2.exceptions.ProtocolError:
            pass  # it has gone by itself

    # From the client -----------------------------------------------------------------------------------------

    async def handle(self, event: ConnectionEvent) -> None:
        if isinstance(event, RawData) and not self._toll.take(event.data):
            await self._send_away()
            return
        await super().handle(event)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            match event:
                case h2.events.RequestReceived():
                    go_on = await self._begin(event)
                case h2.events.DataReceived():
                    go_on = await self._take_data(event)
                case h2.events.StreamReset():
                    go_on = await self._end_early(event)
                case h2.events.PriorityUpdated():
                    go_on = True
                case _:
                    if isinstance(event, h2.events.StreamEnded):
                        self._unfinished.discard(event.stream_id)
                    await super()._handle_events([event])
                    go_on = True
            if not go_on:
                await self._send_away()
                return
        await self._flush()

    async def _begin(self, event: h2.events.RequestReceived) -> bool:
        """Whether the client may go on. An unsound request, or one too many, ends its stream only."""
        stream = event.stream_id
        if not _is_sound(event):
            return self._reset(stream, Codes.PROTOCOL_ERROR)
        if not self._commons.streams.enter(self._address):
            return self._reset(stream, Codes.REFUSED_STREAM)
        self._toll.began()
        self._held[stream] = 0
        self._unfinished.add(stream)
        self._apps.beginning = stream
        await super()._handle_events([event])
        if self._apps.beginning is not None:  # it was refused before any app was asked
            self._apps.beginning = None
            self._app_ended(stream)
        return True

    async def _take_data(self, event: h2.events.DataReceived) -> bool:
        stream, size = event.stream_id, len(event.data or b"")
        if stream not in self.streams:
            self._throw_away(event)
            return True
        self._toll.came(event.flow_controlled_length or 0)
        if stream in self._held:
            if not self._commons.bodies.take(size, self._held[stream]):
                self._throw_away(event)
                await self._refuse_for_room(stream)
                return True
            self._held[stream] += size
        await super()._handle_events([event])
        return True

    async def _end_early(self, event: h2.events.StreamReset) -> bool:
        """By the client, or by an error of its own."""
        self._unfinished.discard(event.stream_id)
        await super()._handle_events([event])
        await self.send(Updated(idle=self.idle))
        return self._toll.ended_early()

    def _reset(self, stream: int, code: Codes) -> bool:
        self.connection.reset_stream(stream, code)
        return self._toll.ended_early()

    async def _refuse_for_room(self, stream: int) -> None:
        """All connections together hold too much: answer 503 where nothing is answered yet, and end the stream."""
        self._unfinished.discard(stream)
        try:
            code = Codes.ENHANCE_YOUR_CALM
            if stream not in self._answered:
                self._send_refusal(stream)
                code = Codes.NO_ERROR
            self.connection.reset_stream(stream, code)
        except h2.exceptions.ProtocolError:
            pass  # it has ended by itself
        await self._close_stream(stream)
        await self._window_updated(stream)
        await self.send(Updated(idle=self.idle))

    def _send_refusal(self, stream: int) -> None:
        refused = refusal(503, "too many bodies are being received")
        fits = len(refused.body) <= self.connection.local_flow_control_window(stream)
        head = [
            (b":status", b"503"),
            (b"content-type", CONTENT_TYPE.encode()),
            (b"retry-after", b"1"),
            *self.config.response_headers("h2"),
        ]
        self.connection.send_headers(stream, head, end_stream=not fits)
        if fits:
            self.connection.send_data(stream, refused.body, end_stream=True)

    def _throw_away(self, event: h2.events.DataReceived) -> None:
        if event.flow_controlled_length:
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    async def _send_away(self) -> None:
        try:
            self.connection.close_connection(Codes.ENHANCE_YOUR_CALM)
            await self._flush()
        except h2.exceptions.ProtocolError:
            pass  # it has gone by itself
        await self.send(Closed())

    # The app -------------------------------------------------------------------------------------------------

    def _app_ended(self, stream: int) -> None:
        self._commons.streams.leave(self._address)
        self._commons.bodies.give_back(self._held.pop(stream, 0))
        self._answered.discard(stream)

    async def stream_send(self, event: StreamEvent) -> None:
        """As Hypercorn's, but an answer's end is on the wire before its stream counts as closed.

        Else a GOAWAY at the server's end could overtake it, and the client would take the answer for cut off.
        """
        if isinstance(event, Response):
            self._answered.add(event.stream_id)
        elif isinstance(event, Body | Data):
            self._toll.sent(len(event.data))
        elif isinstance(event, EndBody):
            self._ends[event.stream_id] = trio.Event()
        elif isinstance(event, StreamClosed):
            ended = self._ends.get(event.stream_id)
            if ended is not None and event.stream_id in self.stream_buffers:
                await ended.wait()
            self._ends.pop(event.stream_id, None)
        await super().stream_send(event)

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id in self.stream_buffers:
            return
        if stream_id in self._ends:
            self._ends[stream_id].set()
        if stream_id not in self._unfinished:
            return
        self._unfinished.discard(stream_id)
        try:
            self.connection.reset_stream(stream_id, Codes.NO_ERROR)
            await self._flush()
        except h2.exceptions.ProtocolError:
            pass  # the client reset it first


def _is_sound(request: h2.events.RequestReceived) -> bool:
    """Whether Hypercorn can read the request's path."""
    path = dict(request.headers).get(b":path", b"")
    return bool(path) and path.isascii()
