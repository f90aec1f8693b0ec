"""The h2 library as the client of an `Http2Session`, without sockets; frames of one's own can be put in between."""

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import msgspec
import pytest
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from mcp_ilert.wire import Arrival, Bounds

http2 = pytest.importorskip("mcp_ilert._fast.http2")

POST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"bridge"),
    (b":path", b"/events"),
    (b"content-type", b"application/json"),
]
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"bridge"), (b":path", b"/healthz")]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()


class Answer(msgspec.Struct):
    """What has come on one stream."""

    status: int | None = None
    headers: dict[bytes, bytes] = {}
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Foreign:
    """Notes what a session tells of its foreign streams."""

    def __init__(self):
        self.headers: dict[int, list[tuple[bytes, bytes]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.resets: list[int] = []
        self.drains: list[int] = []
        self.takes = True

    def begin(self, session, stream, headers):
        self.headers[stream] = headers
        self.bodies[stream] = b""

    def data(self, session, stream, data):
        self.bodies[stream] += data
        if self.takes:
            session.taken(stream, len(data))

    def end(self, session, stream):
        self.ended.append(stream)

    def reset(self, session, stream):
        self.resets.append(stream)

    def drained(self, session, stream):
        self.drains.append(stream)


class Client:
    """One connection. `talk` carries bytes both ways until neither side has any."""

    def __init__(
        self,
        *,
        bounds: Bounds | None = None,
        foreign: Any = None,
        budget: Any = None,
        settings=None,
        calendar: Any = None,
    ):
        self.session = http2.Http2Session(bounds or Bounds(), foreign, budget, calendar)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        if settings:
            self.h2.update_settings(settings)
        self.answers: dict[int, Answer] = {}
        self.arrivals: list[Arrival] = []
        self.goaways: list[tuple[int, int]] = []
        self.acknowledges = True
        self.h2.initiate_connection()
        self.talk()

    def open(self, headers=POST, *, end: bool = False) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, headers, end_stream=end)
        return stream

    def post(self, body: bytes = b"{}", headers=POST) -> int:
        """A whole request, as far as the windows reach; `talk` sends it."""
        stream = self.open(headers)
        self.h2.send_data(stream, body, end_stream=True)
        return stream

    def upload(self, body: bytes, headers=POST) -> int:
        """A whole request, waiting for the windows."""
        stream = self.open(headers)
        self.talk()
        while body:
            room = min(self.h2.local_flow_control_window(stream), 16_384)
            assert room, "the window does not open"
            self.h2.send_data(stream, body[:room])
            body = body[room:]
            self.talk()
        self.h2.end_stream(stream)
        self.talk()
        return stream

    def talk(self) -> None:
        while True:
            sent, got = self.h2.data_to_send(), self.session.output()
            if not sent and not got:
                return
            if sent:
                self.session.receive(sent, self.arrivals)
            self.take(got)

    def raw(self, *frames: Frame | bytes) -> None:
        """Send frames that the h2 library would not."""
        parts = [frame if isinstance(frame, bytes) else frame.serialize() for frame in frames]
        self.session.receive(b"".join(parts), self.arrivals)
        self.take(self.session.output())

    def take(self, data: bytes) -> None:
        while data:  # frame by frame: the h2 library takes nothing after a GOAWAY
            size = 9 + int.from_bytes(data[:3], "big")
            for event in self.h2.receive_data(data[:size]):
                self._note(event)
            data = data[size:]

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((int(event.error_code or 0), event.last_stream_id or 0))
            self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN  # answers may follow it
            return
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)

    def accept(self) -> None:
        """Answer all that has arrived."""
        for session, stream, _, _ in self.arrivals:
            session.accepted(stream)
        self.arrivals.clear()
        self.talk()

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, _, body in self.arrivals]


class Attacker:
    """A client that sends frames as they are, and reads what comes back frame by frame."""

    def __init__(self, *, foreign=None, budget=None, settings=None, knows: bool = True):
        self.session = http2.Http2Session(Bounds(), foreign, budget)
        self.arrivals: list[Arrival] = []
        self.frames: list[Frame] = []
        self.next = 1
        self.encoder = hpack.Encoder()
        self.send(PREFACE, SettingsFrame(0, settings or {}))
        if knows:  # what we have set
            self.send(SettingsFrame(0, flags=["ACK"]))

    def send(self, *frames: Frame | bytes) -> None:
        data = b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames)
        self.session.receive(data, self.arrivals)
        self.read()

    def read(self) -> None:
        data = memoryview(self.session.output())
        while data:
            frame, size = Frame.parse_frame_header(data[:9])
            frame.parse_body(data[9 : 9 + size])
            self.frames.append(frame)
            data = data[9 + size :]

    def head(self, headers=POST, *, end: bool = True, stream: int | None = None) -> HeadersFrame:
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        if stream is None:
            stream, self.next = self.next, self.next + 2
        return HeadersFrame(stream, self.encoder.encode(headers), flags=flags)

    @property
    def goaway(self) -> int | None:
        return next((int(one.error_code) for one in self.frames if isinstance(one, GoAwayFrame)), None)

    def resets(self) -> list[tuple[int, int]]:
        return [
            (one.stream_id, int(one.error_code)) for one in self.frames if isinstance(one, RstStreamFrame)
        ]
