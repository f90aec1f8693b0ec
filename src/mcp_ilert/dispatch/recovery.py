"""How outage dead letters of one target come back: after the first 2xx, and slowly at first.

After a death the target *mourns* until something is answered 2xx. Then one dead lane is revived, and each revived
one that is delivered earns two more: 1, 2, 4, … A death ends it, until the next 2xx.
"""

import msgspec

_CREDIT_AT_MOST = 1024


class Recovery(msgspec.Struct, frozen=True):
    """The state of one target. Times are in seconds of the dispatcher's clock."""

    mourning: bool = True
    """Something died by outage and nothing was delivered since; so also where nothing is known."""
    credit: int = 0
    """Dead lanes that may be revived now."""
    revived_at: float = 0.0
    """When lanes were last revived."""
    probed_at: float = 0.0
    """When something last died, or a dead lane was last sent as a probe."""


def died(recovery: Recovery, now: float) -> Recovery:
    """An operation died by outage."""
    return msgspec.structs.replace(recovery, mourning=True, credit=0, probed_at=now)


def delivered(recovery: Recovery, *, revived: bool) -> Recovery:
    """An operation was answered 2xx; `revived`: it had been dead."""
    if recovery.mourning:
        return msgspec.structs.replace(recovery, mourning=False, credit=1)
    if revived:
        return msgspec.structs.replace(recovery, credit=min(recovery.credit + 2, _CREDIT_AT_MOST))
    return recovery


def allowance(recovery: Recovery, now: float, interval: float) -> int:
    """Dead lanes that may be revived now.

    Where nothing more came of those revived before (folded, dropped, waiting behind others), one may try again
    after `interval`.
    """
    if recovery.mourning:
        return 0
    return recovery.credit or int(now >= recovery.revived_at + interval)


def revived(recovery: Recovery, now: float) -> Recovery:
    """All that was allowed has been revived."""
    return msgspec.structs.replace(recovery, credit=0, revived_at=now)


def probed(recovery: Recovery, now: float) -> Recovery:
    """A dead lane goes as a probe."""
    return msgspec.structs.replace(recovery, probed_at=now)
