"""Lanes, letters and counters of a spool, as rows for people."""

from collections.abc import Iterable, Sequence

from mcp_ilert.cli.tables import span
from mcp_ilert.events import Counts
from mcp_ilert.spool.read_model import Audit, LaneView, LetterView, OpView, Stats

LANE_COLUMNS = ("id", "key", "target", "state", "severity", "age", "remote", "attempts", "waits")
LETTER_COLUMNS = ("id", "key", "target", "kind", "events", "died", "because")
TERMS_IN = ("accepted", "fanned_out")
TERMS_OUT = (
    "delivered",
    "coalesced",
    "cancelled",
    "digested",
    "dropped_by_route",
    "dropped_by_operator",
    "dead",
    "pending",
)


def lane_row(lane: LaneView, now_ms: int) -> Sequence[str]:
    return (
        str(lane.id),
        lane.key,
        lane.target,
        state_of(lane, now_ms),
        lane.severity.name.lower(),
        age_of(lane, now_ms),
        lane.remote,
        str(lane.attempts),
        waits(lane),
    )


def state_of(lane: LaneView, now_ms: int) -> str:
    """The state, and when a lane that is backed off may go."""
    if lane.state == "backoff":
        return f"backoff {span(lane.due_ms - now_ms)}"
    return lane.state


def operations(lane: LaneView) -> list[OpView]:
    return [*([lane.in_flight] if lane.in_flight else []), *lane.waiting]


def age_of(lane: LaneView, now_ms: int) -> str:
    """Of the oldest event that is not done with."""
    ops = operations(lane) or [letter.op for letter in lane.letters]
    return span(now_ms - min(op.first_ms for op in ops)) if ops else ""


def waits(lane: LaneView) -> str:
    """`alert ×12, accept`; `→` stands before what is in flight."""
    words = [f"→ {op_words(lane.in_flight)}"] if lane.in_flight else []
    words += [op_words(op) for op in lane.waiting]
    if lane.letters:
        words.append(f"{len(lane.letters)} dead")
    if lane.digest is not None:
        words.append(f"in {lane.digest}")
    if lane.members is not None:
        words.append(f"stands for {lane.members:,} alerts")
    return ", ".join(words)


def op_words(op: OpView) -> str:
    name = op.kind.name.lower()
    return name if op.count == 1 else f"{name} ×{op.count}"


def letter_rows(lane: LaneView, now_ms: int) -> Iterable[Sequence[str]]:
    """A row for each dead letter: what an outage killed, then what was rejected."""
    if lane.state == "dead":
        for op in lane.waiting:
            yield (str(lane.id), lane.key, lane.target, op.kind.name.lower(), str(op.count), "", "outage")
    for letter in lane.letters:
        yield (
            str(lane.id),
            lane.key,
            lane.target,
            letter.op.kind.name.lower(),
            str(letter.op.count),
            f"{span(now_ms - letter.at_ms)} ago",
            reason_of(letter),
        )


def reason_of(letter: LetterView) -> str:
    late = ", superseded" if letter.superseded else ""
    return f"{letter.status or 'not sent'}{late}: {letter.detail}"


def stats_facts(stats: Stats, now_ms: int) -> list[tuple[str, str]]:
    counts = stats.counts
    oldest = [f"{severity} {span(now_ms - ms)}" for severity, ms in stats.oldest_ms.items()]
    targets = [target.name + (" (paused)" if target.paused else "") for target in stats.targets]
    return [
        ("pending", f"{counts.pending:,} events in {counts.lanes:,} lanes ({counts.inbox:,} in the inbox)"),
        ("oldest", ", ".join(oldest) or "nothing waits"),
        ("dead", f"{counts.dead:,}"),
        *(
            (term.replace("_", " "), f"{getattr(counts, term):,}")
            for term in (*TERMS_IN, *TERMS_OUT)
            if term not in ("pending", "dead")
        ),
        ("targets", ", ".join(targets)),
        ("file", f"{stats.file_bytes:,} bytes, history {stats.history_bytes:,}"),
    ]


def audit_rows(audit: Audit) -> list[Sequence[str]]:
    def row(term: str, sign: str) -> Sequence[str]:
        counted, found = getattr(audit.counts, term), getattr(audit.recounted, term)
        return (
            sign,
            term.replace("_", " "),
            f"{counted:,}",
            f"{found:,}",
            "" if counted == found else "differs",
        )

    return [row(term, "+") for term in TERMS_IN] + [row(term, "−") for term in TERMS_OUT]


def law(counts: Counts) -> str:
    """The law with its numbers: `12 = 12`."""
    left = counts.accepted + counts.fanned_out
    return f"{left:,} = {left - counts.error():,}"
