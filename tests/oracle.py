"""What producers said beside what reached iLert: nothing lost, nothing invented, nothing out of order. Pure.

Each event bears a number that grows over all producers, and each alert key belongs to one producer, so the order of
a key's events is known. An event that was answered 202 was taken; one that was answered otherwise was not; one that
was cut off may have been taken or not, and what it would do to its key is then uncertain.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

Fate = Literal["answered", "unknown", "refused"]
Standing = Literal["closed", "open", "accepted"]
"""An alert key at iLert."""
EVENT_TYPE = {"firing": "ALERT", "acknowledged": "ACCEPT", "resolved": "RESOLVE"}
DIGEST = "mcp-digest/"
ALONE_FROM = 2
"""Events of this priority, or a more urgent one, are never put into a digest."""


@dataclass
class Word:
    """One event that was sent to the bridge."""

    number: int
    key: str
    target: str
    status: str
    priority: int
    summary: str
    fate: Fate = "unknown"


class Arrival(msgspec.Struct, frozen=True):
    """One request at iLert."""

    request: int
    life: int
    """Of which process of the bridge, from 1."""
    target: str
    kind: str
    key: str
    number: int | None
    """Of the event, as the producer gave it; a digest has none."""
    summary: str
    details: str = ""
    applied: bool = True
    sure: bool = True
    """Whether the bridge surely got its 2xx, if it lived."""


class Letter(msgspec.Struct, frozen=True):
    """A dead letter that something newer has passed: it stays one, and its key stands as if it had not come."""

    kind: str
    number: int


class Place(msgspec.Struct, frozen=True):
    """Where a key stands in the end."""

    at_ilert: Standing = "closed"
    digested: bool = False
    """In a digest that stands open at iLert."""
    letters: tuple[Letter, ...] = ()


class History:
    """All that was said and all that arrived."""

    def __init__(self) -> None:
        self.words: dict[str, list[Word]] = {}
        self.arrivals: list[Arrival] = []
        self.killed: set[int] = set()
        """Lives that were ended by SIGKILL."""
        self.gave_up: set[tuple[int, str]] = set()
        """Lives and keys of requests of which the bridge itself says that it did not get the answer."""
        self.by_number: dict[int, Word] = {}
        self.fates: Counter[str] = Counter()

    def say(self, words: Iterable[Word]) -> None:
        """These are on their way; what is not answered stays unknown."""
        for word in words:
            self.words.setdefault(word.key, []).append(word)
            self.by_number[word.number] = word
            self.fates[word.fate] += 1

    def answer(self, words: Iterable[Word], fate: Fate) -> None:
        """They were answered so."""
        for word in words:
            self.fates[word.fate] -= 1
            word.fate = fate
            self.fates[fate] += 1

    @property
    def maybe_taken(self) -> int:
        """At most so many events were taken; at least those answered."""
        return self.fates["answered"] + self.fates["unknown"]


# What a key may be ------------------------------------------------------------------------------------------------


class May(msgspec.Struct, frozen=True):
    """One thing that a key may be."""

    standing: Standing = "closed"
    alone: bool = False
    """Something in it is too urgent for a digest."""


def after(may: May, word: Word) -> May:
    """What becomes of it by this event."""
    if word.status == "resolved":
        return May()
    if word.status == "acknowledged":
        return may if may.standing == "closed" else May("accepted", may.alone)
    alone = may.alone or word.priority <= ALONE_FROM
    return May("open" if may.standing == "closed" else may.standing, alone)


def allowed(words: Iterable[Word], letters: tuple[Letter, ...] = ()) -> frozenset[May]:
    """All that a key may be after these events."""
    states = frozenset({May()})
    for word in words:
        if word.fate == "refused":
            continue
        said = frozenset(after(state, word) for state in states)
        states = said if word.fate == "answered" and not _set_aside(word, letters) else states | said
    return states


def _set_aside(word: Word, letters: tuple[Letter, ...]) -> bool:
    return any(x.kind == EVENT_TYPE[word.status] and word.number <= x.number for x in letters)


def stands_right(words: list[Word], place: Place) -> bool:
    """Whether the key stands as what was said of it allows."""
    states = allowed(words, place.letters)
    if place.digested:
        return place.at_ilert == "closed" and any(s.standing != "closed" and not s.alone for s in states)
    return place.at_ilert in {state.standing for state in states}


# The verdict --------------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What is wrong, in words, and how often iLert got the same twice."""

    losses: list[str] = field(default_factory=list)
    inventions: list[str] = field(default_factory=list)
    inversions: list[str] = field(default_factory=list)
    repeats_unexplained: list[str] = field(default_factory=list)
    """An operation that was applied again though its first 2xx surely came and no kill was in between."""
    repeats_after_fault: int = 0
    """Rightful: the outcome was unknown."""
    repeats_by_kill: Counter[int] = field(default_factory=Counter)
    """Rightful too, by life: answered, and killed before that was on disk."""

    @property
    def wrong(self) -> list[str]:
        return [*self.losses, *self.inventions, *self.inversions, *self.repeats_unexplained]


