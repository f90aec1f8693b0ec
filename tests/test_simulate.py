"""What a simulation says of traffic: who is paged, when, and what becomes of the rest."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
import trio
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from mcp_ilert.config import (
    DeliverySettings,
    Ilert,
    Match,
    RateLimit,
    RouteSettings,
    Secret,
    Service,
    Settings,
    SpoolSettings,
    Storm,
)
from mcp_ilert.dispatch.track import Track
from mcp_ilert.errors import ConfigError
from mcp_ilert.simulation import (
    Outage,
    Report,
    Scenario,
    Setup,
    difference,
    load_scenario,
    simulate,
)
from mcp_ilert.simulation import run as simulation

PROMPT = Scenario(per_minute=None, latency_seconds=0.0)


def conf(per_minute: int = 50, **sections) -> Settings:
    return Settings(
        ilert=Ilert(webhook_key=Secret("a-true-key")), rate_limit=RateLimit(per_minute=per_minute), **sections
    )


def event(key: str, priority: int = 2, **fields) -> dict[str, object]:
    return {"mcp_id": key, "source": "probe-1", "summary": f"{key} fails", "priority": priority} | fields


def run(
    folder: Path,
    arrivals: Sequence[tuple[float | str, dict[str, object]]],
    settings: Settings | None = None,
    scenario: Scenario = PROMPT,
) -> Report:
    path = folder / "traffic.ndjson"
    path.write_text("".join(json.dumps({"at": at, "event": e}) + "\n" for at, e in arrivals))
    return simulate(Setup(settings or conf(), scenario), path)


def delays(report: Report) -> list[float]:
    return [round(page.delay, 3) for page in report.pages]


def test_a_lone_event_pages_at_once_and_its_delay_is_what_ilert_takes_to_answer(tmp_path):
    report = run(tmp_path, [(5, event("a"))], scenario=Scenario(latency_seconds=0.25))
    (page,) = report.pages
    assert (page.key, page.severity, page.delay, page.events, page.attempts) == ("a", "high", 0.25, 1, 1)
    assert report.conservation_error == 0
    assert report.counts.accepted == report.counts.delivered == 1


def test_beyond_the_burst_pages_come_at_the_pace_of_the_bucket(tmp_path):
    report = run(tmp_path, [(0, event(f"k{i}")) for i in range(6)], conf(20))  # 4 at once, then 16 a minute
    assert delays(report) == [0, 0, 0, 0, 3.75, 7.5]


def test_a_critical_event_in_a_storm_takes_the_next_token(tmp_path):
    alone = conf(20, delivery=DeliverySettings(storm=Storm(digest_below="low")))  # no digests
    storm = [(i / 10, event(f"k{i}", 3)) for i in range(300)]
    report = run(tmp_path, sorted([*storm, (10.05, event("fire", 1))], key=lambda a: a[0]), alone)
    assert report.waits["critical"].worst <= 3.75
    assert report.waits["medium"].worst > 60


def test_events_of_one_key_that_wait_together_are_one_page(tmp_path):
    burst = [(0, event(f"other-{i}")) for i in range(4)]
    storm = [(1 + i / 100, event("flap", n=i)) for i in range(200)]
    report = run(tmp_path, [*burst, *storm], conf(20))
    pages = [page for page in report.pages if page.key == "flap"]
    assert sum(page.events for page in pages) == 200
    assert len(pages) == 1
    assert report.counts.coalesced == 199


def test_an_alert_that_is_resolved_while_it_waits_pages_nobody(tmp_path):
    burst = [(0, event(f"k{i}")) for i in range(4)]
    report = run(tmp_path, [*burst, (1, event("gone")), (2, event("gone", status="resolved"))], conf(20))
    assert "gone" not in {page.key for page in report.pages}
    assert report.counts.cancelled == 2


def test_a_resolve_that_comes_during_the_request_is_sent_after_it(tmp_path):
    report = run(
        tmp_path, [(0, event("a")), (1, event("a", status="resolved"))], scenario=Scenario(latency_seconds=3)
    )
    assert (report.alerts, report.resolves, report.counts.cancelled) == (1, 1, 0)


def test_an_outage_shows_in_the_delay_and_loses_nothing(tmp_path):
    outage = Outage(kind="refused", begin=0, until=600)
    scenario = Scenario(per_minute=None, latency_seconds=0, outages=(outage,))
    report = run(tmp_path, [(10, event("a")), (700, event("b"))], scenario=scenario)
    (first, _second) = report.pages
    assert first.key == "a"
    assert first.delay >= 590
    assert report.requests.unavailable > 3
    assert report.counts.delivered == 2


def test_ilerts_own_limit_answers_429_and_slows_the_key_down(tmp_path):
    arrivals = [(i * 2, event(f"k{i}")) for i in range(60)]
    report = run(tmp_path, arrivals, conf(60), Scenario(per_minute=20, latency_seconds=0))
    assert report.throttled["default"] == report.requests.throttled > 0
    assert report.counts.delivered == 60


def test_each_target_has_the_limit_that_the_scenario_gives_it(tmp_path):
    db = RouteSettings(name="db", match=Match(source="db-*"), webhook_key=Secret("another-key"))
    arrivals = [(i, event(f"k{i}", source=f"{('db-1', 'web-1')[i % 2]}")) for i in range(120)]
    scenario = Scenario(per_minute=None, keys={"db": 5}, latency_seconds=0)
    report = run(tmp_path, arrivals, conf(120, routes=(db,)), scenario)
    assert report.throttled.keys() == {"db"}
    assert {page.target for page in report.pages} == {"db", "default"}


def test_an_event_that_ilert_rejects_becomes_a_dead_letter(tmp_path):
    scenario = Scenario(outages=(Outage(kind=400, key="bad*"),))
    report = run(tmp_path, [(0, event("bad-1")), (1, event("good"))], scenario=scenario)
    assert [page.key for page in report.pages] == ["good"]
    assert report.counts.dead == 1
    assert report.requests.rejected == 2


def test_an_invalid_event_is_named_by_its_line_and_harms_no_other(tmp_path):
    report = run(tmp_path, [(0, event("a")), (1, {"mcp_id": "x"}), (2, event("b"))])
    assert (report.events, report.invalid, report.alerts) == (3, 1, 2)
    assert report.problems == ("line 2: $.source: required, but missing",)


def test_what_finds_a_full_spool_is_told_apart(tmp_path):
    full = conf(1, spool=SpoolSettings(max_pending=3))
    report = run(tmp_path, [(i / 100, event(f"k{i}")) for i in range(10)], full)
    assert report.unavailable == 6
    assert report.counts.accepted == 4


def test_a_digests_pages_are_ours_and_counted_apart(tmp_path):
    alerts = [(0, event(f"k{i}", 1)) for i in range(5)] + [(0, event("lesser", 3)), (1, event("least", 4))]
    resolves = [(3600, event(key, status="resolved")) for key in ("lesser", "least")]
    report = run(tmp_path, [*alerts, *resolves], conf(1))
    assert (report.alerts, report.counts.delivered, report.counts.digested) == (5, 5, 4)
    assert (report.digest_alerts, report.digest_resolves) == (1, 1)
    assert [page.events for page in report.pages if page.digest] == [2]


def test_what_is_in_a_digest_takes_room_in_the_spool_until_it_is_resolved(tmp_path):
    small = conf(1, spool=SpoolSettings(max_pending=20))
    storm = [(i, event(f"k{i}", 3)) for i in range(40)]
    again = [(100 + i, event(f"k{i}", 3, n=2)) for i in range(1, 11)]
    fire = [(200, event("fire", 1))]
    resolves = [(300 + i, event(f"k{i}", status="resolved")) for i in range(10)]
    after = [(400 + i, event(f"late-{i}", 3)) for i in range(20)]
    assert run(tmp_path, storm, small).unavailable == 19  # one went out at once
    assert run(tmp_path, [*storm, *again, *fire, *resolves], small).unavailable == 19
    assert 19 < run(tmp_path, [*storm, *again, *fire, *resolves, *after], small).unavailable < 39


def test_a_route_that_drops_pages_nobody(tmp_path):
    noise = RouteSettings(match=Match(source="test-*"), drop=True)
    report = run(tmp_path, [(0, event("a", source="test-1"))], conf(routes=(noise,)))
    assert report.pages == ()
    assert report.counts.dropped_by_route == 1


@pytest.mark.parametrize("outage", [None, "lost", "refused", "reset", 503])
def test_incidents_are_opened_and_resolved_by_the_true_adapter(tmp_path, outage):
    settings = Settings(
        ilert=Ilert(webhook_key=Secret("a-true-key"), api_key=Secret("an-account-key")),
        routes=(
            RouteSettings(
                match=Match(source="shop-*"),
                target="incident",
                services=(Service(alias="orders"), Service(id=7)),
            ),
        ),
    )
    arrivals = [
        (0, event("a", source="shop-1")),
        (5, event("b")),
        (90, event("a", source="shop-1", status="resolved")),
    ]
    scenario = PROMPT
    if outage is not None:
        scenario = Scenario(per_minute=None, latency_seconds=0.1, outages=(Outage(kind=outage, until=20),))
    report = run(tmp_path, arrivals, settings, scenario)
    assert sorted((page.target, page.key) for page in report.pages) == [
        ("default", "b"),
        ("default-incident", "a"),
    ]
    assert report.counts.delivered == 3
    assert report.counts.error() == 0


def test_the_same_input_gives_the_same_output(tmp_path):
    arrivals = [(i / 3, event(f"k{i % 40}", 1 + i % 4, n=i)) for i in range(400)]
    scenario = Scenario(outages=(Outage(kind="brown-out", begin=20, until=90),), seed=5)
    assert run(tmp_path, arrivals, scenario=scenario) == run(tmp_path, arrivals, scenario=scenario)


LITTERED = """
import random, sys
from pathlib import Path

