"""The door of events for sessions: requests of many connections at once → one offer to the intake → answers.

What a head says is looked at once (`Terms`), however many requests say it. What is refused by its head is answered
at once; all else waits for the commit. Who moves the bytes is told which sessions have something to send.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog
import trio
from prometheus_client import Counter, Histogram

from mcp_ilert.intake import ACCEPTED, Allows, Answer, Dialect, Quota, Receipt, Terms
from mcp_ilert.media import JSON, media_type
from mcp_ilert.metrics import observe_many
from mcp_ilert.problems import CONTENT_TYPE, Refusal, RequestError, refusal_of
from mcp_ilert.wire import Arrival, Head, Headers, Session

log = structlog.get_logger()

TCP: Final = "tcp"
MOST_HEADS: Final = 1_024
MANY_REQUESTS: Final = 32_768
MANY_BYTES: Final = 16 * 1024 * 1024
"""So much may wait for the spool before connections that wait for answers are read no more."""
RESERVE: Final = 4
"""At so many times MANY_BYTES what still comes is refused: that is a spool that hangs."""
JSON_HEADERS: Final[Headers] = ((b"content-type", JSON.encode()),)
BEARER: Final = b"Bearer "

Touched = Callable[[Sequence[Session]], None]
"""Told of sessions that have something to send."""
Failed = Callable[[Session, Exception], None]
Answered = Callable[[Sequence[Answer]], None]


class Admitted(Protocol):
    """Who a request comes from."""

    @property
    def allows(self) -> Allows | None: ...
    @property
    def quota(self) -> Quota | None: ...


class Gatekeeper(Protocol):
    """Tells by a request's Authorization who sends it; raises RequestError. `web.auth.Guard` is one.

    What it told holds for as long as its version does.
    """

    @property
    def on(self) -> bool: ...
    @property
    def version(self) -> int: ...
    def admit(self, authorization: str | None) -> Admitted: ...


class Taker(Protocol):
    """The one method of the intake that this door needs."""

    def offer(self, bodies: Sequence[bytes], terms: Sequence[Terms], done: Answered) -> None: ...


class EventsMetrics(Protocol):
    """What this door tells; `Metrics` has them."""

    @property
    def in_events(self) -> Counter: ...
    @property
    def ingest_latency(self) -> Histogram: ...


class _Auth(msgspec.Struct, forbid_unknown_fields=True):
    """The line by which a client of the TCP door says who it is."""

    auth: str


class EventsDoor:
    """One for all connections of the bridge."""

    def __init__(self, intake: Taker, guard: Gatekeeper, metrics: EventsMetrics) -> None:
        self.waiting_requests = 0
        self.waiting_bytes = 0
        """Of what was offered and is not answered."""
        self._intake = intake
        self._guard = guard
        self._metrics = metrics
        self._terms: dict[Head, Terms | RequestError] = {}
        self._version = guard.version
        self._heads: dict[Session, Head] = {}
        """Of the TCP door's clients that have said who they are."""
        self._sent_away: set[Session] = set()
        """Of those that said it wrong: nothing more is taken of them."""
        self._overload = RequestError(
            503, "too much waits for the spool; nothing was kept", {"Retry-After": "1"}
        )

    @property
    def full(self) -> bool:
        """Whether so much waits for the spool that who waits for answers shall send no more."""
        return self.waiting_requests > MANY_REQUESTS or self.waiting_bytes > MANY_BYTES

    def part(self, session: Session) -> None:
        """The session's connection has ended."""
        self._heads.pop(session, None)
        self._sent_away.discard(session)

    def tell_overlong(self) -> None:
        """A line was refused by its length alone."""
        self._metrics.in_events.labels(door=TCP, result="invalid").inc()

    def take(self, arrivals: Sequence[Arrival], touched: Touched, failed: Failed) -> None:
        """Answer these requests, each once its events are kept, or it is known why not.

        `touched` is told at once of the sessions whose requests were refused, and later of the others.
        """
        offered: list[Arrival] = []
        terms: list[Terms] = []
        refused: list[tuple[Arrival, RequestError]] = []
        last: Head | None = None
        its: Terms | RequestError | None = None
        heads = self._heads
        if self._version != self._guard.version:
            self._version = self._guard.version
            self._terms.clear()
        for arrival in arrivals:
            head = arrival[2]
            if head.door == TCP:
                known = heads.get(arrival[0])
                if known is not None:
                    head = known
                elif self._introduced(arrival, failed):
                    continue
            if head is not last or its is None:
                its = self._terms_of(head)
                last = head
            if isinstance(its, RequestError):
                refused.append((arrival, its))
            else:
                offered.append(arrival)
                terms.append(its)
        if refused:
            self._refuse(refused, failed)
        if len(offered) < len(arrivals):
            touched(_sessions(arrivals))
        if offered:
            self._offer(offered, terms, touched, failed)

    def _offer(
        self, offered: Sequence[Arrival], terms: Sequence[Terms], touched: Touched, failed: Failed
    ) -> None:
        bodies = [arrival[3] for arrival in offered]
        size = sum(map(len, bodies))
        if self.waiting_bytes + size > RESERVE * MANY_BYTES:
            self._answer(offered, [self._overload] * len(offered), touched, failed)
            self._count(offered, "unavailable")
            return
        self.waiting_requests += len(bodies)
        self.waiting_bytes += size
        since = trio.current_time()
        over = False

        def done(answers: Sequence[Answer | Exception]) -> None:
            nonlocal over
            over = True
            self.waiting_requests -= len(bodies)
            self.waiting_bytes -= size
            observe_many(self._metrics.ingest_latency, trio.current_time() - since, len(bodies))
            self._answer(offered, answers, touched, failed)

        try:
            self._intake.offer(bodies, terms, done)
        except Exception as error:
            if over:
                raise
            done([error] * len(bodies))  # a bug: a 500 tells nothing of it, the log does

    def _answer(
        self,
        offered: Sequence[Arrival],
        answers: Sequence[Answer | Exception],
        touched: Touched,
        failed: Failed,
    ) -> None:
        sessions: list[Session] = []
        last: Session | None = None
        same: dict[int, Refusal] = {}
        for (session, stream, _, _), answer in zip(offered, answers, strict=True):
            try:
                if answer is ACCEPTED:
                    session.accepted(stream)
                else:
                    _answer(session, stream, answer, same)
            except Exception as error:  # noqa: BLE001 - a session's fault ends its connection
                failed(session, error)
            if session is not last:
                sessions.append(session)
                last = session
        touched(sessions)

    # Who may ------------------------------------------------------------------------------------------------------

    def _terms_of(self, head: Head) -> Terms | RequestError:
        found = self._terms.get(head)
        if found is None:
            found = self._found(head)
            if len(self._terms) >= MOST_HEADS:
                self._terms.clear()
            self._terms[head] = found
        return found

    def _found(self, head: Head) -> Terms | RequestError:
        authorization, kind = head.authorization, head.content_type
        try:
            if head.door == TCP:
                said = None if authorization is None else authorization.decode("utf-8", "surrogatepass")
                who = self._guard.admit(said)
                return Terms(TCP, Dialect.LINE, who.allows, who.quota)
            said = None if authorization is None else authorization.decode("latin-1")
            principal = self._guard.admit(said)
            media = media_type(None if kind is None else kind.decode("latin-1"))
        except RequestError as error:
            return error
        dialect = Dialect.JSON if media == JSON else Dialect.LINES
        return Terms(head.door, dialect, principal.allows, principal.quota)

    def _introduced(self, arrival: Arrival, failed: Failed) -> bool:
        """Whether the line, of a client that has not said who it is, has been answered here."""
        session, stream, head, line = arrival
        token = _token(line)
        if token is None and not self._guard.on and session not in self._sent_away:
            return False
        try:
            error = self._introduce(session, head, token)
            if error is None:
                session.accepted(stream)
            else:
                self._metrics.in_events.labels(door=TCP, result="unauthorized").inc()
                _answer(session, stream, error, {})
                self._send_away(session)
        except Exception as bug:  # noqa: BLE001 - as above
            failed(session, bug)
        return True

    def _introduce(self, session: Session, head: Head, token: str | None) -> RequestError | None:
        if session in self._sent_away:
            return RequestError(401, "the token was not known")
        if token is None:
            return RequestError(401, 'the first line must be {"auth":"TOKEN"}')
        said = Head(head.door, head.content_type, BEARER + token.encode("utf-8", "surrogatepass"))
        try:
            self._guard.admit(f"Bearer {token}")
        except RequestError:
            return RequestError(401, "the token is not known")
        self._heads[session] = said
        return None

    def _send_away(self, session: Session) -> None:
        """Take nothing more of a client of the TCP door."""
        self._heads.pop(session, None)
        self._sent_away.add(session)
        session.go_away()

    def _refuse(self, refused: Sequence[tuple[Arrival, RequestError]], failed: Failed) -> None:
        same: dict[int, Refusal] = {}
        for (session, stream, head, _), error in refused:
            if error.status == 401:
                self._metrics.in_events.labels(door=head.door, result="unauthorized").inc()
            try:
                _answer(session, stream, error, same)
                if head.door == TCP:
                    self._send_away(session)
            except Exception as bug:  # noqa: BLE001 - as above
                failed(session, bug)

    def _count(self, arrivals: Sequence[Arrival], result: str) -> None:
        for _, _, head, _ in arrivals:
            self._metrics.in_events.labels(door=head.door, result=result).inc()


def _answer(session: Session, stream: int, answer: Answer | Exception, same: dict[int, Refusal]) -> None:
    """`same` keeps what has been encoded of an error that many requests share."""
    if isinstance(answer, Receipt):
        session.answer(stream, 202, JSON_HEADERS, msgspec.json.encode(answer))
        return
    refused = same.get(id(answer))
    if refused is None:
        refused = same[id(answer)] = refusal_of(answer)
    session.answer(stream, refused.status, headers_of(refused), refused.body)


def headers_of(refused: Refusal) -> Headers:
    """A problem's headers, in lower case."""
    more = ((name.lower().encode(), value.encode()) for name, value in refused.headers.items())
    return ((b"content-type", CONTENT_TYPE.encode()), *more)


def _sessions(arrivals: Sequence[Arrival]) -> list[Session]:
    return list(dict.fromkeys(arrival[0] for arrival in arrivals))


def _token(line: bytes) -> str | None:
    if b'"auth"' not in line:
        return None
    try:
        return msgspec.json.decode(line, type=_Auth).auth
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
