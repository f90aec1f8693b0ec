"""How long an idle bridge takes from the POST to the request at iLert, beside the same POST sent there directly.

    python benchmarks/bench_latency.py [--quick] [--events 300]

This process is producer and iLert at once, so that one clock measures both ends. Between the events the bridge idles.
"""

import argparse
import contextlib
import http.client
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import data
import poster
import rig

PAUSE_SECONDS = 0.1
"""Below the bridge's 700 requests a minute for an address: 600."""


class Ilert(http.server.ThreadingHTTPServer):
    """A stand-in for iLert that answers 202 and notes when the request of each alert key came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.arrived: dict[str, float] = {}
        self.news = threading.Condition()

    def handle_error(self, *_arguments: Any) -> None:
        """A bridge that is killed leaves half a request; what never comes is missed by `wait_for`."""

    def note(self, key: str, at: float) -> None:
        with self.news:
            self.arrived.setdefault(key, at)
            self.news.notify_all()

    def wait_for(self, key: str, seconds: float = 30) -> float:
        """When the key's request came (perf_counter)."""
        with self.news:
            if not self.news.wait_for(lambda: key in self.arrived, seconds):
                raise SystemExit(f"benchmark: {key} did not reach iLert within {seconds:.0f} s")
            return self.arrived[key]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Ilert

    def do_POST(self) -> None:
        at = time.perf_counter()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.note(str(body["alertKey"]), at)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        return


@contextlib.contextmanager
def ilert() -> Iterator[Ilert]:
    with Ilert() as stub:
        thread = threading.Thread(target=stub.serve_forever)
        thread.start()
        try:
            yield stub
        finally:
            stub.shutdown()
            thread.join()


def through_bridge(producer: poster.Poster, stub: Ilert, number: int) -> tuple[float, float]:
    """Milliseconds from the POST to its 202, and to the request at iLert."""
    began = time.perf_counter()
    producer.post(data.event(number, "latency"))
    answered = time.perf_counter()
    return (answered - began) * 1000, (stub.wait_for(f"latency-{number:08d}") - began) * 1000


def directly(stub: Ilert, connection: http.client.HTTPConnection, number: int) -> float:
    """Milliseconds from a POST by the same client to iLert without a bridge."""
    key = f"direct-{number:08d}"
    began = time.perf_counter()
    connection.request("POST", "/api/events", json.dumps({"alertKey": key}))
    connection.getresponse().read()
    return (stub.wait_for(key) - began) * 1000


def disk_sync(folder: Path) -> float:
    """Milliseconds that a synced 4 KiB append takes on the spool's disk."""
    handle = os.open(folder / "sync.probe", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        began = time.perf_counter()
        os.write(handle, bytes(4096))
        os.fdatasync(handle)
        return (time.perf_counter() - began) * 1000
    finally:
        os.close(handle)


def cells(values: Sequence[float], base: Sequence[float]) -> tuple[str, str, str]:
    middle, worst = rig.median(values), rig.percentile(values, 0.99)
    return f"{middle:.2f}", f"{worst:.2f}", f"{middle / rig.median(base):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="30 events: shows that it runs, not how fast")
    parser.add_argument("--events", type=int, default=300, help="at most 500")
    options = parser.parse_args()
    events = 30 if options.quick else min(options.events, 500)
    report = rig.Report(
        "latency",
        "Idle latency: from the POST to the request at iLert",
        ("way", "median, ms", "p99, ms", "median ÷ direct POST"),
    )
    pace = {"rate_limit": {"per_minute": 660, "burst": 660}}
    answers, arrivals, direct, syncs = [], [], [], []
    with rig.scratch() as folder, ilert() as stub:
        url = f"http://127.0.0.1:{stub.server_port}"
        with rig.bridge(folder, url, pace) as bridge, poster.poster(bridge.port) as producer:
            plain = http.client.HTTPConnection("127.0.0.1", stub.server_port, timeout=30)
            through_bridge(producer, stub, 0)  # the first opens the connections
            for number in range(1, events + 1):
                time.sleep(PAUSE_SECONDS)
                direct.append(directly(stub, plain, number))
                syncs.append(disk_sync(folder))
                answered, arrived = through_bridge(producer, stub, number)
                answers.append(answered)
                arrivals.append(arrived)
            plain.close()
        report.add("direct POST to iLert, no bridge", *cells(direct, direct))
        report.add("a synced 4 KiB append to the same disk", *cells(syncs, direct))
        report.add("bridge, POST to its 202 (committed)", *cells(answers, direct))
        report.add("bridge, POST to the request at iLert", *cells(arrivals, direct))
        report.notes.append(f"{events} events, one each {PAUSE_SECONDS * 1000:.0f} ms, the ways in turn.")
        named = {"direct": direct, "disk_sync": syncs, "answer": answers, "arrival": arrivals}
        report.data = {
            f"{name}_ms": {"median": rig.median(values), "p99": rig.percentile(values, 0.99)}
            for name, values in named.items()
        }
        report.write(folder)


if __name__ == "__main__":
    main()
