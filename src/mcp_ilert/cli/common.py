"""What the commands share: errors as readable lines, exit codes, output for programs and for people."""

import sys
from collections.abc import Awaitable, Callable
from typing import IO, Any, TypeVar, TypeVarTuple

import click

from mcp_ilert.errors import ConfigError, McpIlertError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RUNTIME = 1
USAGE = 2


class Failure(click.ClickException):
    """Ends a command with readable lines on stderr and exit code 1."""

    exit_code = RUNTIME

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.lines:
            click.echo(f"mcp-ilert: {line}", file=file or sys.stderr)


class Misuse(Failure):
    """The same with exit code 2: the command line or the configuration is wrong."""

    exit_code = USAGE


class Readable(click.Group):
    """A group whose commands' errors of ours are lines to act on, never tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Misuse(error.problems) from None
        except McpIlertError as error:
            raise Failure([str(error)]) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - a mistake of ours is a line, too
            raise Failure([words_of(error)]) from None


def run_trio(main: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run an async command; an error of ours comes out by itself, not wrapped in a group."""
    import trio  # noqa: PLC0415 - heavy

    try:
        return trio.run(main, *args)
    except BaseExceptionGroup as group:
        for kind in (McpIlertError, click.ClickException, KeyboardInterrupt, BrokenPipeError):
            found = first_of(group, kind)
            if found is not None:
                raise found from None
        raise


def words_of(error: BaseException) -> str:
    """An error as one line; of an unexpected one also where it was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, McpIlertError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory: give the process more (ulimit -v, MemoryMax=, the limit of the container)"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"this is a mistake in mcp-ilert: {type(error).__name__}: {error}{where}".replace("\n", " ")


def first_of(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first exception of a kind in a tree of groups."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for e in error.exceptions if (found := first_of(e, kind)) is not None), None)
    return error if isinstance(error, kind) else None


def emit_json(value: object) -> None:
    """One JSON document on stdout, in lines where a person looks at it."""
    import msgspec  # noqa: PLC0415 - not needed for --help

    text = msgspec.json.encode(value)
    click.echo((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode())
