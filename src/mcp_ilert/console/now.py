"""How a key stands now, in plain words: what waits and for what, what is dead, what iLert knows. Pure."""

from collections.abc import Callable, Iterator

from mcp_ilert.console.words import clock, lasting
from mcp_ilert.dispatch import state
from mcp_ilert.dispatch.breaker import Closed
from mcp_ilert.spool.history import Stop, Told
from mcp_ilert.spool.port import TargetRecord
from mcp_ilert.spool.read_model import LaneView, LetterView, OpView

Tell = Callable[[bytes], Told]
"""What an event says, and which route it matches now."""

HELD: dict[Stop, str] = {
    Stop.PAUSED: "an operator has paused the target",
    Stop.THROTTLED: "a 429 has paused the integration key",
    Stop.PARKED: "iLert refuses the integration key",
    Stop.CIRCUIT: "iLert does not answer (circuit open)",
}
REMOTE = {
    "none": "iLert has heard nothing of this key",
    "open": "iLert has an open alert of this key",
    "closed": "iLert has resolved the alert of this key",
    "unknown": "an answer of iLert was lost: whether it has an open alert of this key is not known",
}


def now_words(lane: LaneView, record: TargetRecord, now_ms: int, tell: Tell | None) -> list[str]:
    """How one lane stands."""
    return [f"at {lane.target}: {text}" for text in _now(lane, record, now_ms, tell)]


def _now(lane: LaneView, record: TargetRecord, now_ms: int, tell: Tell | None) -> Iterator[str]:
    if lane.in_flight is not None:
        yield f"{_op(lane.in_flight, tell)} is on its way to iLert"
    for op in lane.waiting:
        yield f"{_op(op, tell)} {_waits(lane, record, now_ms)}"
    for letter in lane.letters:
        yield _letter(letter)
    if not lane.waiting and lane.in_flight is None:
        yield "nothing waits"
    if lane.members is not None:
        yield f"it is a digest that stands for {lane.members:,} alerts"
    if lane.incident is not None:
        yield f"it opened incident {lane.incident} at iLert"
    yield REMOTE.get(lane.remote, lane.remote)


def _op(op: OpView, tell: Tell | None) -> str:
    name = op.kind.name.lower()
    count = f" of {op.count:,} events" if op.count > 1 else ""
    route = ""
    if tell is not None:
        route = f", {tell(op.payload).route or 'no route'} matches"
    return f"{name}{count} ({op.severity.name.lower()}, since {clock(op.first_ms)}{route})"


def _waits(lane: LaneView, record: TargetRecord, now_ms: int) -> str:
    if lane.digest is not None:
        return f"is in the digest {lane.digest}, which stands for it"
    if lane.state == "dead":
        return "is dead by an outage: it comes back by itself once iLert answers, or by queue replay"
    if lane.in_flight is not None:
        return "waits for the request before it"
    stop = stop_of(record, now_ms)
    if stop is not None:
        return f"waits: {HELD[stop]}"
    if lane.state == "backoff" and lane.members is not None and not (lane.attempts or lane.rejections):
        return f"waits until {clock(lane.due_ms)} ({lasting(lane.due_ms - now_ms)}) for more to say"
    if lane.state == "backoff":
        return f"waits until {clock(lane.due_ms)} ({lasting(lane.due_ms - now_ms)}) after a failed attempt"
    return "waits for its turn at the pace of the key"


def stop_of(record: TargetRecord, now_ms: int) -> Stop | None:
    """What keeps all but probes from a target, by what the dispatcher wrote down last."""
    if record.paused:
        return Stop.PAUSED
    saved = state.decode(record.state, 0.0, now_ms) if record.state else None
    if saved is None:
        return None
    if saved.state.park.parked:
        return Stop.PARKED
    if not isinstance(saved.state.breaker, Closed):
        return Stop.CIRCUIT
    return Stop.THROTTLED if saved.state.learnt.paused_until > 0 else None


def _letter(letter: LetterView) -> str:
    late = "; something newer was delivered since, so only queue replay --force sends it"
    # Without a status it was never sent, and the detail says why.
    why = f": iLert answered {letter.status} at" if letter.status else " since"
    return (
        f"{_op(letter.op, None)} is a dead letter{why} {clock(letter.at_ms)}: "
        f"{letter.detail}{late if letter.superseded else '; mend the cause, then queue replay'}"
    )
