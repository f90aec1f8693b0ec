"""What a small machine at the edge pays, with examples/edge.yaml and a bound of memory: idle, 100 events/s, a storm.

    python benchmarks/bench_edge.py [--quick] [--seconds 60] [--limit-mib 256]
        [--python "qemu-aarch64-static -L ROOT -E PYTHONPATH=SITE ROOT/usr/bin/python3.11" --memory-only]

Beside the bridge's memory stands that of the same Python that has imported nothing. Bytes are those that the process
has had written to the disk, by the kernel's count; commits are by the bridge's (each is a sync), and syncs by strace
where it is, in rounds of their own, for it slows.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import data
import poster
import rig
from bench_backlog import wait_folded
from bench_flat import written
from bench_latency import ilert
from cage import Cage, cage

EXAMPLE = rig.HERE.parent / "examples/edge.yaml"
OURS = {
    "listen": ("address", "port", "tcp_port"),
    "ilert": ("webhook_key",),
    "metrics": ("listen_address", "listen_port"),
}
"""What the rig gives itself: places and the key."""
RATE = 100
KEYS = 200
SIZES = (1, 10, 100)
STORM_BATCH = 100
TICK = os.sysconf("SC_CLK_TCK")
COLUMNS = (
    "phase",
    "events/s",
    "RSS, MiB",
    "PSS, MiB",
    "CPU, % of a core",
    "bytes written an event",
    "KiB written/s",
    "commits/s",
)
"""Those of the table in docs/edge.md, into which the result goes as it is."""


def example() -> dict[str, dict[str, Any]]:
    """examples/edge.yaml without the places that a benchmark has of its own."""
    loaded: Mapping[str, Mapping[str, Any]] = YAML(typ="safe", pure=True).load(EXAMPLE.read_text())
    kept = {
        section: {key: value for key, value in keys.items() if key not in OURS.get(section, ())}
        for section, keys in loaded.items()
    }
    kept["logging"]["level"] = "error"  # so that the report of a failed start is short
    return kept


@dataclass(frozen=True)
class Used:
    """What a process has used since its start, and holds now."""

    at: float
    cpu_seconds: float
    written_bytes: int
    events: float
    commits: float

    @staticmethod
    def of(bridge: rig.Server) -> "Used":
        fields = Path(f"/proc/{bridge.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return Used(
            time.perf_counter(),
            (int(fields[11]) + int(fields[12])) / TICK,
            written(bridge),
            bridge.metric("mcp_in_events_total", 'result="accepted"'),
            bridge.metric("mcp_spool_commit_seconds_count"),
        )


@dataclass(frozen=True)
class Cost:
    """Between two looks."""

    seconds: float
    cpu_percent: float
    events: float
    written_bytes: float
    commits: float

    @staticmethod
    def between(before: Used, after: Used) -> "Cost":
        seconds = after.at - before.at
        return Cost(
            seconds,
            (after.cpu_seconds - before.cpu_seconds) / seconds * 100,
            after.events - before.events,
            after.written_bytes - before.written_bytes,
            after.commits - before.commits,
        )


def memory(pid: int) -> dict[str, int]:
    """Rss and Pss in bytes: Pss shares what other processes map as well."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return {name: found[name] for name in ("Rss", "Pss")}


