"""What tests want to know about a key: how often it was written to, and whether anything came twice or out of order.

- A *duplicate* equals, field for field, the newest event of its key.
- An *early resolve* is a RESOLVE for a key that no ALERT has come for.
- An *inversion* carries a lower sequence number than an event of its key that came before. The number stands in
  customDetails (Options.sequence_field), since nothing in iLert's own fields says what was meant to come first.
"""

import hashlib
from collections import OrderedDict
from typing import TypeVar

import msgspec

from mcp_ilert.sandbox.validation import IlertEvent


class KeyTally(msgspec.Struct, frozen=True, kw_only=True):
    """One key's numbers."""

    alerts: int = 0
    accepts: int = 0
    resolves: int = 0
    comments: int = 0
    duplicates: int = 0
    early_resolves: int = 0
    inversions: int = 0
    highest_sequence: int | None = None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The same over all keys, forgotten ones too; events without a key are in `keyless` alone."""

    alerts: int = 0
    accepts: int = 0
    resolves: int = 0
    comments: int = 0
    keyless: int = 0
    duplicates: int = 0
    early_resolves: int = 0
    inversions: int = 0


Numbers = TypeVar("Numbers", KeyTally, Totals)
FIELD_OF_TYPE = {"ALERT": "alerts", "ACCEPT": "accepts", "RESOLVE": "resolves", "COMMENT": "comments"}


class Tallies:
    """The tally of each (source, key); the keys heard of longest ago are forgotten beyond `keep`."""

    def __init__(self, keep: int) -> None:
        self.totals = Totals()
        self._keep = keep
        self._keys: OrderedDict[tuple[int, str], tuple[KeyTally, bytes]] = OrderedDict()

    def by_key(self, source: int) -> dict[str, KeyTally]:
        """Each key of a source, in its compared form, with its tally."""
        return {key: tally for (owner, key), (tally, _) in self._keys.items() if owner == source}

    def note(self, source: int, key: str | None, event: IlertEvent, sequence: int | None) -> None:
        """Count an event that was accepted."""
        if key is None:
            self.totals = _add(self.totals, {"keyless": 1})
            return
        tally, newest = self._keys.pop((source, key), (KeyTally(), b""))
        digest = _digest(event)
        added = {
            FIELD_OF_TYPE[event.event_type]: 1,
            "duplicates": int(digest == newest),
            "early_resolves": int(event.event_type == "RESOLVE" and not tally.alerts),
            "inversions": int(_lower(sequence, tally.highest_sequence)),
        }
        highest = max((n for n in (sequence, tally.highest_sequence) if n is not None), default=None)
        tally = msgspec.structs.replace(_add(tally, added), highest_sequence=highest)
        self._keys[source, key] = (tally, digest)
        self.totals = _add(self.totals, added)
        if len(self._keys) > self._keep:
            self._keys.popitem(last=False)


def _lower(sequence: int | None, highest: int | None) -> bool:
    return sequence is not None and highest is not None and sequence < highest


def _add(numbers: Numbers, added: dict[str, int]) -> Numbers:
    return msgspec.structs.replace(numbers, **{k: getattr(numbers, k) + n for k, n in added.items()})


def _digest(event: IlertEvent) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(event, order="sorted"), digest_size=16).digest()
