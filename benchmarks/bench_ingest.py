"""Events a second that the bridge takes, each synced to disk before its 202, beside a bare app that stores nothing.

    python benchmarks/bench_ingest.py [--quick] [--seconds 4] [--rounds 3]

Both servers run all the time; the loads go to them in turn, round after round, so that a noisy machine is noisy for
both. The figure to read is the ratio. iLert is unreachable meanwhile: what is accepted waits in the spool.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import data
import load
import poster
import rig

SHAPES = (load.Load(8), load.Load(64), load.Load(8, 1), load.Load(8, 16))
KEYS = 5_000

Run = Callable[[int], load.Measured]


def runs(folder: Path, seconds: float) -> dict[str, Run]:
    """The loads by name; each is run against a port."""
    plain = [(shape, load.Bodies(folder)) for shape in SHAPES]
    many = [(load.Load(64), load.Bodies(folder, KEYS))] if load.generator(load.Load(64))[0] == "wrk" else []
    return dict(named(shape, bodies, seconds) for shape, bodies in plain + many)


def named(shape: load.Load, bodies: load.Bodies, seconds: float) -> tuple[str, Run]:
    name, generate = load.generator(shape)
    keys = "one key" if bodies.keys == 1 else f"{bodies.keys:,} keys"
    return f"{shape}, {keys} ({name})", lambda port: generate(shape, port, seconds, bodies)


def interleave(
    bridge: rig.Server, bare: rig.Server, loads: dict[str, Run], rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Events a second of the bridge and of the bare app, by load; the order changes with each round."""
    rates: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in loads}
    servers = (bridge, bare)
    for number in range(rounds):
        for name, run in loads.items():
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                rates[name][place].append(run(servers[place].port).requests_per_second)
    return rates


def batch_rate(bridge: rig.Server, count: int) -> float:
    """Events a second when they come as NDJSON bodies of 2,000 different keys on one connection."""
    with poster.poster(bridge.port) as producer:
        return producer.post_batches(data.batches(count, 2_000, "batch"))


def spread(values: Sequence[float]) -> str:
    return f"{rig.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that it runs, not how fast"
    )
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds, rounds = (1.0, 1) if options.quick else (options.seconds, options.rounds)
    report = rig.Report(
        "ingest",
        "Accepting events: durable bridge beside a bare Quart-Trio app that stores nothing",
        ("load", "bridge, events/s", "bare app, events/s", "ratio"),
    )
    with rig.scratch() as folder, rig.unreachable() as api_url, rig.bare(folder) as bare:
        with rig.bridge(folder, api_url) as bridge:
            rates = interleave(bridge, bare, runs(folder, seconds), rounds)
            for shape, (ours, theirs) in rates.items():
                report.add(
                    shape, spread(ours), spread(theirs), f"{rig.median(ours) / rig.median(theirs):.2f}"
                )
            batch = batch_rate(bridge, 10_000 if options.quick else 100_000)
            report.add("HTTP/1.1 -c1, NDJSON of 2,000 events", f"{batch:,.0f}", "–", "–")
            taken, error = (
                bridge.metric("mcp_in_events_total", 'result="accepted"'),
                bridge.metric("mcp_conservation_error"),
            )
        report.notes += [
            f"Median of {rounds} rounds of {seconds:.0f} s (lowest–highest), load and servers on the same cores.",
            f"The bridge took {taken:,.0f} events in all; conservation error {error:.0f}.",
            f"One key: each request is the same event of {len(data.event(0))} bytes.",
        ]
        report.data = {"rates": rates, "batch_events_per_second": batch, "conservation_error": error}
        report.write(folder)
    print(json.dumps({"ratio": {k: round(rig.median(a) / rig.median(b), 2) for k, (a, b) in rates.items()}}))


if __name__ == "__main__":
    main()
