"""Knows who is on call, from a cache that is refreshed in the background: no delivery ever waits for it.

What is older than STALE_SECONDS is not known, and what is not known changes nothing. Each refresh makes at most
CALLS requests, so that the account's REST budget (120 a minute) stays with others.
"""

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import quote

import httpx
import msgspec
import structlog
import trio

from mcp_ilert.events import Unavailable
from mcp_ilert.targets.answers import Answer
from mcp_ilert.targets.http import Caller, SecretText
from mcp_ilert.targets.roster import (
    Duty,
    Policy,
    Roster,
    duties_of,
    policies_of,
    policy_of,
    policy_of_source,
    shift_of,
    words,
)

log = structlog.get_logger()

REFRESH_SECONDS = 60.0
STALE_SECONDS = 300.0
POLICY_SECONDS = 3_600.0
"""So long it is believed which policy an alert source or a routing key has."""
CALLS = 8
PATIENCE_SECONDS = 600.0
"""Between two tries at most, where REST does not work."""
BODY_BYTES = 1024 * 1024


class Wanted(msgspec.Struct, frozen=True):
    """Of which account, and for which targets (by their integration keys) and routing keys."""

    base: str
    key: SecretText
    seconds: float
    sources: Mapping[str, SecretText] = {}
    routing_keys: tuple[str, ...] = ()


class PolicyNow(msgspec.Struct, frozen=True):
    """Who is on call for an escalation policy."""

    policy: int
    name: str
    on_call: tuple[Duty, ...]


class OnCallNow(msgspec.Struct, frozen=True):
    """What is known of who is on call; not `known`: nothing, or nothing new enough."""

    known: bool
    age_seconds: float | None = None
    policies: tuple[PolicyNow, ...] = ()


Policies = dict[str, tuple[Policy | None, float]]
"""Of a source or a routing key; None where iLert has none of it. With the time at which it was learnt."""
Take = Callable[[Wanted, Policies, Roster], None]


class Asked(Protocol):
    """Told of each request: whether it had a sensible answer."""

    def __call__(self, *, answered: bool) -> None: ...


class _FailedError(Exception):
    """REST did not give what was asked for."""


