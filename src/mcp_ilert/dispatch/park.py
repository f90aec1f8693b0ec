"""Whether an integration key is parked: the target refuses the key, so the events are not at fault.

A plain refusal parks at once. A 403 or 404 without a code may be the key's fault or the event's: the first lane
that gets it is suspected, the second proves it. A 2xx in between clears the suspicion, since the key evidently
works. A parked key sends nothing but a probe now and then.
"""

import msgspec


class Park(msgspec.Struct, frozen=True):
    """The state of one key. Times are in seconds of the dispatcher's clock."""

    status: int | None = None
    """The answer that parked the key; None: it is not parked."""
    next_at: float = 0.0
    """When the next probe may go."""
    suspects: dict[int, str] = {}
    """Status → the lane that got it first."""
    owed: tuple[int, ...] = ()
    """Statuses whose dead letters the key's fault made, and that are not returned yet."""

    @property
    def parked(self) -> bool:
        """Whether the key is parked."""
        return self.status is not None


def refused(park: Park, status: int, now: float, interval: float) -> Park:
    """The key was refused: park it, or go on parking it until the next probe."""
    owed = park.owed if park.parked else tuple(sorted({*park.owed, *park.suspects}))
    return Park(status, now + interval, park.suspects, owed)


def suspicious(park: Park, status: int, lane: str, *, probe: bool) -> bool:
    """Whether this answer, without a code, to this lane is the key's fault."""
    if park.parked and (park.status == status or not probe):
        return True
    return park.suspects.get(status, lane) != lane


def suspected(park: Park, status: int, lane: str) -> Park:
    """Remember the first lane that got this status without a code."""
    return msgspec.structs.replace(park, suspects={status: lane, **park.suspects})


def held(park: Park, now: float, interval: float) -> Park:
    """A probe of the key did not get through: it stays parked until the next one."""
    return msgspec.structs.replace(park, next_at=now + interval) if park.parked else park


def resumed(park: Park) -> Park:
    """The key works, or may have been mended (a reload, a restart)."""
    return Park(owed=park.owed)


def trusted(park: Park) -> Park:
    """The key was answered 2xx: nothing is held against it."""
    return msgspec.structs.replace(park, suspects={}) if park.suspects and not park.parked else park


def returned(park: Park, statuses: tuple[int, ...]) -> Park:
    """The dead letters of these statuses are back in their lanes."""
    return msgspec.structs.replace(park, owed=tuple(s for s in park.owed if s not in statuses))


def shared(mine: Park, before: Park, after: Park) -> Park:
    """The park of another target with the same key, whose own went from `before` to `after`.

    Which dead letters are owed each target knows for itself; what the change adds, each owes.
    """
    added = set(after.owed) - set(before.owed)
    return msgspec.structs.replace(after, owed=tuple(sorted({*mine.owed, *added})))
