"""One request's events as they are read: each is taken or rejected by its index, or the whole is refused.

What is in order is taken by `_fast/taking.py`; whatever that leaves is judged here again, with care, for its words.
"""

import math
from collections.abc import Sequence
from typing import Final

from mcp_ilert._fast.taking import Taker
from mcp_ilert.decode.bodies import split
from mcp_ilert.decode.lines import Line, Lines, Overlong
from mcp_ilert.decode.native import DECODE, check
from mcp_ilert.decode.text import check_text, is_sound
from mcp_ilert.errors import (
    InvalidEventError,
    MalformedError,
    McpIlertError,
    RepeatedError,
    SpoolError,
    TooLargeError,
    UnavailableError,
)
from mcp_ilert.events import Entry, Event
from mcp_ilert.intake.values import (
    ACCEPTED,
    AllRejectedError,
    Dialect,
    ForbiddenSourceError,
    LimitedError,
    Receipt,
    Rejected,
    Terms,
)
from mcp_ilert.mapping import Mapper

MAX_LISTED: Final = 100
"""Rejected events that a receipt lists one by one; the rest is only counted."""
MAX_ERROR: Final = 300
"""Characters of an error in a receipt."""
NO_OBJECT: Final = "$: expected an event as a JSON object"
_BLANK: Final = b" \t\r\n"


class Reader:
    """How events are read, until the next reload."""

    def __init__(self, mapper: Mapper, max_event_bytes: int) -> None:
        self.mapper = mapper
        self.max_event_bytes = max_event_bytes
        self.taker: Taker | None = mapper.taker(DECODE, is_sound)

    def single(self, body: bytes, now_ms: int, terms: Terms) -> Entry | None:
        """The entry of a body that is one event, where that is in order."""
        if self.taker is None or terms.dialect is Dialect.LINES:
            return None
        return self.taker.take(body.strip(_BLANK), self.max_event_bytes, now_ms, terms.allows)


class Request:
    """The events of one request, as they are being read, and what came of it."""

    def __init__(self, reader: Reader, now_ms: int, terms: Terms) -> None:
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
        self._reader = reader
        self._now_ms = now_ms

    def take_body(self, body: bytes) -> None:
        """Add what a whole body holds, or raise."""
        dialect = self.terms.dialect
        if dialect is Dialect.LINE:
            self.take_line(body)
        elif dialect is Dialect.LINES:
            lines = Lines(self._reader.max_event_bytes)
            self.take_lines([*lines.feed(body), *lines.end()])
            self.end_lines()
        else:
            found = split(body)
            if isinstance(found, bytes):
                self.take(found)
            else:
                self.take_elements(found)

    def take(self, payload: bytes) -> None:
        """Add an event whose text has been checked, or raise."""
        reader = self._reader
        if len(payload) > reader.max_event_bytes:
            raise _too_large(reader.max_event_bytes)
        event = check(payload)
        self._authorise(event)
        self.entries.append(reader.mapper.entry(event, payload, self._now_ms))

    def take_converted(self, event: bytes | InvalidEventError) -> None:
        """Add an event that a webhook became, or raise; `event` may be why it became none."""
        if isinstance(event, InvalidEventError):
            raise event
        check_text(event)
        self.take(event)

    def take_converted_one(self, event: bytes | InvalidEventError) -> None:
        """The same for one among others: a bad one is rejected by its index."""
        try:
            self.take_converted(event)
        except (InvalidEventError, MalformedError, TooLargeError, ForbiddenSourceError) as error:
            self._reject(error)
        else:
            self.index += 1

    def take_elements(self, elements: Sequence[bytes]) -> None:
        """Add those of an array that are valid."""
        self._take_each(elements)

    def take_lines(self, lines: Sequence[Line]) -> None:
        """Add those of these lines that are valid."""
        self._take_each(lines)

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

    def meter(self) -> None:
        """Take its events from what the sender may send; all of them, or the request is refused."""
        quota = self.terms.quota
        if quota is None or self.error is not None or not self.entries:
            return
        seconds = quota(len(self.entries))
        if seconds:
            self.error = LimitedError(max(1, math.ceil(seconds)))

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
        if isinstance(error, (SpoolError, RepeatedError)):
            return {}
        if error is not None and not isinstance(error, (AllRejectedError, LimitedError, UnavailableError)):
            return {(door, "invalid"): 1}
        if not self.entries and not self.total:
            return {(door, "invalid"): 1}
        taken = (
            "accepted" if error is None else "limited" if isinstance(error, LimitedError) else "unavailable"
        )
        return {
            (door, taken): len(self.entries),
            (door, "invalid"): self.total - self.forbidden,
            (door, "unauthorized"): self.forbidden,
        }

    def receipt(self) -> Receipt:
        if len(self.entries) == 1 and not self.total:
            return ACCEPTED
        more = self.total if self.total > len(self.rejected) else 0
        return Receipt(len(self.entries), tuple(self.rejected), more)

    def _take_each(self, payloads: Sequence[Line]) -> None:
        """At once what is in order, with care what is not."""
        position = 0
        while position < len(payloads):
            taken = self._take_from(position, payloads)
            self.index += taken - position
            if taken < len(payloads):
                self._take_one(payloads[taken])
            position = taken + 1

    def _take_from(self, position: int, payloads: Sequence[Line]) -> int:
        """Add those that are in order from a position on; returns the first that is not."""
        reader = self._reader
        if reader.taker is None:
            return position
        most, allows = reader.max_event_bytes, self.terms.allows
        return reader.taker.each(payloads, position, most, self._now_ms, allows, self.entries)

    def _take_one(self, payload: Line) -> None:
        try:
            if isinstance(payload, Overlong):
                raise _too_large(self._reader.max_event_bytes)
            self.take_line(payload)
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
