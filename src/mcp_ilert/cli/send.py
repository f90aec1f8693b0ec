"""`mcp-ilert send`: events to a bridge, from options or as lines of JSON."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

import click

from mcp_ilert.cli.common import RUNTIME, Failure, Misuse, emit_json, run_trio
from mcp_ilert.cli.sending.options import FIELD_NAMES, FIELDS, WAYS, options_of

if TYPE_CHECKING:
    import ssl

    from mcp_ilert.cli.sending.run import Seen
    from mcp_ilert.cli.sending.tally import Tally

SHOWN_ERRORS = 20

HELP = """Send events to a bridge.

The fields of one event as options, or any number of events, a line of JSON each, from FILE or from standard
input (-).

\b
  mcp-ilert send --mcp-id evt-1 --source probe-1 --summary "Disk full" --priority 1
  mcp-ilert send events.ndjson
  tail -f events.ndjson | mcp-ilert send --url tcp://127.0.0.1:9000 -

Exit code 1 if any event was not accepted.
"""


@click.command(help=HELP)
@click.argument("file", required=False, metavar="[FILE|-]")
@options_of(FIELDS)
@options_of(WAYS)
def send(file: str | None, **options: Any) -> None:
    fields = {name: options.pop(name) for name in FIELD_NAMES}
    event = _event(fields)
    if event is not None and file is not None:
        raise click.UsageError("an event is either given by options or read from FILE, not both")
    if event is None and file is None and sys.stdin.isatty():
        raise click.UsageError("nothing to send: give --mcp-id, --source and --summary, or FILE, or -")
    _check_tls(options)
    _report(_run(event, file or "-", options), as_json=options["as_json"])


def _event(fields: dict[str, Any]) -> bytes | None:
    """The event that the options make, as JSON; None where none was given. The bridge judges it."""
    import msgspec  # noqa: PLC0415 - not needed for --help

    given = {name: value for name, value in fields.items() if value}
    if fields["priority"] == 0:
        given["priority"] = 0
    if not given:
        return None
    if "links" in given:
        given["links"] = [{"href": href} for href in given["links"]]
    for name, text in given.pop("fields", {}).items():
        try:
            given[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            given[name] = text
    return msgspec.json.encode(given)


def _check_tls(options: dict[str, Any]) -> None:
    if options["key_file"] and not options["cert_file"]:
        raise click.UsageError("--key-file needs --cert-file")
    url: SplitResult = options["url"]
    if options["http2"] and url.scheme.startswith("tcp"):
        raise click.UsageError(f"--http2 is not for {url.scheme}://")


def _tls(options: dict[str, Any]) -> "ssl.SSLContext":
    import ssl  # noqa: PLC0415 - not needed for --help

    try:
        context = ssl.create_default_context(cafile=options["ca_file"])
        if options["cert_file"]:
            context.load_cert_chain(options["cert_file"], options["key_file"])
    except OSError as error:  # ssl.SSLError too
        raise Failure([f"--ca-file, --cert-file or --key-file cannot be used: {error}"]) from None
    return context


def _run(event: bytes | None, file: str, options: dict[str, Any]) -> dict[str, Any]:
    """Sends it all, and says what came of it."""
    import time  # noqa: PLC0415

    from mcp_ilert.cli.sending.tally import Tally  # noqa: PLC0415 - not needed for --help

    tally = Tally()
    started = time.monotonic()
    if event is not None:
        run_trio(_send_event, event, options, tally)
    else:
        with _input(file) as descriptor, _progress(descriptor, tally) as seen:
            run_trio(_send_lines, descriptor, options, tally, seen)
    return tally.report(time.monotonic() - started)


async def _send_event(event: bytes, options: dict[str, Any], tally: "Tally") -> None:
    from mcp_ilert.cli.sending.run import send_one  # noqa: PLC0415 - heavy

    async with _sender(options, tally, single=True) as sender:
        await send_one(sender, event, tally)


async def _send_lines(descriptor: int, options: dict[str, Any], tally: "Tally", seen: "Seen") -> None:
    from mcp_ilert.cli.sending.run import send_all  # noqa: PLC0415 - heavy

    async with _sender(options, tally, single=False) as sender:
        await send_all(
            sender,
            descriptor,
            batch_lines=options["batch"],
            concurrency=options["concurrency"],
            tally=tally,
            seen=seen,
        )


def _sender(options: dict[str, Any], tally: "Tally", *, single: bool) -> Any:
    """The context manager that gives the way to send."""
    url: SplitResult = options["url"]
    context = _tls(options) if url.scheme in ("https", "tcps") else None
    if url.scheme.startswith("tcp"):
        from mcp_ilert.cli.sending.tcp import open_tcp  # noqa: PLC0415 - heavy

        assert url.hostname is not None  # noqa: S101 - checked by the option
        assert url.port is not None  # noqa: S101 - checked by the option
        timeout: float = options["timeout"]
        return open_tcp(url.hostname, url.port, tls=context, token=options["token"], timeout_seconds=timeout)
    from mcp_ilert.cli.sending.http import open_http  # noqa: PLC0415 - heavy

    token = options["token"]
    return open_http(
        url._replace(path="/events" if url.path in ("", "/") else url.path).geturl(),
        http2=options["http2"],
        verify=context or False,
        headers={"authorization": f"Bearer {token}"} if token else {},
        single=single,
        max_retries=options["retries"],
        timeout_seconds=options["timeout"],
        concurrency=options["concurrency"],
        tally=tally,
    )


@contextmanager
def _input(file: str) -> Iterator[int]:
    if file == "-":
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(
            file, os.O_RDONLY | getattr(os, "O_BINARY", 0)
        )  # Windows would translate line ends
    except OSError as error:
        raise Misuse([f"{file}: {error.strerror}"]) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _progress(descriptor: int, tally: "Tally") -> Iterator["Seen"]:
    """A bar on stderr where a person looks at it; its length is known for files only."""
    if not sys.stderr.isatty():
        yield lambda _read: None
        return
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("0 accepted", total=os.fstat(descriptor).st_size or None)

        def seen(read: int) -> None:
            refused = f", [red]{tally.refused:,} not[/]" if tally.refused else ""
            text = f"{tally.accepted:,} accepted{refused}"
            progress.update(task, advance=read, description=text)

        yield seen


def _report(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(report)
    else:
        for refusal in report["errors"][:SHOWN_ERRORS]:
            click.echo(f"line {refusal.line}: {refusal.error}", err=True)
        if report["refused"] > SHOWN_ERRORS:
            click.echo(f"… and {report['refused'] - SHOWN_ERRORS:,} more", err=True)
        click.echo(_summary(report))
    if report["stopped"]:
        raise Failure([report["stopped"]])
    if report["refused"]:
        raise SystemExit(RUNTIME)


def _summary(report: dict[str, Any]) -> str:
    parts = [f"{report['accepted']:,} accepted"]
    if report["refused"]:
        parts.append(f"{report['refused']:,} not accepted")
    if report["retries"]:
        parts.append(f"{report['retries']:,} retries")
    return f"{', '.join(parts)} in {report['seconds']:.2f} s"


commands = (send,)
