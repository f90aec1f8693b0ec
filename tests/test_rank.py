"""The rota: whose turn a target's next token is."""

from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.spool.rank import CRITICAL_RUN, NEWEST_EVERY, OLDEST_EVERY, Pick, Turns, pick

WAITS = st.lists(st.booleans(), max_size=80)


def rota(waits: list[bool], turns: Turns | None = None) -> list[Pick]:
    picks, turns = [], turns or Turns()
    for critical_waits in waits:
        kind, turns = pick(turns, critical_waits=critical_waits)
        picks.append(kind)
    return picks


@given(WAITS)
def test_a_critical_lane_that_appears_takes_the_next_token(before: list[bool]) -> None:
    assert rota([*before, False, True])[-1] is Pick.CRITICAL


@given(WAITS)
def test_critical_lanes_that_wait_lose_at_most_one_token_in_ten(before: list[bool]) -> None:
    picks = rota([*before, *[True] * 40])[len(before) :]
    for start in range(len(picks) - CRITICAL_RUN):
        window = picks[start : start + CRITICAL_RUN + 1]
        assert sum(kind is not Pick.CRITICAL for kind in window) <= 1


@given(WAITS)
def test_without_critical_lanes_every_tenth_token_is_for_the_oldest_and_every_fifth_for_the_newest(
    before: list[bool],
) -> None:
    picks = rota([*before, *[False] * (4 * OLDEST_EVERY + 1)])[len(before) :]
    assert picks.count(Pick.OLDEST) >= 4
    assert picks.count(Pick.NEWEST) >= 4 * OLDEST_EVERY // NEWEST_EVERY
    assert picks.count(Pick.DEADLINE) >= len(picks) // 2


def test_what_others_are_owed_is_put_off_and_not_forgotten() -> None:
    picks = rota([True] * 9 + [False, False])
    assert picks == [Pick.CRITICAL] * 9 + [Pick.OLDEST, Pick.NEWEST]


def test_while_no_place_is_free_for_others_what_they_are_owed_stays_owed() -> None:
    kind, turns = pick(Turns(tokens=OLDEST_EVERY - 1), critical_waits=False, only_critical=True)
    assert kind is Pick.CRITICAL
    assert pick(turns, critical_waits=False)[0] is Pick.OLDEST


@given(WAITS)
def test_the_rota_never_gives_a_critical_token_where_none_waits(waits: list[bool]) -> None:
    assert all(kind is not Pick.CRITICAL or w for kind, w in zip(rota(waits), waits, strict=True))
