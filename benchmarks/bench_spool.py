"""What the accepting half costs inside one process: decode and map, append, fold, lease and settle, by backlog.

    python benchmarks/bench_spool.py [--quick] [--lanes 10000,1000000] [--events 65536]

No sockets. The processor's time is read from the thread that works, so that other load on the machine counts little;
what is written is the kernel's count for the process. Each figure stands beside the same on an empty spool.
"""

import argparse
import gc
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

import data
import rig
from mcp_ilert.config import Settings
from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Done, Entry, Kind, Message, Settlement, Severity
from mcp_ilert.intake import Answer, Dialect, Intake, Limits, Terms
from mcp_ilert.mapping import Mapper
from mcp_ilert.metrics import Metrics
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.port import Rules, Want
from mcp_ilert.spool.store import SqliteStore
from mcp_ilert.spool.tail import Batch

T0 = 1_800_000_000_000
KEYS: dict[str, Callable[[int], str]] = {
    "one key": lambda _: "key",
    "5,000 keys": lambda n: f"key-{n * 7919 % 5000}",
    "all different": lambda n: f"new-{n * 7919 % 1_000_003:07d}-{n}",
}
DELIVERIES = 500
BATCHES = (64, 1_000)


@dataclass(frozen=True)
class Cost:
    """Of an event: microseconds of the processor and of the clock, bytes written."""

    cpu: float
    wall: float
    bytes: float


def written() -> int:
    """Bytes that the process has had written to disks."""
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def measured(work: Callable[[], object], events: int) -> Cost:
    gc.collect()
    cpu, wall, before = time.thread_time(), time.perf_counter(), written()
    work()
    cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
    return Cost(cpu * 1e6 / events, wall * 1e6 / events, (written() - before) / events)


