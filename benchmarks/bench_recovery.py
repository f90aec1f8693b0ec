"""How long a bridge takes after a kill -9 until it is ready and until it delivers, with a million waiting lanes.

    python benchmarks/bench_recovery.py [--quick] [--lanes 1000000] [--kills 7]

Each bridge is killed while it delivers and right after it has accepted, so that the next one finds an inbox that is
not folded. The comparators are a spool in which only a few events wait, and one with such an inbox but without the
million. The figure to read is the ratio of the last two: by promise a start does not grow with the backlog.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bench_backlog
import bench_latency
import data
import poster
import rig
from mcp_ilert.spool.view import SpoolView

UNFOLDED = 8_192
"""Events accepted right before each kill, in one request, so that the folder has not had its turn yet: as many as the
bridge lets its inbox hold before folding goes first."""
FEW = 20
"""The same on the spool that is as good as empty: two seconds of the pace."""
PATIENCE_SECONDS = 120.0
CHANGES: dict[str, dict[str, object]] = {
    "retries": {"base_interval_seconds": 0.1, "max_interval_seconds": 1},
    "rate_limit": {"per_minute": 600, "burst": 10},
    "listen": {"max_body_bytes": 16_777_216},
    "delivery": {"storm": {"digest_below": "low"}},
}
"""A token each tenth of a second, and a probe each second after the outage in which the lanes were filled, so that
it is not the pace that is measured; no digests, so that all lanes wait."""


@dataclass
class Seen:
    """What the starts on one spool showed."""

    ready_seconds: list[float] = field(default_factory=list)
    first_delivery_seconds: list[float] = field(default_factory=list)
    unfolded: list[int] = field(default_factory=list)
    """Events in the inbox at the kill before."""
    pending: list[int] = field(default_factory=list)


def lesser(bodies: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Without critical events, which are folded with their commit."""
    for _, body in bodies:
        yield body.replace(b'"priority": 1,', b'"priority": 4,')


def first_delivery(stub: bench_latency.Ilert) -> float:
    """When iLert got something first (perf_counter)."""
    with stub.news:
        if not stub.news.wait_for(lambda: bool(stub.arrived), PATIENCE_SECONDS):
            raise SystemExit(f"benchmark: nothing reached iLert within {PATIENCE_SECONDS:.0f} s")
        return min(stub.arrived.values())


def live_once(folder: Path, room: rig.Changes, bodies: Iterable[bytes], seen: Seen | None) -> None:
    """Start, wait for the first delivery, accept what is to be found unfolded, and be killed."""
    with bench_latency.ilert() as stub:
        api_url = f"http://127.0.0.1:{stub.server_port}"
        with rig.bridge(folder, api_url, room) as bridge:
            began = time.perf_counter() - bridge.start_seconds
            with poster.poster(bridge.port) as producer:
                if seen is None:
                    producer.post(data.event(0, "first"))
                delivered = first_delivery(stub) - began
                for body in bodies:
                    producer.post(body, "application/x-ndjson")
                bridge.process.kill()
                bridge.process.wait()
    if seen is not None:
        seen.ready_seconds.append(bridge.start_seconds)
        seen.first_delivery_seconds.append(delivered)


def look(folder: Path, seen: Seen) -> None:
    """What the next start will find."""
    with SpoolView(folder / "spool.db") as view:
        counts = view.counts()
    if counts.error():
        raise SystemExit(f"benchmark: the conservation law is broken: {counts}")
    seen.unfolded.append(counts.inbox)
    seen.pending.append(counts.pending)


def medians(name: str, values: Sequence[list[float]]) -> tuple[str, ...]:
    """A row: the medians in milliseconds, and the ratio of the last two."""
    found = [rig.median(each) for each in values]
    return name, *(f"{each * 1000:,.0f}" for each in found), f"{found[-1] / found[-2]:.2f}"


def notes(full: Seen, lanes: int) -> list[str]:
    """How to read the figures."""
    worst, first = max(full.ready_seconds) * 1000, max(full.first_delivery_seconds) * 1000
    found = f"{min(full.unfolded):,} to {max(full.unfolded):,} events"
    return [
        f"Medians of {len(full.ready_seconds)} starts on each spool, in turn, each after a kill -9.",
        f"Worst with {lanes:,} lanes: ready after {worst:,.0f} ms, first delivery after {first:,.0f} ms.",
        f"In the inbox, not folded: {found}; waiting: {min(full.pending):,} to {max(full.pending):,}.",
        "A token comes each 100 ms; a first delivery may have waited so long. Files may be in the cache.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 lanes, two kills: shows that it runs")
    parser.add_argument("--lanes", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=7)
    options = parser.parse_args()
    lanes, kills = (20_000, 2) if options.quick else (options.lanes, options.kills)
    report = rig.Report(
        "recovery",
        f"After a kill -9, with {lanes:,} lanes that wait",
        (
            "what",
            f"{FEW} events wait",
            f"{UNFOLDED:,} unfolded",
            f"{UNFOLDED:,} unfolded, {lanes:,} wait",
            "ratio",
        ),
    )
    few, inbox, full = spools = Seen(), Seen(), Seen()
    with rig.scratch() as scratch:
        folders = [scratch / name for name in ("few", "inbox", "full")]
        for folder in folders:
            folder.mkdir()
        room: rig.Changes = {"spool": {"max_pending": 2 * lanes + (kills + 1) * UNFOLDED}, **CHANGES}
        with rig.unreachable() as api_url:
            bench_backlog.fill(folders[-1], api_url, room, lanes)
        for number in range(kills + 1):
            for folder, seen, events in zip(folders, spools, (FEW, UNFOLDED, UNFOLDED), strict=True):
                bodies = lesser(data.batches(events, events, f"kill-{number}"))
                live_once(folder, room, bodies, seen if number else None)
                if number < kills:
                    look(folder, seen)
        report.add(*medians("start to /readyz, ms", [s.ready_seconds for s in spools]))
        report.add(*medians("start to first delivery, ms", [s.first_delivery_seconds for s in spools]))
        report.notes += notes(full, lanes)
        report.data = {"lanes": lanes, "few": few.__dict__, "inbox": inbox.__dict__, "full": full.__dict__}
        report.write(scratch)


if __name__ == "__main__":
    main()
