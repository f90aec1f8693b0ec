"""What a scrape shows, from the first one on."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcp_ilert.events import Counts, Severity
from mcp_ilert.metrics import CONTENT_TYPE, DOORS, RESULTS, Metrics, observe_many

PLAIN = {
    "mcp_out_success_total",
    "mcp_events_coalesced_total",
    "mcp_events_cancelled_total",
    "mcp_events_digested_total",
    "mcp_events_fanned_out_total",
    "mcp_digest_alerts_total",
    "mcp_dead_letters",
    "mcp_spool_pending",
    "mcp_spool_inbox_events",
    "mcp_conservation_error",
    "mcp_processing_latency_seconds_count",
    "mcp_ingest_latency_seconds_count",
    "mcp_spool_commit_seconds_count",
    "mcp_heartbeat_last_success_timestamp_seconds",
    "mcp_on_call_requests_total",
    "mcp_on_call_errors_total",
    "mcp_on_call_age_seconds",
}
LABELLED: dict[str, set[tuple[tuple[str, str], ...]]] = {
    "mcp_in_events_total": {(("door", door), ("result", result)) for door in DOORS for result in RESULTS},
    "mcp_out_failed_total": {(("reason", "outage"),), (("reason", "rejected"),)},
    "mcp_out_retries_total": {
        (("reason", reason),) for reason in ("unavailable", "throttled", "rejected", "refused")
    },
    "mcp_heartbeat_failed_total": {
        (("reason", reason),) for reason in ("withheld", "unavailable", "refused")
    },
    "mcp_events_dropped_total": {(("reason", "route"),), (("reason", "operator"),)},
    "mcp_spool_oldest_seconds": {(("severity", word),) for word in ("critical", "high", "medium", "low")},
}
BY_TARGET = ("mcp_circuit_state", "mcp_rate_limit_tokens", "mcp_rate_limited_total", "mcp_key_parked")


def scrape(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    series: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            series.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return series


def test_every_series_is_there_at_0_before_anything_happened() -> None:
    series = scrape(Metrics())
    for name in PLAIN:
        assert series[name] == {(): 0.0}, name
    for name, labels in LABELLED.items():
        assert series[name] == dict.fromkeys(labels, 0.0), name
    assert set(DOORS) == {"http1", "http2", "tcp", "webhook"}
    assert set(RESULTS) == {"accepted", "invalid", "unauthorized", "limited", "unavailable"}


def test_the_process_and_the_build_are_told() -> None:
    series = scrape(Metrics())
    assert series["mcp_config_last_reload_success"] == {(): 1.0}
    assert list(series["mcp_build_info"].values()) == [1.0]
    assert {label for labels in series["mcp_build_info"] for label, _ in labels} >= {"version"}
    assert series["process_start_time_seconds"][()] > 0
    assert not [name for name in series if name.endswith("_created")]


def test_every_metric_of_ours_bears_our_name() -> None:
    assert all(name.startswith(("mcp_", "process_")) for name in scrape(Metrics()))
    assert CONTENT_TYPE.startswith("text/plain")


def test_the_latency_histogram_reaches_from_5_ms_to_24_h() -> None:
    metrics = Metrics()
    metrics.processing_latency.observe(0.004)
    metrics.processing_latency.observe(23.9 * 3600)
    metrics.processing_latency.observe(25 * 3600)
    buckets = scrape(metrics)["mcp_processing_latency_seconds_bucket"]
    counts = {float(dict(labels)["le"]): value for labels, value in buckets.items()}
    assert min(counts) == 0.005
    assert sorted(counts)[-2:] == [86_400.0, math.inf]
    assert (counts[0.005], counts[86_400.0], counts[math.inf]) == (1, 2, 3)


def test_targets_come_and_go_with_the_configuration() -> None:
    metrics = Metrics()
    assert not any(series for name, series in scrape(metrics).items() if name in BY_TARGET)
    metrics.use_targets(["default", "db"])
    metrics.rate_limited.labels("default").inc(3)
    metrics.use_targets(["default", "web"])
    series = scrape(metrics)
    for name in BY_TARGET:
        assert set(series[name]) == {(("target", "default"),), (("target", "web"),)}
    assert series["mcp_rate_limited_total"][("target", "default"),] == 3


def test_the_spools_totals_count_from_the_start_and_its_levels_are_as_they_are() -> None:
    counts = Counts(accepted=10, delivered=4, coalesced=3, dropped_by_route=1, dead=1, pending=1)
    metrics = Metrics()
    metrics.watch(lambda: counts, lambda: {Severity.HIGH: 7.5})
    series = scrape(metrics)
    assert series["mcp_events_coalesced_total"] == {(): 0.0}
    assert series["mcp_dead_letters"] == series["mcp_spool_pending"] == {(): 1.0}
    assert series["mcp_conservation_error"] == {(): 0.0}
    assert series["mcp_spool_oldest_seconds"][("severity", "high"),] == 7.5
    assert series["mcp_spool_oldest_seconds"][("severity", "critical"),] == 0.0

    counts = Counts(
        *(20, 2),  # accepted, fanned out
        *(4, 5, 6, 0, 3, 2),  # delivered, coalesced, cancelled, digested, dropped by route, by operator
        *(1, 2),  # dead, pending
        inbox=1,
    )
    series = scrape(metrics)
    assert series["mcp_events_coalesced_total"] == {(): 2.0}
    assert series["mcp_events_cancelled_total"] == {(): 6.0}
    assert series["mcp_events_fanned_out_total"] == {(): 2.0}
    assert series["mcp_events_dropped_total"] == {(("reason", "route"),): 2.0, (("reason", "operator"),): 2.0}
    assert series["mcp_spool_inbox_events"] == {(): 1.0}
    assert counts.error() == -1
    assert series["mcp_conservation_error"] == {(): -1.0}


def test_two_bridges_in_one_process_keep_their_numbers_apart() -> None:
    one, other = Metrics(), Metrics()
    one.in_events.labels("http1", "accepted").inc()
    key = (("door", "http1"), ("result", "accepted"))
    assert scrape(one)["mcp_in_events_total"][key] == 1
    assert scrape(other)["mcp_in_events_total"][key] == 0


def test_a_label_that_nobody_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="label"):
        Metrics().in_events.labels("http1")


@pytest.mark.parametrize("value", [0.0, 0.0005, 0.0006, 3.0, 99.0])
def test_many_equal_observations_are_those_one_by_one(value):
    one, many = Metrics(), Metrics()
    for _ in range(7):
        one.ingest_latency.observe(value)
    observe_many(many.ingest_latency, value, 7)
    found = [[line for line in m.exposition().splitlines() if b"ingest_latency" in line] for m in (one, many)]
    assert found[0] == found[1]
