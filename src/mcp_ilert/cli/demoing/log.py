"""What the demo remembers to show: the last attempts, and how far the storm is."""

from collections import deque
from typing import Literal

import msgspec

from mcp_ilert.events import Delivered, Delivery, Outcome, Throttled

KEPT = 200

Tone = Literal["good", "bad", "wait"]


class Attempt(msgspec.Struct, frozen=True):
    """One request to the sandbox iLert, as a person wants to read it. `after_ms` is counted from acceptance."""

    at_ms: int
    kind: str
    key: str
    summary: str
    events: int
    severity: str
    answer: str
    tone: Tone
    after_ms: int


class _Summary(msgspec.Struct, frozen=True):
    summary: str = ""


def attempt(delivery: Delivery, outcome: Outcome, at_ms: int) -> Attempt:
    answer, tone = words(outcome)
    return Attempt(
        at_ms,
        delivery.kind.name,
        delivery.key,
        msgspec.json.decode(delivery.payload, type=_Summary).summary,
        delivery.count,
        delivery.severity.name.lower(),
        answer,
        tone,
        max(0, at_ms - delivery.first_ms),
    )


def words(outcome: Outcome) -> tuple[str, Tone]:
    match outcome:
        case Delivered(status=status):
            return str(status), "good"
        case Throttled():
            return "429", "wait"
        case _ if outcome.status is not None:
            return str(outcome.status), "bad"
        case _:
            return getattr(outcome, "reason", "no answer"), "bad"


class DemoLog:
    """Written by the bridge's targets and by the storm, read by the view."""

    def __init__(self) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=KEPT)
        self.made = 0
        """Attempts so far, those no longer kept included."""
        self.storm_total = 0
        self.storm_sent = 0
        self.storm_keys = 0
        self.storm_seconds: float | None = None
        """How long it took to send, once it is sent."""

    def add(self, made: Attempt) -> None:
        self.attempts.append(made)
        self.made += 1

    def since(self, made: int) -> list[Attempt]:
        """The attempts after the first `made`, as far as they are kept."""
        fresh = min(self.made - made, len(self.attempts))
        return list(self.attempts)[len(self.attempts) - fresh :] if fresh > 0 else []
