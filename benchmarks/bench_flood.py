"""How long an event waits for its commit, and a lease for its turn, while a flood is taken and folded.

    python benchmarks/bench_flood.py [--quick] [--seconds 5] [--producers 16] [--each 100]

One process without sockets: producers that each have one offer waiting, beside one dispatcher that leases and settles
ten at a time, on the spool with its thread. Each load is also run without the flood's producers but one, whose every
offer is one event: the quiet figure to read the others against.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import structlog
import trio

import data
import rig
from mcp_ilert.events import Done, Entry, Kind, Settlement, Severity
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.spool import WrittenSpool

KEYS: dict[str, Callable[[int], str]] = {
    "one key": lambda _: "key",
    "5,000 keys": lambda n: f"key-{n * 7919 % 5000}",
    "all different": lambda n: f"new-{n * 7919 % 1_000_003:07d}-{n}",
}
TEXTS = [data.event(n) for n in range(1_000)]


@dataclass
class Seen:
    """Seconds each took, and how many events were taken."""

    accepts: list[float] = field(default_factory=list)
    leases: list[float] = field(default_factory=list)
    events: int = 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def offers(key: Callable[[int], str], each: int, numbers: Iterator[int]) -> Iterator[list[Entry]]:
    while True:
        at = now_ms()
        yield [
            Entry(at, Kind.ALERT, Severity.HIGH, "default", key(n), TEXTS[n % 1_000])
            for _, n in zip(range(each), numbers, strict=False)
        ]


async def produce(spool: WrittenSpool, given: Iterator[list[Entry]], seen: Seen, pause: float) -> None:
    for entries in given:
        began = time.perf_counter()
        await spool.put(entries)
        seen.accepts.append(time.perf_counter() - began)
        seen.events += len(entries)
        await trio.sleep(pause)


async def dispatch(spool: WrittenSpool, seen: Seen) -> None:
    while True:
        began = time.perf_counter()
        leased = await spool.lease([Want("default", 10, 10)], {}, now_ms())
        seen.leases.append(time.perf_counter() - began)
        done = [Settlement(delivery.lease, Done(), now_ms()) for delivery in leased.deliveries]
        await spool.settle(done, {}, now_ms())
        await trio.sleep(0.01)


async def flood(path: Path, key: Callable[[int], str], producers: int, each: int, seconds: float) -> Seen:
    seen, numbers = Seen(), count()
    pause = 0.01 if producers == 1 else 0.0
    async with open_spool(path, Rules(max_pending=1 << 40), lambda _: None, now_ms) as spool:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dispatch, spool, seen)
                for _ in range(producers):
                    nursery.start_soon(produce, spool, offers(key, each, numbers), seen, pause)
        began = time.perf_counter()
        while spool.counts().inbox:  # noqa: ASYNC110 - nothing tells it
            await trio.sleep(0.005)
        seen.events = round(seen.events * seconds / (seconds + time.perf_counter() - began))
    return seen


def at(values: list[float], part: float) -> str:
    return f"{sorted(values)[int(len(values) * part)] * 1000:,.1f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second each: shows that it runs")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--producers", type=int, default=16)
    parser.add_argument("--each", type=int, default=100)
    options = parser.parse_args()
    seconds = 1 if options.quick else options.seconds
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    report = rig.Report(
        "flood",
        "What waits while a flood is taken",
        ("load", "events/s, folded", "accept p50 ms", "p90 ms", "p99 ms", "lease p50 ms", "p90 ms", "p99 ms"),
    )
    loads = [("quiet", KEYS["all different"], 1, 1)]
    loads += [(name, key, options.producers, options.each) for name, key in KEYS.items()]
    with rig.scratch() as scratch:
        for number, (name, key, producers, each) in enumerate(loads):
            folder = scratch / str(number)
            folder.mkdir()
            seen = trio.run(flood, folder / "spool.db", key, producers, each, seconds)
            rate = seen.events / seconds
            report.add(
                name,
                f"{rate:,.0f}",
                *(at(values, part) for values in (seen.accepts, seen.leases) for part in (0.5, 0.9, 0.99)),
            )
            report.data[name] = {
                "events_per_second": rate,
                "accepts": len(seen.accepts),
                "leases": len(seen.leases),
            }
        report.notes.append(
            f"{options.producers} producers with offers of {options.each} events, {seconds} s each."
        )
        report.write(scratch)


if __name__ == "__main__":
    main()