@contextmanager
def neighbour(*, there: bool) -> Iterator[None]:
    """A thread that wants the interpreter's lock all the time, as busy doors do at worst."""
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(500))

    if there:
        threading.Thread(target=spin, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def entries(count: int, key: Callable[[int], str], first_ms: int) -> list[Entry]:
    return [
        Entry(first_ms + n // 100, Kind.ALERT, Severity.HIGH, "default", key(n), data.event(n))
        for n in range(count)
    ]


def rows(given: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    return (given[i : i + size] for i in range(0, len(given), size))


def append(store: SqliteStore, given: Sequence[Entry], size: int) -> None:
    for some in rows(given, size):
        store.append(Batch(some))


def fold(store: SqliteStore, now_ms: int) -> None:
    while store.engine.inbox.tail:
        store.transact(lambda engine: engine.fold(now_ms))


def deliver(store: SqliteStore, now_ms: int) -> None:
    """Lease and settle, ten at a time, each a transaction."""
    done: list[Settlement] = []

    def lease(engine: Engine) -> None:
        leased = engine.lease([Want("default", 10, 10)], {}, now_ms)
        done[:] = [Settlement(delivery.lease, Done(), now_ms) for delivery in leased.deliveries]

    for _ in range(DELIVERIES // 10):
        store.transact(lease)
        store.transact(lambda engine: engine.settle(done, {}, now_ms))


def fill(path: Path, lanes: int) -> None:
    store = SqliteStore(path, Rules(max_pending=1 << 40), lambda: T0)
    for first in range(0, lanes, 16_384):
        some = range(first, min(first + 16_384, lanes))
        given = [
            Entry(T0 - lanes + n, Kind.ALERT, Severity.HIGH, "default", f"lane-{n:08d}", data.event(n))
            for n in some
        ]
        append(store, given, 4_096)
        fold(store, T0)
    store.close()


def spool_costs(path: Path, events: int) -> tuple[dict[str, Cost], float]:
    """What is done to the spool costs, and how long it takes to open, in seconds."""
    began = time.perf_counter()
    store = SqliteStore(path, Rules(max_pending=1 << 40), lambda: T0)
    opened = time.perf_counter() - began
    costs: dict[str, Cost] = {}
    for name, key in KEYS.items():
        for size in BATCHES:
            if size != BATCHES[-1] and name != "one key":
                continue  # an append does not look at the keys
            some = entries(events // 4, key, T0)
            work = partial(append, store, some, size)
            costs[f"append, {size} a commit"] = measured(work, len(some))
            fold(store, T0)
        given = entries(events, key, T0)
        append(store, given, 1_000)
        costs[f"fold, {name}"] = measured(lambda: fold(store, T0), events)
        given = entries(events // 4, key, T0)
        append(store, given, 1_000)
        with neighbour(there=True):
            costs[f"fold, {name}, lock wanted"] = measured(lambda: fold(store, T0), len(given))
    costs["lease and settle"] = measured(lambda: deliver(store, T0 + 1_000), DELIVERIES)
    store.close()
    return costs, opened


class Nothing:
    """A spool that takes all and keeps nothing."""

    def offer(
        self,
        puts: Sequence[Sequence[Entry]],
        done: Callable[[Sequence[McpIlertError | None]], None],
        message: Message | None = None,  # noqa: ARG002 - the port has it
    ) -> None:
        done([None] * len(puts))


def answered(_answers: Sequence[Answer]) -> None:
    """Nobody waits."""


def intake_costs(events: int) -> dict[str, Cost]:
    """Decoding, checking and mapping, with nothing behind."""
    intake = Intake(Nothing(), Mapper(Settings()), Metrics(), lambda: T0, Limits())
    bodies = [data.event(n) for n in range(events)]
    lines = [body for _, body in data.batches(events, 1_000)]
    arrays = [b"[" + b",".join(bodies[i : i + 100]) + b"]" for i in range(0, events, 100)]

    def singles() -> None:
        terms = [Terms("http2", Dialect.JSON)] * 100
        for i in range(0, events, 100):
            intake.offer(bodies[i : i + 100], terms[: len(bodies[i : i + 100])], answered)

    def each(wholes: Sequence[bytes], dialect: Dialect) -> None:
        for whole in wholes:
            intake.offer([whole], [Terms("http2", dialect)], answered)

    return {
        "decode and map, single events": measured(singles, events),
        "decode and map, arrays of 100": measured(lambda: each(arrays, Dialect.JSON), events),
        "decode and map, NDJSON": measured(lambda: each(lines, Dialect.LINES), events),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10,000 lanes, 8,192 events: shows that it runs")
    parser.add_argument("--lanes", default="10000,1000000")
    parser.add_argument("--events", type=int, default=65_536)
    options = parser.parse_args()
    backlogs = [10_000] if options.quick else [int(n) for n in options.lanes.split(",")]
    events = 8_192 if options.quick else options.events
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    report = rig.Report(
        "spool",
        "What an event costs in the accepting half, by the lanes that wait",
        ("what", "lanes", "µs of processor", "µs by the clock", "bytes written", "processor ÷ empty spool"),
    )
    for what, cost in intake_costs(events).items():
        report.add(what, "-", f"{cost.cpu:.2f}", f"{cost.wall:.2f}", "-", "-")
        report.data[what] = cost.__dict__
    empty: dict[str, Cost] = {}
    with rig.scratch() as scratch:
        for lanes in (0, *backlogs):
            path = scratch / f"{lanes}" / "spool.db"
            path.parent.mkdir()
            fill(path, lanes)
            costs, opened = spool_costs(path, events)
            empty = empty or costs
            for what, cost in costs.items():
                ratio = f"{cost.cpu / empty[what].cpu:.2f}"
                report.add(
                    what, f"{lanes:,}", f"{cost.cpu:.2f}", f"{cost.wall:.2f}", f"{cost.bytes:,.0f}", ratio
                )
                report.data[f"{what}, {lanes} lanes"] = cost.__dict__
            report.notes.append(f"With {lanes:,} lanes the spool opened in {opened * 1000:,.0f} ms.")
            shutil.rmtree(path.parent)
    report.notes += [
        f"{events:,} events of about {len(data.event(1))} bytes a figure; a quarter of them where the lock is wanted.",
        f"Lock wanted: another thread computes all the while; a switch takes {sys.getswitchinterval() * 1000:.0f} ms.",
    ]
    report.write(rig.HERE)


if __name__ == "__main__":
    main()
