"""The configuration that dispatching needs, and what it tells; both as seen from here."""

import math
from collections.abc import Callable
from typing import Protocol

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from mcp_ilert.dispatch.pace import Rate, rate
from mcp_ilert.spool.digest import UPDATE_MS

Chance = Callable[[], float]
"""A random number in [0, 1)."""


class RateLimitSettings(Protocol):
    """`rate_limit`."""

    @property
    def per_minute(self) -> int: ...
    @property
    def burst(self) -> int | None: ...


class RetrySettings(Protocol):
    """`retries`."""

    @property
    def max_attempts(self) -> int: ...
    @property
    def base_interval_seconds(self) -> float: ...
    @property
    def max_interval_seconds(self) -> float: ...


class StormSettings(Protocol):
    """`delivery.storm`."""

    @property
    def after_seconds(self) -> float: ...
    @property
    def digest_below(self) -> str: ...


class DeliverySettings(Protocol):
    """`delivery`."""

    @property
    def max_in_flight(self) -> int: ...
    @property
    def storm(self) -> StormSettings: ...


class DispatchSettings(Protocol):
    """The sections of the settings that are read here."""

    @property
    def rate_limit(self) -> RateLimitSettings: ...
    @property
    def retries(self) -> RetrySettings: ...
    @property
    def delivery(self) -> DeliverySettings: ...


class Metrics(Protocol):
    """What dispatching tells; it asks nothing of it."""

    @property
    def out_success(self) -> Counter: ...
    @property
    def out_failed(self) -> Counter: ...
    @property
    def out_retries(self) -> Counter: ...
    @property
    def digest_alerts(self) -> Counter: ...
    @property
    def processing_latency(self) -> Histogram: ...
    @property
    def rate_limited(self) -> Counter: ...
    @property
    def circuit_state(self) -> Gauge: ...
    @property
    def rate_limit_tokens(self) -> Gauge: ...
    @property
    def key_parked(self) -> Gauge: ...


class Rules(msgspec.Struct, frozen=True):
    """The settings, read once. Intervals are seconds."""

    rate: Rate
    max_attempts: int
    base_interval: float
    max_interval: float
    max_in_flight: int
    storm_after: float = 300.0
    """A backlog that takes longer to drain makes a storm; infinite where nothing goes into digests."""

    @property
    def longest_wait_ms(self) -> int:
        """No back-off reaches further, nor what a digest waits."""
        return round(1000 * self.max_interval) + UPDATE_MS


def rules(settings: DispatchSettings) -> Rules:
    """What the settings say."""
    storm = settings.delivery.storm
    return Rules(
        rate=rate(settings.rate_limit.per_minute, settings.rate_limit.burst),
        max_attempts=settings.retries.max_attempts,
        base_interval=settings.retries.base_interval_seconds,
        max_interval=settings.retries.max_interval_seconds,
        max_in_flight=settings.delivery.max_in_flight,
        storm_after=math.inf if storm.digest_below == "low" else storm.after_seconds,
    )
