"""The compiled table and its plain twin: severity, first matching rule, alert key."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast import load_fast
from mcp_ilert.events import Event
from mcp_ilert.mapping import glob_matcher


@pytest.fixture(scope="module", params=["compiled", "pure"])
def module(request):
    return load_fast("mapping", pure=request.param == "pure")


def table(module, rules=(), parts=((1, "mcp_id"),)):
    return module.Table({1: 1, 4: 4, -7: 2}, 2, {"page": 1, "low": 4}, tuple(parts), list(rules))


def rule(module, literal=None, pattern=None, tags=(), severities=0, labels=()):
    return module.Rule(literal, pattern, tuple(tags), severities, tuple(labels))


@pytest.mark.parametrize(
    ("priority", "word", "severity"),
    [
        (1, None, 1),
        (4, None, 4),
        (-7, None, 2),
        (2, None, 2),
        (2**63 - 1, None, 2),
        (None, None, 2),
        (4, "page", 1),
        (4, "unheard", 4),
        (None, "low", 4),
        (None, "unheard", 2),
    ],
)
def test_severity_is_by_word_then_priority_then_default(module, priority, word, severity):
    assert table(module).severity(priority, word) == severity


def test_without_rules_nothing_matches(module):
    assert table(module).first("s", ("t",), 1, {}) == -1


def test_a_rule_without_conditions_matches_all(module):
    assert table(module, [rule(module)]).first("s", (), 3, {}) == 0


def test_the_first_match_wins(module):
    rules = [rule(module, literal="x"), rule(module, tags=["a"]), rule(module)]
    assert table(module, rules).first("s", ("b", "a"), 1, {}) == 1
    assert table(module, rules).first("s", ("b",), 1, {}) == 2


sources = st.sampled_from(["", "web", "web-1", "WEB-1", "db", "a\nb"])
globs = st.sampled_from(["web*", "*", "?b", "[wd]*", "web-1"])
words = st.sampled_from(["a", "b", "c"])


@given(
    st.data(),
    sources,
    st.lists(words, max_size=3),
    st.integers(1, 4),
    st.dictionaries(words, words, max_size=2),
)
def test_rules_say_what_the_contract_says(module, data, source, tags, severity, labels):
    conditions = data.draw(
        st.lists(
            st.tuples(
                st.none() | globs,
                st.lists(words, max_size=2),
                st.frozensets(st.integers(1, 4), max_size=2),
                st.dictionaries(words, words, max_size=1),
            ),
            max_size=4,
        )
    )
    rules = [
        rule(module, None, glob and glob_matcher(glob), wanted, sum(1 << s for s in classes), pairs.items())
        for glob, wanted, classes, pairs in conditions
    ]
    expected = next(
        (
            index
            for index, (glob, wanted, classes, pairs) in enumerate(conditions)
            if (glob is None or fnmatch.fnmatchcase(source, glob))
            and set(wanted) <= set(tags)
            and (not classes or severity in classes)
            and pairs.items() <= labels.items()
        ),
        -1,
    )
    assert table(module, rules).first(source, tuple(tags), severity, labels) == expected


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ([(1, "mcp_id")], "m"),
        ([(1, "source"), (0, "/"), (1, "priority")], "s/3"),
        ([(2, "host"), (0, ":"), (2, "host")], "h:h"),
        ([(2, "absent"), (0, "x")], None),
        ([(1, "timestamp")], None),
        ([(1, "details")], "d"),
    ],
)
def test_a_key_is_what_its_template_says_or_nothing(module, parts, key):
    event = Event("m", "s", "x", priority=3, details="d", labels={"host": "h"})
    assert table(module, parts=parts).key(event) == key
