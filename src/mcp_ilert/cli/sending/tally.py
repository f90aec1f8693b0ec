"""What became of the events sent so far."""

from collections.abc import Iterable

import msgspec

from mcp_ilert.cli.sending.lines import Refusal

MAX_ERRORS = 100
"""So many refusals are kept word by word; the others are counted."""


class Verdict(msgspec.Struct, frozen=True):
    """The answer to one batch."""

    accepted: int
    refused: tuple[Refusal, ...] = ()
    unlisted: int = 0
    """Refused too, but the answer did not list them."""


class Stopped(Exception):  # noqa: N818 - not an error of ours to report as it is: it ends the sending
    """Nothing more can be sent; the reason is for the operator."""


class Tally:
    """Counts; written by the sending tasks, read by the progress bar and the report."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self.retries = 0
        self.errors: list[Refusal] = []
        self.stopped: str | None = None

    def add(self, verdict: Verdict) -> None:
        self.accepted += verdict.accepted
        self.refuse(verdict.refused)
        self.refused += verdict.unlisted

    def refuse(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            self.refused += 1
            if len(self.errors) < MAX_ERRORS:
                self.errors.append(refusal)

    def report(self, seconds: float) -> dict[str, object]:
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "retries": self.retries,
            "seconds": round(seconds, 3),
            "errors": self.errors,
            "stopped": self.stopped,
        }
