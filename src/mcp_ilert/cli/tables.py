"""Tables for people: drawn where stdout is a terminal, aligned plain text elsewhere.

What producers sent is shown with control characters escaped: an alert key cannot drive a terminal.
"""

import sys
from collections.abc import Sequence

import click

MAX_CELL = 60


def clean(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, width: int = MAX_CELL) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns; nothing but the columns where there are no rows."""
    cells = [[shorten(clean(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(title, columns, cells)
    else:
        click.echo(_align([list(columns), *cells]))


def show_facts(title: str, facts: Sequence[tuple[str, str]]) -> None:
    """Print names with their values."""
    cells = [[name, clean(value)] for name, value in facts]
    if sys.stdout.isatty():
        _draw(title, (), cells)
    else:
        click.echo(_align(cells))


def _align(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _draw(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    from rich import box  # noqa: PLC0415 - heavy
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=bool(columns), pad_edge=False
    )
    for column in columns or ("", ""):
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console().print(table)


STYLES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "blue",
    "dead": "bold red",
    "paused": "yellow",
    "ready": "green",
    "leased": "cyan",
    "backoff": "yellow",
}


def span(milliseconds: int) -> str:
    """A time span as people say it: `3 s`, `12 min`, `5 h`, `3 d`."""
    seconds = max(0, milliseconds) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
