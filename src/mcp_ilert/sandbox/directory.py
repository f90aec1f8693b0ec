"""The people and things that a sandbox account has: users, policies, schedules, services. Fixed while it runs."""

import msgspec


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    first: str
    last: str
    email: str


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """An escalation policy: schedules by level."""

    id: int
    name: str
    routing_key: str
    schedules: tuple[int, ...]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Users who take turns, `turn_seconds` each since 1970; without users nobody is on call."""

    id: int
    name: str
    users: tuple[int, ...]
    turn_seconds: int = 86_400


class Service(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str
    alias: str


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """One account's directory; the first user is the owner of the API keys."""

    users: tuple[User, ...] = (
        User(id=3001, first="Ada", last="Sandbox", email="ada@example.org"),
        User(id=3002, first="Ben", last="Sandbox", email="ben@example.org"),
    )
    schedules: tuple[Schedule, ...] = (
        Schedule(id=4001, name="Primary", users=(3001, 3002)),
        Schedule(id=4002, name="Nobody", users=()),
    )
    policies: tuple[Policy, ...] = (
        Policy(id=5001, name="Default", routing_key="default", schedules=(4001,)),
        Policy(id=5002, name="Night", routing_key="night", schedules=(4002, 4001)),
    )
    services: tuple[Service, ...] = (
        Service(id=6001, name="Orders", alias="orders"),
        Service(id=6002, name="Payments", alias="payments"),
    )


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """One user's turn; times are seconds since 1970."""

    user: int
    start: int
    end: int


def shift_at(schedule: Schedule, at: float, ahead: int = 0) -> Shift | None:
    """Whose turn it is at a time, or so many turns later; None where there is nobody."""
    if not schedule.users:
        return None
    turn = int(at // schedule.turn_seconds) + ahead
    start = turn * schedule.turn_seconds
    user = schedule.users[turn % len(schedule.users)]
    return Shift(user=user, start=start, end=start + schedule.turn_seconds)


def shifts_between(schedule: Schedule, start: float, end: float, most: int = 400) -> list[Shift]:
    """The turns that touch the span, at most `most` of them."""
    shifts: list[Shift] = []
    while len(shifts) < most:
        shift = shift_at(schedule, start, len(shifts))
        if shift is None or (shifts and shift.start >= end):
            break
        shifts.append(shift)
    return shifts
