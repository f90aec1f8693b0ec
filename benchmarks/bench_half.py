"""How long a request waits for its synced 202 at half of the peak load, beside Go doing the same durable work.

    python benchmarks/bench_half.py [--quick] [--seconds 4]

The peak of each server is found first; then h2load sends half as many requests a second, evenly, and logs their times.
"""

import argparse
import contextlib
import shutil
from pathlib import Path

import load
import rig
import subjects
from bench_ingest import BRIDGE, GO, ROOM, once
from shapes import Load

SHAPES = (Load(8, streams=1), Load(8, streams=16), Load(8, streams=100))
SHARES = (0.5, 0.9, 0.99, 0.999)


def timed(shape: Load, server: rig.Server, folder: Path, seconds: float, peak: float) -> list[float]:
    """Milliseconds of each request at half of the peak."""
    log = folder / "requests.log"
    log.unlink(missing_ok=True)
    each = max(1, round(peak / 2 / shape.connections))
    load.h2load(shape, server.port, seconds, folder, (f"--rps={each}", f"--log-file={log}"))
    return [int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one second each: shows that it runs")
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    seconds = 1.0 if options.quick else options.seconds
    report = rig.Report(
        "half",
        "Latency of the synced 202 at half of the peak load",
        ("load", "server", "requests/s", *(f"p{share * 100:g}, ms" for share in SHARES)),
    )
    if shutil.which("h2load") is None:
        raise SystemExit("benchmark: latency at half of the peak needs h2load, which is not installed")
    program = subjects.go_program()
    with rig.scratch() as scratch, rig.unreachable() as api_url, contextlib.ExitStack() as running:
        servers = {BRIDGE: running.enter_context(rig.bridge(scratch, api_url, ROOM))}
        if program is not None:
            servers[GO] = running.enter_context(subjects.go(program, scratch))
        for shape in SHAPES:
            for name, server in servers.items():
                peak = once(shape, server, scratch, seconds / 2)
                times = timed(shape, server, scratch, seconds, peak)
                cells = [rig.percentile(times, share) for share in SHARES]
                report.add(str(shape), name, f"{len(times) / seconds:,.0f}", *(f"{ms:.2f}" for ms in cells))
                report.data[f"{shape}, {name}"] = {
                    "peak": peak,
                    "ms": dict(zip(map(str, SHARES), cells, strict=True)),
                }
        report.notes.append(
            "Nearest-rank percentiles over all requests of one run; requests are sent evenly, answered or not."
        )
        report.write(scratch)


if __name__ == "__main__":
    main()
