"""What a thousand slow clients cost one normal producer: its latency and rate beside them, and without them.

    python benchmarks/bench_slow_clients.py [--quick] [--clients 1000] [--seconds 15]

Half of the slow clients never end a head, half never a body; each sends a byte a second, and connects anew when it
is cut off. The producer posts one event after the other over one connection. Rounds with and without take turns.
"""

import argparse
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import data
import poster
import rig

ROUNDS = 2
HEAD = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class Slow:
    """A slow client; from 127.0.0.2, so that it has its own count of connections."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._begin = HEAD + b"X-Slow: " if number % 2 else HEAD + b"Content-Length: 5000\r\n\r\n"
        self._socket: socket.socket | None = None
        self.cut = 0

    def turn(self) -> None:
        """Send a byte; where that is not taken any more, connect anew."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), 5, ("127.0.0.2", 0))
                self._socket.sendall(self._begin)
                self._socket.setblocking(False)
            elif self._ended(self._socket):
                self.cut += 1
                self.close()
            else:
                self._socket.sendall(b"a")
        except OSError:
            self.cut += 1
            self.close()

    def _ended(self, sock: socket.socket) -> bool:
        try:
            return sock.recv(4_096) is not None  # an answer, or the end: it was cut off
        except BlockingIOError:
            return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextlib.contextmanager
def slow(port: int, number: int) -> Iterator[list[Slow]]:
    """So many slow clients, connected, each sending a byte a second."""
    clients = [Slow(port, i) for i in range(number)]
    over = threading.Event()

    def drip() -> None:
        while not over.is_set():
            began = time.monotonic()
            for client in clients:
                client.turn()
            over.wait(max(0.0, 1 - (time.monotonic() - began)))

    for client in clients:
        client.turn()
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield clients
    finally:
        over.set()
        thread.join()
        for client in clients:
            client.close()


def produce(port: int, seconds: float) -> list[float]:
    """Milliseconds of each POST until its 202."""
    taken: list[float] = []
    with poster.poster(port) as producer:
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            producer.post(data.event(len(taken), "slow"))
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a hundred clients, short: shows that it runs")
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument(
        "--seconds", type=float, default=15, help="of a round; a slow client is cut off after ten"
    )
    options = parser.parse_args()
    number, seconds = (100, 1.0) if options.quick else (options.clients, options.seconds)
    report = rig.Report(
        "slow_clients",
        f"One producer beside {number} slow clients",
        ("round", "slow clients", "median, ms", "p99, ms", "events/s"),
    )
    found: dict[str, list[float]] = {"without": [], "with": []}
    cut = 0
    with rig.scratch() as folder, rig.unreachable() as url, rig.bridge(folder, url) as bridge:
        produce(bridge.port, 0.5)
        for turn in range(ROUNDS):
            for name in ("without", "with"):
                with slow(bridge.port, number if name == "with" else 0) as clients:
                    taken = produce(bridge.port, seconds)
                cut += sum(client.cut for client in clients)
                found[name] += taken
                middle, worst = rig.median(taken), rig.percentile(taken, 0.99)
                report.add(
                    str(turn + 1), name, f"{middle:.2f}", f"{worst:.2f}", f"{len(taken) / seconds:.0f}"
                )
        ratio = rig.median(found["with"]) / rig.median(found["without"])
        report.notes.append(
            f"Median with ÷ without: {ratio:.2f}. The bridge cut slow clients off {cut} times."
        )
        report.data = {
            name: {"median_ms": rig.median(values), "p99_ms": rig.percentile(values, 0.99)}
            for name, values in found.items()
        }
        print(f"  {report.notes[0]}")
        report.write(folder)


if __name__ == "__main__":
    main()
