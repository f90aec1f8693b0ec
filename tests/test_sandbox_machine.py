"""The sandbox's alert states against a model of a few lines, by random traffic."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mcp_ilert.sandbox import Options, SandboxIlert, Source
from sandboxes import UNLIMITED, event, post, rest

SOURCES = (Source(key="one", id=1), Source(key="two", id=2))
SPELLINGS = {"a": ("a", "A", " a "), "ß": ("ß", "\tß"), "ss": ("ss", "SS", "Ss ")}
"""Keys as they are compared, and how they may be written."""
DELAY = 3.0


class AlertStates(RuleBasedStateMachine):
    """Sends events to a sandbox that applies them late, and keeps the alerts itself at once when they are due."""

    def __init__(self) -> None:
        super().__init__()
        options = Options(sources=SOURCES, limits=UNLIMITED, apply_seconds=DELAY)
        self.core = SandboxIlert(options)
        self.now = 0.0
        self.due: list[tuple[float, str, str, str]] = []
        self.open: dict[tuple[str, str], tuple[str, int]] = {}
        """(source, key) → (status, ALERT events in it)."""
        self.ended = 0

    @rule(
        source=st.sampled_from(["one", "two"]),
        written=st.sampled_from([(k, w) for k, spellings in SPELLINGS.items() for w in spellings]),
        kind=st.sampled_from(["ALERT", "ACCEPT", "RESOLVE", "COMMENT"]),
    )
    def send(self, source: str, written: tuple[str, str], kind: str) -> None:
        key, spelling = written
        assert post(self.core, event(kind, key=spelling, integrationKey=source), self.now).status == 202
        self.due.append((self.now + DELAY, source, key, kind))

    @rule(seconds=st.floats(0.1, 5))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.core.advance(self.now)
        for _, source, key, kind in [each for each in self.due if each[0] <= self.now]:
            self.model(source, key, kind)
        self.due = [each for each in self.due if each[0] > self.now]

    def model(self, source: str, key: str, kind: str) -> None:
        status, events = self.open.get((source, key), ("", 0))
        if kind == "ALERT":
            self.open[source, key] = (status or "PENDING", events + 1)
        elif kind == "ACCEPT" and status:
            self.open[source, key] = ("ACCEPTED", events)
        elif kind == "RESOLVE" and status:
            del self.open[source, key]
            self.ended += 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), action=st.sampled_from(["accept", "resolve"]))
    def handle_by_id(self, data: st.DataObject, action: str) -> None:
        source, key = data.draw(st.sampled_from(sorted(self.open)))
        alert = self.core.open_alert(key, source)
        assert alert is not None
        assert rest(self.core, "PUT", f"/alerts/{alert.id}/{action}", now=self.now).status == 200
        self.model(source, key, action.upper())

    @invariant()
    def agrees(self) -> None:
        for source in ("one", "two"):
            for key, spellings in SPELLINGS.items():
                for spelling in spellings:
                    alert = self.core.open_alert(spelling, source)
                    seen = None if alert is None else (alert.status, alert.events)
                    assert seen == self.open.get((source, key))
        alerts = self.core.alerts.all()
        assert sum(not alert.is_open for alert in alerts) == self.ended
        assert len(alerts) == self.ended + len(self.open)
        assert self.core.stats().waiting == len(self.due)


AlertStates.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAlertStates = AlertStates.TestCase
