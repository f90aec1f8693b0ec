"""What the benchmarks send: MCP events of a usual size, with as many alert keys as asked for."""

import json
from collections.abc import Iterator

SUMMARY = "Disk full on the database host"
DETAILS = "root disk at 98%, 1.2 GB left of 64 GB; grows by 40 MB an hour since the last deployment"


def event(number: int, prefix: str = "bench") -> bytes:
    """One event, about 250 bytes; its number makes its alert key. Three in a hundred are critical."""
    priority = 1 if number % 100 < 3 else 2 + number % 3
    return json.dumps(
        {
            "mcp_id": f"{prefix}-{number:08d}",
            "source": f"probe-{number % 50}",
            "priority": priority,
            "summary": SUMMARY,
            "details": DETAILS,
            "tags": ["disk", "storage"],
        }
    ).encode()


def batches(count: int, size: int, prefix: str = "bench") -> Iterator[tuple[int, bytes]]:
    """`count` events of different keys as NDJSON bodies of `size` lines each, with how many lines it has."""
    for first in range(0, count, size):
        numbers = range(first, min(first + size, count))
        yield len(numbers), b"\n".join(event(n, prefix) for n in numbers) + b"\n"
