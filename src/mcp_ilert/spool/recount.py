"""What the audit recounts beside the law: that digests stand for exactly their members, and targets' lanes."""

from collections import Counter
from collections.abc import Iterable

from mcp_ilert.spool.shelf import Row, TargetRow


class Recount:
    """Fed with every lane once. Its size follows the digests and targets, not the lanes."""

    def __init__(self) -> None:
        self._members: Counter[tuple[int, int]] = Counter()
        """By digest and severity, as found in the members."""
        self._stated: Counter[tuple[int, int]] = Counter()
        """The same, as the digests have it."""
        self._waiting: Counter[int] = Counter()
        self._digested = 0

    def add(self, row: Row) -> None:
        """Look at one lane."""
        lane = row.lane
        self._waiting[row.target] += lane.pending() > 0
        if lane.member:
            self._members[lane.member, lane.waiting[0].severity] += 1
            self._digested += len(lane.waiting)
        if lane.gathers is not None:
            for severity, number in enumerate(lane.gathers.unresolved, start=1):
                self._stated[row.id, severity] += number

    def wrong(self, targets: Iterable[TargetRow], digested: int) -> int:
        """How many of these numbers are not as they should be."""
        differ = (self._members - self._stated).total() + (self._stated - self._members).total()
        lanes = sum(abs(target.lanes - self._waiting[target.id]) for target in targets)
        return differ + lanes + max(0, self._digested - digested)
