"""What it costs to turn bytes into requests for events, and their answers into bytes.

    python benchmarks/bench_sessions.py [--quick] [--requests 100000]

Each session takes the bytes of one read at a time and answers all that it found, without a socket. HTTP/1.1 is
measured against h11, which does the same in Python, HTTP/2 against h2; the TCP door's lines against splitting alone.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import h2.config
import h2.connection
import h2.events
import h11
from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame

import rig
from bench_fast import PAYLOAD, ROUNDS
from mcp_ilert.doors.line_session import LineSession
from mcp_ilert.wire import Arrival, Bounds, Session

try:
    from mcp_ilert._fast.http1 import Calendar, Http1Session
    from mcp_ilert._fast.http2 import Http2Session
except ImportError as error:
    raise SystemExit(f"benchmark: {error.name} is not compiled; see make test") from None

READ_BYTES = 65_536
READS = 100
"""Of one HTTP/2 connection, before another begins."""
ANSWER = [(b":status", b"202"), (b"content-type", b"application/json"), (b"content-length", b"14")]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
POST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"127.0.0.1:8080"),
    (b":path", b"/events"),
    (b"user-agent", b"probe/1.2"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(PAYLOAD)),
]
Reader = Callable[[bytes], int]
"""Takes what was read, answers it, and tells how many requests that were."""


def request(body: bytes, more: bytes = b"") -> bytes:
    return (
        b"POST /events HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: probe/1.2\r\nAccept: */*\r\n"
        b"Content-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (more, len(body), body)
    )


def by_session(session: Session) -> Reader:
    def read(data: bytes) -> int:
        arrivals: list[Arrival] = []
        session.receive(data, arrivals)
        for its, stream, _, _ in arrivals:
            its.accepted(stream)
        session.output()
        return len(arrivals)

    return read


def by_h11() -> Reader:
    connection = h11.Connection(h11.SERVER)
    answer = h11.Response(
        status_code=202, headers=[("content-type", "application/json"), ("content-length", "14")]
    )

    def read(data: bytes) -> int:
        connection.receive_data(data)
        found = 0
        while connection.next_event() is not h11.NEED_DATA:
            if connection.their_state is h11.DONE:
                connection.send(answer)
                connection.send(h11.Data(data=b'{"accepted":1}'))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
                found += 1
        return found

    return read


def http2_reads(each: int) -> list[bytes]:
    """A connection's bytes, so many requests a read; the client takes all answers."""
    encoder = Encoder()
    streams = iter(range(1, 1 << 30, 2))

    def one(stream: int) -> bytes:
        head = HeadersFrame(stream, encoder.encode(POST), flags=["END_HEADERS"]).serialize()
        return head + DataFrame(stream, PAYLOAD, flags=["END_STREAM"]).serialize()

    begin = [SettingsFrame(0), SettingsFrame(0, flags=["ACK"]), WindowUpdateFrame(0, 1 << 30)]
    first = PREFACE + b"".join(frame.serialize() for frame in begin)
    return [first, *(b"".join(one(next(streams)) for _ in range(each)) for _ in range(READS))]


def by_http2_session(bounds: Bounds) -> Reader:
    calendar = Calendar(0.0)
    read = by_session(Http2Session(bounds, None, None, calendar))

    def read_on(data: bytes) -> int:
        nonlocal read
        if data.startswith(PREFACE):
            read = by_session(Http2Session(bounds, None, None, calendar))
        return read(data)

    return read_on


def by_h2() -> Reader:
    connection: h2.connection.H2Connection

    def read(data: bytes) -> int:
        nonlocal connection
        if data.startswith(PREFACE):
            config = h2.config.H2Configuration(client_side=False, header_encoding=None)
            connection = h2.connection.H2Connection(config)
            connection.initiate_connection()
        found = 0
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                connection.send_headers(event.stream_id, ANSWER)
                connection.send_data(event.stream_id, b'{"accepted":1}', end_stream=True)
                found += 1
        connection.data_to_send()
        return found

    return read


def by_split(data: bytes) -> int:
    return len(data.split(b"\n")) - 1


def nanoseconds(readers: Mapping[str, Reader], reads: Sequence[bytes], requests: int) -> dict[str, float]:
    """Of each, for a request; the best of some rounds, in turn."""
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(ROUNDS):
        for name, read in readers.items():
            found = 0
            began = time.perf_counter_ns()
            while found < requests:
                for data in reads:
                    found += read(data)
            best[name] = min(best[name], (time.perf_counter_ns() - began) / found)
    return best


def loads() -> dict[str, tuple[str, list[bytes]]]:
    """What is read: the comparator of it, and the bytes read by read."""
    same, longer = request(PAYLOAD), request(PAYLOAD + b" " * 900)
    numbered = [request(PAYLOAD, b"X-Request-Id: %d\r\n" % number) for number in range(16)]
    line = PAYLOAD + b"\n"
    return {
        "HTTP/1.1, one a read": ("h11", [same]),
        "HTTP/1.1, one a read, lengths differ": ("h11", [same, longer]),
        "HTTP/1.1, one a read, all heads differ": ("h11", numbered),
        "HTTP/1.1, 16 a read": ("h11", [same * 16]),
        "HTTP/1.1, 16 a read, lengths differ": ("h11", [(same + longer) * 8]),
        "HTTP/1.1, 16 a read, all heads differ": ("h11", [b"".join(numbered)]),
        "HTTP/2, one a read": ("h2", http2_reads(1)),
        "HTTP/2, 16 a read": ("h2", http2_reads(16)),
        "HTTP/2, 100 a read": ("h2", http2_reads(100)),
        "lines, one a read": ("split", [line]),
        f"lines, {READ_BYTES // len(line)} a read": ("split", [line * (READ_BYTES // len(line))]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 requests: shows that it runs")
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    requests = 2_000 if options.quick else options.requests
    report = rig.Report(
        "sessions",
        "What a request costs between bytes and the intake",
        ("what", "comparator, ns a request", "session, ns a request", "ratio"),
    )
    bounds = Bounds()
    for what, (comparator, reads) in loads().items():
        if comparator == "h11":
            other, session = by_h11(), by_session(Http1Session(bounds, Calendar(0.0)))
        elif comparator == "h2":
            other, session = by_h2(), by_http2_session(bounds)
        else:
            other, session = by_split, by_session(LineSession(bounds))
        few = requests if comparator == "split" else requests // 10
        compared = nanoseconds({comparator: other}, reads, few)[comparator]
        measured = nanoseconds({"session": session}, reads, requests)["session"]
        report.add(what, f"{comparator} {compared:,.0f}", f"{measured:,.0f}", f"{compared / measured:.2f}")
        report.data[what] = {comparator: compared, "session": measured}
    report.notes.append(f"Best of {ROUNDS} rounds; the calls from Python, one an answer, are part of it.")
    report.write(rig.HERE)


if __name__ == "__main__":
    main()
