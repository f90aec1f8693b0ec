"""A storm of 10,000 events at iLert's 50 requests a minute: what is sent, what it says, how long critical alerts wait.

    python benchmarks/bench_storm.py [--quick] [--traffic storm.ndjson]

A switch dies: 7,000 alerts of 5,000 alert keys from five sources within five minutes; 3,000 resolves follow within
the next half hour. 25 of the keys are critical, 100 are high. It runs on a virtual clock (`mcp-ilert simulate`), so the
figures are the same on every machine. The comparator is the same bridge with digests off. `--traffic` keeps the
events, for `mcp-ilert simulate --config YOURS storm.ndjson`.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

import rig
from mcp_ilert.config import DeliverySettings, Ilert, Secret, Settings, Storm
from mcp_ilert.simulation import Report, Scenario, Setup, simulate

ALERTS, KEYS, RESOLVES = 7_000, 5_000, 3_000
CRITICAL, HIGH = 25, 100
SOURCES = ("switch-7", "rack-12", "rack-13", "mail", "shop")
SAYINGS = ("no carrier", "host does not answer", "disk latency above 500 ms", "queue grows", "login fails")


def event(number: int, draw: random.Random, status: str = "firing") -> dict[str, object]:
    """An event of key `number`; its source and priority go with the key."""
    priority = 1 if number < CRITICAL else 2 if number < CRITICAL + HIGH else 3 + number % 2
    return {
        "mcp_id": f"check-{number}",
        "source": SOURCES[number % len(SOURCES)],
        "priority": priority,
        "summary": draw.choice(SAYINGS),
        "status": status,
    }


def events() -> Iterator[tuple[float, dict[str, object]]]:
    """Each with its second."""
    draw = random.Random(7)
    keys = [*range(KEYS), *draw.choices(range(KEYS), k=ALERTS - KEYS)]
    draw.shuffle(keys)
    for i, key in enumerate(keys):
        yield 300 * i / ALERTS, event(key, draw)
    for i, key in enumerate(draw.sample(range(KEYS), RESOLVES)):
        yield 300 + 1_800 * i / RESOLVES, event(key, draw, "resolved")


def write(traffic: Path) -> None:
    lines = (msgspec.json.encode({"at": round(at, 3), "event": event}) for at, event in events())
    traffic.write_bytes(b"\n".join(lines) + b"\n")


def run(traffic: Path, digest_below: str) -> Report:
    """All of it, up to a day after the last event."""
    settings = Settings(
        ilert=Ilert(webhook_key=Secret("benchmark")),
        delivery=DeliverySettings(storm=Storm(digest_below=digest_below)),
    )
    return simulate(Setup(settings, Scenario(), patience_seconds=86_400), traffic)


def minutes(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:,.1f} min"


def worst(report: Report, severity: str) -> str:
    waits = report.waits.get(severity)
    return "none" if waits is None else f"{minutes(waits.median)}, at most {minutes(waits.worst)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--traffic", type=Path, help="keep the events in this file")
    given = parser.parse_args()
    report = rig.Report(
        "storm",
        f"{ALERTS + RESOLVES:,} events at 50 requests a minute",
        ("what", "digests off", "as delivered by default"),
    )
    with rig.scratch() as scratch:
        traffic = given.traffic or scratch / "storm.ndjson"
        write(traffic)
        off, on = run(traffic, "low"), run(traffic, "high")
        both = (off, on)
        if any(r.conservation_error or r.counts.pending or r.counts.dead for r in both):
            raise SystemExit(f"benchmark: not all was dealt with: {off.counts} {on.counts}")
        digests = [page for page in on.pages if page.key.startswith("mcp-digest/")]
        report.add("pages (alerts sent)", *(f"{r.alerts:,}" for r in both))
        report.add("of these, digest alerts", "0", f"{len({page.key for page in digests}):,}")
        report.add("of these, updates of digests", "0", f"{len(digests) - len({p.key for p in digests}):,}")
        report.add("requests that iLert took", *(f"{r.requests.delivered:,}" for r in both))
        report.add("answers of 429", *(f"{r.requests.throttled:,}" for r in both))
        for name in ("critical", "high", "medium", "low"):
            report.add(f"wait of {name} pages (median, worst)", *(worst(r, name) for r in both))
        report.add("last request", *(f"after {minutes((r.last_ms - r.begin_ms) / 1000)}" for r in both))
        report.notes += ["What the first digests say:"]
        report.notes += [f"after {minutes((p.at_ms - on.begin_ms) / 1000)}: {p.summary}" for p in digests[:5]]
        report.data = {name: r.counts for name, r in (("off", off), ("on", on))} | {
            "digests": [page.summary for page in digests]
        }
        report.data = {k: msgspec.to_builtins(v) for k, v in report.data.items()}
        report.write(scratch)


if __name__ == "__main__":
    main()
