"""The fast HTTP/1.1 door against h11: the same bytes, cut anyhow. What it takes, h11 takes for the same requests."""

import re
from collections.abc import Callable, Iterator

import h11
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_ilert.doors.strict import StrictConnection
from mcp_ilert.wire import Arrival, Bounds

http1 = pytest.importorskip("mcp_ilert._fast.http1", reason="_fast/http1 is not compiled here")

HEAD_BYTES = 16_384


class Taken(msgspec.Struct, frozen=True):
    """A request as somebody understood it, and the bytes after it that are still to be read."""

    body: bytes
    content_type: bytes | None
    authorization: bytes | None
    keep_alive: bool
    rest: bytes


# Those who read ------------------------------------------------------------------------------------------------


def by_h11(data: bytes) -> list[Taken]:
    """The requests for events from the first on, until there comes something else, or nothing that is whole."""
    parser = StrictConnection(HEAD_BYTES)
    parser.receive_data(data)
    taken: list[Taken] = []
    try:
        while True:
            request = parser.next_event()
            if not isinstance(request, h11.Request):
                return taken
            if (request.method, request.target, request.http_version) != (b"POST", b"/events", b"1.1"):
                return taken
            body = b""
            while isinstance(event := parser.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                return taken
            fields = dict(reversed(list(request.headers)))
            parser.send(h11.Response(status_code=202, headers=[("content-length", "0")]))
            parser.send(h11.EndOfMessage())
            kept = parser.our_state is h11.DONE
            kind, proof = fields.get(b"content-type"), fields.get(b"authorization")
            taken.append(Taken(body, kind, proof, kept, parser.trailing_data[0]))
            if not kept:
                return taken
            parser.start_next_cycle()
    except h11.RemoteProtocolError:
        return taken


class Fast:
    """What the session makes of it."""

    def __init__(self, parts: list[bytes]) -> None:
        session = http1.Http1Session(Bounds(head_bytes=HEAD_BYTES))
        arrivals: list[Arrival] = []
        for part in parts:
            session.receive(part, arrivals)
        self.given = [(head.content_type, head.authorization, body) for _, _, head, body in arrivals]
        self.held = session.held
        self.phase = session.phase
        self.closing: bool = session.closing
        for _, stream, _, _ in reversed(arrivals):
            session.accepted(stream)
        self.answers = session.output()
        self.unread: bytes | None = session.unread

    def takes_rightly(self, reference: list[Taken]) -> bool:
        """Each request is one of h11's, in its order, and so is the decision to go on after it."""
        taken = reference[: len(self.given)]
        kept = [found.keep_alive for found in taken]
        return (
            self.given == [(found.content_type, found.authorization, found.body) for found in taken]
            and all(kept[:-1])
            and self.closing == (False in kept)
        )

    def leaves_rightly(self, reference: list[Taken], data: bytes) -> bool:
        """What it keeps, or hands over, is all that h11 has not read by then."""
        rest = reference[len(self.given) - 1].rest if self.given else data
        return self.closing or (self.unread == rest if self.unread is not None else self.held == len(rest))


# What is read --------------------------------------------------------------------------------------------------

MORE = [
    b"Content-Type: application/json",
    b"Authorization: Bearer t",
    b"Content-Encoding: identity",
    b"X-Request:17 ",
    b"Cookie: \xc3\xa4=\t1",
]
GOOD = [*MORE, b"Host: x", b"Content-Length: 5", b"Connection: keep-alive", b"Connection: close"]
BAD = [
    b"Content-Length: 6",
    b"Content-Length: 05",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 1_0",
    b"Content-Length: 5, 5",
    b"Content-Length: 5,6",
    b"Content-Length: 5 5",
    b"Content-Length: 5;",
    b"Content-Length:",
    b"Content-Length : 5",
    b"Content-Length\t: 5",
    b"Content_Length: 5",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 999999999999999999999999",
    b"Content-Length: 18446744073709551621",
    b"Content-Length: 4294967301",
    b"Content-Length: \xb2",
    b"Content-Length:\x0b5",
    b"content-length: 3",
    b"Content-Length: 5\r\n 6",
    b"X: a\r\n\tContent-Length: 6",
    b"X: a\nContent-Length: 6",
    b"X: a\rContent-Length: 6",
    b"X: a\r\rY: b",
    b"X: a\0b",
    b"X: a\x0cb",
    b"\0X: a",
    b" X: a",
    b"X a",
    b": a",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: xchunked",
    b"TRANSFER-ENCODING: Chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"X: a\r\nTransfer-Encoding\r\n: chunked",
    b"Host: y",
    b"Host : x",
    b"Expect: 100-continue",
    b"Origin: http://evil.example",
    b"Upgrade: h2c",
    b"Connection: close, keep-alive",
    b"Connection: closed",
    b"Connection: Keep-Alive",
    b"Connection:",
    b"connection: CLOSE",
    b"Authorization: b",
    b"\xff\xfe: a",
]
LINES = [
    b"POST /events HTTP/1.1",
    b"POST /events HTTP/1.1 ",
    b"POST  /events HTTP/1.1",
    b"POST\t/events HTTP/1.1",
    b"post /events HTTP/1.1",
    b"POST /events HTTP/1.0",
    b"POST /events HTTP/2.0",
    b"POST /events http/1.1",
    b"POST /events",
    b"POST http://x/events HTTP/1.1",
    b"POST /events? HTTP/1.1",
    b"POST /event HTTP/1.1",
    b"GET /events HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"\r\nPOST /events HTTP/1.1",
]
BODIES = [
    b"12345",
    b"12345678",
    b"",
    b"{}",
    b"123456",
    b"5\r\n12345\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
]
CHUNKS = [
    b"5\r\n12345\r\n",
    b"005\r\n12345\r\n",
    b"A\r\n1234567890\r\n",
    b"0\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"5 \r\n12345\r\n",
    b" 5\r\n12345\r\n",
    b"5;a\r\n12345\r\n",
    b"5\n12345\n",
    b"5\r\n123456\r\n",
    b"5\r\n1234\r\n",
    b"5\r\n12345",
    b"+5\r\n12345\r\n",
    b"0x5\r\n12345\r\n",
    b"-1\r\n",
    b"100000005\r\n12345\r\n",
    b"10000000000000005\r\n12345\r\n",
    b"X: a\r\n",
]
MUTATIONS = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"0", b",", b"\x80", b"\x0b", b"-", b"\r\n\r\n"]
plain = st.sampled_from([b"", b"{}", b"12345", b"\r\n\r\n", b"POST /events HTTP/1.1\r\n"])


