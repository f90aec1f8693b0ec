"""The figures of a soak, for programs and for the table in docs/reliability.md."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from soak_run import Run


def times(values: Sequence[float]) -> dict[str, float]:
    """Of durations in seconds: how many, the median, the nearest-rank 99th percentile, the worst."""
    ordered = sorted(values)
    if not ordered:
        return {"number": 0}
    p99 = ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)]
    found = {"p50": statistics.median(ordered), "p99": p99, "worst": ordered[-1]}
    return {"number": len(ordered)} | {name: round(value, 3) for name, value in found.items()}


def figures(run: Run) -> dict[str, Any]:
    """All that a run showed."""
    ilert, verdict, fates = run.ilert, run.verdict, run.history.fates
    repeats = verdict.repeats_by_kill
    return {
        "seed": run.plan.seed,
        "seconds": round(run.seconds),
        "kills": run.ends["kill"],
        "kills_during_start": run.ends["kill during start"],
        "gentle_ends": run.ends["gentle"],
        "events_answered_202": fates["answered"],
        "events_cut_off": fates["unknown"],
        "events_answered_503": fates["refused"],
        "alert_keys": len(run.history.words),
        "requests_at_ilert": len(run.history.arrivals),
        "answers_of_ilert": dict(sorted(ilert.counts.items())),
        "faults": dict(sorted(ilert.faults.items())),
        "losses": len(verdict.losses),
        "inventions": len(verdict.inventions),
        "order_violations": len(verdict.inversions),
        "repeats_unexplained": len(verdict.repeats_unexplained),
        "repeats_after_unknown_outcome": verdict.repeats_after_fault,
        "repeats_by_kill": repeats.total(),
        "repeats_per_kill": round(repeats.total() / max(1, run.ends["kill"]), 3),
        "most_repeats_by_one_kill": max(repeats.values(), default=0),
        "repeats_that_paged_again": ilert.paged_twice(),
        "most_alerts_in_a_digest": ilert.most_in_a_digest,
        "seconds_to_ready": times(run.ready[True]),
        "seconds_to_first_delivery": times(run.first_delivery[True]),
        "seconds_to_ready_without_imports": times(run.ready[False]),
        "seconds_to_first_delivery_without_imports": times(run.first_delivery[False]),
        "seen": dict(run.seen),
        "counts": msgspec.structs.asdict(run.counts),
    }


def row(run: Run) -> str:
    """A row of docs/reliability.md."""
    f = figures(run)
    wrong = (f["losses"], f["inventions"], f["order_violations"], f["repeats_unexplained"])
    ready, first = f["seconds_to_ready"], f["seconds_to_first_delivery"]
    cells = (
        f"{f['kills']:,} ({f['kills_during_start']:,} during start)",
        f"{f['gentle_ends']:,}",
        f"{sum(f['faults'].values()):,}",
        f"{f['events_answered_202']:,}",
        f"{f['alert_keys']:,}",
        f"{f['requests_at_ilert']:,}",
        *map(str, wrong),
        f"{f['repeats_per_kill']:g} (at most {f['most_repeats_by_one_kill']})",
        f"{f['repeats_that_paged_again']}",
        _spread(ready),
        _spread(first),
    )
    return "| " + " | ".join(cells) + " |"


def _spread(found: dict[str, float]) -> str:
    return " / ".join(f"{found[name]:g}" for name in ("p50", "p99", "worst") if name in found)
