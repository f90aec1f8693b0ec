"""The sandbox iLert itself: a request and the time in, an answer out. It does no I/O and has no clock.

On the way of a request: the fault script, the address's limit, the route. On the way of an event: its key, the
key's limit, validation, 202. Its effect comes `apply_seconds` later, at the first call at or after that time.
`now` is seconds since 1970 (in tests: any start plus a virtual clock) and never goes back.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from mcp_ilert.sandbox.alerts import Alert, Alerts, Effect
from mcp_ilert.sandbox.directory import Directory
from mcp_ilert.sandbox.faults import Facts, Fault, Script, is_applied, spoil
from mcp_ilert.sandbox.limits import Windows, seconds_left
from mcp_ilert.sandbox.messages import Answer, Refusal, Request, empty, json_answer
from mcp_ilert.sandbox.options import BODY_CAP, Options, Source
from mcp_ilert.sandbox.received import KEEP_BODY, Received, Stats
from mcp_ilert.sandbox.rest import Rest
from mcp_ilert.sandbox.tally import KeyTally, Tallies
from mcp_ilert.sandbox.validation import IlertEvent, check_event, decode_object, integration_key


class _Due(msgspec.Struct, frozen=True):
    """An accepted event on its way to its effect."""

    at: float
    request: int
    source: Source
    event: IlertEvent


class SandboxIlert:
    """A strict fake of iLert, whole and in one process."""

    def __init__(
        self,
        options: Options | None = None,
        *,
        directory: Directory | None = None,
        on_event: Callable[[Received], None] | None = None,
        on_script: Callable[[], None] | None = None,
    ) -> None:
        self.options = options or Options()
        self.directory = directory or Directory()
        self.on_event = on_event
        """Told each request to an events path, after it was decided and before it is answered."""
        self.on_script = on_script
        """Told that the fault script changed; a server's gate listens."""
        self.script = Script()
        self._connection = 0
        self.reset()

    def reset(self) -> None:
        """Forget all requests, alerts, counts, windows and faults; the options stay."""
        options = self.options
        self.requests: deque[Received] = deque(maxlen=options.keep_requests)
        self.log: deque[Effect] = deque(maxlen=options.keep_log)
        self.alerts = Alerts(options.keep_alerts)
        self.tallies = Tallies(options.keep_keys)
        self._rest = Rest(self.directory, self.alerts)
        self._windows = Windows()
        self._due: deque[_Due] = deque()
        self._number = self._accepted = self._faults = 0
        self._connections = 0
        self._statuses: Counter[int] = Counter()
        self.clear_faults()

    def use(self, options: Options) -> None:
        """Go on with other options; the `keep_…` bounds take effect with the next reset."""
        self.options = options

    # Faults ------------------------------------------------------------------------------------------------------

    def set_faults(self, *faults: Fault, now: float) -> None:
        """Add faults to the script; their times count from `now`."""
        self.script.set(faults, now)
        self._script_changed()

    def clear_faults(self) -> None:
        """Everything works again."""
        self.script.clear()
        self._script_changed()

    def _script_changed(self) -> None:
        if self.on_script is not None:
            self.on_script()

    # What comes in -----------------------------------------------------------------------------------------------

    def connect(self, now: float) -> tuple[int, Fault | None]:
        """Somebody connects: the connection's number, and the fault that it meets."""
        self._connection += 1
        fault = self.script.of_connection(now)
        self._connections += fault is None
        return self._connection, fault

    def handle(self, request: Request, now: float) -> Answer:
        """Answer one request."""
        self.advance(now)
        self._number += 1
        if not self.requests.maxlen and self.on_event is None and self.script.empty:
            at_once = self._handle(request, now)
            self._statuses[at_once.status] += 1
            return self._late(at_once)
        facts, seen = self._look(request)
        fault = self.script.of_request(facts, now)
        applied = self._handle(request, now) if fault is None or is_applied(fault) else None
        answer = applied if fault is None else spoil(fault, applied)
        assert answer is not None  # noqa: S101 - without a fault it was handled
        self._record(request, answer, fault, seen, now=now, applied=applied is not None)
        return self._late(answer)

    def _late(self, answer: Answer) -> Answer:
        waited = answer.hang_seconds + self.options.latency_seconds
        return msgspec.structs.replace(answer, hang_seconds=waited)

    def advance(self, now: float) -> None:
        """Let what is due by now have its effect."""
        while self._due and self._due[0].at <= now:
            due = self._due.popleft()
            what, alert = self.alerts.apply(due.event, due.source, due.at)
            self.log.append(
                Effect(
                    at=due.at,
                    request=due.request,
                    source=due.source.key,
                    event_type=due.event.event_type,
                    key=due.event.key,
                    what=what,
                    alert=alert,
                )
            )

    # What tests look at ------------------------------------------------------------------------------------------

    def source(self, key: str | None = None) -> Source | None:
        """The source of this integration key; None gives the first."""
        if key is None:
            return self.options.sources[0]
        return next((source for source in self.options.sources if source.key == key), None)

    def open_alert(self, key: str, source: str | None = None) -> Alert | None:
        """The open alert of an alert key, in any spelling, as of the last call with a time."""
        owner = self.source(source)
        return None if owner is None else self.alerts.open_alert(owner.id, key)

    def tally(self, key: str, source: str | None = None) -> KeyTally:
        """What was counted for an alert key, in any spelling."""
        owner = self.source(source)
        tallies = {} if owner is None else self.tallies.by_key(owner.id)
        return tallies.get(key.strip().lower(), KeyTally())

    def events(self) -> list[Received]:
        """The requests to an events path that are remembered, in the order of arrival."""
        return [received for received in self.requests if received.is_event]

    def stats(self) -> Stats:
        """All totals."""
        return Stats(
            requests=self._number,
            connections=self._connections,
            accepted=self._accepted,
            throttled=self._statuses[429],
            faults=self._faults,
            statuses=dict(self._statuses),
            open_alerts=sum(alert.is_open for alert in self.alerts.all()),
            forgotten_alerts=self.alerts.forgotten,
            waiting=len(self._due),
            **msgspec.structs.asdict(self.tallies.totals),
        )

    # Requests ----------------------------------------------------------------------------------------------------

    def _handle(self, request: Request, now: float) -> Answer:
        try:
            self._take("ip", request.ip, self.options.limits.ip, now)
            answer = self._admitted(request, now)
        except Refusal as refusal:
            answer = refusal.answer
        correlation = (("correlation-id", f"sandbox-{self._number:08d}"),)
        return msgspec.structs.replace(answer, headers=(*answer.headers, *correlation))

    def _admitted(self, request: Request, now: float) -> Answer:
        """Handle a request that its address's window has let in."""
        cap = self.options.max_body_bytes
        if len(request.body) > (BODY_CAP if cap is None else min(cap, BODY_CAP)):
            raise Refusal(413, "The body is too large")
        try:
            return self._route(request, now)
        except Refusal as refusal:
            if refusal.answer.status == 429 and not self.options.limits.count_rejected:
                self._windows.give_back(("ip", request.ip))
            raise

    def _route(self, request: Request, now: float) -> Answer:
        match request.segments():
            case ("api", "events"):
                _allow(request, "POST")
                return self._event(request, now)
            case ("api", "v1", "events", kind, key):
                _allow(request, "POST")
                return self._webhook(request, kind, key, now)
            case ("api", "pings", key):
                _allow(request, "GET", "HEAD")
                return self._heartbeat(key, self.options.heartbeat_keys, now)
            case ("api", "heartbeats", key):
                _allow(request, "GET", "HEAD", "POST")
                return self._heartbeat(key, self.options.legacy_heartbeat_keys, now)
            case ("api", *path) if path and path[0] in self._rest.names:
                self._authorize(request, now)
                return self._rest.handle(request, tuple(path), self.options.sources, now)
            case _:
                raise Refusal(404, "There is nothing here")

    def _event(self, request: Request, now: float) -> Answer:
        body = decode_object(request)
        source = self._known_source(integration_key(body), now)
        self._accept(check_event(body, summary_always=self.options.summary_always), source, now)
        return empty(202)

    def _webhook(self, request: Request, kind: str, key: str, now: float) -> Answer:
        """A per-integration URL: it takes an event's fields, and makes an ALERT of whatever names no eventType."""
        source = self._known_source(key, now)
        body = {"eventType": "ALERT", "summary": kind} | decode_object(request) | {"integrationKey": key}
        event = check_event(body, summary_always=self.options.summary_always)
        self._accept(event, source, now)
        return json_answer(202, {"alertKey": event.key, "alertUrl": None, "responseCode": "ACCEPTED"})

    def _heartbeat(self, key: str, known: tuple[str, ...], now: float) -> Answer:
        if key not in known:
            raise Refusal(404, "There is no heartbeat of this key")
        self._take("heartbeat", key, self.options.limits.heartbeat_key, now)
        return empty(202)

    def _known_source(self, key: str, now: float) -> Source:
        source = self.source(key)
        if source is None:
            raise Refusal(self.options.unknown_key_status, "There is no alert source of this integrationKey")
        limit = source.per_window or self.options.limits.integration_key
        self._take("integration", key, limit, now)
        return source

    def _authorize(self, request: Request, now: float) -> None:
        header = request.header("authorization")
        if header is None:
            raise Refusal(401, "The Authorization header is missing")
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or key not in self.options.api_keys:
            raise Refusal(403, "The API key is not valid", "KEY_ERROR")
        self._take("api", key, self.options.limits.api_key, now)
        if self.options.plan_error is not None:
            raise Refusal(402, "The plan does not include this", self.options.plan_error)

    def _take(self, kind: str, key: str, limit: int | None, now: float) -> None:
        limits = self.options.limits
        if self._windows.take((kind, key), limit, now, limits.window_seconds):
            return
        wait = str(seconds_left(now, limits.window_seconds))
        headers = (("retry-after", wait),) if limits.retry_after else ()
        raise Refusal(429, "Too many requests", headers=headers)

    def _accept(self, event: IlertEvent, source: Source, now: float) -> None:
        sequence = event.custom_details.get(self.options.sequence_field)
        number = sequence if isinstance(sequence, int) and not isinstance(sequence, bool) else None
        self._accepted += 1
        folded = None if event.key is None else event.key.lower()
        if self.options.keep_keys:
            self.tallies.note(source.id, folded, event, number)
        self._due.append(_Due(now + self.options.apply_seconds, self._number, source, event))
        self.advance(now)

    # Records -----------------------------------------------------------------------------------------------------

    def _look(self, request: Request) -> tuple[Facts, dict[str, Any]]:
        """What can be read of a request without judging it."""
        try:
            body = msgspec.json.decode(request.body)
        except (ValueError, RecursionError):  # bad UTF-8 is no DecodeError
            body = None
        fields = body if isinstance(body, dict) else {}
        texts = {name: value for name, value in fields.items() if isinstance(value, str)}
        key = texts.get("integrationKey", texts.get("apiKey"))
        segments = request.segments()
        if segments[:3] == ("api", "v1", "events"):
            key = segments[-1]
        source = None if key is None else self.source(key)
        seen = {
            "source": None if source is None else source.name,
            "event_type": texts.get("eventType"),
            "key": texts.get("alertKey"),
            "summary": texts.get("summary"),
            "priority": texts.get("priority"),
            "severity": fields.get("severity") if type(fields.get("severity")) is int else None,
        }
        facts = Facts(
            request=request,
            key=seen["key"],
            event_type=seen["event_type"],
            integration_key=key,
        )
        return facts, seen

    def _record(
        self,
        request: Request,
        answer: Answer,
        fault: Fault | None,
        seen: dict[str, Any],
        *,
        now: float,
        applied: bool,
    ) -> None:
        received = Received(
            number=self._number,
            at=now,
            connection=request.connection,
            ip=request.ip,
            http_version=request.http_version,
            method=request.method,
            target=request.target,
            headers=request.headers,
            body=request.body[:KEEP_BODY],
            body_bytes=len(request.body),
            status=answer.status,
            fault=None if fault is None else fault.kind,
            applied=applied,
            **seen,
        )
        self.requests.append(received)
        self._statuses[answer.status] += 1
        self._faults += fault is not None
        if self.on_event is not None and received.is_event:
            self.on_event(received)


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        allow = (("allow", ", ".join(methods)),)
        raise Refusal(405, f"{request.method} is not allowed here", headers=allow)
