"""The soak's judge, on made-up histories: each thing that can go wrong must be found, and nothing else."""

import msgspec
import pytest

from oracle import Arrival, Fate, History, Letter, Place, Word, judge

KINDS = {"ALERT": "firing", "ACCEPT": "acknowledged", "RESOLVE": "resolved"}


class Tale:
    """A history told step by step: what is said is taken unless told otherwise."""

    def __init__(self) -> None:
        self.history = History()
        self._number = 0

    def say(self, kind: str, key: str = "k", *, fate: Fate = "answered", priority: int = 1) -> int:
        self._number += 1
        number = self._number
        word = Word(number, key, "default", KINDS[kind], priority, f"{key} {number}")
        self.history.say([word])
        self.history.answer([word], fate)
        return number

    def arrive(self, number: int, /, **changes: object) -> None:
        word = self.history.by_number[number]
        kind = next(kind for kind, status in KINDS.items() if status == word.status)
        request = len(self.history.arrivals) + 1
        arrival = Arrival(request, 1, word.target, kind, word.key, number, word.summary)
        self.history.arrivals.append(msgspec.structs.replace(arrival, **changes))

    def wrong(self, place: Place | None = None) -> tuple[int, int, int, int]:
        """Losses, inventions, inversions, unexplained repeats."""
        verdict = judge(self.history, {"k": place or Place("open")})
        found = verdict.losses, verdict.inventions, verdict.inversions, verdict.repeats_unexplained
        return tuple(len(each) for each in found)  # type: ignore[return-value]


@pytest.fixture
def tale() -> Tale:
    """An alert that was said, arrived, and is open."""
    tale = Tale()
    tale.arrive(tale.say("ALERT"))
    return tale


def test_a_life_in_order_is_right(tale: Tale) -> None:
    assert tale.wrong() == (0, 0, 0, 0)
    tale.arrive(tale.say("ACCEPT"))
    assert tale.wrong(Place("accepted")) == (0, 0, 0, 0)
    tale.arrive(tale.say("RESOLVE"))
    assert tale.wrong(Place("closed")) == (0, 0, 0, 0)


def test_one_lost_alert_is_found() -> None:
    tale = Tale()
    tale.say("ALERT")
    assert tale.wrong(Place("closed")) == (1, 0, 0, 0)


@pytest.mark.parametrize("kind", ["ACCEPT", "RESOLVE"])
def test_one_lost_follow_up_is_found(tale: Tale, kind: str) -> None:
    tale.say(kind)
    assert tale.wrong(Place("open")) == (1, 0, 0, 0)


def test_one_lost_update_of_an_open_alert_is_found(tale: Tale) -> None:
    tale.say("ALERT")
    assert tale.wrong() == (1, 0, 0, 0)


def test_an_urgent_alert_that_only_a_digest_tells_is_a_loss(tale: Tale) -> None:
    tale.arrive(tale.say("RESOLVE"))
    tale.say("ALERT", priority=2)
    assert tale.wrong(Place(digested=True)) == (1, 0, 0, 0)


def test_a_lesser_alert_may_stand_in_a_digest(tale: Tale) -> None:
    tale.arrive(tale.say("RESOLVE"))
    tale.say("ALERT", priority=3)
    tale.say("ACCEPT")
    assert tale.wrong(Place(digested=True)) == (0, 0, 0, 0)
    tale.say("RESOLVE")
    assert tale.wrong(Place(digested=True)) == (1, 0, 0, 0)


def test_what_was_cut_off_may_have_been_taken_or_not(tale: Tale) -> None:
    tale.say("RESOLVE", fate="unknown")
    assert tale.wrong(Place("open")) == tale.wrong(Place("closed")) == (0, 0, 0, 0)


def test_what_was_refused_changes_nothing(tale: Tale) -> None:
    tale.say("RESOLVE", fate="refused")
    assert tale.wrong(Place("open")) == (0, 0, 0, 0)
    assert tale.wrong(Place("closed")) == (1, 0, 0, 0)


