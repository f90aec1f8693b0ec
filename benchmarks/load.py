"""Load generators: h2load and wrk where they are installed, else a small Trio client of our own."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import trio

import data


@dataclass(frozen=True)
class Load:
    """A shape of load: `streams` is 0 for HTTP/1.1, else the HTTP/2 requests in flight on each connection."""

    connections: int
    streams: int = 0

    def __str__(self) -> str:
        kind = f"HTTP/2 -m{self.streams}" if self.streams else "HTTP/1.1"
        return f"{kind} -c{self.connections}"


@dataclass(frozen=True)
class Measured:
    """What a run of a generator saw."""

    requests_per_second: float
    accepted: int
    """Answers 2xx, warm-up included where the generator counts it."""


WRK_SCRIPT = """
local count = 0
request = function()
  count = count + 1
  local body = string.format(template, count % keys)
  return wrk.format("POST", "/events", {["content-type"] = "application/json"}, body)
end
"""


@dataclass(frozen=True)
class Bodies:
    """The event that is posted: one alert key, or with wrk `keys` of them in turn."""

    folder: Path
    keys: int = 1

    def file(self) -> Path:
        path = self.folder / "event.json"
        path.write_bytes(data.event(0))
        return path

    def script(self) -> Path:
        template = data.event(0).decode().replace("%", "%%").replace("00000000", "%08d")
        path = self.folder / f"keys-{self.keys}.lua"
        path.write_text(f"template = [==[{template}]==]\nkeys = {self.keys}\n{WRK_SCRIPT}")
        return path


Generator = Callable[[Load, int, float, Bodies], Measured]


def generator(load: Load) -> tuple[str, Generator]:
    """The best generator of this machine for a shape of load, with its name for the report."""
    if load.streams and shutil.which("h2load"):
        return "h2load", h2load
    if not load.streams and shutil.which("wrk"):
        return "wrk", wrk
    return "bundled client", bundled


def run(command: list[str], seconds: float) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout


def h2load(load: Load, port: int, seconds: float, bodies: Bodies) -> Measured:
    """HTTP/2 only: Hypercorn's status line has no reason phrase, and `h2load --h1` takes that for a failure."""
    command = [
        "h2load",
        f"-c{load.connections}",
        f"-m{load.streams}",
        f"-D{seconds:.0f}",
        "-d",
        str(bodies.file()),
    ]
    command += ["-H", "content-type: application/json", f"http://127.0.0.1:{port}/events"]
    output = run(command, seconds)
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", output)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if rate is None or codes is None or int(codes[1]) == 0 or any(int(codes[n]) for n in (2, 3, 4)):
        raise SystemExit(f"benchmark: {' '.join(command)}: not all answers were 2xx:\n{output}")
    return Measured(float(rate[1]), int(codes[1]))


def wrk(load: Load, port: int, seconds: float, bodies: Bodies) -> Measured:
    """HTTP/1.1 only; each connection has a request in flight. The bodies' numbers go round."""
    script = ["-s", str(bodies.script()), f"http://127.0.0.1:{port}/"]
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds:.0f}s", *script]
    output = run(command, seconds)
    rate = re.search(r"Requests/sec: *([0-9.]+)", output)
    count = re.search(r"(\d+) requests in", output)
    if rate is None or count is None or "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"benchmark: {' '.join(command)}: not all answers were 2xx:\n{output}")
    return Measured(float(rate[1]), int(count[1]))


@dataclass
class Tally:
    """Answers counted by the bundled client."""

    accepted: int = 0
    wrong: list[str] = field(default_factory=list)


def bundled(load: Load, port: int, seconds: float, bodies: Bodies) -> Measured:
    """Needs nothing installed, but is bound by itself: for a rough figure."""
    tally, payload = Tally(), bodies.file().read_bytes()
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
