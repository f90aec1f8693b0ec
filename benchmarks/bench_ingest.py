"""Events a second that the bridge takes, each synced to disk before its 202, beside others that get the same requests.

    python benchmarks/bench_ingest.py [--quick] [--seconds 2] [--rounds 3]

All servers run all the time; the loads go to them in turn, round after round, so that a noisy machine is noisy for all.
The figures to read are the ratios. iLert is unreachable meanwhile: what is accepted waits in the spool.
"""

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import load
import rig
import subjects
from shapes import Load

Rates = dict[str, dict[str, list[float]]]
"""Load → server → requests a second, a round each."""

SINGLE = (
    Load(8),
    Load(64),
    Load(64, pipeline=16),
    Load(8, streams=1),
    Load(8, streams=16),
    Load(8, streams=100),
)
BULK = (
    Load(8, batch=100, keys=5_000),
    Load(4, batch=1_000, lines=True, keys=5_000),
    Load(8, tcp=True, keys=5_000),
)
BRIDGE, BARE, STORED, GO, CEILING, UNSTORED = (
    "bridge",
    "stock",
    "stock + SQLite",
    "Go",
    "nghttpd",
    "bridge, no disk",
)
ROOM: rig.Changes = {
    "spool": {"max_pending": 100_000_000, "min_free_bytes": 0},
    "delivery": {"storm": {"digest_below": "low"}},
}
"""Nothing is refused, and no digest is gathered meanwhile: that is work of a storm, not of accepting."""
COMPARED = (BARE, STORED, GO, CEILING)


def measure(
    servers: Mapping[str, rig.Server], loads: Sequence[Load], folder: Path, seconds: float, rounds: int
) -> Rates:
    """Each load on each server that can take it, in turn; the order of the servers changes with each round."""
    rates: Rates = {str(shape): {} for shape in loads}
    for number in range(rounds):
        for shape in loads:
            names = [name for name in servers if takes(name, shape)]
            for name in names if number % 2 == 0 else reversed(names):
                fresh = dataclasses.replace(shape, prefix=f"bench{number}")
                rate = once(fresh, servers[name], folder, seconds)
                rates[str(shape)].setdefault(name, []).append(rate * shape.batch)
    return rates


def once(shape: Load, server: rig.Server, folder: Path, seconds: float) -> float:
    port = server.tcp_port if shape.tcp else server.port
    if port is None:
        raise SystemExit(f"benchmark: {shape}: this server has no such door")
    return load.generator(shape)[1](shape, port, seconds, folder).requests_per_second


def takes(name: str, shape: Load) -> bool:
    """Whether this server answers such a load: the comparators know single events, nghttpd HTTP/2 alone."""
    if name == BRIDGE:
        return True
    if shape.tcp or shape.batch > 1:
        return False
    return bool(shape.streams) if name in {CEILING, UNSTORED} else True


def spread(values: Sequence[float]) -> str:
    return f"{rig.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def ratio(rates: dict[str, list[float]], name: str, to: str) -> str:
    if name not in rates or to not in rates:
        return "–"
    return f"{rig.median(rates[name]) / rig.median(rates[to]):,.2f}"


def compare(folder: Path, api_url: str, loads: Sequence[Load], seconds: float, rounds: int) -> Rates:
    """The bridge beside every comparator that this machine has."""
    program = subjects.go_program()
    with contextlib.ExitStack() as running:
        enter = running.enter_context
        servers = {
            BRIDGE: enter(rig.bridge(folder, api_url, ROOM)),
            BARE: enter(subjects.bare(folder)),
            STORED: enter(subjects.stored(folder)),
        }
        if program is not None:
            servers[GO] = enter(subjects.go(program, folder))
        if load.available(Load(1, streams=1)):
            servers[CEILING] = enter(subjects.ceiling(folder))
            servers[UNSTORED] = enter(subjects.unstored(folder))
        rates = measure(servers, loads, folder, seconds, rounds)
        error = servers[BRIDGE].metric("mcp_conservation_error")
        if error:
            raise SystemExit(f"benchmark: the conservation law is broken by {error:.0f}")
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that it runs, not how fast"
    )
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds, rounds = (1.0, 1) if options.quick else (options.seconds, options.rounds)
    report = rig.Report(
        "ingest",
        "Accepting events, each synced before its 202: the bridge beside others",
        ("load", "events/s", *(f"× {name}" for name in COMPARED), "no disk × nghttpd"),
    )
    loads = [shape for shape in (*SINGLE, *BULK) if load.available(shape)]
    with rig.scratch() as folder, rig.unreachable() as api_url:
        rates = compare(folder, api_url, loads, seconds, rounds)
        for shape, found in rates.items():
            ratios = [ratio(found, BRIDGE, name) for name in COMPARED]
            report.add(shape, spread(found[BRIDGE]), *ratios, ratio(found, UNSTORED, CEILING))
        report.notes += [
            f"Medians of {rounds} rounds of {seconds:.0f} s (lowest–highest); load and servers on the same cores.",
            "stock: Quart-Trio on Hypercorn, keeping nothing. stock + SQLite: the same with a synced commit a request.",
            "Go: net/http with a SQLite group commit, which decodes, checks and syncs, and folds nothing.",
            "nghttpd answers with 14 bytes of a file. no disk: the bridge's doors over a spool that keeps nothing.",
        ]
        report.data = {"rates": rates}
        report.write(folder)
    print(json.dumps({shape: ratio(found, BRIDGE, BARE) for shape, found in rates.items()}))


if __name__ == "__main__":
    main()
