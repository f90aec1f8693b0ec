"""The settings: Structs whose attributes are the keys of the configuration file, with their defaults.

Every secret `x` has an `x_file` beside it; after loading, the secret holds what the file held.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from mcp_ilert.config.kinds import (
    Count,
    Days,
    Expression,
    FieldName,
    Host,
    IlertSeverity,
    Name,
    Pause,
    Place,
    Port,
    Priority,
    PrivateFile,
    Rate,
    ReadableFile,
    Seconds,
    ServiceId,
    SeverityWord,
    Size,
    Space,
    Template,
    Url,
    Words,
    about,
)
from mcp_ilert.config.secret import Secret

_FILE_OF = about("A file that holds the secret alone, in place of the secret; read again when it changes.")


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how much the bridge listens."""

    address: Annotated[Host, about("Address to listen on.")] = "0.0.0.0"  # noqa: S104 - the contract's default
    port: Annotated[Port, about("Port for HTTP/1.1 and HTTP/2; 0 takes a free one.")] = 8080
    tcp_port: Annotated[Port | None, about("Port of the newline-delimited JSON door; off unless set.")] = None
    max_body_bytes: Annotated[Size, about("Largest request body, after decompression.")] = 1_048_576
    max_event_bytes: Annotated[Size, about("Largest single event.")] = 65_536
    max_connections: Annotated[Count, about("Connections open at once.")] = 10_000
    max_connections_per_address: Annotated[Count, about("Connections open at once from one address.")] = 1_000
    read_timeout_seconds: Annotated[Seconds, about("How long a request may take to arrive.")] = 10.0
    drain_seconds: Annotated[Pause, about("Between /readyz turning 503 and the doors closing.")] = 0.0
    record: Annotated[Place | None, about("File that accepted traffic is recorded to, for `simulate`.")] = (
        None
    )


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Certificate of the listening port; without it, the port speaks plain HTTP."""

    cert_file: Annotated[ReadableFile | None, about("Certificate chain, PEM.")] = None
    key_file: Annotated[PrivateFile | None, about("Private key of the certificate, PEM.")] = None
    client_ca_file: Annotated[
        ReadableFile | None,
        about("CA certificates, PEM; with them, clients must show a certificate of theirs."),
    ] = None
    client_allowed_sans: Annotated[
        tuple[Words, ...],
        about(
            "Subject alternative names, of which a client's certificate needs one; any will do when left out."
        ),
    ] = ()


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bearer token and what its holder may do."""

    name: Annotated[Name, about("Names the holder in logs; unique.")]
    token: Annotated[Secret, about("The bearer token.")] = msgspec.field(default_factory=Secret)
    token_file: Annotated[PrivateFile | None, _FILE_OF] = None
    role: Annotated[
        Literal["producer", "operator"], about("A producer sends events; an operator may also manage.")
    ] = "producer"
    sources: Annotated[
        tuple[Words, ...],
        about("Globs of the event sources that the holder may send for; all when left out."),
    ] = ("*",)
    per_second: Annotated[
        Rate | None, about("Events a second from this holder; at once, those of a second, at least one.")
    ] = None


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may send events; any token turns it on."""

    required: Annotated[bool, about("Refuse to start without tokens or client certificates.")] = False
    tokens: Annotated[tuple[Token, ...], about("Bearer tokens; any entry turns auth on.")] = ()
    webhook_secrets: Annotated[
        tuple[Secret, ...],
        about('Standard Webhooks "whsec_…" secrets; several take turns. Any turns auth on for webhooks.'),
    ] = ()
    webhook_secrets_file: Annotated[
        PrivateFile | None,
        about("A file that holds webhook_secrets, one a line; read again when it changes."),
    ] = None


class Ilert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The iLert account and alert source."""

    api_key: Annotated[
        Secret,
        about("Sent as Authorization: Bearer; also the integration key when webhook_key is empty."),
    ] = msgspec.field(default_factory=Secret)
    api_key_file: Annotated[PrivateFile | None, _FILE_OF] = None
    api_url: Annotated[Url, about('Where iLert is; "/api" is added unless it is there.')] = (
        "https://api.ilert.com"
    )
    webhook_key: Annotated[Secret, about("Integration key of the alert source.")] = msgspec.field(
        default_factory=Secret
    )
    webhook_key_file: Annotated[PrivateFile | None, _FILE_OF] = None
    timeout_seconds: Annotated[Seconds, about("How long one request to iLert may take.")] = 10.0
    # Its last part is the heartbeat's key, so the whole URL is kept as a secret.
    heartbeat_url: Annotated[Secret, about("Pinged each 60 s while the bridge is well.")] = msgspec.field(
        default_factory=Secret
    )
    heartbeat_url_file: Annotated[PrivateFile | None, _FILE_OF] = None

    @property
    def api_base(self) -> str:
        """`api_url` ending in "/api", without a slash after it."""
        url = self.api_url.rstrip("/")
        return url if urlsplit(url).path.endswith("/api") else url + "/api"

    @property
    def integration_key(self) -> Secret:
        """The integration key of the target `default`."""
        return self.webhook_key or self.api_key


class SeverityFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one of our severities is in iLert's two fields."""

    priority: Annotated[Literal["HIGH", "LOW"], about("iLert's priority.")]
    severity: Annotated[IlertSeverity, about("iLert's severity, 1 is worst.")]


def _severity() -> dict[str, SeverityFields]:
    return {
        "critical": SeverityFields("HIGH", 1),
        "high": SeverityFields("HIGH", 2),
        "medium": SeverityFields("LOW", 3),
        "low": SeverityFields("LOW", 4),
    }


def _severity_names() -> dict[str, str]:
    return {"page": "critical", "error": "high", "warning": "medium", "info": "low"}


def _priority_map() -> dict[int, str]:
    return {1: "critical", 2: "high", 3: "medium", 4: "low"}


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From an event's fields to iLert's."""

    priority_map: Annotated[dict[Priority, SeverityWord], about("An event's priority → severity.")] = (
        msgspec.field(default_factory=_priority_map)
    )
    default_severity: Annotated[SeverityWord, about("For a priority that the map lacks, or none given.")] = (
        "high"
    )
    severity_names: Annotated[dict[Words, SeverityWord], about("Other systems' words → severity.")] = (
        msgspec.field(default_factory=_severity_names)
    )
    alert_key: Annotated[
        Template, about("Template of the alert key; where an event lacks a field of it, {mcp_id} is used.")
    ] = "{mcp_id}"
    severity: Annotated[dict[SeverityWord, SeverityFields], about("Severity → iLert's two fields.")] = (
        msgspec.field(default_factory=_severity)
    )


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an event must have to match a route; what is left out matches all."""

    source: Annotated[Words | None, about("Glob of the event's source.")] = None
    tags: Annotated[tuple[str, ...], about("Tags that the event must bear.")] = ()
    severity: Annotated[tuple[SeverityWord, ...], about("Severities, of which the event must have one.")] = ()
    labels: Annotated[dict[str, str], about("Labels that the event must bear.")] = {}


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service that an alert or incident touches."""

    id: Annotated[ServiceId | None, about("iLert's number of the service.")] = None
    alias: Annotated[Words | None, about("The service's alias, in place of its number.")] = None
    impact: Annotated[
        Literal["OPERATIONAL", "UNDER_MAINTENANCE", "DEGRADED", "PARTIAL_OUTAGE", "MAJOR_OUTAGE"] | None,
        about("Of an incident on the service; null: DEGRADED."),
    ] = None


class RouteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where events go that match; the first route that matches wins."""

    name: Annotated[Name | None, about("Names the target; needed with a webhook_key.")] = None
    match: Annotated[Match, about("Which events; all when left out.")] = msgspec.field(default_factory=Match)
    webhook_key: Annotated[Secret, about("Integration key of another alert source.")] = msgspec.field(
        default_factory=Secret
    )
    webhook_key_file: Annotated[PrivateFile | None, _FILE_OF] = None
    routing_key: Annotated[Words | None, about("Overrides the escalation policy at iLert.")] = None
    escalate_if_nobody: Annotated[
        Words | None, about("The routing key in place of routing_key while nobody is on call.")
    ] = None
    target: Annotated[Literal["alert", "incident"], about("What is opened at iLert.")] = "alert"
    services: Annotated[tuple[Service, ...], about("Services touched; an incident needs one.")] = ()
    labels: Annotated[dict[str, str], about("Labels added to the alert.")] = {}
    drop: Annotated[bool, about("Drop the events; they are counted.")] = False


