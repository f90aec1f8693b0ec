"""The requests of one round: what of them is offered to the spool, and what is answered to each."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mcp_ilert.errors import McpIlertError, SpoolError
from mcp_ilert.events import Entry
from mcp_ilert.intake.reading import Request
from mcp_ilert.intake.values import ACCEPTED, Answer, Terms

Entries = Sequence[Entry]


class Round:
    """Requests in their order. A single event that is in order costs no object of its own."""

    def __init__(self) -> None:
        self.puts: list[Entries] = []
        """What is offered, of one request each."""
        self.committed: Sequence[Entries] = ()
        """Of these, once they are answered, those that were kept."""
        self._answers: list[Answer] = []
        self._places: list[int] = []
        """Which request each put is of."""
        self._doors: list[str] = []
        """Of the single events."""
        self._singles: list[int] = []
        """Which requests they are."""
        self._requests: list[tuple[int, Request]] = []
        """The others."""

    def add_single(self, entry: Entry, terms: Terms) -> None:
        """A request that is one event."""
        place = len(self._answers)
        self._places.append(place)
        self._singles.append(place)
        self._doors.append(terms.door)
        self.puts.append((entry,))
        self._answers.append(ACCEPTED)

    def add(self, request: Request) -> None:
        """Any other request that has been read."""
        place = len(self._answers)
        self._requests.append((place, request))
        if request.offers():
            self._places.append(place)
            self.puts.append(request.entries)
        self._answers.append(ACCEPTED)

    def answer(self, errors: Sequence[McpIlertError | None]) -> Sequence[Answer]:
        """The answers, with what the spool said to each put."""
        self.committed = self.puts
        if any(errors):
            pairs = zip(self.puts, errors, strict=True)
            self.committed = [entries for entries, error in pairs if error is None]
            for place, error in zip(self._places, errors, strict=True):
                self._answers[place] = error or ACCEPTED
        for place, request in self._requests:
            given = self._answers[place]
            if isinstance(given, McpIlertError):
                request.error = given
            self._answers[place] = request.error or request.receipt()
        return self._answers

    def results(self) -> Mapping[tuple[str, str], int]:
        """Events by door and result, as `mcp_in_events_total` counts them; once they are answered."""
        doors = self._doors
        whole = len(self.committed) == len(self.puts) and not self._requests
        if whole and doors and doors.count(doors[0]) == len(doors):
            return {(doors[0], "accepted"): len(doors)}
        found = Counter(
            (door, result)
            for door, place in zip(doors, self._singles, strict=True)
            if (result := _result(self._answers[place]))
        )
        for _, request in self._requests:
            found.update(request.results())
        return found


def _result(answer: Answer) -> str:
    """What an event that was offered is counted as; "" where the fault is ours."""
    if answer is ACCEPTED:
        return "accepted"
    return "" if isinstance(answer, SpoolError) else "unavailable"
