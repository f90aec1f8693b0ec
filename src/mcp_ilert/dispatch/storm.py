"""Whether a storm is on at a target: whether its backlog would take too long to drain. Pure.

Digests take the backlog away, so that alone would end a storm as soon as it has begun. What they have taken counts
as if it still had to be sent, up to what one storm's length would send: a storm ends once what waits and what came
of late would drain within half of that length.
"""

import msgspec

SUSPENDED_SECONDS = 3600.0


class Storm(msgspec.Struct, frozen=True):
    """The state of one target. Times are in seconds of the dispatcher's clock."""

    on: bool = False
    load: float = 0.0
    """Lanes put into digests, less those that could have been sent since."""
    at: float = 0.0
    """When the load was so."""
    suspended_until: float = 0.0
    """The target rejected a digest: until then each alert goes alone."""


def weighed(storm: Storm, backlog: int, tokens: int, per_second: float, after: float, now: float) -> Storm:
    """The storm at `now`, with so many lanes that wait, requests that may leave at once, and a second."""
    load = _left(storm, per_second, now)
    seconds = max(0.0, backlog + load - tokens) / per_second
    on = seconds > (after / 2 if storm.on else after) and now >= storm.suspended_until
    return Storm(on, load, now, storm.suspended_until)


def gathered(storm: Storm, lanes: int, per_second: float, after: float, now: float) -> Storm:
    """So many lanes more were put into digests."""
    load = min(_left(storm, per_second, now) + lanes, per_second * after)
    return msgspec.structs.replace(storm, load=load, at=now)


def suspended(storm: Storm, now: float) -> Storm:
    """The target rejected a digest; others would fare no better."""
    return msgspec.structs.replace(storm, on=False, suspended_until=now + SUSPENDED_SECONDS)


def _left(storm: Storm, per_second: float, now: float) -> float:
    return max(0.0, storm.load - per_second * max(0.0, now - storm.at))
