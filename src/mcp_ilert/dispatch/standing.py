"""How a target stands at this instant, for whoever looks at it. Pure."""

import math

import msgspec

from mcp_ilert.dispatch import pace
from mcp_ilert.dispatch.breaker import Breaker, Closed, HalfOpen, Open
from mcp_ilert.dispatch.plan import Sleep, View, plan
from mcp_ilert.dispatch.rules import Rules

CIRCUIT: dict[type[Breaker], str] = {Closed: "closed", HalfOpen: "half_open", Open: "open"}


class Standing(msgspec.Struct, frozen=True):
    """One target. Times are wall-clock milliseconds since 1970."""

    name: str
    paused: bool
    """By an operator."""
    circuit: str
    """closed, half_open (a probe is on its way) or open."""
    parked: int | None
    """The answer by which iLert refused the integration key; null: it did not."""
    held: str | None
    """Why nothing but probes goes: paused, throttled, parked, circuit; null: nothing is in the way."""
    next_ms: int | None
    """When something may go next; null: now, or nobody can tell."""
    tokens: int
    """Requests that may leave at once."""
    per_minute: float
    """Requests in any 60 s, as configured and as 429s have taught."""
    storm: bool


def standing(name: str, view: View, rules: Rules, now: float, wall_ms: int) -> Standing:
    """What `view` means to a person."""
    step = plan(view, rules, now, wall_ms)
    state = view.state
    held, next_ms = None, None
    if isinstance(step, Sleep):
        held = step.why.name.lower() if step.why is not None else None
        if math.isfinite(step.until) and step.until > now:
            next_ms = wall_ms + round((step.until - now) * 1000)
    return Standing(
        name,
        view.paused,
        CIRCUIT[type(state.breaker)],
        state.park.status,
        held,
        next_ms,
        view.tokens,
        pace.budget(state.learnt, rules.rate.per_minute, now),
        state.storm.on,
    )
