"""The storm of the demo: many events over few keys, as a failing switch makes them."""

from collections.abc import Iterator

import msgspec

EVENTS = 5_000
KEYS = 40
BATCH = 50
RESOLVED_EVERY = 4
"""Every fourth host recovers at the end of the storm."""


def storm(events: int = EVENTS, keys: int = KEYS) -> Iterator[bytes]:
    """Lines of JSON: alerts in turn over the hosts, the first of them critical; then some resolves."""
    resolved = [host for host in range(keys) if host % RESOLVED_EVERY == RESOLVED_EVERY - 1]
    for i in range(events - len(resolved)):
        yield _event(i % keys, "firing", i // keys + 1)
    for host in resolved:
        yield _event(host, "resolved", 0)


def _event(host: int, status: str, seen: int) -> bytes:
    name = f"host-{host + 1:02}"
    summary = f"{name}: answers again" if status == "resolved" else f"{name}: ping {seen} unanswered"
    return msgspec.json.encode(
        {
            "mcp_id": f"{name}/ping",
            "source": "storm",
            "priority": 1 if host == 0 else 2 + host % 3,
            "summary": summary,
            "status": status,
            "tags": ["network"],
        }
    )


def batches(lines: Iterator[bytes], size: int = BATCH) -> Iterator[list[bytes]]:
    """The lines in bodies of NDJSON."""
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