def test_a_dead_letter_that_was_passed_is_no_loss_and_excuses_nothing_newer(tale: Tale) -> None:
    dead = tale.say("RESOLVE")
    letters = (Letter("RESOLVE", dead),)
    assert tale.wrong(Place("open", letters=letters)) == (0, 0, 0, 0)
    tale.say("RESOLVE")
    assert tale.wrong(Place("open", letters=letters)) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 99},
        {"number": None},
        {"summary": "k 2"},
        {"key": "other"},
        {"target": "b"},
        {"kind": "RESOLVE"},
    ],
)
def test_one_invention_is_found(tale: Tale, change: dict[str, object]) -> None:
    tale.arrive(1, applied=False, **change)
    assert tale.wrong() == (0, 1, 0, 0)


def test_what_was_refused_and_arrives_is_an_invention(tale: Tale) -> None:
    tale.arrive(tale.say("ALERT", fate="refused"), applied=False)
    assert tale.wrong() == (0, 1, 0, 0)


def test_a_digest_may_say_only_what_was_said_and_is_not_urgent(tale: Tale) -> None:
    lesser = tale.say("ALERT", "low", priority=3)
    said = Arrival(
        2, 1, "default", "ALERT", "mcp-digest/x/1", None, "Storm digest", "1 alert\n- low, 1 alert: "
    )
    for text, invented in ((f"low {lesser}", 0), ("low 9", 1), ("k 1", 1)):
        tale.history.arrivals[1:] = [msgspec.structs.replace(said, details=said.details + text)]
        assert tale.wrong() == (0, invented, 0, 0), text


def test_one_inversion_is_found() -> None:
    tale = Tale()
    older, newer = tale.say("RESOLVE"), tale.say("ALERT")
    tale.arrive(newer)
    tale.arrive(older)
    assert tale.wrong() == (0, 0, 1, 0)


def test_an_accept_may_follow_an_alert_that_was_folded_into_an_older_one() -> None:
    tale = Tale()
    tale.say("ALERT")
    accept, newer = tale.say("ACCEPT"), tale.say("ALERT")
    tale.arrive(newer)
    tale.arrive(accept)
    assert tale.wrong(Place("accepted")) == (0, 0, 0, 0)
    tale.arrive(tale.say("RESOLVE"))
    tale.arrive(accept, sure=False)
    assert tale.wrong(Place("closed")) == (0, 0, 1, 1)


def test_one_repeat_without_a_reason_is_found(tale: Tale) -> None:
    tale.arrive(1)
    assert tale.wrong() == (0, 0, 0, 1)


def test_a_repeat_in_a_later_life_needs_a_kill(tale: Tale) -> None:
    tale.arrive(1, life=2)
    assert tale.wrong() == (0, 0, 0, 1)
    tale.history.killed.add(1)
    assert tale.wrong() == (0, 0, 0, 0)
    assert judge(tale.history, {}).repeats_by_kill == {1: 1}


def test_a_repeat_after_an_unknown_outcome_is_rightful() -> None:
    tale = Tale()
    tale.say("ALERT")
    tale.arrive(1, sure=False)
    tale.arrive(1)
    verdict = judge(tale.history, {"k": Place("open")})
    assert (verdict.wrong, verdict.repeats_after_fault) == ([], 1)


def test_what_was_not_applied_is_no_repeat(tale: Tale) -> None:
    tale.arrive(1, applied=False, life=2)
    assert tale.wrong() == (0, 0, 0, 0)


def test_a_repeat_is_rightful_where_the_bridge_itself_missed_the_answer(tale: Tale) -> None:
    tale.arrive(1)
    tale.history.gave_up.add((1, "k"))
    assert tale.wrong() == (0, 0, 0, 0)


def test_what_a_killed_process_had_written_may_be_read_late(tale: Tale) -> None:
    tale.history.killed.add(1)
    tale.history.arrivals.clear()
    tale.arrive(1, life=2)
    tale.arrive(tale.say("RESOLVE"), life=2)
    tale.arrive(1, life=1)
    assert tale.wrong(Place("closed")) == (0, 0, 0, 0)
    assert judge(tale.history, {}).repeats_by_kill == {1: 1}
