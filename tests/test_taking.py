"""The short way of an event that is in order: it makes of an event what the long way does, or leaves it to that."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from doors import BODY, event
from fast import load_fast
from mcp_ilert.config import Mapping, Match, RouteSettings, Settings
from mcp_ilert.decode.native import DECODE, check
from mcp_ilert.decode.text import check_text, is_sound
from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Entry
from mcp_ilert.mapping import Mapper

MOST = 2_000
SETTINGS = (
    Settings(),
    Settings(mapping=Mapping(alert_key="{source}/{labels.host}/{priority}")),
    Settings(
        routes=(
            RouteSettings(name="low", match=Match(severity=("low",)), drop=True),
            RouteSettings(match=Match(source="web*", tags=("a",)), target="incident"),
        )
    ),
)


@pytest.fixture(scope="module", params=["compiled", "pure"])
def taking(request):
    return load_fast("taking", pure=request.param == "pure")


def takers(taking):
    for settings in SETTINGS:
        mapper = Mapper(settings)
        own = mapper.taker(DECODE, is_sound)
        assert own is not None
        yield mapper, taking.Taker(own.table, DECODE, is_sound, own.targets, own.plain_key)


def with_care(mapper, payload):
    try:
        check_text(payload)
        if len(payload) > MOST or not payload.startswith(b"{"):
            return None
        return mapper.entry(check(payload), payload, 7)
    except McpIlertError:
        return None


texts = st.text(max_size=6) | st.sampled_from(["web-1", "a", " ", "é", "\x00", "\ud800", "x" * 300])
times = st.from_regex(
    r"20[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,3})?"
    r"(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
    fullmatch=True,
)
values = st.none() | st.integers(-3, 6) | st.floats(allow_nan=False) | texts | st.lists(texts, max_size=3)
fields = st.fixed_dictionaries(
    {"mcp_id": texts, "source": texts, "summary": texts},
    optional={
        "priority": values,
        "details": values | st.dictionaries(texts, values, max_size=2),
        "tags": st.lists(texts, max_size=3) | values,
        "status": st.sampled_from(["firing", "acknowledged", "resolved", "x", None]),
        "timestamp": times | values,
        "labels": st.dictionaries(st.sampled_from(["host", "x"]), texts, max_size=2) | values,
        "links": st.lists(st.dictionaries(st.sampled_from(["href", "text", "z"]), texts), max_size=2),
        "other": values,
    },
)


def encoded(drawn):
    event, escaped = drawn
    return json.dumps(event, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


bodies = st.tuples(fields, st.booleans()).map(encoded)


@given(bodies | st.binary(max_size=20))
@example(BODY)
@example(b'{"mcp_id":"a","source":"b","summary":"c","x":"\\u0000"}')
@example(b'{"mcp_id":"a","source":"b","summary":"c","x":' + b"[" * 64 + b"]" * 64 + b"}")
@example(b'{"mcp_id":"a","source":"b","summary":"c","x":"\xff"}')
@example(b'{"mcp_id":5,"mcp_id":"a","source":"b","summary":"c"}')
@example(b'{"mcp_id":"a","source":"b","summary":"c","details":5}')
def test_what_is_taken_at_once_is_what_care_makes_of_it(taking, payload):
    for mapper, taker in takers(taking):
        taken = taker.take(payload, MOST, 7, None)
        assert taken is None or taken == with_care(mapper, payload)


@pytest.mark.parametrize(
    "payload",
    [
        BODY,
        event(summary="Fehler: \u00e9", details={"a": [1, 2]}),
        event(details=None, status="resolved", tags=[], labels={"host": "h"}, priority=None),
        event(timestamp="2026-01-31T23:59:59Z"),
        event(timestamp="2026-06-30T23:59:59.123456+01:30", links=[{"href": "https://x"}]),
    ],
)
def test_what_is_usual_is_taken_at_once(taking, payload):
    mapper, taker = next(takers(taking))
    assert taker.take(payload, MOST, 7, None) == with_care(mapper, payload)
    assert taker.take(payload, MOST, 7, "other".__eq__) is None


def test_of_many_those_before_the_first_that_needs_care_are_taken(taking):
    _, taker = next(takers(taking))
    entries: list[Entry] = []
    payloads = [BODY, BODY, b"{}", BODY, object()]
    assert taker.each(payloads, 0, MOST, 7, None, entries) == 2
    assert taker.each(payloads, 3, MOST, 7, None, entries) == 4
    assert taker.each(payloads, 5, MOST, 7, None, entries) == 5
    assert [entry.payload for entry in entries] == [BODY] * 3


def test_a_key_of_what_is_not_decoded_at_once_is_always_found_with_care():
    assert Mapper(Settings(mapping=Mapping(alert_key="{severity}"))).taker(DECODE, is_sound) is None
