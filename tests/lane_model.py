"""A lane told a second time, as plainly as the contract's table reads: strings, and nothing of the real code."""

from dataclasses import dataclass, field

# What waits (row), what arrives (column); "*" is: cancelled where the target knows of no open alert, else R.
TABLE = {
    "": {"A": "A", "C": "C", "R": "R"},
    "A": {"A": "A", "C": "AC", "R": "*"},
    "C": {"A": "CA", "C": "C", "R": "R"},
    "R": {"A": "RA", "C": "R", "R": "R"},
    "AC": {"A": "AC", "C": "AC", "R": "*"},
    "CA": {"A": "CA", "C": "AC", "R": "*"},
    "RA": {"A": "RA", "C": "RAC", "R": "R"},
    "RAC": {"A": "RAC", "C": "RAC", "R": "R"},
    "AR": {"A": "A", "C": "AR", "R": "AR"},
}
# An alert at the digests' threshold is written "H" wherever it makes a difference; it folds as "A" does, and what it
# folded into is "H" too.


@dataclass
class LaneModel:
    """One key at one target, and the ledger of all that happened to it."""

    cancel_resolved: bool = True
    remote: str = "none"
    waits: str = ""
    flying: str = ""
    dead: bool = False
    letters: dict[str, bool] = field(default_factory=dict)
    """Kind of a rejected letter → superseded."""
    returning: str = ""
    member: bool = False
    """A digest stands for what waits."""
    digested: int = 0
    accepted: int = 0
    delivered: int = 0
    coalesced: int = 0
    cancelled: int = 0
    dropped: int = 0

    def fold(self, kind: str) -> None:
        after = TABLE[plain(self.waits)][plain(kind)]
        if after == "*":
            unknown_to_target = self.remote in ("none", "closed") and not self.flying
            if unknown_to_target and self.cancel_resolved:
                self.cancelled += len(self.waits) + 1
                self.waits = ""
                return
            after = "AR" if unknown_to_target else "R"
        self.coalesced += len(self.waits) + 1 - len(after)
        self.waits = after.replace("A", "H") if "H" in self.waits + kind else after

    def arrive(self, kind: str) -> None:
        self.accepted += 1
        if self.member and kind != "H":
            self.arrive_in_digest(kind)
            return
        if self.member:
            self.leave()
        self.dead = False
        self.fold(kind)

    def may_enter(self) -> bool:
        known = self.remote not in ("none", "closed")
        return self.waits == "A" and not (self.flying or self.dead or self.member or known)

    def enter(self) -> None:
        self.member = True
        self.digested += 1

    def leave(self) -> None:
        self.member = False
        self.digested -= len(self.waits)

    def arrive_in_digest(self, kind: str) -> None:
        if kind == "A":
            self.coalesced += 1
            return
        self.digested += 1
        self.waits = {"C": "AC", "R": ""}[kind]
        self.member = self.waits != ""

    def lease(self) -> str:
        self.flying, self.waits = self.waits[0], self.waits[1:]
        return self.flying

    def _land(self, *, certain: bool) -> None:
        if not certain:  # it may have been applied: older letters are not sent behind it
            self.remote = "unknown"
            self._overtake()
        back, behind = self.returning + self.flying, self.waits
        self.flying = self.returning = self.waits = ""
        for kind in back + behind:
            self.fold(kind)

    def deliver(self) -> None:
        self.delivered += 1
        self.remote = {"A": "open", "R": "closed", "C": self.remote}[plain(self.flying)]
        self.flying = ""
        self._overtake()

    def _overtake(self) -> None:
        for kind in self.returning:  # older than what was just sent: it stays a dead letter
            self.set_aside(kind, superseded=True)
        self.returning = ""
        self.letters = dict.fromkeys(self.letters, True)

    def fail(self, *, certain: bool, dies: bool) -> None:
        self._land(certain=certain)
        self.dead = dies and self.waits != ""

    def set_aside(self, kind: str, *, superseded: bool) -> None:
        same = next((k for k in self.letters if plain(k) == plain(kind)), None)
        if same is not None:
            del self.letters[same]
            self.coalesced += 1
        self.letters["H" if "H" in (kind, same) else kind] = superseded

    def reject(self) -> None:
        kind, behind, back = self.flying, self.waits, self.returning
        self.set_aside(kind, superseded=False)
        self.flying = self.waits = self.returning = ""
        for k in back + behind:
            self.fold(k)

    def replay(self, *, force: bool) -> None:
        if self.member and self.letters:
            self.leave()
        self.dead = False
        chosen = [k for k, superseded in self.letters.items() if force or not superseded]
        self.letters = {k: s for k, s in self.letters.items() if k not in chosen}
        if self.flying:
            raise AssertionError("the machine replays only while nothing is in flight")
        behind, self.waits = self.waits, ""
        for kind in [*chosen, *behind]:
            self.fold(kind)

    def drop(self) -> None:
        if self.member:
            self.leave()
        self.dropped += len(self.waits) + len(self.letters) + len(self.returning)
        self.waits, self.letters, self.returning, self.dead = "", {}, "", False

    def pending(self) -> int:
        return (0 if self.dead or self.member else len(self.waits)) + len(self.flying) + len(self.returning)

    def dead_letters(self) -> int:
        return len(self.letters) + (len(self.waits) if self.dead else 0)


def plain(kinds: str) -> str:
    """Kinds without the difference that only digests make."""
    return kinds.replace("H", "A")
