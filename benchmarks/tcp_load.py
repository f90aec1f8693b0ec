"""Load for the TCP door: a line is an event, and an answer line comes for each."""

import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from shapes import Load, Measured

CHUNK = 500
"""Lines that are sent at once; twice as many are in flight on a connection at most."""
RECEIVE_BYTES = 1 << 18


@dataclass
class Client:
    """One connection: what is to be sent of the current chunk, and how many answers are owed."""

    sock: socket.socket
    chunks: Iterator[bytes]
    unsent: memoryview
    owed: int = 0

    def write(self) -> None:
        if not self.unsent and self.owed <= CHUNK:
            self.unsent = memoryview(next(self.chunks))
            self.owed += CHUNK
        if self.unsent:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def read(self) -> int:
        """How many events were taken, by the answers that have come; a partial answer counts with its end."""
        answers = self.sock.recv(RECEIVE_BYTES)
        if not answers or b"false" in answers:
            raise SystemExit(f"benchmark: the TCP door refused an event: {answers[:300]!r}")
        taken = answers.count(b"\n")
        self.owed -= taken
        return taken

    @property
    def events(self) -> int:
        """What it waits for."""
        wants = bool(self.unsent) or self.owed <= CHUNK
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if wants else 0)


def chunks(load: Load, client: int) -> Iterator[bytes]:
    """The lines of one client without end; made once where the keys repeat."""
    count = max(1, load.keys // CHUNK)
    if load.keys:
        ready = [b"".join(load.event(n * CHUNK + i) + b"\n" for i in range(CHUNK)) for n in range(count)]
        while True:
            yield from ready
    first = client * 100_000_000 // load.connections
    while True:
        yield b"".join(load.event(first + i) + b"\n" for i in range(CHUNK))
        first += CHUNK


def tcp(load: Load, port: int, seconds: float) -> Measured:
    """Events a second, each answered `{"ok":true}`."""
    selector = selectors.DefaultSelector()
    for number in range(load.connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        client = Client(sock, chunks(load, number), memoryview(b""))
        selector.register(sock, client.events, client)
    taken, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for key, ready in selector.select(timeout=1):
            client = key.data
            if ready & selectors.EVENT_READ:
                taken += client.read()
            if ready & selectors.EVENT_WRITE:
                client.write()
            selector.modify(client.sock, client.events, client)
    elapsed = time.perf_counter() - began
    for key in list(selector.get_map().values()):
        key.data.sock.close()
    selector.close()
    return Measured(taken / elapsed, taken)
