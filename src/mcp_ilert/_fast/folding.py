# cython: annotation_typing=False
"""Many entries at once, on their way into lanes: which are kept, which are critical, which key they are of.

Every accepted event passes here, in the spool's writer. The C types stand in folding.pxd.
"""

from collections.abc import Sequence

from mcp_ilert.events import DROP, Entry, Kind, Severity

ALERT = Kind.ALERT
CRITICAL = Severity.CRITICAL

Run = tuple[str, Severity, int, int, int, bytes]
"""Alerts of one key for one target as one: target, highest severity, number, first and last time, newest text."""


def sift(entries: Sequence[Entry], kept: list[Entry], critical: set[str]) -> int:
    """Add those that no route drops, and the lower-cased keys of the critical ones; gives the bytes of their texts."""
    size = 0
    for entry in entries:
        if entry.kind is ALERT and entry.target == DROP:
            continue
        kept.append(entry)
        size += len(entry.payload)
        if entry.severity is CRITICAL:
            critical.add(entry.key.lower())
    return size


def group(entries: Sequence[Entry], by_key: dict[str, list[Entry]]) -> None:
    """Add the entries to those of their lower-cased keys."""
    for entry in entries:
        key = entry.key.lower()
        found = by_key.get(key)
        if found is None:
            by_key[key] = [entry]
        else:
            found.append(entry)


def run_of(entries: list[Entry]) -> Run | None:
    """The entries of one key as a run; None where they are not all alerts for one target."""
    first = entries[0]
    if first.kind is not ALERT:
        return None
    target, severity = first.target, first.severity
    first_ms = last_ms = first.accepted_ms
    last = first
    for entry in entries:
        if entry is first:
            continue
        if entry.kind is not ALERT or (entry.target is not target and entry.target != target):
            return None
        last = entry
        if entry.severity is not severity and entry.severity < severity:
            severity = entry.severity
        at_ms = entry.accepted_ms
        if at_ms is not last_ms:
            first_ms = min(first_ms, at_ms)
            last_ms = max(last_ms, at_ms)
    return target, severity, len(entries), first_ms, last_ms, last.payload
