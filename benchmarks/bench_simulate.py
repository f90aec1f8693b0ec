"""Days of a million events, simulated: the CPU seconds that each takes, beside a plain loop in the same process."""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from mcp_ilert.config import DeliverySettings, Ilert, Secret, Settings, Storm
from mcp_ilert.simulation import Outage, Scenario, Setup, simulate

DAY = 86_400.0
MILLION = 1_000_000
STORM_SECONDS = 600.0
STORM_KEYS = 20_000
STORMS = 7
"""Each of a tenth of the day's events; the rest comes steadily."""

Happening = tuple[float, str]
"""When, and the key."""
Times = Callable[[int, random.Random], Iterator[Happening]]


class Day(msgspec.Struct, frozen=True):
    """A day to simulate: its events, what iLert does, whether digests are on."""

    happenings: Times
    events: int = MILLION
    outages: tuple[Outage, ...] = ()
    digests: bool = True


def steady(key: Callable[[random.Random], str]) -> Times:
    """Events evenly over the day."""

    def happenings(events: int, draw: random.Random) -> Iterator[Happening]:
        return ((i * DAY / events, key(draw)) for i in range(events))

    return happenings


def of(keys: int) -> Callable[[random.Random], str]:
    """One of so many keys, each as likely."""
    return lambda draw: f"evt-{draw.randrange(keys)}"


def storms(events: int, draw: random.Random) -> Iterator[Happening]:
    """STORMS rushes within STORM_SECONDS each, and between them a steady rest over 5,000 keys."""
    each = events // 10
    found = [(i * DAY / (events - STORMS * each), of(5_000)(draw)) for i in range(events - STORMS * each)]
    for n in range(STORMS):
        begin = (n + 0.5) * DAY / STORMS
        found += (
            (begin + i * STORM_SECONDS / each, f"port-{draw.randrange(STORM_KEYS)}") for i in range(each)
        )
    return iter(sorted(found))


DAYS: dict[str, Day] = {
    "5,000 keys": Day(steady(of(5_000))),
    "5,000 keys, no digests": Day(steady(of(5_000)), digests=False),
    "seven storms over 20,000 keys": Day(storms),
    "seven storms, no digests": Day(storms, digests=False),
    "5,000 keys, iLert out for two hours": Day(
        steady(of(5_000)), outages=(Outage(kind="refused", begin=36_000.0, until=43_200.0),)
    ),
    "one key storms": Day(steady(lambda draw: "evt-0" if draw.random() < 0.9 else of(5_000)(draw))),
    "every event its own key": Day(steady(lambda draw: f"evt-{draw.getrandbits(60)}")),
    "a quiet day": Day(steady(of(5_000)), events=20_000),
}
STATUSES = (("firing", "acknowledged", "resolved"), (75, 10, 15))
PRIORITIES = ((1, 2, 3, 4), (1, 9, 40, 50))


def lines(day: Day, events: int) -> Iterator[bytes]:
    """The day's traffic."""
    draw = random.Random(7)
    for at, key in day.happenings(events, draw):
        event = {
            "mcp_id": key,
            "source": f"probe-{draw.randrange(40)}",
            "priority": draw.choices(*PRIORITIES)[0],
            "summary": f"Check {draw.randrange(97)} failed on host {draw.randrange(500)}",
            "details": "connection refused after 3 attempts, last answer 2 minutes ago",
            "tags": ["network"],
            "status": draw.choices(*STATUSES)[0],
        }
        yield msgspec.json.encode({"at": round(at, 3), "event": event}) + b"\n"


def setup(day: Day) -> Setup:
    """The default configuration; iLert as it is by default, but for the day's outages."""
    storm = Storm() if day.digests else Storm(digest_below="low")
    settings = Settings(ilert=Ilert(webhook_key=Secret("benchmark")), delivery=DeliverySettings(storm=storm))
    return Setup(settings, Scenario(outages=day.outages), patience_seconds=3600)


def loop_seconds() -> float:
    """CPU seconds of ten million turns of a plain loop, right now: what the machine's other tenants leave of it."""
    started, total = time.process_time(), 0
    for i in range(10_000_000):
        total += i
    return time.process_time() - started


def measure(name: str, day: Day, events: int, folder: Path) -> None:
    """Make the day, simulate it, and say what it took."""
    traffic = folder / "traffic.ndjson"
    with traffic.open("wb") as file:
        file.writelines(lines(day, events))
    before = loop_seconds()
    started, cpu = time.monotonic(), time.process_time()
    report = simulate(setup(day), traffic)
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    loop = (before + loop_seconds()) / 2
    print(
        f"{name:<36} {events:>9,} events: {cpu:5.1f} s of CPU ({wall:.1f} s in all; {cpu / loop:.0f} times ten "
        f"million turns of a loop, {loop:.2f} s), {len(report.pages):,} pages, {report.counts.digested:,} digested",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, rough figures")
    parser.add_argument(
        "--day", choices=DAYS, action="append", help="only this one; may be given several times"
    )
    chosen = parser.parse_args()
    for name in chosen.day or DAYS:
        day = DAYS[name]
        with tempfile.TemporaryDirectory() as folder:
            measure(name, day, day.events // 10 if chosen.quick else day.events, Path(folder))


if __name__ == "__main__":
    main()
