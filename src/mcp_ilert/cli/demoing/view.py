"""The demo on a terminal: the last deliveries, what waits, and the storm's progress. Pure: a log in, a picture out."""

from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mcp_ilert.cli.demoing.log import Attempt, DemoLog
from mcp_ilert.cli.tables import STYLES, clean, shorten
from mcp_ilert.events import Counts

WIDE = 95
"""From so many columns on there is room for the severity beside the summary."""
TONES = {"good": "green", "bad": "bold red", "wait": "yellow"}
KIND_STYLES = {"ALERT": "bold", "ACCEPT": "cyan", "RESOLVE": "green"}


def picture(
    log: DemoLog, counts: Counts, tokens: int, per_minute: int, rows: int, width: int
) -> RenderableType:
    """All of the live part, `rows` deliveries high at most."""
    parts: list[RenderableType] = [deliveries(log, rows, wide=width >= WIDE), totals(counts)]
    if log.storm_total:
        parts.append(progress(log))
    parts.append(footnote(counts, tokens, per_minute))
    return Group(*parts)


def deliveries(log: DemoLog, rows: int, *, wide: bool) -> RenderableType:
    if not log.attempts:
        waiting = Text(
            "Nothing has been delivered yet: paste the curl line into another terminal.", "dim italic"
        )
        return Panel(waiting, title="Deliveries", title_align="left", box=box.ROUNDED, border_style="dim")
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1))
    table.add_column("time", no_wrap=True)
    table.add_column("to iLert", no_wrap=True)
    table.add_column("alert key", no_wrap=True)
    table.add_column("summary", no_wrap=True, ratio=1)
    if wide:
        table.add_column("severity", no_wrap=True)
    table.add_column("events", justify="right")
    table.add_column("answer", no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    for made in list(log.attempts)[-rows:]:
        table.add_row(*_cells(made, wide=wide))
    return table


def _cells(made: Attempt, *, wide: bool) -> tuple[RenderableType, ...]:
    severity = [Text(made.severity, STYLES.get(made.severity, ""))] if wide else []
    return (
        Text(clock(made.at_ms), "dim"),
        Text(made.kind, KIND_STYLES.get(made.kind, "")),
        Text(shorten(clean(made.key), 24)),
        Text(clean(made.summary)),
        *severity,
        Text(f"{made.events:,}"),
        Text(made.answer, TONES[made.tone]),
        Text(delay(made.after_ms)),
    )


def totals(counts: Counts) -> RenderableType:
    """The law's terms side by side: what came in is all accounted for."""
    table = Table(box=box.ROUNDED, expand=True, border_style="dim")
    cells = [
        ("accepted", counts.accepted, "bold"),
        ("delivered", counts.delivered, "green"),
        ("coalesced", counts.coalesced, "cyan"),
        ("cancelled", counts.cancelled, "cyan"),
        ("waiting", counts.pending, "yellow"),
        ("dead letters", counts.dead, "bold red" if counts.dead else ""),
    ]
    for name, _, style in cells:
        table.add_column(name, justify="center", style=style)
    table.add_row(*(f"{number:,}" for _, number, _ in cells))
    return table


def progress(log: DemoLog) -> RenderableType:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    bar = ProgressBar(total=log.storm_total, completed=log.storm_sent)
    done = log.storm_sent >= log.storm_total
    label = Text("storm sent" if done else "sending a storm", "green" if done else "bold")
    grid.add_row(label, bar, Text(f"{log.storm_sent:,} of {log.storm_total:,} events"))
    return grid


def footnote(counts: Counts, tokens: int, per_minute: int) -> RenderableType:
    keys = "1 alert key" if counts.lanes == 1 else f"{counts.lanes:,} alert keys"
    waits = f"{keys} waiting" if counts.lanes else "nothing waits"
    text = f"{waits} · {tokens} requests may go now, {per_minute} in a minute · Ctrl-C ends it"
    return Text(text, "dim")


def line(made: Attempt) -> str:
    """One delivery on a line, where there is no terminal."""
    folded = f" ({made.events:,} events)" if made.events > 1 else ""
    key, summary = clean(made.key), clean(made.summary)
    words = f"{made.kind} {key} {made.severity}: {summary}{folded}"
    return f"{clock(made.at_ms)} {words} → {made.answer} after {delay(made.after_ms)}"


def storm_line(log: DemoLog) -> str:
    sent = f"storm: {log.storm_sent:,} of {log.storm_total:,} events over {log.storm_keys} alert keys sent"
    return sent if log.storm_seconds is None else f"{sent} in {log.storm_seconds:.1f} s"


def summary_line(counts: Counts) -> str:
    """The conservation law of the demo; terms that are seldom anything are left out while they are 0."""
    terms = [
        (counts.delivered, "delivered"),
        (counts.coalesced, "coalesced"),
        (counts.cancelled, "cancelled"),
        (counts.pending, "still waiting"),
    ]
    dropped = counts.dropped_by_operator + counts.dropped_by_route
    terms += [(number, name) for number, name in ((counts.dead, "dead"), (dropped, "dropped")) if number]
    return f"{counts.accepted:,} accepted = " + " + ".join(f"{number:,} {name}" for number, name in terms)


def clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).strftime("%H:%M:%S")  # noqa: DTZ006 - the reader's own clock


def delay(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
