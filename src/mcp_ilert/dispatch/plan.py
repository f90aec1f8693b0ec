"""Whether a target may be sent something now, and if not, when to look again: pure.

Nothing is asked of the spool unless something may be there: because the spool said so in its last agenda, because
it has woken us since, or because a time that it named has come.
"""

import math

import msgspec

from mcp_ilert.dispatch import policy, recovery
from mcp_ilert.dispatch.breaker import Open
from mcp_ilert.dispatch.rules import Rules
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.spool.history import Stop
from mcp_ilert.spool.port import Agenda, revivable


class View(msgspec.Struct, frozen=True):
    """What is known of a target at this instant. Times are seconds of the steady clock."""

    state: TargetState
    agenda: Agenda
    fresh: bool
    """Something may have become ready since the agenda was given."""
    paused: bool
    """An operator paused the target."""
    probing: bool
    """A probe is on its way."""
    tokens: int
    """Attempts that the key's tokens suffice for."""
    token_wait: float
    """Seconds until they suffice for one more."""
    quiet_until: float
    """The spool had nothing to send, although its agenda said otherwise; asked again no sooner."""


class Go(msgspec.Struct, frozen=True):
    """The spool is to be asked. `urgent`: a critical lane may be ready."""

    urgent: bool
    probe: bool = False
    probe_dead: bool = False
    revive: int = 0


class Sleep(msgspec.Struct, frozen=True):
    """Nothing to do until then, or until something happens."""

    until: float = math.inf
    why: Stop | None = None
    """What the target's lanes wait for, where it is neither work nor the pace."""
    paced: bool = False
    """There may be work, and the pace is in its way: whatever comes, nothing goes before then."""


def plan(view: View, rules: Rules, now: float, wall_ms: int) -> Go | Sleep:
    """What to do about the target now."""
    if view.paused:
        return Sleep(why=Stop.PAUSED)
    if view.state.learnt.paused_until > now:
        return Sleep(view.state.learnt.paused_until, Stop.THROTTLED)
    if view.quiet_until > now and not view.fresh:
        return Sleep(view.quiet_until)
    step = (
        _send(view, rules, now, wall_ms) if policy.may_send(view.state) else _probe(view, rules, now, wall_ms)
    )
    if isinstance(step, Go) and view.tokens < 1:
        # Endless where what is planned and has not left holds all that the bucket can: its end is news then.
        return Sleep(now + view.token_wait, paced=view.token_wait < math.inf)
    return step


def _send(view: View, rules: Rules, now: float, wall_ms: int) -> Go | Sleep:
    agenda, recovering = view.agenda, view.state.recovery
    due, revive_at = _at(agenda.next_due_ms, now, wall_ms), _revivable_at(agenda, now, wall_ms)
    if now + rules.longest_wait_ms / 1000 < due < math.inf:  # the wall clock was put back meanwhile
        due = now
    revive = recovery.allowance(recovering, now, rules.max_interval) if revive_at <= now else 0
    unknown = view.fresh or due <= now or revive > 0
    if unknown or agenda.critical_ready or agenda.others_ready:
        return Go(urgent=unknown or agenda.critical_ready, revive=revive)
    if recovering.mourning:
        revive_at = math.inf if agenda.waiting else _dead_probe_at(view, rules, now, wall_ms)
        if revive_at <= now:
            return Go(urgent=True, probe=True, probe_dead=True)
    elif not recovering.credit:
        revive_at = max(revive_at, recovering.revived_at + rules.max_interval)
    return Sleep(min(due, revive_at))


def _probe(view: View, rules: Rules, now: float, wall_ms: int) -> Go | Sleep:
    """The circuit is open or the key parked: one at a time, and where only dead lanes are left, seldom."""
    why = Stop.PARKED if view.state.park.parked else Stop.CIRCUIT
    if view.probing:
        return Sleep(why=why)
    circuit, parked = view.state.breaker, view.state.park
    at = max(
        circuit.next_at if isinstance(circuit, Open) else now,
        parked.next_at if parked.parked else now,
    )
    dead_at = _dead_probe_at(view, rules, now, wall_ms)
    if not view.fresh and not view.agenda.waiting:
        at = max(at, dead_at)
    if at > now:
        return Sleep(at, why)
    return Go(urgent=True, probe=True, probe_dead=dead_at <= now)


def _dead_probe_at(view: View, rules: Rules, now: float, wall_ms: int) -> float:
    """When the oldest lane that is dead by outage may go as a probe; infinite where there is none."""
    seldom = view.state.recovery.probed_at + rules.max_interval
    return max(seldom, _revivable_at(view.agenda, now, wall_ms))


def _revivable_at(agenda: Agenda, now: float, wall_ms: int) -> float:
    """When the next lane that is dead by outage may be revived; infinite where there is none."""
    revive_ms = agenda.next_revive_ms
    if revive_ms is not None and revivable(revive_ms, wall_ms):
        return now
    return _at(revive_ms, now, wall_ms)


def _at(due_ms: int | None, now: float, wall_ms: int) -> float:
    """A stored time on the steady clock; infinite where there is none."""
    return math.inf if due_ms is None else now + (due_ms - wall_ms) / 1000
