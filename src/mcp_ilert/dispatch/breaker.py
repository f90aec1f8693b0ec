"""The circuit of one target: closed while it answers, open after five unavailable answers in a row.

While it is open only probes go, one at a time, in backoff. Any answer but an unavailable one closes it.
"""

from collections.abc import Callable

import msgspec

OPENS_AT = 5


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """Operations go as they are due. `row` counts the unavailable answers since the last other one."""

    row: int = 0


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Nothing goes but a probe, from `next_at` on. `failed` counts the probes that found it still down."""

    failed: int
    next_at: float


class HalfOpen(msgspec.Struct, frozen=True, tag="half_open"):
    """A probe is on its way."""

    failed: int


Breaker = Closed | Open | HalfOpen

GAUGE: dict[type[Breaker], int] = {Closed: 0, HalfOpen: 1, Open: 2}
"""What `mcp_circuit_state` shows."""


def unavailable(breaker: Breaker, *, probe: bool, now: float, delay: Callable[[int], float]) -> Breaker:
    """The target did not answer, or not sensibly. `delay` gives the seconds of the n-th backoff, from 0."""
    match breaker:
        case Closed(row=row) if row + 1 < OPENS_AT:
            return Closed(row + 1)
        case Closed():
            return Open(0, now + delay(0))
        case HalfOpen(failed=failed) if probe:
            return Open(failed + 1, now + delay(failed + 1))
        case _:
            return breaker


def answered(_breaker: Breaker) -> Breaker:
    """The target answered, whatever it said."""
    return Closed()


def probing(breaker: Breaker) -> Breaker:
    """A probe leaves."""
    return HalfOpen(breaker.failed) if isinstance(breaker, Open) else breaker


def resumed(breaker: Breaker, now: float) -> Breaker:
    """As a new life of the process finds it: a probe that was on its way is not known to have arrived."""
    return Open(breaker.failed, now) if isinstance(breaker, HalfOpen) else breaker
