"""Traffic that reaches the spool when it matters: exact, and yet seldom.

An event that finds its target idle is put at its very time, and wakes the dispatcher as it would in the bridge.
Where something of the event's class waits already, and the dispatcher knows it, it will come back by itself: then
the event is put right before the spool's next operation, which so finds what it would have found in the bridge.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import trio

from mcp_ilert.callback import answer_of
from mcp_ilert.events import DROP, Counts, Entry, Kind, Settlement, Severity
from mcp_ilert.spool.port import (
    Agenda,
    Change,
    Changed,
    Done,
    Leased,
    Rules,
    Settled,
    Spool,
    TargetRecord,
    Wake,
    Want,
)

LOOK_AHEAD = 64
"""Events that are held back at most."""
Class = tuple[str, bool]
"""A target, and whether it is about critical lanes or all others; these are chosen for a token apart."""


class FedSpool:
    """A `Spool` that takes `arrivals`, each no later than it would make a difference."""

    def __init__(self, arrivals: Iterator[Entry], targets: Sequence[str], start_ms: int, wake: Wake) -> None:
        self.unavailable = 0
        """Events that the spool did not take."""
        self._arrivals = arrivals
        self._targets = targets
        self._start_ms = start_ms
        self._wake = wake
        self._ahead: deque[Entry] = deque()
        self._busy: set[Class] = set()
        """Where the dispatcher knows that something waits."""
        self._idle = trio.Event()
        """Set when one of these becomes idle."""
        self._flying: dict[int, str] = {}
        """The keys of what is leased, in lower case."""
        self._touched: set[str] = set()
        self._asked: frozenset[str] = frozenset()
        """Targets of the lease that is being made."""

    def over(self, spool: Spool) -> None:
        """Take the spool, which needs `woken` to be made."""
        self._spool = spool

    def woken(self, targets: frozenset[str]) -> None:
        """The spool has something ready at these targets; a lease that is being made sees it by itself."""
        self._touched |= targets
        if targets - self._asked:
            self._wake(targets - self._asked)

    # Arrivals -----------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """Let everything arrive in its time."""
        while self._look():
            at_ms = next(
                (e.accepted_ms for e in self._ahead if not self._expected(e)), self._ahead[-1].accepted_ms
            )
            self._idle = trio.Event()
            with trio.move_on_at((at_ms - self._start_ms) / 1000) as wait:
                await self._idle.wait()
            if wait.cancelled_caught:
                await self._flush()

    def _look(self) -> int:
        self._ahead.extend(islice(self._arrivals, LOOK_AHEAD - len(self._ahead)))
        return len(self._ahead)

    def _expected(self, entry: Entry) -> bool:
        """Whether the dispatcher will come for its class anyway. Of an accept or resolve the spool finds the target."""
        critical = entry.severity is Severity.CRITICAL
        if entry.kind is Kind.ALERT:
            return entry.target == DROP or (entry.target, critical) in self._busy
        return all((target, critical) in self._busy for target in self._targets)

    async def _flush(self) -> None:
        now_ms = self._start_ms + round(trio.current_time() * 1000)
        ahead = self._ahead
        while self._look() and ahead[0].accepted_ms <= now_ms:
            entries = []
            while ahead and ahead[0].accepted_ms <= now_ms:
                entries.append(ahead.popleft())
            self._touched.clear()
            await self._take(entries)
            self._busy |= {
                (entry.target, entry.severity is Severity.CRITICAL)
                for entry in entries
                if entry.target in self._touched
            }

    # The spool ----------------------------------------------------------------------------------------------------

    def offer(self, puts: Sequence[Sequence[Entry]], done: Done) -> None:
        self._spool.offer(puts, done)

    async def _take(self, entries: Sequence[Entry]) -> None:
        """Put what came one by one: it is judged one by one."""
        answers = await answer_of(partial(self._spool.offer, [(entry,) for entry in entries]))
        self.unavailable += len(answers) - answers.count(None)

    async def lease(self, wants: Sequence[Want], states: Mapping[str, bytes], now_ms: int) -> Leased:
        self._asked = frozenset(want.target for want in wants)
        await self._flush()
        self._asked = frozenset()
        leased = await self._spool.lease(wants, states, now_ms)
        self._flying |= {delivery.lease: delivery.key.lower() for delivery in leased.deliveries}
        for want in wants:
            self._note(want.target, leased.agenda.get(want.target, Agenda()))
        return leased

    def _note(self, target: str, agenda: Agenda) -> None:
        for critical, waits in ((False, agenda.others_ready), (True, agenda.critical_ready)):
            if waits:
                self._busy.add((target, critical))
            elif (target, critical) in self._busy:
                self._busy.remove((target, critical))
                self._idle.set()

    async def settle(
        self, settlements: Sequence[Settlement], states: Mapping[str, bytes], now_ms: int
    ) -> Settled:
        # A lane that is settled must have what came during its request; the others can have theirs later.
        keys = {self._flying.pop(settlement.lease, "") for settlement in settlements}
        if any(entry.key.lower() in keys for entry in self._ahead if entry.accepted_ms <= now_ms):
            await self._flush()
        return await self._spool.settle(settlements, states, now_ms)

    async def change(self, change: Change, now_ms: int) -> Changed:
        await self._flush()
        return await self._spool.change(change, now_ms)

    async def records(self) -> Mapping[str, TargetRecord]:
        return await self._spool.records()

    def counts(self) -> Counts:
        return self._spool.counts()

    async def backup(self, path: Path) -> None:
        await self._spool.backup(path)

    def use(self, rules: Rules) -> None:
        self._spool.use(rules)
