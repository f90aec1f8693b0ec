"""What compiling the mapping buys, and what an event costs from its bytes to its entry. Run it alone:

python benchmarks/bench_mapping.py [EVENTS]
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

import mcp_ilert._fast.mapping as installed
from mcp_ilert.config import Mapping, Match, RouteSettings, Settings
from mcp_ilert.decode.bodies import split
from mcp_ilert.decode.native import check, decode_event
from mcp_ilert.decode.text import check_text
from mcp_ilert.mapping import Mapper, glob_matcher

PAYLOAD = (
    b'{"mcp_id": "evt-0001", "source": "probe-1", "priority": 1, "summary": "Disk full", '
    b'"details": "root disk at 98%", "tags": ["disk", "storage"], "labels": {"host": "db-7"}}'
)
ROUTES = tuple(
    RouteSettings(match=Match(source=f"web-{number}*", severity=("low",), labels={"host": f"h{number}"}))
    for number in range(20)
)


def rate(call: Callable[[], object], events: int) -> float:
    """Calls a second, best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(events):
            call()
        best = min(best, time.perf_counter() - start)
    return events / best


def single(found: object) -> bytes:
    """What `split` gives for one event."""
    assert isinstance(found, bytes)
    return found


def pure() -> ModuleType:
    """The same module as plain Python."""
    spec = importlib.util.spec_from_file_location(
        "pure_mapping", Path(installed.__file__).parent / "mapping.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(module: ModuleType) -> Any:
    """Twenty routes of which none matches: the longest way."""
    rules = [
        module.Rule(None, glob_matcher(f"web-{number}*"), (), 0, (("host", f"h{number}"),))
        for number in range(20)
    ]
    return module.Table({1: 1, 2: 2}, 2, {}, ((1, "source"), (0, "/"), (2, "host")), rules)


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    event = decode_event(PAYLOAD)
    compiled = not installed.__file__.endswith(".py")
    print(
        f"mapping.py is {'compiled' if compiled else 'not compiled'} here; {events:,} events, best of three\n"
    )

    print(f"{'one call':44}{'plain a second':>16}{'compiled':>14}{'times':>8}")
    plain, fast = table(pure()), table(installed)
    calls: dict[str, Callable[[Any], Callable[[], object]]] = {
        "severity": lambda t: lambda: t.severity(1, None),
        "first of 20 rules, none matches": lambda t: (
            lambda: t.first(event.source, event.tags, 1, event.labels)
        ),
        "key of {source}/{labels.host}": lambda t: lambda: t.key(event),
    }
    for name, call in calls.items():
        slow, quick = rate(call(plain), events), rate(call(fast), events)
        print(f"{name:44}{slow:>16,.0f}{quick:>14,.0f}{quick / slow:>8.1f}")

    print(f"\n{'from bytes to entry':44}{'events a second':>16}")
    by_default, routed = Mapper(Settings()), Mapper(Settings(routes=ROUTES))
    keyed = Mapper(Settings(mapping=Mapping(alert_key="{source}/{labels.host}")))
    steps: dict[str, Callable[[], object]] = {
        "json.decode alone, to plain objects": lambda: msgspec.json.decode(PAYLOAD),
        "check_text": lambda: check_text(PAYLOAD),
        "check (the doors)": lambda: check(PAYLOAD),
        "decode_event (the delivery)": lambda: decode_event(PAYLOAD),
        "entry, no routes": lambda: by_default.entry(event, PAYLOAD, 0),
        "entry, key from a template": lambda: keyed.entry(event, PAYLOAD, 0),
        "entry, 20 routes": lambda: routed.entry(event, PAYLOAD, 0),
        "all of it: split, check, entry": lambda: by_default.entry(check(single(split(PAYLOAD))), PAYLOAD, 0),
    }
    for name, step in steps.items():
        print(f"{name:44}{rate(step, events):>16,.0f}")


if __name__ == "__main__":
    main()