def shapes() -> Iterator[bytes]:
    """Requests with one wrong part, all of them."""
    host, length, coded = b"Host: x", b"Content-Length: 5", b"Transfer-Encoding: chunked"
    for body in BODIES:
        for line in LINES:
            yield b"\r\n".join([line, host, length, b"", body])
        for end in b"\n", b"\r", b"\r\r\n":
            yield end.join([LINES[0], host, length, b"", body])
        for field in BAD + GOOD:
            for fields in [field, host, length], [host, length, field], [host, field], [field, length]:
                yield b"\r\n".join([LINES[0], *fields, b"", body])
    for field in BAD + GOOD:
        for fields in [field, host, coded], [host, coded, field], [coded, field]:
            yield b"\r\n".join([LINES[0], *fields, b"", CHUNKS[0] + b"0\r\n\r\n"])
    for chunk in CHUNKS:
        for chunks in [chunk], [chunk, b"0\r\n\r\n"], [CHUNKS[0], chunk, b"0\r\n\r\n"]:
            yield b"\r\n".join([LINES[0], host, coded, b"", b"".join(chunks)])


SHAPES = list(shapes())


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


@st.composite
def ordinary(draw: st.DrawFn) -> bytes:
    """A request as it should be."""
    body = draw(plain)
    own = [b"Host: x", b"Content-Length: %d" % len(body)]
    if draw(st.booleans()):
        own = [
            b"Host: x",
            draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked "])),
        ]
        body = b"".join(chunk(part) for part in draw(st.lists(plain.filter(len), max_size=3))) + b"0\r\n\r\n"
    connection = draw(st.sampled_from([[], [], [b"Connection: keep-alive"], [b"connection: Close"]]))
    more = draw(st.lists(st.sampled_from(MORE), unique=True, max_size=3))
    fields = draw(st.permutations(own + connection + more))
    return b"POST /events HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One with a few wrong bytes."""
    data = draw(ordinary())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 2))
        data = data[:at] + draw(st.sampled_from([b"", *MUTATIONS])) + data[at + gone :]
    return data


