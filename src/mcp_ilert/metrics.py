"""What Prometheus sees. Every series is there from the start, at 0; no label takes a value from an event."""

import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mcp_ilert import __version__
from mcp_ilert.events import Counts, DeadReason, Severity

CONTENT_TYPE = CONTENT_TYPE_LATEST
DOORS = ("http1", "http2", "tcp", "webhook")
RESULTS = ("accepted", "invalid", "unauthorized", "limited", "unavailable")
RETRY_REASONS = ("unavailable", "throttled", "rejected", "refused")
BEAT_REASONS = ("withheld", "unavailable", "refused")

_MINUTE, _HOUR = 60, 3600
DELIVERY_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR),
)
QUICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CountsNow = Callable[[], Counts]
Oldest = Callable[[], Mapping[Severity, float]]


class Metrics:
    """The bridge's metrics, in a registry of their own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # why: the library leaves it untyped
        self.registry = CollectorRegistry() if registry is None else registry
        self._events()
        self._deliveries()
        self._targets()
        self._asked()
        self._process()
        self._spool = _SpoolCollector()
        self.registry.register(self._spool)

    def _events(self) -> None:
        registry = self.registry
        self.in_events = Counter(
            "mcp_in_events", "Events that came in.", ("door", "result"), registry=registry
        )
        for door in DOORS:
            for result in RESULTS:
                self.in_events.labels(door, result)
        self.record_lost = Counter(
            "mcp_record_lost", "Events that listen.record could not record.", registry=registry
        )
        self.ingest_latency = Histogram(
            "mcp_ingest_latency_seconds", "Request read to answer.", buckets=QUICK_BUCKETS, registry=registry
        )
        self.commit_seconds = Histogram(
            "mcp_spool_commit_seconds", "Commits of the spool.", buckets=QUICK_BUCKETS, registry=registry
        )

    def _deliveries(self) -> None:
        registry = self.registry
        self.out_success = Counter("mcp_out_success", "Operations delivered.", registry=registry)
        self.out_failed = Counter("mcp_out_failed", "Dead letters made.", ("reason",), registry=registry)
        for failure in DeadReason:
            self.out_failed.labels(failure.value)
        self.out_retries = Counter(
            "mcp_out_retries", "Attempts to be repeated.", ("reason",), registry=registry
        )
        for reason in RETRY_REASONS:
            self.out_retries.labels(reason)
        self.processing_latency = Histogram(
            "mcp_processing_latency_seconds",
            "Accepted to delivered.",
            buckets=DELIVERY_BUCKETS,
            registry=registry,
        )
        self.digest_alerts = Counter(
            "mcp_digest_alerts", "Operations of digests delivered; not in mcp_out_success.", registry=registry
        )

    def _targets(self) -> None:
        registry, labels = self.registry, ("target",)
        self.circuit_state = Gauge(
            "mcp_circuit_state", "0 closed, 1 half-open, 2 open.", labels, registry=registry
        )
        self.rate_limit_tokens = Gauge(
            "mcp_rate_limit_tokens", "Requests that may leave now.", labels, registry=registry
        )
        self.rate_limited = Counter("mcp_rate_limited", "Answers of 429.", labels, registry=registry)
        self.key_parked = Gauge("mcp_key_parked", "1 while iLert refuses the key.", labels, registry=registry)
        self._target_names: frozenset[str] = frozenset()

    def _asked(self) -> None:
        """What is asked of iLert beside deliveries."""
        registry = self.registry
        self.heartbeat_success = Gauge(
            "mcp_heartbeat_last_success_timestamp_seconds",
            "When iLert last took a ping, in seconds since 1970; 0 until then.",
            registry=registry,
        )
        self.heartbeat_failed = Counter(
            "mcp_heartbeat_failed", "Pings that iLert did not get.", ("reason",), registry=registry
        )
        for reason in BEAT_REASONS:
            self.heartbeat_failed.labels(reason)
        self.on_call_requests = Counter(
            "mcp_on_call_requests", "Requests for who is on call.", registry=registry
        )
        self.on_call_errors = Counter(
            "mcp_on_call_errors", "Those that had no sensible answer.", registry=registry
        )
        self.on_call_age = Gauge(
            "mcp_on_call_age_seconds",
            "Age of what is known of who is on call; 0 where nobody is looked for.",
            registry=registry,
        )

    def beaten(self, failed: str | None) -> None:
        """A ping was taken, or failed for one of BEAT_REASONS."""
        if failed is None:
            self.heartbeat_success.set_to_current_time()
        else:
            self.heartbeat_failed.labels(failed).inc()

    def asked_on_call(self, *, answered: bool) -> None:
        """A request for who is on call was made."""
        self.on_call_requests.inc()
        if not answered:
            self.on_call_errors.inc()

    def _process(self) -> None:
        self.last_reload_success = Gauge(
            "mcp_config_last_reload_success",
            "1 if the last load of the configuration was taken.",
            registry=self.registry,
        )
        self._certificates = _CertificateCollector()
        self.registry.register(self._certificates)
        # Whoever has metrics has loaded a configuration: the first load was a success.
        self.last_reload_success.set(1)
        Info("mcp_build", "What runs.", registry=self.registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        ProcessCollector(registry=self.registry)

    def use_certificates(self, server: float = math.inf, client_ca: float = math.inf) -> None:
        """Tell from now on how long these are valid: seconds since 1970 at which they expire."""
        self._certificates.expiry = {"server": server, "client_ca": client_ca}

    def use_targets(self, names: Iterable[str]) -> None:
        """Have the series of exactly these targets; new ones start at 0."""
        wanted = frozenset(names)
        families: tuple[MetricWrapperBase, ...] = (
            self.circuit_state,
            self.rate_limit_tokens,
            self.rate_limited,
            self.key_parked,
        )
        for family in families:
            for name in self._target_names - wanted:
                family.remove(name)
            for name in wanted:
                family.labels(name)
        self._target_names = wanted

    def watch(self, counts: CountsNow, oldest: Oldest) -> None:
        """Show the spool's terms from now on; its totals count from this call."""
        self._spool.watch(counts, oldest)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format; CONTENT_TYPE says which."""
        return generate_latest(self.registry)


def observe_many(histogram: Histogram, value: float, times: int) -> None:
    """Observe the same value so many times at once: what a round of requests took, which are answered together.

    The library's `observe` takes one at a time, and costs more than accepting an event.
    """
    histogram._sum.inc(value * times)  # noqa: SLF001 - the library has no such call; test_metrics.py compares with it
    for bound, bucket in zip(histogram._upper_bounds, histogram._buckets, strict=True):  # noqa: SLF001 - as above
        if value <= bound:
            bucket.inc(times)
            return


def _no_counts() -> Counts:
    return Counts()


def _no_oldest() -> Mapping[Severity, float]:
    return {}


class _SpoolCollector(Collector):
    """Reads the spool's counters at each scrape, so that they are exact and cost nothing in between."""

    def __init__(self) -> None:
        self._counts: CountsNow = _no_counts
        self._oldest: Oldest = _no_oldest
        self._base = Counts()

    def watch(self, counts: CountsNow, oldest: Oldest) -> None:
        self._counts, self._oldest = counts, oldest
        self._base = counts()

    def collect(self) -> Iterator[Metric]:
        now, base = self._counts(), self._base
        for name, words, field in _TOTALS:
            yield CounterMetricFamily(name, words, value=max(0, getattr(now, field) - getattr(base, field)))
        # What has left a digest was digested all the same: a total never falls.
        digested = now.digested + now.undigested - base.digested - base.undigested
        yield CounterMetricFamily(
            "mcp_events_digested",
            "Events put into a digest, those that left it again included.",
            value=max(0, digested),
        )
        dropped = CounterMetricFamily("mcp_events_dropped", "Events dropped.", labels=("reason",))
        dropped.add_metric(("route",), max(0, now.dropped_by_route - base.dropped_by_route))
        dropped.add_metric(("operator",), max(0, now.dropped_by_operator - base.dropped_by_operator))
        yield dropped
        yield GaugeMetricFamily("mcp_dead_letters", "Events that are dead.", value=now.dead)
        yield GaugeMetricFamily("mcp_spool_pending", "Events that wait or are leased.", value=now.pending)
        yield GaugeMetricFamily("mcp_spool_inbox_events", "Events not folded yet.", value=now.inbox)
        yield GaugeMetricFamily("mcp_conservation_error", "0 when the law holds.", value=now.error())
        ages = self._oldest()
        oldest = GaugeMetricFamily(
            "mcp_spool_oldest_seconds", "Age of the oldest event.", labels=("severity",)
        )
        for severity in Severity:
            oldest.add_metric((severity.name.lower(),), ages.get(severity, 0.0))
        yield oldest


class _CertificateCollector(Collector):
    """The seconds that are left, at each scrape; infinite where there is no certificate."""

    def __init__(self) -> None:
        self.expiry = {"server": math.inf, "client_ca": math.inf}

    def collect(self) -> Iterator[Metric]:
        left = GaugeMetricFamily(
            "mcp_tls_certificate_expiry_seconds",
            "Until the first of the certificates expires; negative after that, +Inf without one.",
            labels=("certificate",),
        )
        for name, at in self.expiry.items():
            left.add_metric((name,), at - time.time())
        yield left


_TOTALS = (
    ("mcp_events_coalesced", "Events folded into a later one.", "coalesced"),
    ("mcp_events_cancelled", "Events cancelled by their own resolve.", "cancelled"),
    ("mcp_events_fanned_out", "Events that went to a further target.", "fanned_out"),
)
