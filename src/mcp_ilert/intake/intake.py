"""The accepting half on one page: bytes → events → entries → one commit → a Receipt.

Doors know the intake and nothing behind it. All valid events of a request are one unit of an offer to the spool: all
of them are kept, or none. What a request cannot be is its error; what one event among others cannot be is `rejected`
by its index. `offer` takes whole bodies of many requests at once, `accept_body` and `accept_lines` one request.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import prometheus_client
import structlog
import trio

from mcp_ilert.callback import answer_of
from mcp_ilert.clock import NowMs
from mcp_ilert.decode.bodies import split
from mcp_ilert.decode.lines import Lines
from mcp_ilert.errors import InvalidEventError, McpIlertError, RepeatedError, TooLargeError
from mcp_ilert.events import Entry, Message
from mcp_ilert.intake.reading import Reader, Request
from mcp_ilert.intake.round import Round
from mcp_ilert.intake.values import NOTHING, Allows, Answer, Dialect, Limits, Quota, Receipt, Terms
from mcp_ilert.mapping import Mapper

log = structlog.get_logger()
T = TypeVar("T")

SLICE: Final = 200
"""Events between two looks at what else is to be done, so that a long array delays nobody."""
CONVERTED_SLICE: Final = 20
"""The same for events that are converted, which takes longer."""
MOST_GROWTH: Final = 16
"""The events of a webhook may be so many times `max_body_bytes` together: each has what all have in common."""
QUIET_MS: Final = 60_000
"""At most one line a minute about alert keys that lack a field."""

Answered = Callable[[Sequence[Answer]], None]
Taken = Callable[[Sequence[Entry]], None]


class Acceptor(Protocol):
    """The one method of the spool that the intake needs."""

    def offer(
        self,
        puts: Sequence[Sequence[Entry]],
        done: Callable[[Sequence[McpIlertError | None]], None],
        message: Message | None = None,
    ) -> None: ...


class Counters(Protocol):
    """The metrics that the intake tells; `Metrics` has them."""

    @property
    def in_events(self) -> prometheus_client.Counter: ...


class Intake:
    """Takes events from doors to the spool."""

    def __init__(
        self, spool: Acceptor, mapper: Mapper, metrics: Counters, now_ms: NowMs, limits: Limits
    ) -> None:
        self.limits = limits
        self.taken: Taken | None = None
        """Told what was committed, after each commit; it must return at once."""
        self._spool = spool
        self._mapper = mapper
        self._reader = Reader(mapper, limits.max_event_bytes)
        self._metrics = metrics
        self._counters: dict[tuple[str, str], prometheus_client.Counter] = {}
        self._now_ms = now_ms
        self._fallbacks_told = 0
        self._quiet_until_ms = 0

    def use(self, mapper: Mapper, limits: Limits) -> None:
        """Take these from the next request on (a reload)."""
        self._mapper = mapper
        self._reader = Reader(mapper, limits.max_event_bytes)
        self._fallbacks_told = 0
        self.limits = limits

    def offer(self, bodies: Sequence[bytes], terms: Sequence[Terms], done: Answered) -> None:
        """Take the bodies of many requests, each as its terms say, in one offer to the spool.

        `done` is told once, in the Trio thread, perhaps before this returns: for each body a receipt, once its
        events are synced to disk, or why nothing of it is kept.
        """
        made, now_ms, single = Round(), self._now_ms(), self._reader.single
        for body, its in zip(bodies, terms, strict=True):
            entry = single(body, now_ms, its)
            if entry is not None and (its.quota is None or not its.quota(1)):
                made.add_single(entry, its)
            else:
                made.add(self._read(body, its, now_ms))
        self._commit(made, done)

    def _read(self, body: bytes, terms: Terms, now_ms: int) -> Request:
        request = Request(self._reader, now_ms, terms)
        try:
            request.take_body(body)
        except McpIlertError as error:
            request.error = error
        request.meter()
        return request

    async def accept_body(
        self, body: bytes, *, door: str, allows: Allows | None = None, quota: Quota | None = None
    ) -> Receipt:
        """Take a JSON body: one event, or an array of them. Returns once they are synced to disk.

        Raises MalformedError, InvalidEventError, TooLargeError, ForbiddenSourceError, LimitedError, UnavailableError.
        """
        request = Request(self._reader, self._now_ms(), Terms(door, Dialect.JSON, allows, quota))
        try:
            found = split(body)
            if isinstance(found, bytes):
                request.take(found)
            else:
                for elements in slices(found):
                    request.take_elements(elements)
                    await trio.lowlevel.checkpoint()
        except McpIlertError as error:
            request.error = error
        return await self._committed(request)

    async def accept_lines(
        self,
        chunks: AsyncIterable[bytes],
        *,
        door: str,
        allows: Allows | None = None,
        quota: Quota | None = None,
    ) -> Receipt:
        """Take an event a line, read as they come; what the chunks raise leaves nothing kept. Else as above."""
        request = Request(self._reader, self._now_ms(), Terms(door, Dialect.LINES, allows, quota))
        lines = Lines(self.limits.max_event_bytes)
        try:
            async for chunk in chunks:
                for some in slices(lines.feed(chunk)):
                    request.take_lines(some)
                    await trio.lowlevel.checkpoint()
            request.take_lines(lines.end())
            request.end_lines()
        except McpIlertError as error:
            request.error = error
        return await self._committed(request)

    async def accept_converted(
        self,
        events: Iterable[bytes | InvalidEventError],
        *,
        many: bool,
        door: str,
        allows: Allows | None = None,
        quota: Quota | None = None,
        name: str | None = None,
    ) -> Receipt:
        """Take the events that a webhook's body became; where it may be `many`, bad ones are rejected by index.

        Accepts none where there are none. A message that has a `name` is taken once: where it was before, what came of
        it then is returned. What reading `events` raises leaves nothing kept. Else as above.
        """
        request = Request(self._reader, self._now_ms(), Terms(door, Dialect.JSON, allows, quota))
        take = request.take_converted_one if many else request.take_converted
        size = count = 0
        try:
            for event in events:
                size += len(event) if isinstance(event, bytes) else 0
                if size > MOST_GROWTH * self.limits.max_body_bytes:
                    raise TooLargeError(
                        f"the events are {MOST_GROWTH} times larger than listen.max_body_bytes"
                    )
                take(event)
                count += 1
                if not count % CONVERTED_SLICE:
                    await trio.lowlevel.checkpoint()
        except McpIlertError as error:
            request.error = error
        if not count and request.error is None:
            return NOTHING
        return await self._committed(request, name)

    async def _committed(self, request: Request, name: str | None = None) -> Receipt:
        request.meter()
        made = Round()
        made.add(request)
        message = None if name is None else Message(name, len(request.entries), request.total)
        answers: Sequence[Answer] = await answer_of(partial(self._commit, made, message=message))
        (answer,) = answers
        if isinstance(answer, RepeatedError):
            return Receipt(answer.accepted, (), answer.rejected)
        if isinstance(answer, McpIlertError):
            raise answer
        return answer

    def _commit(self, made: Round, done: Answered, message: Message | None = None) -> None:
        self._tell_fallbacks()

        def over(errors: Sequence[McpIlertError | None]) -> None:
            answers = made.answer(errors)
            self._tell(made)
            done(answers)

        if made.puts:
            self._spool.offer(made.puts, over, message)
        else:
            over(())

    def _tell(self, made: Round) -> None:
        """Count what came of the requests, and have what was committed recorded."""
        for key, events in made.results().items():
            if events:
                self._counter(key).inc(events)
        if made.committed:
            if self.taken is not None:
                self.taken([entry for entries in made.committed for entry in entries])
            log.debug("accepted", requests=len(made.committed), alert_key=made.committed[0][0].key)

    def _counter(self, key: tuple[str, str]) -> prometheus_client.Counter:
        """The counter of a door and a result; found once, for the library's looking up costs more than counting."""
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._metrics.in_events.labels(*key)
        return counter

    def _tell_fallbacks(self) -> None:
        new = self._mapper.key_fallbacks - self._fallbacks_told
        if new and self._now_ms() >= self._quiet_until_ms:
            self._quiet_until_ms = self._now_ms() + QUIET_MS
            self._fallbacks_told += new
            log.warning("events lack a field of mapping.alert_key; their mcp_id is the key", events=new)


def slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """SLICE items at a time."""
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))