pipelines = st.lists(ordinary() | st.sampled_from(SHAPES) | mutated(), min_size=1, max_size=4).map(b"".join)
sizes = st.lists(st.integers(1, 40) | st.just(1), min_size=1, max_size=8)


def cut(data: bytes, steps: list[int]) -> list[bytes]:
    parts, at, turn = [], 0, 0
    while at < len(data):
        step = steps[turn % len(steps)]
        parts.append(data[at : at + step])
        at, turn = at + step, turn + 1
    return parts


@settings(max_examples=1_000, deadline=None)
@given(pipelines, sizes)
@example(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n\r\n\r\n", [1])
def test_what_the_session_takes_is_what_h11_takes_however_it_was_cut(data, steps):
    whole, reference = Fast([data]), by_h11(data)
    assert whole.takes_rightly(reference), reference
    assert whole.leaves_rightly(reference, data)
    assert vars(Fast(cut(data, steps))) == vars(whole)


def test_of_each_wrong_shape_it_takes_what_h11_takes():
    for shape in SHAPES:
        after = shape + LINES[0] + b"\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        assert Fast([after]).takes_rightly(by_h11(after)), after


@settings(max_examples=200, deadline=None)
@given(st.lists(ordinary(), min_size=1, max_size=6), sizes)
def test_it_takes_what_is_ordinary(requests, steps):
    reference = by_h11(b"".join(requests))
    fast = Fast(cut(b"".join(requests), steps))
    assert fast.takes_rightly(reference)
    assert len(fast.given) == len(reference)


# And whether it would notice -----------------------------------------------------------------------------------

PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "a space before the colon": lambda data: re.sub(rb"[ \t]+:", b":", data),
    "a sign": lambda data: data.replace(b"Length: +", b"Length: "),
    "an underscore": lambda data: data.replace(b"Content_", b"Content-"),
    "another length": lambda data: data.replace(b"Content-Length: 6\r\n", b""),
    "chunks": lambda data: data.replace(b"Transfer-Encoding: chunked\r\n", b""),
    "HTTP/1.0": lambda data: data.replace(b"HTTP/1.0", b"HTTP/1.1"),
    "a method in lower case": lambda data: data.replace(b"post", b"POST"),
    "a zero byte": lambda data: data.replace(b"\0", b""),
    "an empty line before": lambda data: data.removeprefix(b"\r\n"),
    "close that is not heard": lambda data: data.replace(b"Connection: close", b"X-Nothing-here: x"),
    "a chunk's size that is too long": lambda data: data.replace(b"100000005\r", b"5\r"),
    "trailers that are no trailers": lambda data: data.replace(b"0\r\n0\r\n", b"0\r\n\r\n"),
    "a body too long": lambda data: data.replace(b"Content-Length: 5\r\n", b"Content-Length: 6\r\n"),
}


@pytest.mark.parametrize("mistake", PLANTED.values(), ids=PLANTED.keys())
def test_a_session_that_took_what_it_must_not_would_be_found(mistake):
    changed = [(shape, mistake(shape)) for shape in SHAPES]
    assert any(not Fast([read]).takes_rightly(by_h11(shape)) for shape, read in changed if read != shape)
