"""What a sandbox shall do wrong: a script of faults, as data.

For each request the first fault that hits is the one. Times are seconds since the fault was set.
"""

import fnmatch
import math
from typing import Annotated, Literal

import msgspec

from mcp_ilert.sandbox.messages import Answer, Request, empty, error, html_error

Kind = Literal["status", "hang", "slow", "reset", "lost", "refused", "tls"]
WITHOUT_REQUEST = ("refused", "tls")
"""Kinds that strike at the connection, before there is a request that could match."""
SLOW_SECONDS = 30.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that goes wrong, when, how often, and for which requests.

    - `status`: answered with `status`, as JSON with a code (another `code`; "" for none) or as `html`
    - `hang`: nothing for `seconds` (None: for ever), then the answer
    - `slow`: the answer's body a piece at a time over `seconds`
    - `reset`: the connection is reset; nothing has been applied
    - `lost`: applied, then the connection is reset
    - `refused`: nobody listens, and what was connected is reset
    - `tls`: the TLS handshake fails, and what was connected is reset

    What is not `applied` has had no effect and counts towards no limit.
    """

    kind: Kind
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 503
    code: str | None = None
    html: bool = False
    retry_after: str | None = None
    applied: bool = False
    seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Requests that it hits before it is over; None is no end."""
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Of the requests that match, hit each so-many-th."""
    after: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    until: float | None = None
    key: str | None = None
    """Matches this alertKey as iLert compares keys; a pattern with * and ?."""
    event_type: str | None = None
    integration_key: str | None = None
    method: str | None = None
    path: str | None = None
    """Matches the path; a pattern with * and ?."""

    def __post_init__(self) -> None:
        if self.until is not None and self.until <= self.after:
            raise ValueError(f"until: {self.until:g} is not later than after: {self.after:g}")
        chosen = (self.key, self.event_type, self.integration_key, self.method, self.path)
        if self.kind in WITHOUT_REQUEST and (any(chosen) or self.every > 1):
            raise ValueError(f"{self.kind}: strikes before there is a request to match")
        if self.kind == "refused" and self.times is not None:
            raise ValueError("refused: connections that nobody hears cannot be counted; give until instead")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request a fault can match."""

    request: Request
    key: str | None = None
    event_type: str | None = None
    integration_key: str | None = None


class _Armed:
    """A fault in the script, and what is left of it."""

    def __init__(self, fault: Fault, now: float) -> None:
        self.fault = fault
        self.starts = now + fault.after
        self.ends = math.inf if fault.until is None else now + fault.until
        self.seen = 0
        self.hits = 0

    def active(self, now: float) -> bool:
        return self.starts <= now < self.ends

    def over(self, now: float) -> bool:
        return now >= self.ends or (self.fault.times is not None and self.hits >= self.fault.times)

    def strikes(self) -> bool:
        self.seen += 1
        hit = self.seen % self.fault.every == 0
        self.hits += hit
        return hit


class Script:
    """The faults that are set, in the order in which they are asked."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def set(self, faults: tuple[Fault, ...], now: float) -> None:
        """Add faults behind those that are set."""
        self._armed.extend(_Armed(fault, now) for fault in faults)

    def clear(self) -> None:
        self._armed.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing is set."""
        return not self._armed

    def faults(self, now: float) -> tuple[Fault, ...]:
        """What is set and not over."""
        return tuple(armed.fault for armed in self._left(now))

    def of_request(self, facts: Facts, now: float) -> Fault | None:
        """The fault that hits this request; counts it."""
        for armed in self._left(now):
            fits = armed.fault.kind not in WITHOUT_REQUEST and matches(armed.fault, facts)
            if fits and armed.active(now) and armed.strikes():
                return armed.fault
        return None

    def of_connection(self, now: float) -> Fault | None:
        """The fault that hits a connection that is being made; counts it."""
        armed = self._at_connection(now)
        if armed is None:
            return None
        armed.strikes()
        return armed.fault

    def connecting(self, now: float) -> Fault | None:
        """The fault that would hit a connection made now; counts nothing."""
        armed = self._at_connection(now)
        return None if armed is None else armed.fault

    def next_edge(self, now: float) -> float | None:
        """When a fault begins or ends next."""
        edges = (edge for armed in self._left(now) for edge in (armed.starts, armed.ends) if edge > now)
        return min((edge for edge in edges if edge < math.inf), default=None)

    def _at_connection(self, now: float) -> _Armed | None:
        at_work = (armed for armed in self._left(now) if armed.active(now))
        return next((armed for armed in at_work if armed.fault.kind in WITHOUT_REQUEST), None)

    def _left(self, now: float) -> list[_Armed]:
        self._armed = [armed for armed in self._armed if not armed.over(now)]
        return self._armed


def matches(fault: Fault, facts: Facts) -> bool:
    """Whether the request is one that the fault is meant for."""
    pairs = (
        (fault.key and fault.key.strip().lower(), facts.key and facts.key.strip().lower()),
        (fault.event_type, facts.event_type),
        (fault.integration_key, facts.integration_key),
        (fault.method, facts.request.method),
        (fault.path, "/" + "/".join(facts.request.segments())),
    )
    return all(want is None or (have is not None and fnmatch.fnmatchcase(have, want)) for want, have in pairs)


def own_answer(fault: Fault) -> Answer:
    """What a fault answers by itself."""
    headers = () if fault.retry_after is None else (("retry-after", fault.retry_after),)
    if fault.status in (204, 304):
        return empty(fault.status, headers)
    if fault.html:
        return html_error(fault.status, headers)
    return error(fault.status, "A fault of the sandbox", fault.code, headers)


def spoil(fault: Fault, applied: Answer | None) -> Answer:
    """The answer as the fault lets it out; `applied` is the true one, None where nothing was applied."""
    answer = own_answer(fault) if applied is None or fault.kind == "status" else applied
    if fault.kind == "hang":
        seconds = math.inf if fault.seconds is None else fault.seconds
        return msgspec.structs.replace(answer, hang_seconds=answer.hang_seconds + seconds)
    if fault.kind == "slow":
        seconds = SLOW_SECONDS if fault.seconds is None else fault.seconds
        return msgspec.structs.replace(_padded(answer), drip_seconds=seconds)
    if fault.kind in ("reset", "lost"):
        return msgspec.structs.replace(answer, reset=True)
    return answer


def _padded(answer: Answer) -> Answer:
    """An empty body cannot be slow: give it blanks."""
    if answer.body or answer.status in (204, 304):
        return answer
    body = b" " * 16
    headers = tuple(pair for pair in answer.headers if pair[0] != "content-length")
    length = (("content-length", str(len(body))),)
    return msgspec.structs.replace(answer, body=body, headers=(*headers, *length))


def is_applied(fault: Fault) -> bool:
    """Whether the request has its effect all the same."""
    return fault.applied or fault.kind == "lost"


def brown_out(after: float = 0.0, until: float | None = None) -> tuple[Fault, ...]:
    """A service that is failing, not dead: most requests go wrong, each in another way, some with their effect."""
    return (
        Fault(kind="hang", every=7, seconds=60, after=after, until=until),
        Fault(kind="lost", every=6, after=after, until=until),
        Fault(kind="status", status=504, html=True, applied=True, every=5, after=after, until=until),
        Fault(kind="slow", status=500, every=4, after=after, until=until),
        Fault(kind="status", status=502, html=True, every=3, after=after, until=until),
        Fault(kind="status", status=503, every=2, after=after, until=until),
    )
