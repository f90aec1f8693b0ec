"""One attempt: the request leaves, its answer is judged, the judgement is handed to the settler."""

import structlog
import trio

from mcp_ilert.dispatch import policy
from mcp_ilert.dispatch.breaker import Closed
from mcp_ilert.dispatch.desk import Desk
from mcp_ilert.dispatch.policy import Moment, Verdict
from mcp_ilert.dispatch.purse import Purse
from mcp_ilert.dispatch.settler import Item, Settler
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.dispatch.track import Post, Track
from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Delivered,
    Delivery,
    Done,
    Outcome,
    Said,
    Throttled,
    Unavailable,
)

log = structlog.get_logger()


class Sender:
    """Makes attempts, and counts those that are on their way."""

    def __init__(self, desk: Desk, settler: Settler, nursery: trio.Nursery) -> None:
        self._desk = desk
        self._settler = settler
        self._nursery = nursery
        self.running = 0

    def start(self, track: Track, delivery: Delivery, tokens: int) -> None:
        """Send the delivery once; cancelled, it stays leased, to be found by the next start.

        So many `tokens` are reserved for its requests.
        """
        self.running += 1
        self._nursery.start_soon(self._run, track, delivery, tokens)

    async def _run(self, track: Track, delivery: Delivery, tokens: int) -> None:
        try:
            await self._attempt(track, delivery, Purse(track, self._desk, tokens))
        finally:
            self.running -= 1
            self._desk.idle.ring()

    async def _attempt(self, track: Track, delivery: Delivery, purse: Purse) -> None:
        desk = self._desk
        sent_at = trio.current_time()
        purse.spend()
        try:
            outcome = await _send(track.post, delivery, purse)
        finally:
            purse.close()
            if delivery.probe:
                track.probing = False
        at = Moment(trio.current_time(), desk.now_ms(), sent_at)
        before = track.state
        verdict = policy.decide(outcome, delivery, before, desk.rules, at, desk.random)
        turned = delivery.probe or _turned(before, verdict.state)
        desk.take(track, verdict.state, turned=turned)
        if isinstance(outcome, Throttled):
            desk.metrics.rate_limited.labels(target=track.name).inc()
        said = Said(_status(outcome), _reason(outcome), outcome.correlation_id)
        self._settler.add(Item(track, delivery, verdict.decision, verdict.reason, at.wall_ms, said))
        _tell(delivery, outcome, verdict, at)
        _tell_target(track.name, before, verdict.state)
        if (
            turned
        ):  # else nothing may go that might not before, until the place is free: the settler rings then
            desk.bell.ring()


def _turned(before: TargetState, after: TargetState) -> bool:
    """Whether what may go to the target is another thing now."""
    return before.breaker != after.breaker or before.park != after.park


async def _send(post: Post, delivery: Delivery, purse: Purse) -> Outcome:
    post.enter()
    try:
        return await post.target.send(delivery, purse.more)
    except Exception:  # a mistake of ours must neither end the bridge nor lose the operation
        log.exception("attempt failed by a mistake of ours", target=delivery.target, alert_key=delivery.key)
        return Unavailable("internal error", certain=False)
    finally:
        if post.leave():
            with trio.CancelScope(shield=True):
                await post.close()


def _tell(delivery: Delivery, outcome: Outcome, verdict: Verdict, at: Moment) -> None:
    said = log.bind(
        alert_key=delivery.key,
        target=delivery.target,
        kind=delivery.kind.name.lower(),
        attempt=delivery.attempts + delivery.rejections + 1,
        events=delivery.count,
        status=_status(outcome),
        answered_after=round(at.now - at.sent_at, 3),
        latency=round(max(0, at.wall_ms - delivery.first_ms) / 1000, 3),
        correlation_id=outcome.correlation_id,
    )
    if delivery.probe:
        said = said.bind(probe=True)
    if delivery.digest:
        said = said.bind(digest=True)
    match verdict.decision:
        case Done():
            said.info("delivered", **({"note": note} if (note := _reason(outcome)) else {}))
        case Again(due_ms=due_ms):
            wait = round(max(0, due_ms - at.wall_ms) / 1000, 3)
            said.info("not delivered, will be sent again", reason=_reason(outcome), seconds=wait)
        case DeadByOutage():
            said.warning("dead letter, revived when the target recovers", reason=_reason(outcome))
        case DeadByRejection():
            said.warning("dead letter, the target does not take it", reason=_reason(outcome))


def _status(outcome: Outcome) -> int | None:
    return 429 if isinstance(outcome, Throttled) else outcome.status


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Unavailable(reason=text):
            return text
        case Throttled():
            return "rate limit of the integration key"
        case Delivered(note=note):
            return note
        case _:
            return getattr(outcome, "detail", "")


def _tell_target(name: str, before: TargetState, after: TargetState) -> None:
    if isinstance(before.breaker, Closed) and not isinstance(after.breaker, Closed):
        log.warning("circuit opened: the target does not answer; only probes go", target=name)
    elif isinstance(after.breaker, Closed) and not isinstance(before.breaker, Closed):
        log.info("circuit closed: the target answers again", target=name)
    if after.park.parked and not before.park.parked:
        log.error(
            "integration key parked: the target refuses it; set a valid key and reload",
            target=name,
            status=after.park.status,
        )
    elif before.park.parked and not after.park.parked:
        log.info("integration key resumed", target=name)
    if after.learnt.paused_until > before.learnt.paused_until:
        log.warning("integration key paused by a 429", target=name, budget_per_minute=after.learnt.budget)
