"""Sets aside what cannot be folded by a mistake of ours: each such event becomes a dead letter, the rest is folded.

So such an event neither stops the bridge at each start, nor is refused again and again, nor is lost. It has then failed
twice, once by itself. Where hardly anything can be folded the mistake is not one event's: everything stays in the
inbox, and what is to be folded with its acceptance is refused.
"""

from collections.abc import Sequence

import structlog

from mcp_ilert.errors import RepeatedError
from mcp_ilert.events import Entry, Message
from mcp_ilert.spool.engine import Engine
from mcp_ilert.spool.history import TEXT_CHARS, cut
from mcp_ilert.spool.store import FailedError, FullError, Store

log = structlog.get_logger()

KEYS_IN_VAIN = 16
"""So many keys may fail before any is folded."""
DISK = (FullError, FailedError)


def fold_around(store: Store, now_ms: int) -> int:
    """Fold the oldest slice of the inbox but for what cannot be; returns how many events were set aside.

    Raises what the folding raised where that would be all of it, and FullError or FailedError.
    """
    keys = store.engine.inbox.tail.next_keys()
    bad = _Search(store, now_ms).bad(keys)
    return sum(_set_aside(store, key, now_ms) for key in bad)


def keep_unfolded(
    store: Store, entries: Sequence[Entry], message: Message | None, now_ms: int
) -> RepeatedError | None:
    """Accept a request whose folding failed, to be folded around what is bad; gives the error of a repeated message.

    So one event takes nothing from its neighbours, and its producer does not send it for ever.
    """
    repeated: list[RepeatedError] = []

    def keep(engine: Engine) -> None:
        repeated.clear()
        if message is not None and (known := engine.messages.take(message, now_ms)):
            repeated.append(known)
        else:
            engine.keep(entries)

    store.transact(keep)
    return repeated[0] if repeated else None


class _Search:
    """Folds what can be folded, and finds the keys of which something cannot."""

    def __init__(self, store: Store, now_ms: int) -> None:
        self._store = store
        self._now_ms = now_ms
        self._folded = 0
        self._vain = 0

    def bad(self, keys: Sequence[str]) -> list[str]:
        """Fold these keys together; where that fails, each half by itself."""
        if not keys:
            return []
        try:
            self._store.transact(lambda engine: engine.fold_keys(keys, self._now_ms))
        except DISK:
            raise
        except Exception:
            if len(keys) > 1:
                half = len(keys) // 2
                return self.bad(keys[:half]) + self.bad(keys[half:])
            self._vain += 1
            if not self._folded and self._vain > KEYS_IN_VAIN:
                raise
            return list(keys)
        self._folded += len(keys)
        return []


def _set_aside(store: Store, key: str, now_ms: int) -> int:
    """Fold the events of a key one by one, and set aside those that fail; returns how many."""
    faults: dict[int, Exception] = {}
    while True:
        step = _Step(faults, now_ms)
        try:
            store.transact(lambda engine, step=step: step.fold(engine, key))  # type: ignore[misc]
        except DISK:
            raise
        except Exception as error:
            if step.at in faults:  # not even that can be done
                raise
            faults[step.at] = error
        else:
            break
    for at, fault in faults.items():
        _tell(step.entries[at], fault)
    return len(faults)


class _Step:
    """One try at the events of a key, of which some are known to fail."""

    def __init__(self, faults: dict[int, Exception], now_ms: int) -> None:
        self._faults = faults
        self._now_ms = now_ms
        self.at = 0
        self.entries: Sequence[Entry] = ()

    def fold(self, engine: Engine, key: str) -> None:
        self.entries = engine.out_of_inbox(key)
        for self.at, entry in enumerate(self.entries):  # noqa: B020 - where it stood when it failed
            if self.at in self._faults:
                engine.set_aside(entry, _why(self._faults[self.at]), self._now_ms)
            else:
                engine.fold_one(entry, self._now_ms)


def _why(error: Exception) -> str:
    return cut(f"it could not be folded, by a mistake of mcp-ilert: {error!r}", TEXT_CHARS)


def _tell(entry: Entry, error: Exception) -> None:
    log.error(
        "event set aside as a dead letter: it cannot be folded, by a mistake of mcp-ilert",
        alert_key=entry.key,
        target=entry.target,
        kind=entry.kind.name.lower(),
        what_to_do="report the traceback; `mcp-ilert queue replay KEY` sends it, `queue drop KEY --yes` gives it up",
        exc_info=error,
    )
