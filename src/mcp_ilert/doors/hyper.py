"""Hypercorn's protocols, mended where a hostile or an impatient client would reach past them.

HTTP/1.1: what is no HTTP, or could be read in two ways, is answered by a problem+json. HTTP/2: data of a stream that
has been answered is thrown away (Hypercorn would end the connection, and with it the server); a stream answered before
its request ended is reset with NO_ERROR; a client that opens and resets streams without end is sent away.
"""

import json
from http import HTTPStatus
from typing import Any, Final

import h2.errors
import h2.events
import h2.exceptions
import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Updated
from hypercorn.protocol.events import EndBody, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

from mcp_ilert.doors.strict import StrictConnection

log = structlog.get_logger()

MAX_HEADER_BYTES: Final = 16 * 1024
MAX_STREAMS: Final = 100
RESETS_ALLOWED: Final = 200
"""Streams that a client may reset beyond those that it let us answer."""


class _Log:
    """In the place of Hypercorn's logger: its errors go where ours go, the rest nowhere."""

    def __init__(self, config: Config) -> None:
        pass

    async def access(self, *_: Any) -> None: ...
    async def debug(self, *_: Any, **__: Any) -> None: ...
    async def info(self, *_: Any, **__: Any) -> None: ...

    async def warning(self, message: str, *_: Any, **__: Any) -> None:
        log.warning("hypercorn", message=message)

    async def error(self, message: str, *_: Any, **__: Any) -> None:
        log.error("hypercorn", message=message)

    async def exception(self, message: str, *_: Any, **__: Any) -> None:
        log.error("hypercorn", message=message, exc_info=True)  # noqa: LOG014 - called where one is being handled

    critical = error


def hypercorn_config() -> Config:
    """Hypercorn's settings: bounded headers and streams, connections kept for as long as they are used."""
    config = Config()
    config.logger_class = _Log  # type: ignore[assignment]  # it has what Hypercorn calls
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h2_max_header_list_size = MAX_HEADER_BYTES
    config.h2_max_concurrent_streams = MAX_STREAMS
    config.keep_alive_max_requests = 2**62
    return config


class Http1(H11Protocol):
    """HTTP/1.1 on one connection, read strictly."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._strict = StrictConnection(MAX_HEADER_BYTES)
        self.connection = self._strict

    async def _check_protocol(self, event: h11.Request) -> None:
        """Only the preface turns to HTTP/2. `Upgrade: h2c` is passed over, as RFC 9113 has it.

        A proxy that lets it through would carry, unseen, whatever comes after.
        """
        if event.http_version == b"2.0":
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self._strict.trailing_data[0])

    async def _send_error_response(self, status_code: int) -> None:
        status = HTTPStatus(status_code)
        problem = {
            "title": status.phrase,
            "status": status_code,
            "detail": self._strict.fault or "this is not a request in HTTP/1.1",
        }
        if status_code == 431:
            problem["detail"] = f"the request's head is larger than {MAX_HEADER_BYTES} bytes"
        body = json.dumps(problem).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Http2(H2Protocol):
    """HTTP/2 on one connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection.decoder.max_header_list_size = MAX_HEADER_BYTES  # Hypercorn only announces it
        self._unfinished: set[int] = set()
        """Streams whose request has not ended."""
        self._resets = 0
        self._ends: dict[int, trio.Event] = {}
        """Set once the END_STREAM of an answer has been sent."""

    async def go_away(self) -> None:
        """Tell the client that no further stream will be taken."""
        try:
            self.connection.close_connection()
            await self._flush()
        except h2.exceptions.ProtocolError:
            pass  # it has gone by itself

    async def stream_send(self, event: StreamEvent) -> None:
        """As Hypercorn's, but an answer's end is on the wire before its stream counts as closed.

        Else a GOAWAY at the server's end could overtake it, and the client would take the answer for cut off.
        """
        if isinstance(event, EndBody):
            self._ends[event.stream_id] = trio.Event()
        elif isinstance(event, StreamClosed):
            ended = self._ends.get(event.stream_id)
            if ended is not None and event.stream_id in self.stream_buffers:
                await ended.wait()
            self._ends.pop(event.stream_id, None)
        await super().stream_send(event)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                if not await self._is_sound(event):
                    continue
                self._unfinished.add(event.stream_id)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                self._unfinished.discard(event.stream_id)
                if isinstance(event, h2.events.StreamReset) and await self._is_too_much():
                    return
            elif isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                self._throw_away(event)
                continue
            await super()._handle_events([event])
            if isinstance(event, h2.events.StreamReset):
                await self.send(Updated(idle=self.idle))
        await self._flush()

    async def _is_sound(self, request: h2.events.RequestReceived) -> bool:
        """Whether Hypercorn can read the request's path; the stream is reset where it cannot."""
        path = dict(request.headers).get(b":path", b"")
        if path.isascii() and path:
            return True
        self.connection.reset_stream(request.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        await self._flush()
        return False

    async def _is_too_much(self) -> bool:
        self._resets += 1
        if self._resets <= RESETS_ALLOWED + self.keep_alive_requests // 2:
            return False
        self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self.send(Closed())
        return True

    def _throw_away(self, event: h2.events.DataReceived) -> None:
        if event.flow_controlled_length:
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

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
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
            await self._flush()
        except h2.exceptions.ProtocolError:
            pass  # the client reset it first
