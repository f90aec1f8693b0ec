"""A small load generator of our own, for machines without h2load and wrk. It is the bottleneck itself."""

import re
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import trio

from shapes import Load, Measured


@dataclass
class Tally:
    """Answers counted by the bundled client."""

    accepted: int = 0
    wrong: list[str] = field(default_factory=list)


def bundled(load: Load, port: int, seconds: float) -> Measured:
    """Posts one and the same event."""
    tally, payload = Tally(), load.body(0)
    client = http2_client if load.streams else http1_client

    async def main() -> float:
        began = trio.current_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(load.connections):
                    nursery.start_soon(client, load, port, payload, tally)
        return trio.current_time() - began

    elapsed = trio.run(main)
    if tally.wrong or not tally.accepted:
        raise SystemExit(f"benchmark: {load}: not all answers were 2xx: {tally.wrong[:3]}")
    return Measured(tally.accepted / elapsed, tally.accepted)


async def http1_client(_load: Load, port: int, body: bytes, tally: Tally) -> None:
    """One request after the other on a kept connection."""
    head = (
        "POST /events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
    )
    request = head.format(len(body)).encode() + body
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        while True:
            await stream.send_all(request)
            answer = b""
            while not (whole := answer_is_whole(answer)):
                chunk = await stream.receive_some()
                if not chunk:
                    break
                answer += chunk
            if not whole or not answer.startswith(b"HTTP/1.1 2"):
                tally.wrong.append(repr(answer[:200]))
                return
            tally.accepted += 1


def answer_is_whole(answer: bytes) -> bool:
    head, separator, rest = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(separator) and length is not None and len(rest) >= int(length[1])


async def http2_client(load: Load, port: int, body: bytes, tally: Tally) -> None:
    """`streams` requests in flight on one connection."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        for _ in range(load.streams):
            start_stream(connection, port, body)
        while True:
            await stream.send_all(connection.data_to_send())
            data = await stream.receive_some()
            if not data:
                tally.wrong.append("connection closed")
                return
            for event in connection.receive_data(data):
                take_event(connection, event, tally)
                if isinstance(event, h2.events.StreamEnded):
                    start_stream(connection, port, body)


def start_stream(connection: h2.connection.H2Connection, port: int, body: bytes) -> None:
    number = connection.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", f"127.0.0.1:{port}"),
        (":path", "/events"),
    ]
    connection.send_headers(number, [*headers, ("content-type", "application/json")])
    connection.send_data(number, body, end_stream=True)


def take_event(connection: h2.connection.H2Connection, event: h2.events.Event, tally: Tally) -> None:
    if isinstance(event, h2.events.ResponseReceived):
        status = dict(event.headers or []).get(b":status", b"")
        if bytes(status).startswith(b"2"):
            tally.accepted += 1
        else:
            tally.wrong.append(repr(status))
    elif isinstance(event, h2.events.DataReceived) and event.flow_controlled_length and event.stream_id:
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
        tally.wrong.append(type(event).__name__)
