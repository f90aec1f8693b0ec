# cython: annotation_typing=False
"""An event's text → its entry, at once, where all is in order: the way of nearly every event at ingest.

What is not taken here (None) is no error yet: decode/ and mapping.py judge it again with care, and word what is wrong.
What is taken they would take too, and make the same of it. The C types stand in taking.pxd.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mcp_ilert._fast.mapping import Table
from mcp_ilert.events import KIND_OF_STATUS, Entry, Kind, Severity

PLAIN_TIME = "0000-00-00T00:00:00Z"
MAX_DEPTH = 64
ALERT = Kind.ALERT


class Taker:
    """Takes events by one table.

    `decode` gives a decode/native.EventIn or raises ValueError; `careful` says whether a text that has escapes passes
    decode/text.py; `targets` are those of the table's rules, then that of an event which matches none.
    """

    def __init__(
        self,
        table: Table,
        decode: Callable[[bytes], Any],
        careful: Callable[[bytes], bool],
        targets: tuple[str, ...],
        plain_key: bool,
    ) -> None:
        self.table = table
        self.decode = decode
        self.careful = careful
        self.targets = targets
        self.plain_key = plain_key
        self.severities = (None, *Severity)
        self.kinds = KIND_OF_STATUS
        self.entry = Entry

    def take(
        self,
        payload: bytes,
        most_bytes: int,
        now_ms: int,
        allows: Callable[[str], bool] | None,
    ) -> Entry | None:
        """The entry of an event's text without white space around it; None where it is to be judged with care."""
        if len(payload) > most_bytes or not payload.startswith(b"{") or not self.sound(payload):
            return None
        try:
            event = self.decode(payload)
        except (ValueError, RecursionError):
            return None
        if event.timestamp is not None and not plain_time(event.timestamp):
            return None
        if event.details and not plain_details(bytes(event.details)):
            return None
        if allows is not None and not allows(event.source):
            return None
        return self.mapped(event, payload, now_ms)

    def mapped(self, event: Any, payload: bytes, now_ms: int) -> Entry | None:
        """The entry of a decoded event; None where its key is not found at once."""
        severity = self.table.severity(event.priority, None)
        index = -1
        if self.table.rules:
            index = self.table.first(event.source, event.tags or (), severity, event.labels or {})
        key = event.mcp_id if self.plain_key else self.table.key(event)
        if key is None:
            return None
        key = key.strip()
        if not key:
            return None
        kind = ALERT if event.status is None else self.kinds[event.status]
        return self.entry(now_ms, kind, self.severities[severity], self.targets[index], key, payload)

    def sound(self, payload: bytes) -> bool:
        """Whether the text is UTF-8, not deep, and its escapes are in order."""
        if b"\\u" in payload:
            return self.careful(payload)
        if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH:
            return False
        if not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                return False
        return True

    def each(
        self,
        payloads: Sequence[object],
        start: int,
        most_bytes: int,
        now_ms: int,
        allows: Callable[[str], bool] | None,
        entries: list[Entry],
    ) -> int:
        """Add the entries of these texts from `start` on, up to one that is to be judged with care: its index."""
        index = start
        end = len(payloads)
        while index < end:
            payload = payloads[index]
            if type(payload) is not bytes:
                break
            entry = self.take(payload, most_bytes, now_ms, allows)
            if entry is None:
                break
            entries.append(entry)
            index += 1
        return index


def shallow(payloads: Sequence[bytes], most: int) -> bool:
    """Whether none of the texts has more brackets than this, so that none is deeper."""
    for payload in payloads:  # noqa: SIM110 - a generator costs more than this loop
        if payload.count(b"[") + payload.count(b"{") > most:
            return False
    return True


def plain_details(raw: bytes) -> bool:
    """Whether it is a string, an object or null; the decoder has seen that it is well-formed."""
    return raw.startswith((b'"', b"{", b"n"))


def plain_time(text: str) -> bool:
    """Whether it is surely RFC 3339: digits in their places, no leap day, no leap second."""
    size = len(text)
    if size < 20 or size > 48:
        return False
    index = 0
    while index < 19:
        pattern = PLAIN_TIME[index]
        char = text[index]
        if pattern == "0":
            if char < "0" or char > "9":
                return False
        elif char != pattern:
            return False
        index += 1
    if not in_range(text[5], text[6], "0", "1", "1", "2") or not plain_day(text):
        return False
    if not in_range(text[11], text[12], "0", "0", "2", "3") or text[14] > "5" or text[17] > "5":
        return False
    if text[19] == ".":
        index = 20
        while index < size and "0" <= text[index] <= "9":
            index += 1
        if index == 20:
            return False
    return plain_zone(text, index, size)


def plain_day(text: str) -> bool:
    """Whether the month has the day, in any year."""
    tens, ones, month = text[8], text[9], text[6]
    if tens == "3" and ones == "1":
        if text[5] == "0":
            return month not in "2469"
        return month != "1"
    if text[5] == "0" and month == "2":
        return in_range(tens, ones, "0", "1", "2", "8")
    return in_range(tens, ones, "0", "1", "3", "0")


def plain_zone(text: str, index: int, size: int) -> bool:
    """Whether nothing but a time zone is left: Z, or such as +01:30."""
    if size - index == 1:
        return text[index] == "Z"
    if size - index != 6 or (text[index] != "+" and text[index] != "-") or text[index + 3] != ":":
        return False
    minute, digit = text[index + 4], text[index + 5]
    return in_range(text[index + 1], text[index + 2], "0", "0", "2", "3") and (
        "0" <= minute <= "5" and "0" <= digit <= "9"
    )


def in_range(tens: str, ones: str, least_tens: str, least: str, most_tens: str, most: str) -> bool:
    """Whether a number of two digits is neither below the least nor above the most."""
    if ones < "0" or ones > "9" or tens < least_tens or tens > most_tens:
        return False
    return not (tens == least_tens and ones < least) and not (tens == most_tens and ones > most)