def bare(python: Sequence[str]) -> dict[str, int]:
    """The memory of the same Python that does nothing."""
    with subprocess.Popen([*python, "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(2)
        found = memory(process.pid)
        process.communicate(b"\n")
    return found


def steady(bridge: rig.Server, seconds: float, size: int) -> None:
    """Events at an even pace, `size` to a request, of a few hundred keys that come again."""
    number, began = 0, time.perf_counter()
    with poster.poster(bridge.port) as producer:
        while (due := began + number / RATE) < began + seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            lines = [data.event((number + i) % KEYS, f"edge{size}") for i in range(size)]
            if size == 1:
                producer.post(lines[0])
            else:
                producer.post(b"\n".join(lines) + b"\n", "application/x-ndjson")
            number += size


def storm(bridge: rig.Server, seconds: float, most: int) -> None:
    """New keys as fast as they are taken, until so many wait or the time is up."""
    began, number = time.perf_counter(), 0
    with poster.poster(bridge.port) as producer:
        while time.perf_counter() - began < seconds and number < most:
            for size, body in data.batches(STORM_BATCH, STORM_BATCH, f"storm{number:08d}"):
                producer.post(body, "application/x-ndjson")
                number += size


@contextlib.contextmanager
def counted(bridge: rig.Server, folder: Path) -> Iterator[list[int]]:
    """The syncs that strace sees meanwhile; empty where there is no strace, or it may not look."""
    found: list[int] = []
    strace = shutil.which("strace")
    if strace is None:
        yield found
        return
    told = folder / "strace.txt"
    calls = "trace=fsync,fdatasync,sync_file_range,msync"
    tracer = subprocess.Popen(
        [strace, "-f", "-c", "-U", "calls,name", "-e", calls, "-o", str(told), "-p", str(bridge.process.pid)],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    try:
        yield found
    finally:
        tracer.terminate()
        tracer.wait(30)
        lines = told.read_text().splitlines() if told.exists() else []
        found += [int(line.split()[0]) for line in lines if "sync" in line]


def mib(count: float) -> str:
    return f"{count / (1 << 20):.1f}"


def row(report: rig.Report, name: str, cost: Cost, held: Mapping[str, int]) -> None:
    each = max(cost.events, 1)
    report.add(
        name,
        f"{cost.events / cost.seconds:,.0f}",
        mib(held["Rss"]),
        mib(held["Pss"]),
        f"{cost.cpu_percent:.1f}",
        f"{cost.written_bytes / each:,.0f}" if cost.events else "–",
        f"{cost.written_bytes / cost.seconds / 1024:,.1f}",
        f"{cost.commits / cost.seconds:,.1f}",
    )
    report.data[name] = {
        "seconds": cost.seconds,
        "events": cost.events,
        "rss_bytes": held["Rss"],
        "pss_bytes": held["Pss"],
        "cpu_percent_of_a_core": cost.cpu_percent,
        "written_bytes": cost.written_bytes,
        "commits": cost.commits,
    }


def phase(report: rig.Report, bridge: rig.Server, name: str, seconds: float, act: Any) -> None:
    before = Used.of(bridge)
    act(seconds)
    wait_folded(bridge)
    row(report, name, Cost.between(before, Used.of(bridge)), memory(bridge.process.pid))


def run(
    report: rig.Report, bridge: rig.Server, folder: Path, seconds: float, most: int, *, all_of_it: bool
) -> None:
    phase(report, bridge, "idle", seconds, time.sleep)
    for size in SIZES if all_of_it else SIZES[:1]:
        phase(
            report,
            bridge,
            f"{RATE} events/s, {size} a request",
            seconds,
            lambda s, n=size: steady(bridge, s, n),
        )
    if all_of_it:
        short = min(seconds, 10)
        for size in SIZES:
            before = Used.of(bridge)
            with counted(bridge, folder) as syncs:
                steady(bridge, short, size)
            events = Used.of(bridge).events - before.events
            if syncs:
                report.data[f"syncs an event, {size} a request"] = sum(syncs) / events
                report.notes.append(
                    f"By strace, {size} a request: {sum(syncs) / events:.2f} syncs an event (checkpoints included)."
                )
    phase(report, bridge, "storm, keys never seen", seconds, lambda s: storm(bridge, s, most))
    phase(report, bridge, "idle, with what the storm left", seconds, time.sleep)


def caged(python: Sequence[str], bound: Cage) -> Sequence[str]:
    return (*bound.prefix, *python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short phases: shows that it runs")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--limit-mib", type=int, default=256)
    parser.add_argument("--keys", type=int, default=90_000, help="at most so many in the storm")
    parser.add_argument(
        "--python", default=sys.executable, help="the command that runs it, with an emulator if need be"
    )
    parser.add_argument(
        "--memory-only", action="store_true", help="under an emulator: times and bytes mean nothing"
    )
    options = parser.parse_args()
    seconds, most = (5.0, 5_000) if options.quick else (options.seconds, options.keys)
    python = shlex.split(options.python)
    name = "edge-emulated" if options.memory_only else "edge"
    report = rig.Report(
        name,
        "At the edge: examples/edge.yaml",
        COLUMNS,
    )
    with rig.scratch() as folder, ilert() as stub, cage(options.limit_mib << 20) as bound:
        lone = bare(python)
        url = f"http://127.0.0.1:{stub.server_port}"
        with rig.bridge(folder, url, example(), caged(python, bound)) as bridge:
            run(report, bridge, folder, seconds, most, all_of_it=not options.memory_only)
            waiting = bridge.metric("mcp_spool_pending")
            report.notes.append(f"Most that it ever held: {mib(bridge.peak_bytes())} MiB (VmHWM).")
            if (peak := bound.peak_bytes()) is not None:
                report.notes.append(f"With the pages of its files, by its cgroup: {mib(peak)} MiB.")
            size = (folder / "spool.db").stat().st_size
            report.notes.append(
                f"At the end {waiting:,.0f} events wait; the spool's file has {mib(size)} MiB."
            )
            report.data |= {
                "peak_rss_bytes": bridge.peak_bytes(),
                "cgroup_peak_bytes": peak,
                "pending": waiting,
            }
        report.notes += [
            f"Bound by: {bound.words}.",
            f"The same Python that does nothing: RSS {mib(lone['Rss'])} MiB, PSS {mib(lone['Pss'])} MiB.",
            f"Phases of {seconds:.0f} s; iLert is a stand-in on loopback, at 50 requests a minute.",
        ]
        if options.memory_only:
            report.notes.append(
                "Under an emulator: its own memory is in all figures; read the difference to the lone Python."
            )
        report.data |= {"bound": bound.words, "lone_python": lone, "python": json.dumps(python[:1])}
        report.write(folder)


if __name__ == "__main__":
    main()
