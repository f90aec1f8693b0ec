"""`mcp-ilert sandbox`: the sandbox iLert by itself, with a line for each event that it receives."""

import signal
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from mcp_ilert.sandbox import (
    API_KEY,
    INTEGRATION_KEY,
    Fault,
    Limits,
    Options,
    Received,
    SandboxIlert,
    brown_out,
)

if TYPE_CHECKING:
    import ssl

    from rich.text import Text

FAULT_HELP = (
    "What shall go wrong: KIND[:NAME=VALUE,…]. KIND is a status (503), hang, slow, reset, lost, refused, tls or "
    "brown-out; names are times, every, after, until, seconds, html, applied, code, retry_after, key, event_type. "
    "May be given several times."
)


def read_faults(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[Fault, ...]:
    """The script that the options make, in their order."""
    return tuple(fault for text in texts for fault in read_fault(text))


def read_fault(text: str) -> tuple[Fault, ...]:
    """`503:times=3,after=10` as a fault; a brown-out is several."""
    import msgspec  # noqa: PLC0415 - not needed for --help

    kind, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    fields: dict[str, Any] = {name.strip(): value.strip() for name, _, value in pairs}
    try:
        if kind == "brown-out":
            return brown_out(**msgspec.convert(fields, dict[Literal["after", "until"], float], strict=False))
        fields |= {"kind": "status", "status": kind} if kind.isdigit() else {"kind": kind}
        return (msgspec.convert(fields, Fault, strict=False),)
    except ValueError as problem:
        raise click.BadParameter(f"{text!r}: {problem}") from None


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0: a free one.")
@click.option(
    "--admin-port", type=click.IntRange(0, 65535), help="Introspection.  [default: the port after --port]"
)
@click.option(
    "--per-minute",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Calls an integration key may make.",
)
@click.option("--fault", "faults", callback=read_faults, multiple=True, help=FAULT_HELP)
@click.option(
    "--cert-file", type=click.Path(dir_okay=False), help="Speak TLS with this certificate chain (PEM)."
)
@click.option(
    "--key-file", type=click.Path(dir_okay=False), help="The certificate's key, where it is not in there."
)
def sandbox(
    *,
    address: str,
    port: int,
    admin_port: int | None,
    per_minute: int,
    faults: tuple[Fault, ...],
    cert_file: str | None,
    key_file: str | None,
) -> None:
    """Run a strict fake of iLert, to try the bridge against."""
    tls = _tls(cert_file, key_file)
    if tls is None and any(fault.kind == "tls" for fault in faults):
        raise click.UsageError("--fault tls: needs --cert-file, for without TLS no handshake can fail")
    if admin_port is None:
        admin_port = port + 1 if 0 < port < 65535 else 0
    limits = Limits(integration_key=per_minute)
    import trio  # noqa: PLC0415 - heavy

    trio.run(partial(_run, Options(limits=limits), faults, address, port, admin_port=admin_port, tls=tls))


async def _run(
    options: Options,
    script: tuple[Fault, ...],
    address: str,
    port: int,
    *,
    admin_port: int,
    tls: "ssl.SSLContext | None",
) -> None:
    import trio  # noqa: PLC0415 - heavy
    from rich.console import Console  # noqa: PLC0415 - heavy

    from mcp_ilert.sandbox.server import open_sandbox  # noqa: PLC0415 - brings Hypercorn

    console = Console(highlight=False, soft_wrap=True)
    core = SandboxIlert(options, on_event=lambda received: console.print(event_line(received)))
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_sandbox(core, address, port, admin_port=admin_port, tls=tls) as server:
            core.set_faults(*script, now=server.now())
            console.print(f"sandbox iLert    {server.url}    (ilert.api_url)")
            console.print(f"introspection    {server.admin_url}")
            console.print(
                f"keys             {INTEGRATION_KEY} (ilert.webhook_key), {API_KEY} (ilert.api_key)"
            )
            async for _ in signals:
                break


def event_line(received: Received) -> "Text":
    """One received event on one line: when, how it was answered, what it was."""
    from rich.text import Text  # noqa: PLC0415 - heavy

    moment = datetime.fromtimestamp(received.at, tz=UTC).astimezone()
    good = 200 <= received.status < 300 and received.fault is None
    fault = "fault" if received.fault == "status" else received.fault or ""
    answer = f"{received.status} {fault}"
    rank = "" if received.priority is None else f"{received.priority}/{received.severity or '-'}"
    return Text.assemble(
        (moment.strftime("%H:%M:%S"), "dim"),
        "  ",
        (f"{answer:12}", "green" if good else "yellow" if received.status == 429 else "red"),
        (f"{plain(received.event_type, 8):8} ", "bold"),
        (f"{plain(rank, 7):7} ", "magenta"),
        (f"{plain(received.key, 40)}  ", "cyan"),
        plain(received.summary, 80),
    )


def plain(text: str | None, most: int) -> str:
    """At most so many characters, and none that a terminal would obey."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in (text or "")[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _tls(cert_file: str | None, key_file: str | None) -> "ssl.SSLContext | None":
    if cert_file is None:
        if key_file is not None:
            raise click.UsageError("--key-file: needs --cert-file")
        return None
    import ssl  # noqa: PLC0415 - not needed for --help

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as problem:
        raise click.UsageError(f"--cert-file {cert_file}: {problem.strerror or problem}") from None
    return context


commands: tuple[click.Command, ...] = (sandbox,)
