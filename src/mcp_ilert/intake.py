"""The accepting half on one page: bytes → events → entries → one commit → a Receipt.

Doors know the intake and nothing behind it. All valid events of a request are one unit of an offer to the spool: all
of them are kept, or none. What a request cannot be is its error; what one event among others cannot be is `rejected`
by its index. `offer` takes whole bodies of many requests at once, `accept_body` and `accept_lines` one request.
"""

from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec
import prometheus_client
import structlog
import trio

from mcp_ilert.callback import answer_of
from mcp_ilert.clock import NowMs
from mcp_ilert.decode.bodies import split
from mcp_ilert.decode.lines import Line, Lines, Overlong
from mcp_ilert.decode.native import check
from mcp_ilert.decode.text import check_text
from mcp_ilert.errors import (
    InvalidEventError,
    MalformedError,
    McpIlertError,
    SpoolError,
    TooLargeError,
    UnavailableError,
)
from mcp_ilert.events import Entry, Event
from mcp_ilert.mapping import Mapper

log = structlog.get_logger()
T = TypeVar("T")

MAX_LISTED: Final = 100
"""Rejected events that a receipt lists one by one; the rest is only counted."""
MAX_ERROR: Final = 300
"""Characters of an error in a receipt."""
SLICE: Final = 200
"""Events between two looks at what else is to be done, so that a long array delays nobody."""
NO_OBJECT: Final = "$: expected an event as a JSON object"
QUIET_MS: Final = 60_000
"""At most one line a minute about alert keys that lack a field."""

Allows = Callable[[str], bool]
"""Whether a sender may send events of this source."""


