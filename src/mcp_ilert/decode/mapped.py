"""A body by JMESPath expressions: `each` finds the events in it, one expression finds each of their fields.

The expressions are the operator's, the body is anybody's. So evaluating them is counted in steps (visits of the
syntax tree), which is what a body can multiply; and whatever a function makes of a value that nobody expected is
an error of that event. An expression's own cost without a body is the operator's to choose.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from mcp_ilert.config import parse_expression
from mcp_ilert.decode import values
from mcp_ilert.decode.converted import MOST_EVENTS, event_text
from mcp_ilert.decode.native import malformed
from mcp_ilert.decode.text import check_text, refuse_nul
from mcp_ilert.errors import InvalidEventError, MalformedError, TooLargeError

STEPS_EACH: Final = 100_000
"""Of the expression `each`."""
STEPS_EVENT: Final = 20_000
"""Of one event's expressions together."""
STEPS_BODY: Final = 500_000
"""Of all together."""
MOST_GLUE: Final = 100_000

Open = Callable[[bytes], Any]
"""From a body to what expressions are evaluated on; SILENT where it says nothing that is to be reported."""
SILENT: Final = object()


class TooManySteps(Exception):  # noqa: N818 - a signal, caught here
    """An evaluation would go on for too long."""


class Steps:
    """How many are left."""

    def __init__(self, most: int) -> None:
        self.left = most


class BoundedFunctions(Functions):  # type: ignore[misc]  # the library is not typed
    """JMESPath's functions. `join` alone multiplies what a body holds: a long text by the length of a list."""

    @signature({"types": ["string"]}, {"types": ["array-string"]})  # type: ignore[untyped-decorator]  # likewise
    def _func_join(self, glue: str, items: list[str]) -> str:
        if len(glue) * len(items) > MOST_GLUE:
            raise ValueError(f"join() would take more than {MOST_GLUE} characters of what stands between")
        return glue.join(items)


class Counting(TreeInterpreter):  # type: ignore[misc]  # likewise
    """jmespath's interpreter; each visit is a step."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(Options(custom_functions=FUNCTIONS))
        self._steps = steps

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._steps.left -= 1
        if self._steps.left < 0:
            raise TooManySteps
        return super().visit(node, *args, **kwargs)


FUNCTIONS: Final = BoundedFunctions()


def read_json(body: bytes) -> Any:
    """The body as plain values. Raises MalformedError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


class Mapped:
    """The dialect of one webhook. `name` is the source of events whose expression for it gives nothing."""

    def __init__(
        self, name: str, event: Mapping[str, str], each: str | None = None, *, read: Open = read_json
    ) -> None:
        self.many = each is not None
        self._name = name
        self._fields = {field: parse_expression(text) for field, text in event.items()}
        self._each = None if each is None else parse_expression(each)
        self._read = read

    def convert(self, body: bytes) -> Iterator[bytes | InvalidEventError]:
        """The body's events, each with the mark, or why one is none. Raises where the body cannot be used."""
        check_text(body)
        refuse_nul(body)
        value = self._read(body)
        if value is SILENT:
            return
        left = Steps(STEPS_BODY)
        for item in self._items(value, left):
            try:
                yield self._event(item, left)
            except (InvalidEventError, MalformedError) as error:
                yield InvalidEventError(error.detail)

    def _items(self, value: Any, left: Steps) -> list[Any]:
        if self._each is None:
            return [value]
        with _part_of(left, STEPS_EACH) as steps:
            found = _evaluated("each", self._each, value, steps)
        if not isinstance(found, list):
            raise InvalidEventError("the webhook's expression `each` gives no array")
        if len(found) > MOST_EVENTS:
            raise TooLargeError(f"the webhook's expression `each` gives more than {MOST_EVENTS} events")
        return found

    def _event(self, item: Any, left: Steps) -> bytes:
        with _part_of(left, STEPS_EVENT) as steps:
            found = {field: _evaluated(field, tree, item, steps) for field, tree in self._fields.items()}
        return self._text(found)

    def _text(self, found: dict[str, Any]) -> bytes:
        def take(field: str) -> Any:
            """False is what `a && b` gives where there is nothing."""
            value = found.pop(field, None)
            return None if value is False else value

        time = take("timestamp")
        timestamp = values.timestamp(time)
        if timestamp is None and time is not None:
            found["event_timestamp"] = time  # not RFC 3339: kept as it is
        return event_text(
            _needed("mcp_id", take("mcp_id")),
            values.text("source", take("source")) or self._name,
            _needed("summary", take("summary")),
            status=values.status(take("status")),
            severity=values.text("severity", take("severity")),
            priority=values.priority(take("priority")),
            details=values.details(take("details")),
            tags=values.tags(take("tags")),
            timestamp=timestamp,
            links=values.links(take("links")),
            labels=values.labels(take("labels")),
            extra={name: value for name, value in found.items() if value not in (None, "")},
        )


def _needed(name: str, value: Any) -> str:
    text = values.text(name, value)
    if text is None:
        raise InvalidEventError(f"$.{name}: the webhook's expression gives nothing")
    return text


def _evaluated(name: str, tree: dict[str, Any], value: Any, steps: Steps) -> Any:
    try:
        found = Counting(steps).visit(tree, value)
        msgspec.json.encode(found)  # an expression alone (&a) is no value
    except TooManySteps:
        raise InvalidEventError(
            f"$.{name}: the webhook's expression takes too many steps on this body"
        ) from None
    except Exception as error:  # noqa: BLE001 - jmespath's functions raise whatever Python does with odd values
        raise InvalidEventError(
            f"$.{name}: the webhook's expression cannot be evaluated: {_said(error)}"
        ) from None
    return found


@contextmanager
def _part_of(left: Steps, most: int) -> Iterator[Steps]:
    """So many steps at most, which are taken from those that are left."""
    steps = Steps(min(most, left.left))
    began = steps.left
    try:
        yield steps
    finally:
        left.left -= began - max(0, steps.left)


def _said(error: Exception) -> str:
    """The error's first line; values within it may be large."""
    return " ".join(str(error).split("\n", 1)[0].split())[:160] or type(error).__name__
