"""The HTTP/2 session against the h2 library's server: the same frames, the same requests."""

import itertools
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hypothesis.strategies as st
import msgspec
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame
from hypothesis import given, settings

from http2_client import GET, POST, Foreign, http2
from mcp_ilert.wire import Bounds

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BOUND = 2_000
HEADS = (
    POST,
    [*POST, (b"authorization", b"Bearer secret")],
    [*POST[:4], (b"content-type", b"application/x-ndjson"), (b"x-more", b"y" * 300)],
    [*POST, (b"content-encoding", b"gzip")],
    [*POST, (b"host", b"bridge"), (b"te", b"trailers")],
    [(b":method", b"PUT"), *POST[1:]],
    GET,
)
ODD_HEADS = (
    [*POST, (b"content-length", b"3")],
    [*POST, (b"content-length", b"3"), (b"content-length", b"4")],
    [*POST, (b"content-length", b"+3")],
    [*POST, (b"content-length", b"")],
    [*POST, (b"connection", b"close")],
    [*POST, (b"te", b"gzip")],
    [*POST, (b"host", b"elsewhere")],
    [*POST, (b"transfer-encoding", b"chunked")],
    [*POST, (b"x-space", b" a ")],
    [*POST, (b"x-line", b"a\nb")],
    [*POST, (b"x-zero", b"a\0b")],
    [*POST, (b"", b"a")],
    [*POST, (b"x y", b"a")],
    [*POST, (b"x:y", b"a")],
    [*POST, (b"X-Upper", b"a")],
    [*POST, (b":path", b"/events")],
    [*POST, (b":status", b"200")],
    [*POST, (b":unknown", b"a")],
    [POST[4], *POST[:4]],
    [*POST[:2], *POST[3:]],
    [*POST[:1], *POST[2:]],
    [*POST[:2], (b":authority", b""), *POST[3:]],
    [*POST[:1], (b":scheme", b""), *POST[2:]],
    [*POST[:3], POST[4]],
    POST[1:],
    [(b":method", b"CONNECT"), (b":authority", b"x")],
)


class Request(msgspec.Struct):
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    ended: bool = False


class Server:
    """The h2 library's."""

    def __init__(self):
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self.h2.initiate_connection()
        self.requests: dict[int, Request] = {}

    def receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._note(event)

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = Request([(bytes(k), bytes(v)) for k, v in event.headers])
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id].body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.requests[event.stream_id].ended = True


class Ours:
    """The session, with all that it told as requests."""

    def __init__(self):
        self.foreign = Foreign()
        self.session = http2.Http2Session(Bounds(body_bytes=BOUND), self.foreign)
        self.arrivals: dict[int, tuple[Any, bytes]] = {}

    def receive(self, data: bytes) -> list[int]:
        """The streams that have arrived by this."""
        arrivals: list[Any] = []
        self.session.receive(data, arrivals)
        self.session.output()
        self.arrivals |= {stream: (head, body) for _, stream, head, body in arrivals}
        return [stream for _, stream, _, _ in arrivals]


def agree(ours: Ours, theirs: Server) -> None:
    whole = {stream for stream, request in theirs.requests.items() if request.ended}
    assert set(ours.arrivals) | set(ours.foreign.ended) == whole
    for stream, (head, body) in ours.arrivals.items():
        same(theirs.requests[stream], head, body)
    for stream, headers in ours.foreign.headers.items():
        assert headers == theirs.requests[stream].headers
        assert ours.foreign.bodies[stream] == theirs.requests[stream].body


def same(request: Request, head: Any, body: bytes) -> None:
    headers = dict(request.headers)
    assert (headers[b":method"], headers[b":path"]) == (b"POST", b"/events")
    assert head.content_type == headers.get(b"content-type")
    assert head.authorization == headers.get(b"authorization")
    assert body == request.body


def frames_of(data: bytes) -> list[bytes]:
    """Cut where the frames' lengths say."""
    found = []
    while data:
        size = 9 + int.from_bytes(data[:3], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def continued(data: bytes, at: int) -> bytes:
    """A frame with headers as several."""
    frame, _ = Frame.parse_frame_header(memoryview(data[:9]))
    if not isinstance(frame, HeadersFrame):
        return data
    frame.parse_body(memoryview(data[9:]))
    block, cut = frame.data, at % (len(frame.data) + 1)
    frame.data, rest = block[:cut], block[cut:]
    frame.flags.discard("END_HEADERS")
    last = ContinuationFrame(frame.stream_id, rest, flags=["END_HEADERS"])
    return frame.serialize() + last.serialize()


pieces = st.binary(max_size=1_200)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, len(HEADS) - 1), st.booleans()),
        st.tuples(st.just("data"), st.integers(0, 9), pieces, st.booleans(), st.none() | st.integers(0, 255)),
        st.tuples(st.just("trailers"), st.integers(0, 9)),
        st.tuples(st.just("window"), st.integers(0, 9), st.integers(1, 1_000)),
        st.tuples(st.just("priority"), st.integers(1, 99)),
        st.tuples(st.just("reset"), st.integers(0, 9)),
        st.tuples(st.just("ping")),
        st.tuples(st.just("settings"), st.integers(0, 100_000)),
    ),
    max_size=30,
)


