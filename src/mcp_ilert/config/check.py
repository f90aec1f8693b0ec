"""What must hold between keys, what is allowed but unwise, and what follows from the settings as a whole."""

import ipaddress
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mcp_ilert.config.fault import Fault
from mcp_ilert.config.kinds import SEVERITY_WORDS, http_url
from mcp_ilert.config.model import Settings
from mcp_ilert.config.routes import route_faults
from mcp_ilert.config.secret import Secret
from mcp_ilert.config.show import show, show_key
from mcp_ilert.config.webhooks import signing_faults, webhook_faults

CONTAINER_PATIENCE_SECONDS = 10
SHORT_TOKEN = 16


def faults(settings: Settings) -> Iterator[Fault]:
    """Everything that contradicts itself."""
    yield from _keys(settings)
    yield from _severities(settings)
    yield from _tokens(settings)
    yield from (Fault(paths, line) for paths, line in webhook_faults(settings.webhooks))
    yield from (Fault(paths, line) for paths, line in signing_faults(settings.auth.webhook_secrets))
    yield from route_faults(settings)
    yield from _numbers(settings)
    yield from _ports(settings)


def problems(settings: Settings) -> list[str]:
    """The lines of all that contradicts itself, for settings that were not loaded from a file."""
    return [fault.line for fault in faults(settings)]


def _keys(settings: Settings) -> Iterator[Fault]:
    ilert, tls = settings.ilert, settings.tls
    if not ilert.integration_key:
        yield Fault(
            ("ilert.api_key", "ilert.webhook_key"),
            "ilert.webhook_key: empty, and so is ilert.api_key;"
            " expected the integration key of an alert source in one of them",
        )
    if ilert.heartbeat_url and http_url(ilert.heartbeat_url.reveal()):
        line = "ilert.heartbeat_url: expected the https:// URL of a heartbeat monitor, without user and query"
        yield Fault(("ilert.heartbeat_url", "ilert.heartbeat_url_file"), line)
    if (tls.cert_file is None) != (tls.key_file is None):
        missing, given = ("key_file", "cert_file") if tls.key_file is None else ("cert_file", "key_file")
        yield Fault(
            ("tls.cert_file", "tls.key_file"),
            f"tls.{missing}: missing; expected a file, since tls.{given} is given (or leave both out)",
        )

    if tls.client_ca_file is not None and tls.cert_file is None:
        yield Fault(
            ("tls.client_ca_file", "tls.cert_file"),
            "tls.cert_file: missing; expected a file, since tls.client_ca_file is given: it takes TLS to ask"
            " clients for certificates",
        )
    if tls.client_allowed_sans and tls.client_ca_file is None:
        yield Fault(
            ("tls.client_ca_file", "tls.client_allowed_sans"),
            "tls.client_ca_file: missing; expected a file, since tls.client_allowed_sans is given",
        )


def _severities(settings: Settings) -> Iterator[Fault]:
    mapping = settings.mapping
    uses = [(f"mapping.priority_map.{n}", word) for n, word in mapping.priority_map.items()]
    uses += [("mapping.default_severity", mapping.default_severity)]
    uses += [
        (f"mapping.severity_names.{show_word(name)}", word) for name, word in mapping.severity_names.items()
    ]
    for path, word in uses:
        if word not in mapping.severity:
            known = ", ".join(mapping.severity) or "it is empty"
            line = f"{path}: got {show(word)}, expected a severity that mapping.severity has ({known})"
            yield Fault((path, "mapping.severity"), line)
    for name, word in mapping.severity_names.items():
        if name in SEVERITY_WORDS and name != word:
            path = f"mapping.severity_names.{name}"
            yield Fault((path,), f"{path}: got {show(word)}, but {name} is a severity itself; leave it out")


def show_word(name: str) -> str:
    return name if name.isidentifier() else show(name)


def _tokens(settings: Settings) -> Iterator[Fault]:
    names: dict[str, int] = {}
    tokens: dict[Secret, int] = {}
    for i, token in enumerate(settings.auth.tokens):
        here = f"auth.tokens[{i}]"
        if names.setdefault(token.name, i) != i:
            yield Fault(
                (f"{here}.name",),
                f"{here}.name: got {show(token.name)}, which auth.tokens[{names[token.name]}] has already;"
                " expected a name of its own",
            )
        if not token.token:
            line = f"{here}.token: empty; expected the token, here or in a file named by token_file"
            yield Fault((f"{here}.token",), line)
        elif tokens.setdefault(token.token, i) != i:
            line = (
                f"{here}.token: is the same as that of auth.tokens[{tokens[token.token]}]; expected its own"
            )
            yield Fault((f"{here}.token",), line)
        if not token.sources:
            line = f'{here}.sources: empty; expected globs such as "web-*" (leave it out for all sources)'
            yield Fault((f"{here}.sources",), line)
    if settings.auth.required and not (settings.auth.tokens or settings.tls.client_ca_file):
        line = "auth.required: true, but auth.tokens is empty; expected at least one token, or tls.client_ca_file"
        yield Fault(("auth.required", "auth.tokens", "tls.client_ca_file"), line)


