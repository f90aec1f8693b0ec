"""A day with a million events, simulated: seconds that it takes, for several shapes of traffic."""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from mcp_ilert.config import Ilert, Secret, Settings
from mcp_ilert.simulation import Scenario, Setup, simulate

DAY = 86_400
Key = Callable[[random.Random], str]

SHAPES: dict[str, Key] = {
    "5,000 keys": lambda draw: f"evt-{draw.randrange(5_000)}",
    "one key storms": lambda draw: "evt-0" if draw.random() < 0.9 else f"evt-{draw.randrange(5_000)}",
    "every event its own key": lambda draw: f"evt-{draw.getrandbits(60)}",
    "a few keys hot": lambda draw: f"evt-{int(draw.paretovariate(0.8))}",
}


def lines(events: int, key: Key) -> Iterator[bytes]:
    """A day's traffic; one in eight resolves, priorities 1 to 4."""
    draw = random.Random(7)
    for i in range(events):
        event = {
            "mcp_id": key(draw),
            "source": f"probe-{draw.randrange(40)}",
            "priority": draw.choices((1, 2, 3, 4), (1, 9, 40, 50))[0],
            "summary": f"Check {i % 97} failed on host {draw.randrange(500)}",
            "details": "connection refused after 3 attempts, last answer 2 minutes ago",
            "tags": ["network"],
            "status": "resolved" if draw.random() < 1 / 8 else "firing",
        }
        yield msgspec.json.encode({"at": round(i * DAY / events, 3), "event": event}) + b"\n"


def loop_seconds() -> float:
    """CPU seconds of ten million turns of a plain loop, right now: what the machine's other tenants leave of it."""
    started, total = time.process_time(), 0
    for i in range(10_000_000):
        total += i
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, rough figures")
    parser.add_argument("--shape", choices=SHAPES)
    events = 100_000 if parser.parse_args().quick else 1_000_000
    only = parser.parse_args().shape
    settings = Settings(ilert=Ilert(webhook_key=Secret("benchmark")))
    for name in [only] if only else SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            traffic = Path(folder) / "traffic.ndjson"
            with traffic.open("wb") as file:
                file.writelines(lines(events, SHAPES[name]))
            before = loop_seconds()
            started, cpu = time.monotonic(), time.process_time()
            report = simulate(Setup(settings, Scenario(), patience_seconds=3600), traffic)
            wall, cpu = time.monotonic() - started, time.process_time() - cpu
            loop = (before + loop_seconds()) / 2
            print(
                f"{name:<24} {events:>9,} events: {wall:6.1f} s ({cpu:.1f} s of CPU; "
                f"{cpu / loop:.0f} times ten million turns of a loop, {loop:.2f} s), {report.alerts:,} pages, "
                f"{report.counts.coalesced:,} coalesced, {report.counts.pending:,} still waiting",
                flush=True,
            )


if __name__ == "__main__":
    main()
