"""The shapes of load: how many clients of which protocol, how much each has in flight, how many alert keys."""

from dataclasses import dataclass

import data

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Load:
    """One shape. HTTP/1.1 unless `streams` or `tcp` say otherwise."""

    connections: int
    streams: int = 0
    """HTTP/2: requests in flight on each connection."""
    pipeline: int = 1
    """HTTP/1.1: requests sent at once on each connection."""
    tcp: bool = False
    batch: int = 1
    """Events in a request."""
    lines: bool = False
    """NDJSON rather than an array."""
    keys: int = 1
    """Alert keys that come in turn; 0: each event has another."""
    tls: bool = False
    prefix: str = "bench"

    @property
    def content_type(self) -> str:
        return NDJSON if self.lines else JSON

    def __str__(self) -> str:
        kind = "TCP" if self.tcp else f"HTTP/2 -m{self.streams}" if self.streams else "HTTP/1.1"
        words = [f"{kind} -c{self.connections}"]
        if self.pipeline > 1:
            words.append(f"{self.pipeline} pipelined")
        if self.batch > 1:
            words.append(f"{'NDJSON' if self.lines else 'arrays'} of {self.batch:,}")
        if self.tls:
            words.append("TLS")
        return ", ".join(words)

    def numbers(self, request: int) -> range:
        """Which events the n-th request holds."""
        first = request * self.batch
        return range(first, first + self.batch)

    def event(self, number: int) -> bytes:
        return data.event(number % self.keys if self.keys else number, self.prefix)

    def body(self, request: int) -> bytes:
        """The n-th request's body."""
        events = [self.event(number) for number in self.numbers(request)]
        if self.lines:
            return b"\n".join(events) + b"\n"
        return events[0] if self.batch == 1 else b"[" + b",".join(events) + b"]"


@dataclass(frozen=True)
class Measured:
    """What a run of a generator saw."""

    requests_per_second: float
    accepted: int
    """Answers 2xx, warm-up included where the generator counts it."""
