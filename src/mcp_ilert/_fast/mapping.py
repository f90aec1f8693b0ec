# cython: annotation_typing=False
"""An event's facts → severity, alert key, first matching rule: what every event passes at ingest.

The C types stand in mapping.pxd; compiled or not, this file behaves the same. A `Rule` that leaves a
condition out (None, empty, 0) takes whatever the event says there.
"""

from collections.abc import Callable

from mcp_ilert.events import Event

LITERAL = 0
FIELD = 1
LABEL = 2


class Rule:
    """The conditions of one route, all of which must hold. `severities` has bit n set for class n."""

    def __init__(
        self,
        literal: str | None,
        pattern: Callable[[str], object] | None,
        tags: tuple[str, ...],
        severities: int,
        labels: tuple[tuple[str, str], ...],
    ) -> None:
        self.literal = literal
        self.pattern = pattern
        self.tags = tags
        self.severities = severities
        self.labels = labels

    def matches(self, source: str, tags: tuple[str, ...], severity: int, labels: dict[str, str]) -> bool:
        """Whether an event with these facts meets all conditions."""
        if self.severities and not (self.severities >> severity) & 1:
            return False
        if self.literal is not None and self.literal != source:
            return False
        if self.pattern is not None and self.pattern(source) is None:
            return False
        for tag in self.tags:
            if tag not in tags:
                return False
        for name, value in self.labels:  # noqa: SIM110 - a generator costs more than this loop
            if labels.get(name) != value:
                return False
        return True


class Table:
    """The configuration of the mapping, ready to be asked for each event."""

    def __init__(
        self,
        priorities: dict[int, int],
        default: int,
        words: dict[str, int],
        parts: tuple[tuple[int, str], ...],
        rules: list[Rule],
    ) -> None:
        self.priorities = priorities
        self.default = default
        self.words = words
        self.parts = parts
        self.rules = rules

    def severity(self, priority: int | None, word: str | None) -> int:
        """The class by a dialect's word where it is known, else by the integer priority, else the default."""
        found = None
        if word is not None:
            found = self.words.get(word)
        if found is None and priority is not None:
            found = self.priorities.get(priority)
        return self.default if found is None else found

    def first(self, source: str, tags: tuple[str, ...], severity: int, labels: dict[str, str]) -> int:
        """The index of the first rule that matches, or -1."""
        index = 0
        for rule in self.rules:
            if rule.matches(source, tags, severity, labels):
                return index
            index += 1  # noqa: SIM113 - a C integer, once compiled
        return -1

    def key(self, event: Event) -> str | None:
        """The key by the template, not trimmed yet; None where the event lacks a field that it names.

        The event may be one as the doors decode it, in which labels may be None.
        """
        text = ""
        for kind, name in self.parts:
            if kind == LITERAL:
                text += name
                continue
            if kind == FIELD:
                value = _text(getattr(event, name))
            elif event.labels:
                value = event.labels.get(name)
            else:
                value = None
            if value is None:
                return None
            text += value
        return text


def _text(value: object) -> str | None:
    """A text or a number as text; None for what is neither."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else None
