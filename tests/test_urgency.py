"""What waits, the most urgent first, page by page: against a plain sort of what was put in."""

import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert.events import Severity
from mcp_ilert.spool.lane import State
from mcp_ilert.spool.port import Rules, Want, put
from mcp_ilert.spool.urgency import ALIVE, FIRST, Place, Wanted, place_of, written
from mcp_ilert.spool.view import SpoolView
from spools import T0, Clock, entry, opened

TARGETS = ("default", "other")
lanes = st.lists(
    st.tuples(st.sampled_from(Severity), st.integers(0, 4), st.sampled_from(TARGETS)), max_size=40
).map(lambda given: [(f"k{i}", *one) for i, one in enumerate(given)])


@settings(deadline=None, max_examples=30)
@given(
    lanes,
    st.integers(1, 7),
    st.none() | st.sampled_from(Severity),
    st.none() | st.sampled_from([*TARGETS, "none"]),
    st.integers(0, 3),
)
def test_pages_have_all_that_waits_in_its_order(
    given: list[tuple[str, Severity, int, str]],
    limit: int,
    severity: Severity | None,
    target: str | None,
    leased: int,
) -> None:
    trio.run(_paged, given, limit, Wanted(severity, target), leased)


async def _paged(
    given: list[tuple[str, Severity, int, str]], limit: int, wanted: Wanted, leased: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with opened("inline", Path(name), Rules(), Clock(T0 + 10)) as spool:
            for key, severity, at, target in given:
                await put(spool, [entry("A", key, at=T0 + at, severity=severity, target=target)])
            await spool.lease([Want("default", leased, leased)], {}, T0 + 10)
            found: list[str] = []
            ages: list[tuple[int, int]] = []
            with SpoolView(Path(name) / "spool.db", Clock(T0 + 10)) as view:
                after, page = FIRST, view.urgent(wanted, limit)
                while page:
                    assert len(page) <= limit
                    found += [lane.key for _, lane in page]
                    ages += [(place.severity, place.oldest_ms) for place, _ in page]
                    after = page[-1][0]
                    page = view.urgent(wanted, limit, place_of(written(after)) or FIRST)
    expected = [
        (severity, T0 + at, key)
        for key, severity, at, target in given
        if wanted.severity in {None, severity} and wanted.target in {None, target}
    ]
    assert sorted(found) == sorted(key for *_, key in expected)
    assert ages == sorted((severity, at) for severity, at, _ in expected)


@pytest.mark.parametrize(
    "text", ["", "1", "0-1-1", "5-1-1", "1-1", "1-1-1-1", "1-x-1", "1--1-1", " 1-1-1", "1-1-1\n"]
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert place_of(text) is None


def test_a_cursor_is_the_place_that_it_was_made_of() -> None:
    place = Place(Severity.LOW, T0, 12)
    assert place_of(written(place)) == place
    assert State.IDLE not in ALIVE