def judge(history: History, places: Mapping[str, Place]) -> Verdict:
    """Judge all that happened; `places` has every key that is to be reckoned."""
    verdict = Verdict()
    verdict.losses = list(losses(history, places))
    verdict.inventions = [text for a in history.arrivals if (text := invention(history, a))]
    verdict.inversions = list(inversions(history.arrivals))
    _count_repeats(history, verdict)
    return verdict


def losses(history: History, places: Mapping[str, Place]) -> Iterator[str]:
    """Keys that do not stand as their answered events say, or whose last alert never reached iLert."""
    newest: dict[str, int] = {}
    for arrival in history.arrivals:
        if arrival.applied and arrival.kind == "ALERT" and arrival.number is not None:
            newest[arrival.key] = max(newest.get(arrival.key, 0), arrival.number)
    for key, place in places.items():
        words = history.words[key]
        if not stands_right(words, place):
            yield f"{key} stands as {place}, its events were {words[-4:]}"
        elif _must_be_shown(words[-1], place) and newest.get(key) != words[-1].number:
            yield f"{key} is open with the text of {newest.get(key)}, its newest event was {words[-1]}"


def _must_be_shown(last: Word, place: Place) -> bool:
    """Whether the alert that stands at iLert must have this event's text: nothing uncertain came later."""
    return last.fate == "answered" and last.status == "firing" and not place.digested and not place.letters


def invention(history: History, arrival: Arrival) -> str:
    """What of a request was never said by a producer; empty where all was."""
    if arrival.key.startswith(DIGEST):
        return _invented_digest(history, arrival)
    word = history.by_number.get(arrival.number or 0)
    if word is None or word.fate == "refused":
        return f"nobody's event, or one that was refused: {arrival}"
    said = (word.key, word.target, EVENT_TYPE[word.status], word.summary)
    came = (arrival.key, arrival.target, arrival.kind, arrival.summary)
    return "" if said == came else f"{came} arrived, said was {said}"


def _invented_digest(history: History, arrival: Arrival) -> str:
    """A digest names summaries; each must have been said, in this target and not too urgently."""
    for line in arrival.details.splitlines():
        if line.startswith("- "):
            number = int(line.rsplit(" ", 1)[1])
            word = history.by_number.get(number)
            told = line.partition(": ")[2]
            if word is None or word.summary != told or word.priority <= ALONE_FROM:
                return f"a digest says {told!r}"
    return ""


def inversions(arrivals: Iterable[Arrival]) -> Iterator[str]:
    """Operations applied behind something newer of their lane.

    An accept may rightly go behind a newer alert that was folded into one that waited before it. What a killed process
    had already written may be read after its successor's requests: no sender could help that.
    """
    life = 0
    highest: dict[tuple[str, str], dict[str, int]] = {}
    for arrival in arrivals:
        life = max(life, arrival.life)
        if not arrival.applied or arrival.number is None or arrival.life < life:
            continue
        before = highest.setdefault((arrival.target, arrival.key), {})
        bars = {kind: n for kind, n in before.items() if (arrival.kind, kind) != ("ACCEPT", "ALERT")}
        if max(bars.values(), default=0) > arrival.number:
            yield f"{arrival} came behind {bars}"
        before[arrival.kind] = max(before.get(arrival.kind, 0), arrival.number)


def _count_repeats(history: History, verdict: Verdict) -> None:
    last: dict[tuple[str, str, str, int], Arrival] = {}
    for arrival in history.arrivals:
        if not arrival.applied or arrival.number is None:
            continue
        name = (arrival.target, arrival.key, arrival.kind, arrival.number)
        before = last.get(name)
        last[name] = arrival
        if before is None:
            continue
        if not before.sure or (before.life, before.key) in history.gave_up:
            verdict.repeats_after_fault += 1
        elif before.life != arrival.life and (dead := min(before.life, arrival.life)) in history.killed:
            verdict.repeats_by_kill[dead] += 1
        else:
            verdict.repeats_unexplained.append(f"{before} came again as {arrival}")
