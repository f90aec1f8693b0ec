"""Peak memory, start time and cost of accepting with an empty spool and with a million lanes that wait.

    python benchmarks/bench_backlog.py [--quick] [--lanes 1000000] [--starts 5]

iLert is unreachable; the lanes are filled by NDJSON posts of as many alert keys. Then the bridge is started on an empty
and on the full spool in turn, and takes the same events of new alert keys each time. The figure to read is the ratio:
by promise it does not grow with the backlog.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import data
import poster
import rig

Bodies = Iterable[tuple[int, bytes]]

BATCH = 2_000
PROBE_EVENTS = 20_000


@dataclass
class Seen:
    """What the starts on one spool showed."""

    start_seconds: list[float] = field(default_factory=list)
    idle_bytes: list[float] = field(default_factory=list)
    peak_bytes: list[float] = field(default_factory=list)
    events_per_second: list[float] = field(default_factory=list)


def wait_folded(bridge: rig.Server, seconds: float = 600) -> None:
    """Wait until the inbox is folded into its lanes."""
    deadline = time.monotonic() + seconds
    while bridge.metric("mcp_spool_inbox_events"):
        if time.monotonic() > deadline:
            raise SystemExit("benchmark: the inbox is not folded in time")
        time.sleep(0.2)


def fill(folder: Path, api_url: str, changes: rig.Changes, lanes: int) -> tuple[float, int]:
    """Put the lanes there; gives events a second and the peak memory of the filling bridge."""
    with rig.bridge(folder, api_url, changes) as bridge, poster.poster(bridge.port) as producer:
        rate = producer.post_batches(data.batches(lanes, BATCH, "lane"))
        wait_folded(bridge)
        pending = bridge.metric("mcp_spool_pending")
        if pending < lanes:
            raise SystemExit(f"benchmark: {pending:.0f} events wait, {lanes} were put there")
        return rate, bridge.peak_bytes()


def start_once(folder: Path, api_url: str, changes: rig.Changes, bodies: Bodies, seen: Seen) -> None:
    """One start, and one load of events."""
    with rig.bridge(folder, api_url, changes) as bridge, poster.poster(bridge.port) as producer:
        seen.start_seconds.append(bridge.start_seconds)
        seen.idle_bytes.append(bridge.peak_bytes())
        seen.events_per_second.append(producer.post_batches(bodies))
        wait_folded(bridge)
        seen.peak_bytes.append(bridge.peak_bytes())


def empty_spool(folder: Path, api_url: str) -> None:
    """A spool in which nothing ever was, so that the start that is measured does not have to make it."""
    folder.mkdir()
    with rig.bridge(folder, api_url):
        pass


def medians(empty: list[float], full: list[float], scale: float, form: str) -> tuple[str, str, str]:
    """The cells of a row: empty, full, and full ÷ empty."""
    base, value = rig.median(empty), rig.median(full)
    return format(base / scale, form), format(value / scale, form), f"{value / base:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 lanes, two starts: shows that it runs")
    parser.add_argument("--lanes", type=int, default=1_000_000)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    lanes, starts = (20_000, 2) if options.quick else (options.lanes, options.starts)
    events = 2_000 if options.quick else PROBE_EVENTS
    report = rig.Report(
        "backlog",
        f"The bridge with nothing waiting and with {lanes:,} lanes that wait",
        ("what", "empty", f"{lanes:,} lanes", "ratio"),
    )
    empty, full = Seen(), Seen()
    with rig.scratch() as scratch, rig.unreachable() as api_url:
        filled = scratch / "filled"
        filled.mkdir()
        # No digests: each lane shall wait by itself.
        room: rig.Changes = {
            "spool": {"max_pending": 2 * lanes + starts * events},
            "delivery": {"storm": {"digest_below": "low"}},
        }
        rate, filling_peak = fill(filled, api_url, room, lanes)
        for number in range(starts):
            fresh = scratch / f"empty-{number}"
            empty_spool(fresh, api_url)
            for folder, seen in (fresh, empty), (filled, full):
                bodies = data.batches(events, BATCH, f"probe-{number}")
                start_once(folder, api_url, room, bodies, seen)
        size = (filled / "spool.db").stat().st_size
        peak_after = f"peak memory after {events:,} events, MiB"
        report.add("start to /readyz, ms", *medians(empty.start_seconds, full.start_seconds, 0.001, ",.0f"))
        report.add("peak memory once ready, MiB", *medians(empty.idle_bytes, full.idle_bytes, 2**20, ",.1f"))
        report.add(peak_after, *medians(empty.peak_bytes, full.peak_bytes, 2**20, ",.1f"))
        report.add("NDJSON events/s", *medians(empty.events_per_second, full.events_per_second, 1, ",.0f"))
        report.notes += [
            f"Medians of {starts} starts on each spool, in turn; files may be in the system's cache.",
            f"Filling: {rate:,.0f} events/s, peak memory {filling_peak / 2**20:,.1f} MiB.",
            f"The spool file then: {size / 2**20:,.0f} MiB, {size / lanes:,.0f} bytes a lane.",
        ]
        report.data = {
            "lanes": lanes,
            "empty": empty.__dict__,
            "full": full.__dict__,
            "fill_events_per_second": rate,
            "fill_peak_bytes": filling_peak,
            "spool_bytes": size,
        }
        report.write(scratch)


if __name__ == "__main__":
    main()