PresetName = Literal["alertmanager", "grafana", "zabbix", "icinga", "uptime-kuma", "cloudwatch", "sentry"]


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the bodies of one system's webhook become events."""

    preset: Annotated[
        PresetName | None, about("A ready-made mapping; what `event` gives replaces its fields.")
    ] = None
    event: Annotated[
        dict[FieldName, Expression], about("An event's field → the JMESPath expression that finds it.")
    ] = {}
    each: Annotated[
        Expression | None, about("JMESPath to an array of which each element is an event; null: the body is.")
    ] = None
    hmac_secret: Annotated[
        Secret, about("Bodies are signed with it (X-Hub-Signature-256); turns auth on for webhooks.")
    ] = msgspec.field(default_factory=Secret)
    hmac_secret_file: Annotated[PrivateFile | None, _FILE_OF] = None
    confirm_sns: Annotated[bool, about("Confirm subscriptions that Amazon SNS asks about.")] = False


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests to iLert for each integration key."""

    per_minute: Annotated[Count, about("Requests in any 60 seconds.")] = 50
    burst: Annotated[Count | None, about("Of these at once; null: max(1, per_minute // 5).")] = None

    @property
    def capacity(self) -> int:
        """The burst, its default filled in."""
        return max(1, self.per_minute // 5) if self.burst is None else self.burst


class Retries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often and how patiently an operation is tried while iLert is unavailable."""

    max_attempts: Annotated[Count, about("Attempts before an operation is a dead letter.")] = 5
    base_interval_seconds: Annotated[Seconds, about("Bound of the first back-off.")] = 2.0
    max_interval_seconds: Annotated[Seconds, about("Bound of every back-off.")] = 300.0


class Storm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a backlog would take too long to drain, digests stand for its lesser alerts."""

    after_seconds: Annotated[
        Seconds, about("A storm is on while what waits for a key would take longer to send.")
    ] = 300.0
    digest_below: Annotated[
        SeverityWord, about("Alerts of severities below it are put into digests then; `low`: none are.")
    ] = "high"
    group_by: Annotated[Literal["source"], about("What the alerts of a digest have in common.")] = "source"


class DeliverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How what waits is sent."""

    max_in_flight: Annotated[
        Count, about("Requests to iLert under way at once; from 2 up one is kept for critical.")
    ] = 8
    dedupe_seconds: Annotated[Pause, about("A producer's own retries within it are folded.")] = 60.0
    cancel_resolved: Annotated[bool, about("An alert resolved before it was sent is not sent.")] = True
    remember_open_days: Annotated[Days, about("How long an open alert's key is remembered.")] = 30.0
    shutdown_grace_seconds: Annotated[Pause, about("How long deliveries in flight may end at shutdown.")] = (
        8.0
    )
    storm: Annotated[Storm, about("When the backlog grows too long.")] = msgspec.field(default_factory=Storm)


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of what was delivered."""

    keep_days: Annotated[Days, about("Days of history.")] = 7.0
    max_bytes: Annotated[Space, about("Bytes of history; 0: none is kept.")] = 268_435_456


class SpoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where accepted events are kept until they are delivered."""

    path: Annotated[
        Place | None,
        about("The spool's file; null: $STATE_DIRECTORY/spool.db, else $XDG_STATE_HOME/mcp-ilert/spool.db."),
    ] = None
    max_pending: Annotated[Count, about("Lanes in which something may wait, or be in a digest.")] = 1_000_000
    min_free_bytes: Annotated[Space, about("Disk space left free.")] = 67_108_864


class Logging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], about("The least level that is logged.")
    ] = "info"
    format: Annotated[Literal["json", "text"], about("json: an object a line; text: for people.")] = "json"


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Prometheus port."""

    enabled: Annotated[bool, about("Whether the port is open.")] = True
    listen_address: Annotated[Host, about("Address to listen on.")] = "0.0.0.0"  # noqa: S104 - as above
    listen_port: Annotated[Port, about("Port of /metrics and /healthz; 0 takes a free one.")] = 9090


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration; `Settings()` holds the defaults."""

    listen: Listen = msgspec.field(default_factory=Listen)
    tls: Tls = msgspec.field(default_factory=Tls)
    auth: Auth = msgspec.field(default_factory=Auth)
    ilert: Ilert = msgspec.field(default_factory=Ilert)
    mapping: Mapping = msgspec.field(default_factory=Mapping)
    routes: Annotated[
        tuple[RouteSettings, ...], about("First match wins; no match: the target default.")
    ] = ()
    webhooks: Annotated[dict[Name, Webhook], about("Other systems' webhooks, by name: /webhooks/NAME.")] = {}
    rate_limit: RateLimit = msgspec.field(default_factory=RateLimit)
    retries: Retries = msgspec.field(default_factory=Retries)
    delivery: DeliverySettings = msgspec.field(default_factory=DeliverySettings)
    history: History = msgspec.field(default_factory=History)
    spool: SpoolSettings = msgspec.field(default_factory=SpoolSettings)
    logging: Logging = msgspec.field(default_factory=Logging)
    metrics: MetricsSettings = msgspec.field(default_factory=MetricsSettings)