import msgspec

from mcp_ilert.config import Ilert, RateLimit, Secret, Settings
from mcp_ilert.simulation import Outage, Scenario, Setup, simulate

settings = Settings(ilert=Ilert(webhook_key=Secret("k")), rate_limit=RateLimit(per_minute=300))
scenario = Scenario(per_minute=None, latency_seconds=0.5, outages=(Outage(kind="brown-out", begin=5),))
litter = []
for _ in range(4):
    litter += [bytearray(random.randrange(1, 600)) for _ in range(20_000)]
    random.shuffle(litter)
    del litter[: len(litter) // 2]
    print(hash(msgspec.json.encode(simulate(Setup(settings, scenario, patience_seconds=600), Path(sys.argv[1])))))
"""


def test_the_same_input_gives_the_same_output_wherever_things_are_in_memory(tmp_path):
    """In a process of its own: Hypothesis, once imported, has Trio repeat itself, but for deadlines."""
    arrivals = [(i // 8 / 2, event(f"k{i % 40}", 1 + i % 4, n=i)) for i in range(400)]
    path = tmp_path / "traffic.ndjson"
    path.write_text("".join(json.dumps({"at": at, "event": e}) + "\n" for at, e in arrivals))
    said = subprocess.run([sys.executable, "-c", LITTERED, path], check=True, capture_output=True, text=True)
    assert len(said.stdout.split()) == 4
    assert len({*said.stdout.split()}) == 1


def test_a_word_of_severity_counts_only_in_what_a_webhook_became(tmp_path):
    path = tmp_path / "traffic.ndjson"
    lines = [
        {"at": 0, "event": event("a", severity="low")},
        {"at": 0, "webhook": True, "event": event("b", severity="low")},
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    report = simulate(Setup(conf(), PROMPT), path)
    assert {page.key: page.severity for page in report.pages} == {"a": "high", "b": "low"}


def test_times_may_be_rfc_3339(tmp_path):
    report = run(tmp_path, [("2026-03-01T10:00:00Z", event("a")), ("2026-03-01T12:00:05+02:00", event("b"))])
    first, second = report.pages
    assert second.at_ms - first.at_ms == 5000


def test_the_difference_of_two_rate_limits_is_who_waits_longer(tmp_path):
    arrivals = [(0, event(f"k{i}")) for i in range(6)]
    found = difference(run(tmp_path, arrivals, conf(50)), run(tmp_path, arrivals, conf(20)))
    assert found.terms["pages"] == (6, 6)
    assert [round(moved.seconds, 2) for moved in found.moved] == [7.5, 3.75]
    assert (found.same, found.only_old, found.only_new) == (4, (), ())
    assert found.worst["high"] == (0, 7.5)


def test_a_page_that_only_the_old_configuration_sends_is_listed(tmp_path):
    arrivals = [(0, event("a")), (1, event("b", source="test-1"))]
    quiet = conf(routes=(RouteSettings(match=Match(source="test-*"), drop=True),))
    found = difference(run(tmp_path, arrivals), run(tmp_path, arrivals, quiet))
    assert [page.key for page in found.only_old] == ["b"]
    assert found.only_new == ()


def test_the_true_key_is_nowhere_in_a_report(tmp_path):
    scenario = Scenario(outages=(Outage(kind=400),))
    assert "a-true-key" not in repr(run(tmp_path, [(0, event("a"))], scenario=scenario))


def test_a_simulation_logs_nothing_and_leaves_the_logs_as_they_were(tmp_path, capsys):
    before = structlog.get_config()
    run(tmp_path, [(0, event("a"))])
    assert capsys.readouterr() == ("", "")
    assert structlog.get_config()["wrapper_class"] == before["wrapper_class"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no event"),
        ("{}\n", "line 1: expected"),
        ('{"at": -1, "event": {}}\n', "line 1: at: got -1"),
        ('{"at": "2026-01-01T00:00:00", "event": {}}\n', "with its zone"),
        ('{"at": 100, "event": {}}\n{"at": 5, "event": {}}\n', "line 2: at: earlier than the line before"),
    ],
)
def test_a_file_that_is_no_traffic_is_refused_with_its_line(tmp_path, text, problem):
    path = tmp_path / "t.ndjson"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        simulate(Setup(conf()), path)


def test_lines_a_little_out_of_order_are_taken_in_the_files_order(tmp_path):
    report = run(tmp_path, [(10, event("a")), (9.99, event("b"))])
    assert [page.at_ms for page in report.pages] == [report.begin_ms] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("per_minute: 0", "per_minute: expected int >= 1"),
        ("outages: [{kind: fire}]", r"outages\[0\].kind: invalid enum value 'fire'"),
        ("outages: [{kind: 503, form: 5}]", r"outages\[0\]: object contains unknown field form"),
    ],
)
def test_a_scenario_with_a_mistake_is_refused_with_its_key(tmp_path, text, problem):
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_scenario(path)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(keys={"nobody": 5}),
        Scenario(outages=(Outage(kind=503, target="nobody"),)),
        Scenario(outages=(Outage(kind="tls", every=2),)),
        Scenario(outages=(Outage(kind=503, begin=5, until=4),)),
        Scenario(outages=(Outage(kind=503, begin="yesterday"),)),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(tmp_path, scenario):
    with pytest.raises(ConfigError, match="scenario: "):
        run(tmp_path, [(0, event("a"))], scenario=scenario)


ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 40, allow_nan=False).map(lambda s: round(s, 2)),
        st.sampled_from("abcdefgh"),
        st.integers(1, 4),
        st.sampled_from(["firing", "firing", "acknowledged", "resolved"]),
    ),
    min_size=1,
    max_size=60,
)


def outages_of(*kinds):
    """Up to three, of any of these kinds."""
    return st.lists(
        st.builds(
            lambda kind, begin, seconds: Outage(kind=kind, begin=begin, until=begin + seconds),
            st.sampled_from(kinds),
            st.floats(0, 60),
            st.floats(1, 900),
        ),
        max_size=3,
    )


FAULTS = (400, 401, 404, 429, 503, "hang", "slow", "reset", "lost", "refused")


ONE_IS_DIGESTED = [(0.0, key, 1, "firing") for key in "abcde"] + [(0.0, "f", 3, "firing")]
"""At one request a minute."""


@tuned(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ARRIVALS, outages_of(*FAULTS, "brown-out"), st.integers(1, 60), st.booleans())
@example(ONE_IS_DIGESTED, [], 1, True)
def test_whatever_happens_every_event_is_accounted_for(tmp_path, drawn, outages, per_minute, cancel):
    arrivals = [
        (at, event(key, priority, status=status, n=i))
        for i, (at, key, priority, status) in enumerate(sorted(drawn, key=lambda d: d[0]))
    ]
    report = run(
        tmp_path,
        arrivals,
        conf(per_minute, delivery=DeliverySettings(cancel_resolved=cancel)),
        Scenario(per_minute=30, outages=tuple(outages)),
    )
    assert report.conservation_error == 0
    assert report.counts.accepted == len(arrivals)
    assert report.counts.pending == 0
    assert report.counts.delivered == report.alerts + report.accepts + report.resolves


async def put_by_a_task(entries, spool, _alarm, _clock, start_ms) -> int:
    """The plain feed: a task of Trio's that sleeps until each event's time, a little less, so that it is the first."""
    for entry in entries:
        await trio.sleep_until(max(0.0, (entry.accepted_ms - start_ms) / 1000 - 1e-9))
        await spool.put([entry])
    return 0


def two_sources(drawn, per_minute, places, storm_after):
    """No two arrivals at one time; `places` None: a key for each source, and places enough."""
    arrivals = [
        (at + i / 1000, event(key, priority, status=status, n=i, source="db" if key < "d" else "web"))
        for i, (at, key, priority, status) in enumerate(sorted(drawn, key=lambda d: d[0]))
    ]
    db = RouteSettings(name="db", match=Match(source="db"), webhook_key=Secret("another-key"))
    settings = conf(
        per_minute,
        routes=() if places else (db,),
        delivery=DeliverySettings(max_in_flight=places or 60, storm=Storm(after_seconds=storm_after)),
    )
    return arrivals, settings


@tuned(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ARRIVALS,
    st.integers(1, 60),
    st.sampled_from([0.0, 0.2 + 1 / 7000, 4 + 1 / 7000]),  # no sum of these is half a millisecond
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from([1.0, 20.0, 300.0]),
)
def test_events_let_in_by_the_clock_make_the_same_report_as_events_put_by_a_task(
    tmp_path, monkeypatch, drawn, per_minute, latency, places, storm_after
):
    """Where two things come at the very same time, the bridge may take either first; so here none do."""
    arrivals, settings = two_sources(drawn, per_minute, places, storm_after)
    scenario = Scenario(per_minute=None, latency_seconds=latency)
    by_the_clock = run(tmp_path, arrivals, settings, scenario)
    with monkeypatch.context() as patch:
        patch.setattr(simulation, "feed", put_by_a_task)
        assert run(tmp_path, arrivals, settings, scenario) == by_the_clock


@tuned(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ARRIVALS,
    st.integers(1, 60),
    st.sampled_from([0.0, 0.2 + 1 / 7000, 4 + 1 / 7000]),
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from([1.0, 20.0, 300.0]),
    outages_of(*FAULTS),
    st.sampled_from([None, 20]),
)
@example(ONE_IS_DIGESTED, 1, 0.2, None, 300.0, [], None)
def test_a_scheduler_that_sleeps_through_what_it_need_not_know_makes_the_same_report_as_one_that_is_always_woken(
    tmp_path, monkeypatch, drawn, per_minute, latency, places, storm_after, outages, most
):
    """No brown-outs: what becomes of requests that leave at the same instant is drawn there, in any order."""
    arrivals, settings = two_sources(drawn, per_minute, places, storm_after)
    scenario = Scenario(per_minute=most, latency_seconds=latency, outages=tuple(outages))
    asleep = run(tmp_path, arrivals, settings, scenario)

    def always(track: Track) -> bool:
        track.fresh = track.unsorted = True
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Track, "woken", always)
        patch.setattr(Track, "looked", lambda *_args, **_named: None)
        assert run(tmp_path, arrivals, settings, scenario) == asleep
