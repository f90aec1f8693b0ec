"""What compiling `_fast/` buys, and what an event costs on its way from bytes to its entry.

    python benchmarks/bench_fast.py [--quick] [--calls 100000]

Each module is measured against itself as plain Python, in turn; the steps against decoding the JSON alone.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

import rig
from mcp_ilert._fast import mapping as built_mapping
from mcp_ilert._fast import token_bucket as built_bucket
from mcp_ilert.config import Mapping as MappingSettings
from mcp_ilert.config import Match, RouteSettings, Settings
from mcp_ilert.decode.native import check, decode_event
from mcp_ilert.decode.text import check_text
from mcp_ilert.mapping import Mapper, glob_matcher

ROUNDS = 5
PAYLOAD = (
    b'{"mcp_id": "evt-0001", "source": "probe-1", "priority": 1, "summary": "Disk full", '
    b'"details": "root disk at 98%", "tags": ["disk", "storage"], "labels": {"host": "db-7"}}'
)
ROUTES = tuple(
    RouteSettings(match=Match(source=f"web-{number}*", severity=("low",), labels={"host": f"h{number}"}))
    for number in range(20)
)
Call = Callable[[], object]


def plain(built: ModuleType) -> ModuleType:
    """The same module, as it was written."""
    source = Path(str(built.__file__)).parent / f"{built.__name__.rpartition('.')[2]}.py"
    spec = importlib.util.spec_from_file_location(f"plain_{source.stem}", source)
    if spec is None or spec.loader is None:
        raise SystemExit(f"benchmark: {source} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rates(calls: Mapping[str, Call], count: int) -> dict[str, float]:
    """Calls a second of each, best of some rounds, in turn: what disturbs a round is no part of the cost."""
    best = dict.fromkeys(calls, 0.0)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(count):
                call()
            best[name] = max(best[name], count / (time.perf_counter() - began))
    return best


def mapping_calls(module: Any) -> dict[str, Call]:
    """Twenty routes of which none matches: the longest way."""
    rules = [
        module.Rule(None, glob_matcher(f"web-{number}*"), (), 0, (("host", f"h{number}"),))
        for number in range(20)
    ]
    table = module.Table({1: 1, 2: 2}, 2, {}, ((1, "source"), (0, "/"), (2, "host")), rules)
    event = decode_event(PAYLOAD)
    return {
        "severity": lambda: table.severity(1, None),
        "first of 20 rules, none matches": lambda: table.first(event.source, event.tags, 1, event.labels),
        "key of {source}/{labels.host}": lambda: table.key(event),
    }


def bucket_calls(module: Any) -> dict[str, Call]:
    """Every other take finds a token."""
    take, clock = module.TokenBucket(10.0, 0.5, 10.0, 0.0).take, iter(range(1 << 62))
    return {"take": lambda: take(1.0, next(clock))}


def steps() -> dict[str, Call]:
    """The steps of one event, and all of them."""
    event = decode_event(PAYLOAD)
    by_default, routed = Mapper(Settings()), Mapper(Settings(routes=ROUTES))
    keyed = Mapper(Settings(mapping=MappingSettings(alert_key="{source}/{labels.host}")))

    def whole() -> object:
        check_text(PAYLOAD)
        return by_default.entry(check(PAYLOAD), PAYLOAD, 0)

    return {
        "json.decode alone, to plain objects": lambda: msgspec.json.decode(PAYLOAD),
        "check the text": lambda: check_text(PAYLOAD),
        "check the event (the doors)": lambda: check(PAYLOAD),
        "decode the event (the delivery)": lambda: decode_event(PAYLOAD),
        "entry, no routes": lambda: by_default.entry(event, PAYLOAD, 0),
        "entry, key from a template": lambda: keyed.entry(event, PAYLOAD, 0),
        "entry, 20 routes": lambda: routed.entry(event, PAYLOAD, 0),
        "text, event and entry": whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 calls: shows that it runs")
    parser.add_argument("--calls", type=int, default=100_000)
    options = parser.parse_args()
    count = 2_000 if options.quick else options.calls
    report = rig.Report(
        "fast",
        "What compiling buys, and what an event costs",
        ("what", "comparator, calls/s", "measured, calls/s", "ratio"),
    )
    for built, calls_of in (built_mapping, mapping_calls), (built_bucket, bucket_calls):
        name = built.__name__.rpartition(".")[2]
        slow, fast = calls_of(plain(built)), calls_of(built)
        found = rates(
            {f"plain {k}": v for k, v in slow.items()} | {f"built {k}": v for k, v in fast.items()}, count
        )
        for what in slow:
            pair = found[f"plain {what}"], found[f"built {what}"]
            report.add(
                f"{name}: {what}",
                f"plain {pair[0]:,.0f}",
                f"built {pair[1]:,.0f}",
                f"{pair[1] / pair[0]:.1f}",
            )
        report.data[name] = found
    costs = rates(steps(), count)
    base = next(iter(costs.values()))
    for what, rate in costs.items():
        report.add(what, f"json.decode {base:,.0f}", f"{rate:,.0f}", f"{rate / base:.2f}")
    report.data["steps"] = costs
    report.notes.append(
        f"Best of {ROUNDS} rounds of {count:,} calls, in turn; the calling costs alike for both."
    )
    report.write(rig.HERE)


if __name__ == "__main__":
    main()
