"""Whether accepting has become slower: the bridge of another checkout beside this one's, in one run.

    python benchmarks/compare.py --base OTHER/.venv/bin/python [--rounds 7] [--seconds 2] [--threshold 0.85]
        [--summary FILE]

Both run all the time, and each load goes to them in turn, round after round; the generator is this checkout's for both.
A round gives a ratio, and the median of these is judged; a load below the threshold is measured once more, twice as
long, and that counts: 1 if any is below it again. Processor time an event stands beside it, for it is quieter than a
shared machine's clock. The table goes to FILE as well.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import load
import rig
from bench_backlog import wait_folded
from bench_ingest import BULK, ROOM, SINGLE, once, spread
from shapes import Load

BASE, HEAD = "base", "head"
LOADS = (*SINGLE[:2], *SINGLE[4:], *BULK)
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """What one server made of a load in one round."""

    events_per_second: float
    cpu_microseconds: float
    """Of the server's processor time, an event."""


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one load."""

    load: str
    rate: float
    """Events a second of the head, of the base's: the median of the rounds' ratios."""
    cpu: float
    """The same of the processor time an event."""
    slower: bool


def judge(name: str, base: Sequence[Round], head: Sequence[Round], threshold: float) -> Verdict:
    """Rounds are compared in pairs, since a noisy neighbour disturbs both of a pair."""
    pairs = list(zip(base, head, strict=True))
    rate = rig.median([h.events_per_second / b.events_per_second for b, h in pairs])
    cpu = rig.median([h.cpu_microseconds / b.cpu_microseconds for b, h in pairs])
    return Verdict(name, rate, cpu, slower=rate < threshold)


def judge_all(found: Mapping[str, Mapping[str, Sequence[Round]]], threshold: float) -> list[Verdict]:
    return [judge(name, sides[BASE], sides[HEAD], threshold) for name, sides in found.items()]


def table(
    found: Mapping[str, Mapping[str, Sequence[Round]]], verdicts: Sequence[Verdict], threshold: float
) -> str:
    """For people: a row a load."""
    lines = [
        "### Accepting, beside the base",
        "",
        "| load | base, events/s | head, events/s | head ÷ base | processor time an event, head ÷ base | |",
        "|---|---|---|---|---|---|",
    ]
    for verdict in verdicts:
        rates = [spread([r.events_per_second for r in found[verdict.load][side]]) for side in (BASE, HEAD)]
        mark = f"**slower** (below {threshold:.2f})" if verdict.slower else ""
        lines.append(
            f"| {verdict.load} | {rates[0]} | {rates[1]} | {verdict.rate:.2f} | {verdict.cpu:.2f} | {mark} |"
        )
    return "\n".join(lines) + "\n"


def probe(shape: Load, server: rig.Server, folder: Path, seconds: float) -> Round:
    """One round; what was taken is folded at its end, so that nobody pays for another's round."""
    before, taken = cpu_seconds(server), server.metric("mcp_in_events_total", 'result="accepted"')
    rate = once(shape, server, folder, seconds) * shape.batch
    wait_folded(server)
    events = server.metric("mcp_in_events_total", 'result="accepted"') - taken
    if not rate or not events:
        raise SystemExit(f"benchmark: {shape}: nothing was answered within {seconds:g} s; give it more")
    return Round(rate, max(cpu_seconds(server) - before, 1 / TICK) / events * 1e6)


def cpu_seconds(server: rig.Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(
    servers: Mapping[str, rig.Server], loads: Sequence[Load], folder: Path, seconds: float, rounds: int
) -> dict[str, dict[str, list[Round]]]:
    """Load → side → a round each; who is first changes with the round. The first warms up and is dropped."""
    found: dict[str, dict[str, list[Round]]] = {str(shape): {BASE: [], HEAD: []} for shape in loads}
    for number in range(rounds + 1):
        for shape in loads:
            for side in (BASE, HEAD) if number % 2 == 0 else (HEAD, BASE):
                fresh = dataclasses.replace(shape, prefix=f"compare{number}")
                result = probe(fresh, servers[side], folder, seconds)
                if number:
                    found[str(shape)][side].append(result)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="the Python of the other checkout's environment")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threshold", type=float, default=0.85)
    parser.add_argument("--summary", type=Path)
    options = parser.parse_args()
    loads = [shape for shape in LOADS if load.available(shape)]
    with rig.scratch() as scratch, rig.unreachable() as api_url:
        folders = {side: scratch / side for side in (BASE, HEAD)}
        for folder in folders.values():
            folder.mkdir()
        with (
            rig.bridge(folders[BASE], api_url, ROOM, (options.base,)) as base,
            rig.bridge(folders[HEAD], api_url, ROOM) as head,
        ):
            servers = {BASE: base, HEAD: head}
            found = measure(servers, loads, scratch, options.seconds, options.rounds)
            slow = {verdict.load for verdict in judge_all(found, options.threshold) if verdict.slower}
            again = [shape for shape in loads if str(shape) in slow]
            found |= measure(servers, again, scratch, 2 * options.seconds, options.rounds)
    verdicts = judge_all(found, options.threshold)
    told = table(found, verdicts, options.threshold)
    print(told)
    if options.summary is not None:
        with options.summary.open("a") as summary:
            summary.write(told)
    sys.exit(any(verdict.slower for verdict in verdicts))


if __name__ == "__main__":
    main()
