"""What it costs to turn bytes into requests for events, and their answers into bytes.

    python benchmarks/bench_sessions.py [--quick] [--requests 100000]

Each session takes the bytes of one read at a time and answers all that it found, without a socket. HTTP/1.1 is
measured against h11, which does the same in Python; the TCP door's lines against splitting them alone.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import h11

import rig
from bench_fast import PAYLOAD, ROUNDS
from mcp_ilert.doors.line_session import LineSession
from mcp_ilert.wire import Arrival, Bounds, Session

try:
    from mcp_ilert._fast.http1 import Calendar, Http1Session
except ImportError:
    raise SystemExit("benchmark: _fast/http1 is not compiled; see make test") from None

READ_BYTES = 65_536
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
        http = comparator == "h11"
        other = by_h11() if http else by_split
        session = by_session(Http1Session(bounds, Calendar(0.0)) if http else LineSession(bounds))
        few = requests // 10 if http else requests
        compared = nanoseconds({comparator: other}, reads, few)[comparator]
        measured = nanoseconds({"session": session}, reads, requests)["session"]
        report.add(what, f"{comparator} {compared:,.0f}", f"{measured:,.0f}", f"{compared / measured:.2f}")
        report.data[what] = {comparator: compared, "session": measured}
    report.notes.append(f"Best of {ROUNDS} rounds; the calls from Python, one an answer, are part of it.")
    report.write(rig.HERE)


if __name__ == "__main__":
    main()
