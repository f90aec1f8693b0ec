"""The accepting half on one page: bytes → events → entries → one commit → a Receipt.

Doors know the intake and nothing behind it. All valid events of a request are one `put`: all of them are kept,
or none. What a request cannot be is raised; what one event among others cannot be is `rejected` by its index.
"""

from collections.abc import AsyncIterable, Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog
import trio
from prometheus_client import Counter

from mcp_ilert.clock import NowMs
from mcp_ilert.decode.bodies import split
from mcp_ilert.decode.lines import Line, Lines, Overlong
from mcp_ilert.decode.native import check
from mcp_ilert.decode.text import check_text
from mcp_ilert.errors import (
    InvalidEventError,
    MalformedError,
    McpIlertError,
    TooLargeError,
    UnavailableError,
)
from mcp_ilert.events import Entry, Event
from mcp_ilert.mapping import Mapper

log = structlog.get_logger()

MAX_LISTED: Final = 100
"""Rejected events that a receipt lists one by one; the rest is only counted."""
MAX_ERROR: Final = 300
"""Characters of an error in a receipt."""
SLICE: Final = 200
"""Events between two looks at what else is to be done, so that a long array delays nobody."""
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


Taken = Callable[[Sequence[Entry]], None]


class Acceptor(Protocol):
    """The one method of the spool that the intake needs."""

    async def put(self, entries: Sequence[Entry]) -> None: ...


class Counters(Protocol):
    """The metrics that the intake tells; `Metrics` has them."""

    @property
    def in_events(self) -> Counter: ...


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

    async def accept_body(self, body: bytes, *, door: str, allows: Allows | None = None) -> Receipt:
        """Take a JSON body: one event, or an array of them. Returns once they are synced to disk.

        Raises MalformedError, InvalidEventError, TooLargeError, ForbiddenSourceError, UnavailableError.
        """
        batch = _Batch(self._mapper, self.limits.max_event_bytes, self._now_ms(), allows)
        try:
            found = split(body)
            if isinstance(found, bytes):
                batch.take(found)
            else:
                await batch.take_elements(found)
        except McpIlertError as error:
            self._refused(door, error)
            raise
        return await self._commit(batch, door)

    async def accept_lines(
        self, chunks: AsyncIterable[bytes], *, door: str, allows: Allows | None = None
    ) -> Receipt:
        """Take an event a line, read as they come; what the chunks raise leaves nothing kept. Else as above."""
        batch = _Batch(self._mapper, self.limits.max_event_bytes, self._now_ms(), allows)
        lines = Lines(self.limits.max_event_bytes)
        try:
            async for chunk in chunks:
                await batch.take_lines(lines.feed(chunk))
            await batch.take_lines(lines.end())
            if not batch.index:
                raise MalformedError("the body is empty; expected an event a line")
        except McpIlertError as error:
            self._refused(door, error)
            raise
        return await self._commit(batch, door)

    async def _commit(self, batch: "_Batch", door: str) -> Receipt:
        self._tell_fallbacks()
        receipt = batch.receipt()
        if batch.total:
            self._count(door, "invalid", batch.total - batch.forbidden)
            self._count(door, "unauthorized", batch.forbidden)
        if not batch.entries:
            if not batch.total:
                self._count(door, "invalid", 1)
            raise AllRejectedError(receipt)
        try:
            await self._spool.put(batch.entries)
        except UnavailableError:
            self._count(door, "unavailable", len(batch.entries))
            raise
        if self.taken is not None:
            self.taken(batch.entries)
        self._count(door, "accepted", len(batch.entries))
        log.debug("accepted", door=door, events=len(batch.entries), alert_key=batch.entries[0].key)
        return receipt

    def _refused(self, door: str, error: McpIlertError) -> None:
        self._count(door, "unauthorized" if isinstance(error, ForbiddenSourceError) else "invalid", 1)

    def _count(self, door: str, result: str, events: int) -> None:
        if events:
            self._metrics.in_events.labels(door=door, result=result).inc(events)

    def _tell_fallbacks(self) -> None:
        new = self._mapper.key_fallbacks - self._fallbacks_told
        if new and self._now_ms() >= self._quiet_until_ms:
            self._quiet_until_ms = self._now_ms() + QUIET_MS
            self._fallbacks_told += new
            log.warning("events lack a field of mapping.alert_key; their mcp_id is the key", events=new)


class _Batch:
    """The events of one request, as they are being read."""

    def __init__(self, mapper: Mapper, max_event_bytes: int, now_ms: int, allows: Allows | None) -> None:
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
        self._allows = allows

    def take(self, payload: bytes) -> None:
        """Add an event whose text has been checked, or raise."""
        if len(payload) > self._max_event_bytes:
            raise _too_large(self._max_event_bytes)
        event = check(payload)
        self._authorise(event)
        self.entries.append(self._mapper.entry(event, payload, self._now_ms))

    async def take_elements(self, elements: Sequence[msgspec.Raw]) -> None:
        """Add those of an array that are valid."""
        for element in elements:
            self._take_one(bytes(element), checked=True)
            if not self.index % SLICE:
                await trio.lowlevel.checkpoint()

    async def take_lines(self, lines: Sequence[Line]) -> None:
        """Add those of these lines that are valid."""
        for line in lines:
            if isinstance(line, Overlong):
                self._reject(_too_large(self._max_event_bytes))
            else:
                self._take_one(line, checked=False)
            if not self.index % SLICE:
                await trio.lowlevel.checkpoint()

    def receipt(self) -> Receipt:
        more = self.total if self.total > len(self.rejected) else 0
        return Receipt(len(self.entries), tuple(self.rejected), more)

    def _take_one(self, payload: bytes, *, checked: bool) -> None:
        try:
            if not checked:
                check_text(payload)
            if not payload.startswith(b"{"):
                raise InvalidEventError("$: expected an event as a JSON object")  # noqa: TRY301 - the same fate
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
        if self._allows is not None and not self._allows(event.source):
            raise ForbiddenSourceError("$.source: this token may not send events of this source")


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the event is larger than {limit} bytes (listen.max_event_bytes)")
