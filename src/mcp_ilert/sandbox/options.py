"""How one sandbox is set up: its sources, keys, limits and switches. Everything that [U] marks in iLert is a switch."""

from typing import Annotated, Literal

import msgspec

INTEGRATION_KEY = "sandbox-key"
"""The key of the only alert source that a sandbox has by default."""
API_KEY = "sandbox-api-key"
"""The only API key that a sandbox knows by default."""
HEARTBEAT_KEY = "sandbox-heartbeat"
"""The key of the only heartbeat monitor that a sandbox has by default."""
LEGACY_HEARTBEAT_KEY = "il1hbt-sandbox"
"""The key of the only legacy heartbeat that a sandbox has by default."""
BODY_CAP = 16 * 1024 * 1024
"""Bytes of one body that are read at all, whatever the options say."""

Priority = Literal["HIGH", "LOW"]
Grouping = Literal[
    "ONE_ALERT_PER_EMAIL",
    "ONE_ALERT_PER_EMAIL_SUBJECT",
    "ONE_PENDING_ALERT_ALLOWED",
    "ONE_OPEN_ALERT_ALLOWED",
    "ONE_ALERT_GROUPED_PER_WINDOW",
]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert source of type API; its key is the credential of the events API."""

    key: str = INTEGRATION_KEY
    id: int = 1001
    name: str = "Sandbox"
    default_priority: Priority = "HIGH"
    default_severity: int | None = None
    honour_priority: bool = True
    """False where the source's priority wins over the event's."""
    grouping: Grouping = "ONE_ALERT_PER_EMAIL"
    group_seconds: Seconds = 300.0
    drops: bool = False
    """A source that filters everything out, and answers 202 all the same."""
    policy: int = 5001
    per_window: Positive | None = None
    """Calls a window of this key; None: as `limits.integration_key` says."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls a window; None is no limit."""

    integration_key: Positive | None = 50
    api_key: Positive | None = 120
    ip: Positive | None = 700
    heartbeat_key: Positive | None = 5
    window_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    count_rejected: bool = True
    """Whether a call that its key's window turned away uses up the address's window all the same."""
    retry_after: bool = False
    """Whether a 429 says when to come again; iLert's does not."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be chosen about a sandbox."""

    sources: Annotated[tuple[Source, ...], msgspec.Meta(min_length=1)] = (Source(),)
    api_keys: tuple[str, ...] = (API_KEY,)
    heartbeat_keys: tuple[str, ...] = (HEARTBEAT_KEY,)
    legacy_heartbeat_keys: tuple[str, ...] = (LEGACY_HEARTBEAT_KEY,)
    limits: Limits = Limits()
    unknown_key_status: Literal[400, 401, 403, 404] = 404
    summary_always: bool = False
    """Whether ACCEPT, RESOLVE and COMMENT need a summary too, as the schema has it."""
    max_body_bytes: Positive | None = None
    """iLert's own cap, answered with 413; none is documented."""
    apply_seconds: Seconds = 0.05
    """From the 202 to its effect: accepted is not created."""
    latency_seconds: Seconds = 0.0
    """From a request to its answer."""
    plan_error: Literal["FEATURE_REQUIRED", "QUOTA_EXCEEDED", "ERROR"] | None = None
    """REST calls are answered 402 with this code."""
    sequence_field: str = "sequence"
    """The number in customDetails by which order within a key is judged."""
    keep_requests: Amount = 10_000
    """0: none is looked at more closely than its answer needs."""
    keep_log: Positive = 10_000
    keep_alerts: Positive = 100_000
    keep_keys: Amount = 100_000
    """0: nothing is tallied."""