def _numbers(settings: Settings) -> Iterator[Fault]:
    rate, retries = settings.rate_limit, settings.retries
    if rate.burst is not None and rate.burst > rate.per_minute:
        yield Fault(
            ("rate_limit.burst", "rate_limit.per_minute"),
            f"rate_limit.burst: got {rate.burst}, expected a whole number, 1 to per_minute"
            f" ({rate.per_minute}), or null",
        )
    if retries.max_interval_seconds < retries.base_interval_seconds:
        yield Fault(
            ("retries.max_interval_seconds", "retries.base_interval_seconds"),
            f"retries.max_interval_seconds: got {retries.max_interval_seconds:g}, expected a number of"
            f" seconds ≥ base_interval_seconds ({retries.base_interval_seconds:g})",
        )


def _ports(settings: Settings) -> Iterator[Fault]:
    """No two doors may want the same port."""
    listen, metrics = settings.listen, settings.metrics
    doors = [("listen.port", "listen.address", listen.port, listen.address)]
    if listen.tcp_port is not None:
        doors.append(("listen.tcp_port", "listen.address", listen.tcp_port, listen.address))
    if metrics.enabled:
        door = ("metrics.listen_port", "metrics.listen_address", metrics.listen_port, metrics.listen_address)
        doors.append(door)
    for (taken, its, number, address), (key, place, other, where) in itertools.combinations(doors, 2):
        addresses = {address, where}
        meet = len(addresses) == 1 or addresses & {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        if number == other != 0 and meet:
            line = f"{key}: got {other}, expected another port: it is {taken}'s"
            yield Fault((taken, key, its, place), line)


# Allowed, but unwise ------------------------------------------------------------------------------------


def warnings(settings: Settings) -> list[str]:
    """A line for each setting that works but is likely to be regretted."""
    lines: list[str] = []
    url = urlsplit(settings.ilert.api_url)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        lines.append("ilert.api_url: http:// sends keys and events unencrypted; use https://")
    beat = urlsplit(settings.ilert.heartbeat_url.reveal())
    if beat.scheme == "http" and not is_loopback(beat.hostname or ""):
        lines.append("ilert.heartbeat_url: http:// sends the monitor's key unencrypted; use https://")
    known = settings.auth.tokens or settings.tls.client_ca_file
    if not known and not is_loopback(settings.listen.address):
        lines.append(
            f"auth.tokens: empty, and listen.address {settings.listen.address} is beyond loopback:"
            " whoever reaches the port may send events"
        )
    drain, grace = settings.listen.drain_seconds, settings.delivery.shutdown_grace_seconds
    if drain + grace >= CONTAINER_PATIENCE_SECONDS:
        lines.append(
            f"delivery.shutdown_grace_seconds: {grace:g}, with listen.drain_seconds {drain:g} that makes"
            f" {drain + grace:g} s; container runtimes kill after {CONTAINER_PATIENCE_SECONDS} s by default"
        )
    lines += [
        f"auth.tokens[{i}].token: shorter than {SHORT_TOKEN} characters; it can be guessed"
        for i, token in enumerate(settings.auth.tokens)
        if len(token.token.reveal()) < SHORT_TOKEN
    ]
    lines += [
        f"webhooks.{show_key(name)}.hmac_secret: shorter than {SHORT_TOKEN} characters; it can be guessed"
        for name, webhook in settings.webhooks.items()
        if 0 < len(webhook.hmac_secret.reveal()) < SHORT_TOKEN
    ]
    lines += [
        f"webhooks.{show_key(name)}.confirm_sns: true; set it back to false once the subscription is confirmed"
        for name, webhook in settings.webhooks.items()
        if webhook.confirm_sns
    ]
    return lines


def is_loopback(host: str) -> bool:
    """Whether the host name or address can only be reached from this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# What follows -------------------------------------------------------------------------------------------


def spool_path(settings: Settings, environ: Mapping[str, str]) -> Path:
    """The spool's file."""
    if settings.spool.path is not None:
        return Path(settings.spool.path)
    if state := environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0]) / "spool.db"  # systemd gives a list where a unit has several
    if (home := environ.get("XDG_STATE_HOME")) and Path(
        home
    ).is_absolute():  # relative ones are void by XDG's rule
        return Path(home) / "mcp-ilert" / "spool.db"
    user = environ.get("HOME")
    return (Path(user) if user else Path.home()) / ".local" / "state" / "mcp-ilert" / "spool.db"


def watched_files(settings: Settings) -> tuple[Path, ...]:
    """The files beside the configuration whose change asks for a reload: secrets and certificates."""
    tls, ilert = settings.tls, settings.ilert
    named = [
        ilert.api_key_file,
        ilert.webhook_key_file,
        ilert.heartbeat_url_file,
        tls.cert_file,
        tls.key_file,
        tls.client_ca_file,
    ]
    named.append(settings.auth.webhook_secrets_file)
    named += [token.token_file for token in settings.auth.tokens]
    named += [route.webhook_key_file for route in settings.routes]
    named += [webhook.hmac_secret_file for webhook in settings.webhooks.values()]
    return tuple(dict.fromkeys(Path(name) for name in named if name))


_RESTART = (
    ("listen", ("address", "port", "tcp_port")),
    ("spool", ("path",)),
    ("metrics", ("enabled", "listen_address", "listen_port")),
)


def reload_differences(old: Settings, new: Settings) -> list[str]:
    """The keys that differ and need a restart to take effect."""
    return [
        f"{section}.{key}"
        for section, keys in _RESTART
        for key in keys
        if getattr(getattr(old, section), key) != getattr(getattr(new, section), key)
    ]
