"""What the configuration makes of an event: its entry at the doors, its route at the delivery."""

import msgspec
import pytest

from mcp_ilert.config import Mapping, Match, RouteSettings, Secret, Settings
from mcp_ilert.errors import InvalidEventError
from mcp_ilert.events import DROP, Entry, Event, Kind, Severity
from mcp_ilert.mapping import Mapper, Route, glob_matcher

EVENT = Event("m-1", "web-1", "x", priority=1, tags=("a",), labels={"team": "red"})


def mapper(*routes, **mapping):
    return Mapper(Settings(mapping=Mapping(**mapping), routes=routes))


def key(template, event=EVENT):
    return mapper(alert_key=template).entry(event, b"{}", 0).key


def test_an_entry_is_what_the_spool_takes():
    assert mapper().entry(EVENT, b"payload", 5) == Entry(
        5, Kind.ALERT, Severity.CRITICAL, "default", "m-1", b"payload"
    )


@pytest.mark.parametrize(
    ("status", "kind"), [("firing", Kind.ALERT), ("acknowledged", Kind.ACCEPT), ("resolved", Kind.RESOLVE)]
)
def test_the_status_is_the_kind(status, kind):
    assert mapper().entry(msgspec.structs.replace(EVENT, status=status), b"", 0).kind is kind


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"priority": 1}, Severity.CRITICAL),
        ({"priority": 4}, Severity.LOW),
        ({"priority": 99}, Severity.HIGH),
        ({"priority": None}, Severity.HIGH),
        ({"priority": 4, "severity": "critical"}, Severity.CRITICAL),
        ({"priority": 4, "severity": "warning"}, Severity.MEDIUM),
        ({"priority": 4, "severity": "unheard"}, Severity.LOW),
    ],
)
def test_severity_comes_from_the_priority_or_a_dialects_word(fields, severity):
    assert mapper().severity(msgspec.structs.replace(EVENT, **fields)) is severity


def test_the_first_route_that_matches_gives_the_target():
    routes = (
        RouteSettings(name="lab", match=Match(source="lab-*"), drop=True),
        RouteSettings(match=Match(labels={"team": "red"}), routing_key="red", labels={"a": "b"}),
        RouteSettings(name="db", match=Match(severity=("low",)), webhook_key=Secret("k")),
        RouteSettings(name="calls", match=Match(tags=("a", "b")), target="incident"),
    )
    found = mapper(*routes)
    red = Route(None, "default", "red", {"a": "b"})
    assert found.route(EVENT) == red
    assert found.entry(EVENT, b"", 0).target == "default"
    plain = msgspec.structs.replace(EVENT, labels={})
    assert found.route(plain) == Route()
    assert found.route(msgspec.structs.replace(plain, priority=4)).target == "db"
    assert found.route(msgspec.structs.replace(plain, tags=("b", "a"))).target == "default-incident"
    dropped = msgspec.structs.replace(EVENT, source="lab-7")
    assert found.route(dropped).drop
    assert found.entry(dropped, b"", 0).target == DROP


def test_a_name_without_a_key_of_its_own_is_no_target():
    assert mapper(RouteSettings(name="web")).entry(EVENT, b"", 0).target == "default"


@pytest.mark.parametrize(
    ("glob", "source", "matches"),
    [
        ("web-*", "web-1", True),
        ("web-*", "WEB-1", False),
        ("web-?", "web-12", False),
        ("*1", "a\nb1", True),
        ("[!w]*", "web", False),
        ("a.c", "abc", False),
    ],
)
def test_globs_are_case_sensitive_and_whole(glob, source, matches):
    assert (glob_matcher(glob)(source) is not None) is matches


def test_a_glob_full_of_stars_is_quick():
    assert glob_matcher("*a" * 100 + "b")("a" * 255) is None


def test_keys_come_from_the_template_and_are_trimmed():
    assert key("{mcp_id}") == "m-1"
    assert key(" {source}/{labels.team} ") == "web-1/red"
    assert key("{severity}-{priority}") == "critical-1"
    assert key("{mcp_id}", msgspec.structs.replace(EVENT, mcp_id=" \u3000x\t")) == "x"


def test_a_field_that_the_event_lacks_gives_mcp_id_and_is_counted():
    found = mapper(alert_key="{source}/{labels.absent}")
    assert found.entry(EVENT, b"", 0).key == "m-1"
    assert found.entry(EVENT, b"", 0).key == "m-1"
    assert found.key_fallbacks == 2


@pytest.mark.parametrize("template", ["{mcp_id}", "{labels.absent}", "{labels.blank}"])
def test_a_key_that_is_empty_once_trimmed_is_refused(template):
    event = msgspec.structs.replace(EVENT, mcp_id=" ", labels={"blank": "\t"})
    with pytest.raises(InvalidEventError, match="alert key"):
        key(template, event)