class Writer:
    """Writes frames as the h2 library's client does; what has no stream to be about is passed over."""

    def __init__(self, *, strict: bool):
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=strict, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.heads = HEADS if strict else HEADS + ODD_HEADS
        self.streams: list[int] = []
        """Those that the client has not ended."""

    def write(self, steps: list[Any]) -> list[bytes]:
        for name, *what in steps:
            if name in {"open", "priority", "ping", "settings"}:
                getattr(self, name)(*what)
            elif self.streams:
                index, *rest = what
                getattr(self, name)(self.streams[index % len(self.streams)], *rest)
        return frames_of(self.h2.data_to_send()[len(PREFACE) :])

    def open(self, index: int, end: bool) -> None:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, self.heads[index % len(self.heads)], end_stream=end)
        self.streams.append(stream)
        self._end(stream, end=end)

    def data(self, stream: int, data: bytes, end: bool, pad: int | None) -> None:
        if self.h2.local_flow_control_window(stream) > len(data) + 256:
            self.h2.send_data(stream, data, end_stream=end, pad_length=pad)
            self._end(stream, end=end)

    def trailers(self, stream: int) -> None:
        self.h2.send_headers(stream, [(b"x-trailer", b"1")], end_stream=True)
        self._end(stream)

    def window(self, stream: int, size: int) -> None:
        self.h2.increment_flow_control_window(size, stream)

    def reset(self, stream: int) -> None:
        self.h2.reset_stream(stream)
        self._end(stream)

    def priority(self, number: int) -> None:
        self.h2.prioritize(2 * number + 1)

    def ping(self) -> None:
        self.h2.ping(b"12345678")

    def settings(self, size: int) -> None:
        self.h2.update_settings({4: size})

    def _end(self, stream: int, *, end: bool = True) -> None:
        if end:
            self.streams.remove(stream)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    at = sorted({0, len(data), *(number % (len(data) + 1) for number in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(at)]


@settings(max_examples=250, deadline=None)
@given(steps, st.lists(st.integers(0, 100_000), max_size=12), st.lists(st.integers(0, 500), max_size=5))
def test_the_same_frames_are_the_same_requests(steps, cuts, splits):
    frames = Writer(strict=True).write(steps)
    for index, at in {at % (len(frames) or 1): at for at in splits if frames}.items():
        frames[index] = continued(frames[index], at)
    theirs, ours = Server(), Ours()
    data = PREFACE + b"".join(frames)
    theirs.receive(data)
    for piece in cut(data, cuts):
        ours.receive(piece)
    agree(ours, theirs)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(1, 255)),
        st.tuples(st.just("drop"), st.integers(0, 10**6)),
        st.tuples(st.just("twice"), st.integers(0, 10**6)),
        st.tuples(st.just("swap"), st.integers(0, 10**6)),
        st.tuples(
            st.just("put"),
            st.integers(0, 10**6),
            st.integers(0, 12),
            st.integers(0, 255),
            st.integers(0, 9),
            st.binary(max_size=40),
        ),
    ),
    max_size=4,
)


def changed(frames: list[bytes], change: Any) -> list[bytes]:
    name, index, *what = change
    index %= len(frames) + 1
    if name == "put":
        kind, flags, stream, body = what
        frame = len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
        return [*frames[:index], frame, *frames[index:]]
    if index == len(frames):
        return frames
    frame = frames[index]
    if name == "flip":
        at = change[1] % len(frame)
        frame = frame[:at] + bytes([frame[at] ^ what[0]]) + frame[at + 1 :]
        return [*frames[:index], frame, *frames[index + 1 :]]
    put = {"drop": [], "twice": [frame, frame], "swap": [*frames[index + 1 : index + 2], frame]}[name]
    return [*frames[:index], *put, *frames[index + (2 if name == "swap" else 1) :]]


@settings(max_examples=400, deadline=None)
@given(steps, changes)
def test_nothing_arrives_that_the_h2_library_refuses(steps, changes):
    """Frame by frame: as long as the library goes on, what arrives is its requests; what it refuses never arrives."""
    frames = Writer(strict=False).write(steps)
    for change in changes:
        frames = changed(frames, change)
    theirs, ours = Server(), Ours()
    for data in [PREFACE, *frames_of(b"".join(frames))]:
        refused = False
        try:
            theirs.receive(data)
        except (h2.exceptions.H2Error, AssertionError, UnicodeDecodeError, ValueError, KeyError):
            refused = True
        arrived = ours.receive(data)
        if refused:
            assert arrived == []
            break
        for stream in arrived:
            head, body = ours.arrivals[stream]
            assert theirs.requests[stream].ended
            same(theirs.requests[stream], head, body)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 1_000), max_size=5), st.booleans())
def test_garbage_does_no_harm(garbage, cuts, greets):
    ours = Ours()
    for piece in cut((PREFACE + b"\0\0\0\x04\0\0\0\0\0" if greets else b"") + garbage, cuts):
        ours.receive(piece)
    assert ours.session.held <= len(garbage)
    ours.session.expire()
    ours.session.go_away()
    ours.session.receive(b"", [])
    ours.session.output()
    assert ours.session.closing
