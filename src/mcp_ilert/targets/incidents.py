"""The one adapter to iLert's incidents API, of the published model (POST, PUT with If-Match; four statuses).

POST is no upsert. So an incident's id is kept with its lane, and where the answer to a POST was lost, ours is looked
for among the open ones by its marker before anything is opened. Each request but the first waits for the pace.
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import structlog

from mcp_ilert.clock import NowMs, wall_ms
from mcp_ilert.errors import InvalidEventError, MalformedError
from mcp_ilert.events import (
    Delivered,
    Delivery,
    Event,
    Kind,
    Outcome,
    Refused,
    Rejected,
    Throttled,
    Unavailable,
)
from mcp_ilert.targets import incident
from mcp_ilert.targets.aliases import Aliases
from mcp_ilert.targets.answers import OF_INCIDENTS, Answer, classify
from mcp_ilert.targets.http import Caller, SecretText, api_base
from mcp_ilert.targets.ilert import Interpret
from mcp_ilert.targets.incident import NEW_MODEL, NOT_THERE, Incident, NotPublishedError, UnreadableError
from mcp_ilert.targets.payload import ServiceRef
from mcp_ilert.targets.port import More, PausedError, at_once, seal

log = structlog.get_logger()

CREDENTIAL = "ilert.api_key"
"""All targets of incidents send by it."""
REQUESTS = 3
"""Look, read with ETag, write."""
TRIES = 3
"""PUTs of one attempt, where somebody else changes the incident meanwhile (412)."""
PAGE, PAGES = 100, 5
"""Open incidents that are looked through for ours."""
BODY_BYTES = 4 * 1024 * 1024


class _EndedError(Exception):
    """The attempt has its outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class IncidentTarget:
    """Incidents of the account of one API key. Open it in a Trio task; `aclose` ends its connections."""

    def __init__(
        self,
        name: str,
        api_key: SecretText,
        api_url: str,
        timeout_seconds: float,
        interpret: Interpret,
        services: Sequence[ServiceRef] = (),
        *,
        max_in_flight: int = 8,
        now_ms: NowMs = wall_ms,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`services` for an event whose route gives none any more (a digest, or after a reload)."""
        self._name = name
        self.base = api_base(api_url)
        self.interpret = interpret
        self.services = tuple(services)
        self.now_ms = now_ms
        self.hidden = (api_key.reveal(),)
        self.aliases = Aliases()
        self.published = False
        """An incident of the published model has been seen."""
        self.seconds = timeout_seconds
        self.caller = Caller(
            self.base,
            api_key.reveal(),
            timeout_seconds,
            max_in_flight=max_in_flight,
            tls=tls,
            transport=transport,
        )

    @property
    def name(self) -> str:
        """The target's name."""
        return self._name

    @property
    def credential(self) -> str:
        """The API key, which all targets of incidents share."""
        return CREDENTIAL

    def sealed(self, salt: bytes) -> bytes:
        """Of the API key."""
        return seal(self.hidden[0], salt)

    @property
    def requests(self) -> int:
        """Look, read, write."""
        return REQUESTS

    def __repr__(self) -> str:
        return f"IncidentTarget({self._name!r}, {self.base!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self.caller.aclose()

    async def send(self, delivery: Delivery, more: More = at_once) -> Outcome:
        """Open, change or resolve the incident of the key. Never raises for what a server or a network may do."""
        try:
            event, facts = self.interpret(delivery)
        except (InvalidEventError, MalformedError) as error:  # the rules became stricter since it was taken
            return Rejected(0, f"not sent, the event is not valid any more: {error.detail}")
        attempt = _Attempt(self, delivery, event, tuple(facts.services) or self.services, more)
        try:
            return await attempt.run()
        except _EndedError as ended:
            return ended.outcome
        except PausedError as paused:
            return Throttled(paused.seconds)


class _Attempt:
    """One operation on its way; its requests go one after another."""

    def __init__(
        self,
        target: IncidentTarget,
        delivery: Delivery,
        event: Event,
        services: Sequence[ServiceRef],
        more: More,
    ) -> None:
        self._target = target
        self._delivery = delivery
        self._event = event
        self._services = services
        self._more = more
        self._asked = False
        self._last = Answer(200)

    async def run(self) -> Outcome:
        found = await self._ours()
        if found is not None:
            return await self._put(found)
        if self._delivery.kind is Kind.ALERT:
            return await self._open()
        return self._nothing_open()

    # Which incident is ours ------------------------------------------------------------------------------------

    async def _ours(self) -> Incident | None:
        """The open incident of the key; None where there is none."""
        delivery = self._delivery
        if delivery.ref:
            found = await self._get(delivery.ref)
            if found is not None and found.is_open:
                return found
        alert = delivery.kind is Kind.ALERT
        if delivery.unsure or (not alert and not delivery.ref):
            return await self._search()
        return None

    async def _get(self, ref: str) -> Incident | None:
        """The incident with its ETag; None where it is gone and an alert may open another."""
        answer = await self._read(f"incidents/{quote(ref, safe='')}")
        if answer.status == httpx.codes.NOT_FOUND and self._delivery.kind is Kind.ALERT:
            return None
        body, etag = self._good(answer).body, answer.headers.get("etag")
        with self._told_apart(answer):
            return self._seen(incident.incident_of(body, etag))

    async def _search(self) -> Incident | None:
        for page in range(PAGES):
            found = await self._list(page * PAGE, PAGE)
            for each in found:
                if each.is_open and incident.is_marked(each, self._target.name, self._delivery.key):
                    return await self._get(each.ref)
            if len(found) < PAGE:
                break
        return None

    async def _list(self, start: int, most: int) -> list[Incident]:
        states = "".join(f"&states={status}" for status in incident.OPEN)
        answer = await self._read(f"incidents?start-index={start}&max-results={most}{states}")
        if answer.status in NOT_THERE:
            raise self._new_model(answer)
        body = self._good(answer).body
        with self._told_apart(answer):
            found = incident.incidents_of(body)
        self._target.published |= bool(found)
        return found

    def _seen(self, found: Incident) -> Incident:
        self._target.published = True
        return found

    # Writing ---------------------------------------------------------------------------------------------------

    async def _open(self) -> Outcome:
        if not self._target.published:
            await self._list(0, 1)  # nothing is written in an account whose incidents are of another kind
        affected = await self._affected()
        if not affected:
            return Rejected(0, "not sent, an incident needs a service: routes[].services gives none")
        wanted = incident.content(self._delivery, self._event, self._target.name, affected)
        answer = await self._ask("POST", "incidents", wanted)
        outcome = self._outcome(answer)
        if isinstance(outcome, Rejected) and answer.status in NOT_THERE and not self._target.published:
            return msgspec.structs.replace(outcome, detail=f"{NEW_MODEL} ({outcome.detail})")
        if not isinstance(outcome, Delivered):
            return outcome
        try:
            made = self._seen(incident.incident_of(answer.body))
        except (NotPublishedError, UnreadableError):  # it is looked for when something more comes
            log.warning("iLert took an incident, and its answer does not name it", status=answer.status)
            return msgspec.structs.replace(outcome, ref="")
        return msgspec.structs.replace(outcome, ref=made.ref)

    async def _put(self, found: Incident) -> Outcome:
        answer = self._last
        for _ in range(TRIES):
            affected = () if found.affected else await self._affected()
            wanted = incident.content(self._delivery, self._event, self._target.name, affected, found)
            if self._delivery.unsure and incident.is_applied(found, wanted):
                return self._delivered(found.ref)
            match = {"If-Match": found.etag} if found.etag else {}
            answer = await self._ask("PUT", f"incidents/{quote(found.ref, safe='')}", wanted, match)
            if answer.status != httpx.codes.PRECONDITION_FAILED:
                outcome = self._outcome(answer)
                return self._delivered(found.ref) if isinstance(outcome, Delivered) else outcome
            again = await self._get(found.ref)
            if again is None or not again.is_open:  # somebody resolved it just now
                return await self._open() if self._delivery.kind is Kind.ALERT else self._nothing_open()
            found = again
        return self._outcome(answer)

    def _delivered(self, ref: str) -> Delivered:
        closed = self._delivery.kind is Kind.RESOLVE
        return Delivered(self._last.status, self._correlation_id(), "" if closed else ref)

    def _nothing_open(self) -> Delivered:
        note = "no incident of the key is open, so there was nothing to do"
        return Delivered(self._last.status, self._correlation_id(), "", note)

    async def _affected(self) -> list[dict[str, Any]]:
        aliases = {s.alias for s in self._services if s.id is None and s.alias is not None}
        ids = await self._target.aliases.ids(aliases, self._look_up) if aliases else {}
        missing = sorted(aliases - ids.keys())
        if missing:
            text = (
                f"not sent, iLert has no service of the alias {missing[0]!r}, which routes[].services names"
            )
            raise _EndedError(Rejected(0, text))
        return incident.affected_services(self._services, ids)

    async def _look_up(self, path: str) -> bytes:
        return self._good(await self._read(path)).body

    # Requests --------------------------------------------------------------------------------------------------

    async def _read(self, path: str) -> Answer:
        """GET: whatever goes wrong, nothing has been applied."""
        try:
            return await self._ask("GET", path)
        except _EndedError as ended:
            if isinstance(ended.outcome, Unavailable):
                raise _EndedError(msgspec.structs.replace(ended.outcome, certain=True)) from None
            raise

    async def _ask(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        target = self._target
        if self._asked:
            await self._more()
        self._asked = True
        body = None if content is None else msgspec.json.encode(content)
        answer = await target.caller.ask(
            method,
            f"{target.base}/{path}",
            body,
            headers,
            most_bytes=BODY_BYTES,
            body_seconds=target.seconds,
        )
        if isinstance(answer, Unavailable):
            raise _EndedError(answer)
        self._last = answer
        return answer

    def _good(self, answer: Answer) -> Answer:
        """A 2xx answer to a read; anything else ends the attempt."""
        outcome = self._outcome(answer)
        if isinstance(outcome, Unavailable):
            outcome = msgspec.structs.replace(outcome, certain=True)
        if not isinstance(outcome, Delivered):
            raise _EndedError(outcome)
        return answer

    def _outcome(self, answer: Answer) -> Outcome:
        return classify(answer, self._target.now_ms(), self._target.hidden, OF_INCIDENTS)

    def _correlation_id(self) -> str | None:
        return self._outcome(self._last).correlation_id

    @contextmanager
    def _told_apart(self, answer: Answer) -> Iterator[None]:
        """Around the reading of an answer: another model is not a broken answer."""
        try:
            yield
        except NotPublishedError:
            raise self._new_model(answer) from None
        except UnreadableError:
            reason = "the answer cannot be read"
            raise _EndedError(Unavailable(reason, certain=True, status=answer.status)) from None

    def _new_model(self, answer: Answer) -> _EndedError:
        """The account's fault, so its key is parked: all that waits goes on waiting, and dies of nothing."""
        outcome = self._outcome(answer)
        said = getattr(outcome, "detail", "") or f"answered {answer.status}"
        return _EndedError(Refused(answer.status, f"{NEW_MODEL} ({said})", outcome.correlation_id))
