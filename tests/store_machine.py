"""What state machines over a spool's store have in common: a file that is closed and opened again, or the memory."""

import tempfile
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine

from mcp_ilert.events import Again, DeadByOutage, DeadByRejection, Decision, Done, Kind
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.store import MemoryStore, SqliteStore, Store
from spools import Clock

LETTERS = {Kind.ALERT: "A", Kind.ACCEPT: "C", Kind.RESOLVE: "R"}
ENDS: dict[str, Decision] = {
    "ok": Done(),
    "certain": Again(0, 1, 0, certain=True),
    "uncertain": Again(0, 1, 0, certain=False),
    "dies": DeadByOutage(0, certain=False),
    "rejected": DeadByRejection(400, "no"),
}


class StoreMachine(RuleBasedStateMachine):
    """A store, and a clock that is moved by hand."""

    memory = False
    """On the memory shelf, which a restart cannot forget here: it stays open."""

    def __init__(self, folding: Rules) -> None:
        super().__init__()
        self.folding = folding
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool.db"
        self.clock = Clock()
        self.number = 0
        self.store: Store = MemoryStore(folding) if self.memory else self.open()

    def open(self) -> SqliteStore:
        return SqliteStore(self.path, self.folding, self.clock)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def reopen(self) -> None:
        """Whoever had lanes is gone."""
        if self.memory:
            self.store.engine.resume(frozenset())
        else:
            self.store.close()
            self.store = self.open()
        self.store.transact(lambda e: e.recover(self.clock()))