class OnCall:
    """The cache. Only Trio's thread touches it."""

    def __init__(self, asked: Asked | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`asked` is told of each request; `transport` in place of the network, for tests."""
        self._asked = asked
        self._transport = transport
        self._since = 0.0
        """When it began to be looked for what is looked for."""
        self._wanted: Wanted | None = None
        self._policies: Policies = {}
        self._roster: Roster = {}
        self._read_at: float | None = None
        self._failing = False
        self._changed = trio.Event()

    def use(self, wanted: Wanted | None) -> None:
        """Look for this from now on; None: for nothing."""
        if wanted == self._wanted:
            return
        self._wanted, self._policies, self._roster, self._read_at = wanted, {}, {}, None
        self._since = trio.current_time()
        self._changed.set()

    # What is known -----------------------------------------------------------------------------------------------

    def duties(self, target: str, routing_key: str | None) -> tuple[Duty, ...] | None:
        """Who is on call for what goes to this target by this routing key; None: not known."""
        policy = self._policy_for(target, routing_key)
        return None if policy is None or not self._is_fresh() else self._roster.get(policy.id)

    def nobody(self, target: str, routing_key: str | None) -> bool:
        """Whether it is known that nobody is."""
        return self.duties(target, routing_key) == ()

    def who(self, target: str, routing_key: str | None) -> str:
        """In words; nothing where it is not known."""
        found = self.duties(target, routing_key)
        return "" if found is None else words(found)

    def now(self) -> OnCallNow:
        """All that is known."""
        if self._read_at is None or not self._is_fresh():
            return OnCallNow(known=False)
        known = {policy.id: policy for policy, _ in self._policies.values() if policy is not None}
        policies = tuple(
            PolicyNow(id_, known[id_].name if id_ in known else "", duties)
            for id_, duties in sorted(self._roster.items())
        )
        return OnCallNow(known=True, age_seconds=trio.current_time() - self._read_at, policies=policies)

    def age(self) -> float:
        """Of what is known, in seconds; before anything is, since when it is looked for; 0 where nothing is."""
        since = self._since if self._read_at is None else self._read_at
        return 0.0 if self._wanted is None else trio.current_time() - since

    def _is_fresh(self) -> bool:
        return self._read_at is not None and trio.current_time() - self._read_at <= STALE_SECONDS

    def _policy_for(self, target: str, routing_key: str | None) -> Policy | None:
        """As iLert chooses: the first routing key that it knows, else the alert source's policy."""
        for key in _parts(routing_key):
            found = self._policies.get(f"key {key}")
            if found is None:
                return None
            if found[0] is not None:
                return found[0]
        return self._policies.get(f"source {target}", (None, 0.0))[0]

    # Refreshing --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Refresh until cancelled."""
        rest = 0.0
        while True:
            self._changed = trio.Event()
            wanted = self._wanted
            rest = await self._refresh(wanted, rest) if wanted is not None else PATIENCE_SECONDS
            with trio.move_on_after(rest):
                await self._changed.wait()

    async def _refresh(self, wanted: Wanted, last_rest: float) -> float:
        """Seconds until the next time."""
        caller = Caller(
            wanted.base, wanted.key.reveal(), wanted.seconds, max_in_flight=1, transport=self._transport
        )
        try:
            await _Refresh(caller, wanted, self._policies, self._asked).run(self._take)
        except _FailedError as failure:
            if not self._failing:
                log.warning("not known who is on call", reason=str(failure))
            self._failing = True
            return min(PATIENCE_SECONDS, max(REFRESH_SECONDS, 2 * last_rest))
        finally:
            with trio.CancelScope(shield=True):
                await caller.aclose()
        self._failing = False
        return REFRESH_SECONDS

    def _take(self, wanted: Wanted, policies: Policies, roster: Roster) -> None:
        if wanted is self._wanted:
            self._policies, self._roster, self._read_at = policies, roster, trio.current_time()


class _Refresh:
    """One look, of CALLS requests at most; what is left is looked at the next time."""

    def __init__(
        self, caller: Caller, wanted: Wanted, policies: Policies, asked: Asked | None = None
    ) -> None:
        self._caller = caller
        self._wanted = wanted
        self._policies = dict(policies)
        self._asked = asked
        self._left = CALLS

    async def run(self, take: Take) -> None:
        now = trio.current_time()
        for target, key in self._wanted.sources.items():
            path = f"alert-sources/{quote(key.reveal(), safe='')}"
            await self._learn(f"source {target}", path, now, source=True)
        for routing_key in dict.fromkeys(k for keys in self._wanted.routing_keys for k in _parts(keys)):
            path = f"escalation-policies/resolve?routing-key={quote(routing_key, safe='')}"
            await self._learn(f"key {routing_key}", path, now, source=False)
        take(self._wanted, self._policies, await self._roster())

    async def _learn(self, name: str, path: str, now: float, *, source: bool) -> None:
        known = self._policies.get(name)
        if self._left <= 2 or (known is not None and now - known[1] < POLICY_SECONDS):
            return
        answer = await self._get(path, also=(404,))
        if answer.status == 404:
            self._policies[name] = (None, now)
            return
        try:
            policy = policy_of_source(answer.body) if source else policy_of(answer.body)
        except (ValueError, RecursionError):
            raise _FailedError("an answer cannot be read") from None
        self._policies[name] = (policy, now)

    async def _roster(self) -> Roster:
        wanted = {policy.id: policy for policy, _ in self._policies.values() if policy is not None}
        if not wanted:
            return {}
        ids = "".join(f"&policies={id_}" for id_ in wanted)
        answer = await self._get(f"on-calls?max-results=250&expand=user&expand=schedule{ids}")
        try:
            found = duties_of(answer.body)
        except (ValueError, RecursionError):
            raise _FailedError("an answer cannot be read") from None
        roster: dict[int, tuple[Duty, ...]] = {}
        for id_, policy in wanted.items():
            duties = tuple(sorted((d for p, d in found if p == id_), key=lambda duty: duty.level))
            confirmed = duties or await self._confirmed(policy)
            if confirmed is not None:
                roster[id_] = confirmed
        return roster

    async def _confirmed(self, policy: Policy) -> tuple[Duty, ...] | None:
        """Whether really nobody is on call, by the policy's schedules; None: not known."""
        schedules = policy.schedules
        if schedules is None:
            schedules = await self._schedules(policy)
        for schedule in schedules or ():
            if self._left < 1:
                return None
            answer = await self._get(f"schedules/{schedule}/user-on-call", also=(404,))
            if answer.status == 200:
                try:
                    duty = shift_of(answer.body)
                except (ValueError, RecursionError):
                    return None
                if duty is not None:
                    return (duty,)
        return None if schedules is None else ()

    async def _schedules(self, policy: Policy) -> tuple[int, ...] | None:
        if self._left < 1:
            return None
        answer = await self._get("escalation-policies?max-results=50")
        try:
            found = {each.id: each for each in policies_of(answer.body)}
        except (ValueError, RecursionError):
            return None
        for name, (known, at) in self._policies.items():
            if known is not None and known.id in found:
                self._policies[name] = (found[known.id], at)
        return found[policy.id].schedules if policy.id in found else None

    async def _get(self, path: str, also: tuple[int, ...] = ()) -> Answer:
        self._left -= 1
        answer = await self._caller.ask(
            "GET",
            f"{self._wanted.base}/{path}",
            most_bytes=BODY_BYTES,
            body_seconds=self._wanted.seconds,
        )
        sensible = isinstance(answer, Answer) and (answer.status // 100 == 2 or answer.status in also)
        if self._asked is not None:
            self._asked(answered=sensible)
        if isinstance(answer, Unavailable):
            raise _FailedError(answer.reason)
        if not sensible:
            raise _FailedError(f"{path.partition('/')[0].partition('?')[0]}: answered {answer.status}")
        return answer


def _parts(routing_keys: str | None) -> list[str]:
    return [key.strip() for key in (routing_keys or "").split(",") if key.strip()]