class ForbiddenSourceError(McpIlertError):
    """The sender's token does not allow this event's source (403 alone, `rejected` among others)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class AllRejectedError(InvalidEventError):
    """Not one event of an array or of lines is valid (422)."""

    def __init__(self, receipt: "Receipt") -> None:
        super().__init__("no event is valid" if receipt.rejected else "expected at least one event")
        self.receipt = receipt


class Limits(msgspec.Struct, frozen=True):
    """Bounds of what is taken, in bytes."""

    max_body_bytes: int = 1_048_576
    max_event_bytes: int = 65_536


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not taken: its index in the array, or among the lines that are not blank."""

    index: int
    error: str


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a request; `rejected` lists the first MAX_LISTED."""

    accepted: int
    rejected: tuple[Rejected, ...] = ()
    rejected_total: int = 0
    """How many were rejected, given where that is more than are listed."""


ACCEPTED: Final = Receipt(1)
"""The very object that is given where one event was taken, and nothing else was to be."""

Answer = Receipt | McpIlertError
Answered = Callable[[Sequence[Answer]], None]
Taken = Callable[[Sequence[Entry]], None]


class Dialect(Enum):
    """What a body is: a JSON value (an event, or an array of them), an event a line, or one such line."""

    JSON = 0
    LINES = 1
    LINE = 2


class Terms(msgspec.Struct, frozen=True):
    """How a request is to be read, and what its sender may do; one object for all that say the same."""

    door: str
    dialect: Dialect
    allows: Allows | None = None


class Acceptor(Protocol):
    """The one method of the spool that the intake needs."""

    def offer(
        self, puts: Sequence[Sequence[Entry]], done: Callable[[Sequence[McpIlertError | None]], None]
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
        self._metrics = metrics
        self._now_ms = now_ms
        self._fallbacks_told = 0
        self._quiet_until_ms = 0

    def use(self, mapper: Mapper, limits: Limits) -> None:
        """Take these from the next request on (a reload)."""
        self._mapper = mapper
        self._fallbacks_told = 0
        self.limits = limits

    def offer(self, bodies: Sequence[bytes], terms: Sequence[Terms], done: Answered) -> None:
        """Take the bodies of many requests, each as its terms say, in one offer to the spool.

        `done` is told once, in the Trio thread, perhaps before this returns: for each body a receipt, once its
        events are synced to disk, or why nothing of it is kept.
        """
        self._commit([self._read(body, its) for body, its in zip(bodies, terms, strict=True)], done)

    def _read(self, body: bytes, terms: Terms) -> "_Request":
        request = self._request(terms)
        with request.reading():
            if terms.dialect is Dialect.JSON:
                found = split(body)
                if isinstance(found, bytes):
                    request.take(found)
                else:
                    request.take_elements(found)
            elif terms.dialect is Dialect.LINES:
                lines = Lines(self.limits.max_event_bytes)
                request.take_lines([*lines.feed(body), *lines.end()])
                request.end_lines()
            else:
                request.take_line(body)
        return request

    def _request(self, terms: Terms) -> "_Request":
        return _Request(self._mapper, self.limits.max_event_bytes, self._now_ms(), terms)

    async def accept_body(self, body: bytes, *, door: str, allows: Allows | None = None) -> Receipt:
        """Take a JSON body: one event, or an array of them. Returns once they are synced to disk.

        Raises MalformedError, InvalidEventError, TooLargeError, ForbiddenSourceError, UnavailableError.
        """
        request = self._request(Terms(door, Dialect.JSON, allows))
        with request.reading():
            found = split(body)
            if isinstance(found, bytes):
                request.take(found)
            else:
                for elements in slices(found):
                    request.take_elements(elements)
                    await trio.lowlevel.checkpoint()
        return await self._committed(request)

    async def accept_lines(
        self, chunks: AsyncIterable[bytes], *, door: str, allows: Allows | None = None
    ) -> Receipt:
        """Take an event a line, read as they come; what the chunks raise leaves nothing kept. Else as above."""
        request = self._request(Terms(door, Dialect.LINES, allows))
        lines = Lines(self.limits.max_event_bytes)
        with request.reading():
            async for chunk in chunks:
                for some in slices(lines.feed(chunk)):
                    request.take_lines(some)
                    await trio.lowlevel.checkpoint()
            request.take_lines(lines.end())
            request.end_lines()
        return await self._committed(request)

    async def _committed(self, request: "_Request") -> Receipt:
        (answer,) = await answer_of(partial(self._commit, [request]))
        if isinstance(answer, McpIlertError):
            raise answer
        return answer

    def _commit(self, requests: "Sequence[_Request]", done: Answered) -> None:
        self._tell_fallbacks()
        offered = [request for request in requests if request.offers()]

        def over(errors: Sequence[McpIlertError | None]) -> None:
            for request, error in zip(offered, errors, strict=True):
                request.error = error
            self._tell(requests)
            done([request.error or request.receipt() for request in requests])

        if offered:
            self._spool.offer([request.entries for request in offered], over)
        else:
            over(())

    def _tell(self, requests: "Sequence[_Request]") -> None:
        """Count what came of the requests, and have what was committed recorded."""
        counts: Counter[tuple[str, str]] = Counter()
        for request in requests:
            counts.update(request.results())
        for (door, result), events in counts.items():
            if events:
                self._metrics.in_events.labels(door, result).inc(events)
        taken = [request for request in requests if request.error is None]
        if self.taken is not None and taken:
            self.taken([entry for request in taken for entry in request.entries])
        for request in taken:
            entries = request.entries
            log.debug("accepted", door=request.terms.door, events=len(entries), alert_key=entries[0].key)

    def _tell_fallbacks(self) -> None:
        new = self._mapper.key_fallbacks - self._fallbacks_told
        if new and self._now_ms() >= self._quiet_until_ms:
            self._quiet_until_ms = self._now_ms() + QUIET_MS
            self._fallbacks_told += new
            log.warning("events lack a field of mapping.alert_key; their mcp_id is the key", events=new)


def slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """SLICE items at a time."""
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


class _Request:
    """The events of one request, as they are being read, and what came of it."""

    def __init__(self, mapper: Mapper, max_event_bytes: int, now_ms: int, terms: Terms) -> None:
        self.terms = terms
        self.error: McpIlertError | None = None
        """Why nothing of it is kept."""
        self.entries: list[Entry] = []
        self.rejected: list[Rejected] = []
        self.total = 0
        """Rejected ones, listed or not."""
        self.forbidden = 0
        """Of these, those whose source the token does not allow."""
        self.index = 0
        """Of the next event."""
        self._mapper = mapper
        self._max_event_bytes = max_event_bytes
        self._now_ms = now_ms

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around the reading: what it raises, where it is about the request, is the request's error."""
        try:
            yield
        except McpIlertError as error:
            self.error = error

    def take(self, payload: bytes) -> None:
        """Add an event whose text has been checked, or raise."""
        if len(payload) > self._max_event_bytes:
            raise _too_large(self._max_event_bytes)
        event = check(payload)
        self._authorise(event)
        self.entries.append(self._mapper.entry(event, payload, self._now_ms))

    def take_elements(self, elements: Sequence[msgspec.Raw]) -> None:
        """Add those of an array that are valid."""
        for element in elements:
            self._take_one(bytes(element), checked=True)

    def take_lines(self, lines: Sequence[Line]) -> None:
        """Add those of these lines that are valid."""
        for line in lines:
            if isinstance(line, Overlong):
                self._reject(_too_large(self._max_event_bytes))
            else:
                self._take_one(line, checked=False)

    def end_lines(self) -> None:
        """All lines have been given; raises where there was none."""
        if not self.index:
            raise MalformedError("the body is empty; expected an event a line")

    def take_line(self, line: bytes) -> None:
        """Add the event of a line that stands alone, or raise."""
        check_text(line)
        if not line.startswith(b"{"):
            raise InvalidEventError(NO_OBJECT)
        self.take(line)

    def offers(self) -> bool:
        """Whether there is something to be committed; where not, the request has an error."""
        if self.error is None and not self.entries:
            self.error = AllRejectedError(self.receipt())
        return self.error is None

    def results(self) -> dict[tuple[str, str], int]:
        """Events by door and result, as `mcp_in_events_total` counts them."""
        door, error = self.terms.door, self.error
        if isinstance(error, ForbiddenSourceError):
            return {(door, "unauthorized"): 1}
        if isinstance(error, SpoolError):
            return {}
        if error is not None and not isinstance(error, (AllRejectedError, UnavailableError)):
            return {(door, "invalid"): 1}
        if not self.entries and not self.total:
            return {(door, "invalid"): 1}
        return {
            (door, "accepted" if error is None else "unavailable"): len(self.entries),
            (door, "invalid"): self.total - self.forbidden,
            (door, "unauthorized"): self.forbidden,
        }

    def receipt(self) -> Receipt:
        if len(self.entries) == 1 and not self.total:
            return ACCEPTED
        more = self.total if self.total > len(self.rejected) else 0
        return Receipt(len(self.entries), tuple(self.rejected), more)

    def _take_one(self, payload: bytes, *, checked: bool) -> None:
        try:
            if not checked:
                check_text(payload)
            if not payload.startswith(b"{"):
                raise InvalidEventError(NO_OBJECT)  # noqa: TRY301 - the same fate
            self.take(payload)
        except (InvalidEventError, MalformedError, TooLargeError, ForbiddenSourceError) as error:
            self._reject(error)
        else:
            self.index += 1

    def _reject(
        self, error: InvalidEventError | MalformedError | TooLargeError | ForbiddenSourceError
    ) -> None:
        self.total += 1
        self.forbidden += isinstance(error, ForbiddenSourceError)
        if len(self.rejected) < MAX_LISTED:
            self.rejected.append(Rejected(self.index, error.detail[:MAX_ERROR]))
        self.index += 1

    def _authorise(self, event: Event) -> None:
        allows = self.terms.allows
        if allows is not None and not allows(event.source):
            raise ForbiddenSourceError("$.source: this token may not send events of this source")


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the event is larger than {limit} bytes (listen.max_event_bytes)")
