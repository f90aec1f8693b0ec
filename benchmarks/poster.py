"""One producer that posts to the bridge and does what it is told by 429 and 503."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterable, Iterator

PATIENCE_SECONDS = 60.0


class Poster:
    """One kept HTTP/1.1 connection; not to be shared between threads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def post(self, body: bytes, content_type: str = "application/json") -> int:
        """Post until it is taken; gives the number of events accepted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self._connection.request("POST", "/events", body, {"Content-Type": content_type})
            answer = self._connection.getresponse()
            text = answer.read()
            if answer.status == 202:
                accepted: int = json.loads(text)["accepted"]
                return accepted
            if answer.status not in (429, 503) or time.monotonic() > deadline:
                raise SystemExit(f"benchmark: POST /events: {answer.status} {text.decode()[:500]}")
            time.sleep(min(1.0, float(answer.headers.get("Retry-After", "1"))))

    def post_batches(self, batches: Iterable[tuple[int, bytes]]) -> float:
        """Post NDJSON bodies; gives events a second, the waiting for a 503 to pass included."""
        began, total = time.perf_counter(), 0
        for size, body in batches:
            accepted = self.post(body, "application/x-ndjson")
            if accepted != size:
                raise SystemExit(f"benchmark: {accepted} of {size} events were accepted")
            total += accepted
        return total / (time.perf_counter() - began)


@contextlib.contextmanager
def poster(port: int) -> Iterator[Poster]:
    """A producer with its connection."""
    producer = Poster(port)
    with contextlib.closing(producer):
        yield producer
