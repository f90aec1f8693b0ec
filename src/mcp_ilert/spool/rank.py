"""Which lane a target's next token goes to at one target. Pure.

Critical first. The others by deadline: accepted + GRACE_MS of their severity. Every tenth token goes to the
oldest lane, so nothing starves; every fifth to the newest lane never sent, so a new fire is heard in a storm.
While critical lanes wait, these two are put off until nine critical ones have had their tokens.
"""

from enum import IntEnum

import msgspec

from mcp_ilert.events import Severity

GRACE_MS: dict[Severity, int] = {Severity.HIGH: 0, Severity.MEDIUM: 600_000, Severity.LOW: 3_600_000}
OLDEST_EVERY = 10
NEWEST_EVERY = 5
CRITICAL_RUN = 9


class Pick(IntEnum):
    """What a token is for."""

    CRITICAL = 0
    DEADLINE = 1
    OLDEST = 2
    NEWEST = 3


class Turns(msgspec.Struct, frozen=True, array_like=True):
    """A target's place in the rota; kept over restarts."""

    tokens: int = 0
    """Given out, modulo OLDEST_EVERY."""
    critical_run: int = 0
    """Critical tokens in a row while critical lanes waited."""
    oldest_owed: bool = False
    newest_owed: bool = False


def pick(turns: Turns, *, critical_waits: bool, only_critical: bool = False) -> tuple[Pick, Turns]:
    """What the next token is for, and the rota after it.

    With `only_critical` (no place in flight is free for others) what others are owed stays owed.
    """
    tokens = (turns.tokens + 1) % OLDEST_EVERY
    oldest = turns.oldest_owed or tokens == 0
    newest = turns.newest_owed or tokens % NEWEST_EVERY == 0
    run = turns.critical_run if critical_waits else 0
    if only_critical or (critical_waits and run < CRITICAL_RUN):
        return Pick.CRITICAL, Turns(tokens, min(run + 1, CRITICAL_RUN), oldest, newest)
    if oldest:
        return Pick.OLDEST, Turns(tokens, 0, oldest_owed=False, newest_owed=newest)
    if newest:
        return Pick.NEWEST, Turns(tokens)
    if critical_waits:
        return Pick.CRITICAL, Turns(tokens, run)
    return Pick.DEADLINE, Turns(tokens)
