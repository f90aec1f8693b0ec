"""A simulation's report and a difference, for people."""

from collections.abc import Sequence

import click

from mcp_ilert.cli.tables import clean, shorten, show_facts, show_table
from mcp_ilert.simulation import Difference, Page, Report
from mcp_ilert.simulation.difference import Moved
from mcp_ilert.simulation.traffic import shown

LISTED = 20
"""Pages of a sort that a difference lists."""
SUMMARY_WIDTH = 60


def seconds(value: float) -> str:
    """A wait as people read it: `0.2 s`, `3 min 20 s`, `5 h 7 min`."""
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def show_report(report: Report, *, pages: bool) -> None:
    """Each page on a line of its own, and the sums."""
    if pages:
        for page in report.pages:
            click.echo(page_line(page))
        click.echo()
    for problem in report.problems:
        click.echo(clean(f"not taken: {problem}"), err=True)
    show_facts("simulation", _facts(report))
    if report.waits:
        click.echo()
        rows = [
            (name, f"{w.pages:,}", seconds(w.median), seconds(w.worst), w.worst_key)
            for name, w in report.waits.items()
        ]
        show_table("waits", ("severity", "pages", "median wait", "worst wait", "of"), rows)


def page_line(page: Page) -> str:
    """One page: when, how bad, how late, for how many events, what."""
    word = "alert" if page.digest else "event"
    folded = f"{page.events} {word}{'s' * (page.events != 1)}"
    again = f", attempt {page.attempts}" if page.attempts > 1 else ""
    return clean(
        f"{shown(page.at_ms)}  {page.severity:<8}  after {seconds(page.delay):<11}  {folded}{again}  "
        f"{page.target}  {shorten(page.key)}  {shorten(page.summary, SUMMARY_WIDTH)}"
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    counts, requests = report.counts, report.requests
    sent = (
        f"{requests.delivered:,} delivered, {requests.throttled:,} answered 429, "
        f"{requests.unavailable:,} unavailable, {requests.rejected:,} rejected, {requests.refused:,} refused"
    )
    facts = [
        ("traffic", f"{report.events:,} events, {shown(report.begin_ms)} to {shown(report.traffic_end_ms)}"),
        ("last request", f"answered {shown(report.last_ms)}"),
        ("pages", f"{report.alerts:,}; besides {report.accepts:,} accepts and {report.resolves:,} resolves"),
        *_digests(report),
        ("folded", f"{counts.coalesced:,} into others, {counts.cancelled:,} cancelled by their own resolve"),
        ("digested", f"{counts.digested:,} events"),
        ("dropped", f"{counts.dropped_by_route:,} by routes"),
        ("dead letters", f"{counts.dead:,}"),
        ("still waiting", f"{counts.pending:,}"),
        (
            "requests",
            sent,
        ),
    ]
    if report.throttled:
        facts.append(("429 by target", ", ".join(f"{name}: {n:,}" for name, n in report.throttled.items())))
    if report.invalid or report.unavailable:
        facts.append(
            ("not taken", f"{report.invalid:,} invalid (422), {report.unavailable:,} with no room (503)")
        )
    held = "holds" if report.conservation_error == 0 else f"is off by {report.conservation_error:,} events"
    return [*facts, ("conservation", held)]


def _digests(report: Report) -> list[tuple[str, str]]:
    """Requests of digests, where there were any: the events in them are not delivered one by one."""
    alerts, resolves = report.digest_alerts, report.digest_resolves
    return [("pages of digests", f"{alerts:,}; besides {resolves:,} resolves")] if alerts or resolves else []


def show_difference(found: Difference, *, every: bool) -> None:
    """What the new configuration changes."""
    click.echo()
    rows = [(name, f"{old:,}", f"{new:,}", f"{new - old:+,}") for name, (old, new) in found.terms.items()]
    rows += [
        (f"worst wait, {name}", seconds(old), seconds(new), _signed(new - old))
        for name, (old, new) in found.worst.items()
    ]
    show_table("difference", ("", "old", "new", "change"), rows)
    click.echo(
        f"\n{found.same:,} pages are the same, {len(found.moved):,} come at another time or rank, "
        f"{len(found.only_old):,} only in old, {len(found.only_new):,} only in new"
    )
    if every:
        _list(
            "at another time or rank", [moved_line(moved) for moved in found.moved[:LISTED]], len(found.moved)
        )
        _list("only in old", [page_line(page) for page in found.only_old[:LISTED]], len(found.only_old))
        _list("only in new", [page_line(page) for page in found.only_new[:LISTED]], len(found.only_new))


def moved_line(moved: Moved) -> str:
    """One page that comes earlier or later."""
    ranks = "" if moved.old.severity == moved.new.severity else f" (was {moved.old.severity})"
    return f"{_signed(moved.seconds):>13}{ranks}  {page_line(moved.new)}"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{seconds(abs(value))}"


def _list(title: str, lines: Sequence[str], of: int) -> None:
    if lines:
        click.echo(f"\n{title}:")
        for line in lines:
            click.echo(f"  {line}")
    if of > len(lines):
        click.echo(f"  … and {of - len(lines):,} more (--json has all)")
