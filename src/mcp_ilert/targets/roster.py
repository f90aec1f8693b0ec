"""Who is on call, as iLert's answers say it. Pure."""

from collections.abc import Iterable, Mapping

import msgspec


class Duty(msgspec.Struct, frozen=True):
    """Somebody is on call for an escalation policy."""

    user: str
    level: int
    schedule: str | None = None
    until: str | None = None
    """As iLert wrote it; None: without end."""

    def __str__(self) -> str:
        where = f"level {self.level}" + (f", {self.schedule}" if self.schedule else "")
        return f"{self.user} ({where})"


class Policy(msgspec.Struct, frozen=True):
    """An escalation policy: `schedules` None where they are not known."""

    id: int
    name: str = ""
    schedules: tuple[int, ...] | None = None


Roster = Mapping[int, tuple[Duty, ...]]
"""By policy, lowest level first; a policy that is not in it is not known, one without duties has nobody."""


def words(duties: Iterable[Duty], most: int = 5) -> str:
    """`Ada Example (level 1, Primary), …`; `nobody`."""
    listed = list(duties)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(str, listed[:most])) + more or "nobody"


class _Ref(msgspec.Struct):
    id: int
    name: str = ""


class _User(msgspec.Struct):
    id: int
    firstName: str | None = None  # noqa: N815 - iLert's names, here and below
    lastName: str | None = None  # noqa: N815
    username: str | None = None


class _OnCall(msgspec.Struct):
    escalationPolicy: _Ref  # noqa: N815
    user: _User | None = None
    schedule: _Ref | None = None
    end: str | None = None
    escalationLevel: int = 1  # noqa: N815


class _Rule(msgspec.Struct):
    schedules: list[_Ref] | None = None
    schedule: _Ref | None = None


class _Policy(msgspec.Struct):
    id: int
    name: str = ""
    escalationRules: list[_Rule] | None = None  # noqa: N815


class _Source(msgspec.Struct):
    escalationPolicy: _Ref  # noqa: N815


class _Shift(msgspec.Struct):
    user: _User | None = None
    end: str | None = None


def duties_of(body: bytes) -> list[tuple[int, Duty]]:
    """The answer of /on-calls: policy and duty. Raises msgspec.MsgspecError, here and below."""
    found = msgspec.json.decode(body, type=list[_OnCall])
    return [
        (
            each.escalationPolicy.id,
            Duty(
                _name(each.user),
                each.escalationLevel,
                (each.schedule.name or None) if each.schedule is not None else None,
                each.end,
            ),
        )
        for each in found
        if each.user is not None
    ]


def policy_of_source(body: bytes) -> Policy:
    """The policy of an alert source."""
    ref = msgspec.json.decode(body, type=_Source).escalationPolicy
    return Policy(ref.id, ref.name)


def policy_of(body: bytes) -> Policy:
    """A policy as /escalation-policies/resolve has it."""
    return _policy(msgspec.json.decode(body, type=_Policy))


def policies_of(body: bytes) -> list[Policy]:
    """The list of policies."""
    return [_policy(each) for each in msgspec.json.decode(body, type=list[_Policy])]


def shift_of(body: bytes) -> Duty | None:
    """The answer of /schedules/{id}/user-on-call."""
    shift = msgspec.json.decode(body, type=_Shift)
    return None if shift.user is None else Duty(_name(shift.user), 1, None, shift.end)


def _policy(wire: _Policy) -> Policy:
    rules = wire.escalationRules
    if rules is None:
        return Policy(wire.id, wire.name)
    refs = [*(ref for rule in rules for ref in rule.schedules or ()), *(r.schedule for r in rules)]
    return Policy(wire.id, wire.name, tuple(dict.fromkeys(ref.id for ref in refs if ref is not None)))


def _name(user: _User | None) -> str:
    if user is None:
        return "somebody"
    full = " ".join(part for part in (user.firstName, user.lastName) if part)
    return full or user.username or f"user {user.id}"
