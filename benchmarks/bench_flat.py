"""Accepting beside a backlog: one key, 5,000 keys, all keys different; with nothing waiting and with a million lanes.

    python benchmarks/bench_flat.py [--quick] [--lanes 1000000] [--seconds 3] [--rounds 3]

Two bridges run all the time, one of them full; the loads go to them in turn. The figure to read is full ÷ empty. Beside
it stand the bytes that each event made the process write to the disk, folding into lanes included.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import data
import load
import poster
import rig
from bench_backlog import wait_folded
from bench_ingest import ROOM, once, spread
from shapes import Load

KEYS = (1, 5_000, 0)
SHAPES = (Load(64), Load(8, tcp=True))
BATCH = 2_000


def words(keys: int) -> str:
    return {0: "all keys different", 1: "one key"}.get(keys, f"{keys:,} keys")


def fill(bridge: rig.Server, lanes: int) -> float:
    """Put so many lanes there; gives how many a second, folded."""
    began = time.perf_counter()
    with poster.poster(bridge.port) as producer:
        producer.post_batches(data.batches(lanes, BATCH, "lane"))
    wait_folded(bridge)
    return lanes / (time.perf_counter() - began)


def written(bridge: rig.Server) -> int:
    """Bytes that the process has had written to the disk."""
    lines = Path(f"/proc/{bridge.process.pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def probe(shape: Load, bridge: rig.Server, folder: Path, seconds: float) -> tuple[float, float]:
    """Events a second, and bytes written an event, until all of it is folded."""
    taken, bytes_before = bridge.metric("mcp_in_events_total", 'result="accepted"'), written(bridge)
    rate = once(shape, bridge, folder, seconds)
    wait_folded(bridge)
    events = bridge.metric("mcp_in_events_total", 'result="accepted"') - taken
    return rate, (written(bridge) - bytes_before) / events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="20,000 lanes, one short round: shows that it runs"
    )
    parser.add_argument("--lanes", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    lanes, seconds, rounds = options.lanes, options.seconds, options.rounds
    if options.quick:
        lanes, seconds, rounds = 20_000, 1.0, 1
    report = rig.Report(
        "flat",
        f"Accepting with nothing waiting and with {lanes:,} lanes that wait",
        (
            "load",
            "events/s, empty",
            "events/s, full",
            "full ÷ empty",
            "bytes written an event, empty",
            "full",
        ),
    )
    with rig.scratch() as scratch, rig.unreachable() as api_url:
        folders = scratch / "empty", scratch / "full"
        for folder in folders:
            folder.mkdir()
        with rig.bridge(folders[0], api_url, ROOM) as empty, rig.bridge(folders[1], api_url, ROOM) as full:
            rate = fill(full, lanes)
            for keys in KEYS:
                for shape in SHAPES:
                    if load.available(shape):
                        rows = rounds_of(shape, keys, (empty, full), scratch, seconds, rounds)
                        add(report, f"{shape}, {words(keys)}", rows)
        report.notes += [
            f"Medians of {rounds} rounds of {seconds:.0f} s (lowest–highest), in turn.",
            f"Filled at {rate:,.0f} new lanes/s, folding included.",
            "All keys different: the empty one does not stay empty. Each round begins with the inbox folded.",
        ]
        report.data["lanes"] = lanes
        report.data["fill_lanes_per_second"] = rate
        report.write(scratch)


Rows = tuple[list[tuple[float, float]], list[tuple[float, float]]]


def rounds_of(
    shape: Load, keys: int, bridges: tuple[rig.Server, rig.Server], folder: Path, seconds: float, rounds: int
) -> Rows:
    found: Rows = [], []
    for number in range(rounds):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            fresh = dataclasses.replace(shape, keys=keys, prefix=f"flat{number}-{shape.tcp:d}-{keys}-{place}")
            found[place].append(probe(fresh, bridges[place], folder, seconds))
    return found


def add(report: rig.Report, name: str, rows: Rows) -> None:
    rates, wrote = (
        [[r for r, _ in rows[place]] for place in (0, 1)],
        [[w for _, w in rows[p]] for p in (0, 1)],
    )
    medians = [rig.median(values) for values in (*rates, *wrote)]
    share = f"{medians[1] / medians[0]:.2f}"
    report.add(name, spread(rates[0]), spread(rates[1]), share, f"{medians[2]:,.0f}", f"{medians[3]:,.0f}")
    report.data[name] = {"events_per_second": rates, "bytes_written_an_event": wrote}


if __name__ == "__main__":
    main()
