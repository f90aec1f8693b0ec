"""`check-config` and `config-schema`: what a configuration is worth before anything runs with it."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import msgspec

from mcp_ilert import config
from mcp_ilert.cli.asking import MOST_BYTES, Finding, about_incidents
from mcp_ilert.config import Secret, Settings
from mcp_ilert.errors import ConfigError

if TYPE_CHECKING:
    import httpx

OK = 200
VALID, RUNTIME, CONFIGURATION = 0, 1, 2
ONLY_AN_EVENT = "only an event can prove it, and none is sent"


class Verdict(msgspec.Struct, frozen=True):
    """What iLert says of one key, and the exit code that it deserves."""

    line: str
    code: int = VALID


@click.command("check-config")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--online", is_flag=True, help="Ask iLert whether the keys work; no event is sent.")
def check_config(path: Path, *, online: bool) -> None:
    """Check the configuration at PATH: 0 valid, 2 with every problem on a line of its own."""
    try:
        settings = config.load(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise SystemExit(CONFIGURATION) from None
    for warning in (*config.warnings(settings), *_expired(settings)):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{path}: valid; {_summary(settings)}")
    if online:
        raise SystemExit(_report(settings))


@click.command("config-schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration."""
    click.echo(json.dumps(config.json_schema(), indent=2, ensure_ascii=False))


commands: tuple[click.Command, ...] = (check_config, config_schema)


def _summary(settings: Settings) -> str:
    listen, names = settings.listen, config.targets(settings)
    scheme = "https" if settings.tls.cert_file else "http"
    host = f"[{listen.address}]" if ":" in listen.address else listen.address
    targets = f"target {next(iter(names))}" if len(names) == 1 else f"targets {', '.join(names)}"
    return (
        f"would listen on {scheme}://{host}:{listen.port} and send to {settings.ilert.api_base} ({targets})"
    )


def _expired(settings: Settings) -> Iterator[str]:
    """A line where the doors' certificate is out of its time; whether it can be used is seen at a start."""
    from mcp_ilert.clock import wall_ms  # noqa: PLC0415
    from mcp_ilert.doors.certificates import validity_of  # noqa: PLC0415

    path = settings.tls.cert_file
    if path is None:
        return
    validity = validity_of(Path(path).read_bytes())
    if flaw := validity.flaw(wall_ms() / 1000):
        begins, ends = validity.words
        yield f"tls.cert_file: {path} {flaw} (valid {begins} to {ends}); who verifies it is cut off"


def _report(settings: Settings) -> int:
    """Print what iLert says of each key; the exit code is that of the worst."""
    with open_client(settings) as client:
        verdicts = list(ask(settings, client))
    for verdict in verdicts:
        click.echo(verdict.line, err=verdict.code != VALID)
    return max((verdict.code for verdict in verdicts), default=VALID)


def open_client(settings: Settings) -> "httpx.Client":
    """A client for the questions; it follows no redirect, for it bears the key."""
    from mcp_ilert.targets.client import sync_client  # noqa: PLC0415 - heavy, and only --online needs it

    return sync_client(settings.ilert.api_base, seconds=settings.ilert.timeout_seconds)


def ask(settings: Settings, client: "httpx.Client") -> Iterator[Verdict]:
    """Ask iLert for each key: first the account key, and with its help the integration keys."""
    key, separate = settings.ilert.api_key, bool(settings.ilert.webhook_key)
    account = False
    if key:
        status = _get(client, f"{settings.ilert.api_base}/users/current", key)
        account = status == OK
        yield _account_verdict(status, settings.ilert.api_base, separate=separate)
        if account and not separate:
            yield Verdict(
                "ilert.webhook_key: empty, and an account key takes no events;"
                " give the integration key of the alert source here",
                CONFIGURATION,
            )
    for path, integration in _integration_keys(settings):
        if not account:
            yield Verdict(
                f"{path}: not checked, for want of an account key in ilert.api_key: {ONLY_AN_EVENT}"
            )
            continue
        url = f"{settings.ilert.api_base}/alert-sources/{quote(integration.reveal(), safe='')}"
        yield _integration_verdict(path, _get(client, url, key))
    if account:
        get = partial(_fetch, client, settings)
        yield from (_finding_verdict(finding) for finding in about_incidents(settings, get))


def _integration_keys(settings: Settings) -> Iterator[tuple[str, Secret]]:
    """Every key that is an integration key and nothing else, with its path; each once."""
    found: dict[Secret, str] = {}
    if settings.ilert.webhook_key:
        found[settings.ilert.webhook_key] = "ilert.webhook_key"
    for i, route in enumerate(settings.routes):
        if route.webhook_key and route.target == "alert":
            found.setdefault(route.webhook_key, f"routes[{i}].webhook_key")
    yield from ((path, key) for key, path in found.items())


def _get(client: "httpx.Client", url: str, key: Secret) -> int | str:
    """The answer's status, or why there is none."""
    import httpx  # noqa: PLC0415 - heavy, and only --online needs it

    from mcp_ilert.targets.failures import in_words  # noqa: PLC0415 - as above

    try:
        # Only the status is wanted: the body, of whatever size, stays unread.
        with client.stream("GET", url, headers={"Authorization": f"Bearer {key.reveal()}"}) as answer:
            return answer.status_code
    except httpx.TimeoutException:
        return "no answer in time (ilert.timeout_seconds)"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return in_words(error)


def _fetch(client: "httpx.Client", settings: Settings, path: str) -> tuple[int | str, bytes]:
    """The answer's status, or why there is none, and as much of its body as is read at all."""
    import httpx  # noqa: PLC0415 - heavy, and only --online needs it

    from mcp_ilert.targets.failures import in_words  # noqa: PLC0415 - as above

    url, body = f"{settings.ilert.api_base}/{path}", bytearray()
    headers = {"Authorization": f"Bearer {settings.ilert.api_key.reveal()}"}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    break
            return answer.status_code, bytes(body)
    except httpx.TimeoutException:
        return "no answer in time (ilert.timeout_seconds)", b""
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return in_words(error), b""


def _finding_verdict(finding: Finding) -> Verdict:
    if finding.good is None:
        return Verdict(f"{finding.path}: not known to work: {finding.text}", RUNTIME)
    return Verdict(f"{finding.path}: {finding.text}", VALID if finding.good else CONFIGURATION)


def _account_verdict(status: int | str, base: str, *, separate: bool) -> Verdict:
    if status == OK:
        return Verdict("ilert.api_key: iLert takes it as an account key")
    if status not in {401, 403}:
        return _unclear("ilert.api_key", status, base)
    if separate:
        return Verdict(
            f"ilert.api_key: iLert does not take it as an account key ({status});"
            " an integration key belongs in ilert.webhook_key",
            CONFIGURATION,
        )
    return Verdict(f"ilert.api_key: no account key ({status}); it may be an integration key: {ONLY_AN_EVENT}")


def _integration_verdict(path: str, status: int | str) -> Verdict:
    if status == OK:
        return Verdict(f"{path}: iLert knows its alert source")
    if status in {400, 403, 404}:
        return Verdict(
            f"{path}: iLert shows the account key no alert source with it ({status});"
            " expected an integration key",
            CONFIGURATION,
        )
    return _unclear(path, status, "iLert")


def _unclear(path: str, status: int | str, where: str) -> Verdict:
    what = f"answered {status}" if isinstance(status, int) else f"cannot be asked: {status}"
    return Verdict(f"{path}: not known to work: {where} {what}", RUNTIME)
