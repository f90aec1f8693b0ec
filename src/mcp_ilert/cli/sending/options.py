"""The options of `send`: the fields of an event, and the way to the bridge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import click

SCHEMES = ("http", "https", "tcp", "tcps")
FIELD_NAMES = (
    "mcp_id",
    "source",
    "summary",
    "priority",
    "details",
    "tags",
    "status",
    "timestamp",
    "links",
    "labels",
    "fields",
)


def _pair(_ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for value, (name, separator, _) in zip(values, pairs, strict=True):
        if not separator or not name:
            raise click.BadParameter(f"{value!r}: expected NAME=VALUE", param=parameter)
    return {name: text for name, _, text in pairs}


def _url(_ctx: click.Context, parameter: click.Parameter, value: str) -> SplitResult:
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}", param=parameter) from None
    if url.scheme not in SCHEMES or not url.hostname:
        expected = "http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT or tcps://HOST:PORT"
        raise click.BadParameter(f"{value!r}: expected {expected}", param=parameter)
    if url.scheme.startswith("tcp") and port is None:
        raise click.BadParameter(f"{value!r}: the TCP door has no default port; name it", param=parameter)
    return url


FIELDS: tuple[Callable[..., Any], ...] = (
    click.option("--mcp-id", metavar="ID", help="The event's id, and by default its alert key."),
    click.option("--source", metavar="NAME", help="Who reports it."),
    click.option("--summary", metavar="TEXT", help="What happened, in a line."),
    click.option("--priority", type=int, help="1 critical, 2 high, 3 medium, 4 low, unless configured else."),
    click.option("--details", metavar="TEXT", help="More text."),
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="May be given again."),
    click.option("--status", type=click.Choice(["firing", "acknowledged", "resolved"])),
    click.option("--timestamp", metavar="TIME", help="When it happened (RFC 3339)."),
    click.option("--link", "links", multiple=True, metavar="URL", help="May be given again."),
    click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", callback=_pair),
    click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_pair,
        help="Any other field; a VALUE that is JSON is sent as such.",
    ),
)
WAYS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--url",
        default="http://127.0.0.1:8080",
        envvar="MCP_ILERT_URL",
        show_default=True,
        show_envvar=True,
        callback=_url,
        help="The bridge: http, https, tcp or tcps.",
    ),
    click.option("--http2", is_flag=True, help="Speak HTTP/2: by prior knowledge, with https by ALPN."),
    click.option("--token", envvar="MCP_ILERT_TOKEN", show_envvar=True, help="The bridge's bearer token."),
    click.option("--ca-file", type=click.Path(path_type=Path), help="Trust this CA only (PEM)."),
    click.option("--cert-file", type=click.Path(path_type=Path), help="Client certificate (PEM)."),
    click.option("--key-file", type=click.Path(path_type=Path), help="The client certificate's key (PEM)."),
    click.option(
        "--batch",
        type=click.IntRange(1, 10_000),
        default=500,
        show_default=True,
        help="Events a request.",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Requests at once; more than one may change the order of events.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        default=8,
        show_default=True,
        help="How often to come again for one request on 429, 503 and cut connections.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        default=30.0,
        show_default=True,
        help="Seconds without an answer.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Report as JSON."),
)


def options_of(options: tuple[Callable[..., Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
