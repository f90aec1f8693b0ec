"""The soak's iLert: three integration keys, faults at random, and a record of all that arrives."""

import json
import random
import time
from collections import Counter
from typing import Any

import msgspec
import trio

from mcp_ilert.sandbox import Fault, Limits, Options, SandboxIlert, Source
from mcp_ilert.sandbox.received import Received
from mcp_ilert.sandbox.server import SandboxServer
from oracle import DIGEST, Arrival, History, Standing
from soak_producers import Producers

TARGETS = ("default", "limited", "refused")
TIMEOUT_SECONDS = 2.0
"""Of the bridge's requests; what iLert answers later than that has an unknown outcome."""
LATE_SECONDS = 0.5
"""If all connections are reset, or this process was late by so much, answers of so long ago may not have arrived."""
WINDOW_SECONDS = 5.0
"""Of iLert's limits here; its own minute would be most of a short run."""


def options(limited_to: int | None) -> Options:
    """The key `limited` may make so many calls a window."""
    return Options(
        sources=tuple(
            Source(
                key=f"key-{name}",
                id=2000 + number,
                name=name,
                per_window=limited_to if name == "limited" else None,
            )
            for number, name in enumerate(TARGETS)
        ),
        limits=Limits(
            integration_key=None, api_key=None, ip=None, window_seconds=WINDOW_SECONDS, retry_after=True
        ),
        keep_requests=100,
        keep_log=5_000_000,
        keep_alerts=5_000_000,
        keep_keys=5_000_000,
    )


USUAL, HARDLY, UNLIMITED = options(20), options(1), options(None)
REFUSED = Fault(kind="status", status=401, integration_key="key-refused")


class Ilert:
    """What stands at iLert, what arrived there, and what it does wrong."""

    def __init__(self, history: History, dice: random.Random) -> None:
        self.core = SandboxIlert(USUAL, on_event=self._arrived)
        self.server: SandboxServer
        self.history = history
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.most_in_a_digest = 0
        self.life = 0
        """Which process of the bridge sends now."""
        self.first_arrival: float | None = None
        """Of this life: when iLert took something first, by time.monotonic()."""
        self._dice = dice
        self._accepted = 0
        self._moments: list[float] = []

    def begin_life(self) -> None:
        """A new process of the bridge."""
        self.life += 1
        self.first_arrival = None

    # What arrives ---------------------------------------------------------------------------------------------

    def _arrived(self, received: Received) -> None:
        body = json.loads(received.body)
        accepted = self.core._accepted  # with a fault the answer does not tell whether it was applied
        arrival = Arrival(
            received.number,
            int(dict(received.headers)["authorization"].rpartition("-")[2]),
            received.source or "",
            received.event_type or "",
            received.key or "",
            body["customDetails"].get("number"),
            body["summary"],
            body.get("details") or "",
            accepted > self._accepted,
            received.status == 202 and received.fault is None,
        )
        self._accepted = accepted
        self.history.arrivals.append(arrival)
        self._moments.append(time.monotonic())
        self.counts[str(received.status)] += 1
        if arrival.applied and arrival.life == self.life and self.first_arrival is None:
            self.first_arrival = self._moments[-1]
        if arrival.key.startswith(DIGEST):
            self.counts[f"digest {arrival.kind}"] += arrival.applied
            self.most_in_a_digest = max(self.most_in_a_digest, _members(body))

    def doubt(self) -> None:
        """Answers of the last moments may not have arrived."""
        since = time.monotonic() - LATE_SECONDS - TIMEOUT_SECONDS
        for index in range(len(self._moments) - 1, -1, -1):
            if self._moments[index] < since:
                return
            self.history.arrivals[index] = msgspec.structs.replace(self.history.arrivals[index], sure=False)

    async def watch_itself(self) -> None:
        """Where this process was late itself, the bridge may have given up waiting."""
        while True:
            due = time.monotonic() + 0.05
            await trio.sleep(0.05)
            if time.monotonic() - due > LATE_SECONDS:
                self.counts["late"] += 1
                self.doubt()

    # What goes wrong ------------------------------------------------------------------------------------------

    async def go_wrong(self, producers: Producers) -> None:
        """Other faults every moment; between them, and while the producers pause, none."""
        while True:
            await producers.allowed()
            self.set(*self._chosen())
            await trio.sleep(self._dice.uniform(0.3, 2))
            if producers.may_speak.is_set():
                self.set(*([REFUSED] if self._dice.random() < 0.5 else []))
            await trio.sleep(self._dice.uniform(0.3, 1.5))

    def set(self, *faults: Fault) -> None:
        """These faults and no others."""
        if any(fault.kind == "refused" for fault in faults):
            self.doubt()
        self.core.clear_faults()
        self.core.set_faults(*faults, now=self.server.now())

    def faults_now(self) -> tuple[Fault, ...]:
        """What goes wrong at this moment."""
        return self.core.script.faults(self.server.now())

    def _chosen(self) -> list[Fault]:
        dice = self._dice
        chances = {
            "5xx": (0.3, _status(dice.choice((500, 502, 503, 504)), every=2, html=dice.random() < 0.5)),
            "5xx after it was applied": (0.2, _status(500, every=3, applied=True)),
            "late answer": (
                0.25,
                Fault(kind="hang", seconds=dice.uniform(0.1, 3), applied=dice.random() < 0.5, every=5),
            ),
            "slow body": (0.25, Fault(kind="slow", seconds=dice.uniform(0.1, 3), applied=True, every=4)),
            "reset before it was applied": (0.25, Fault(kind="reset", every=2)),
            "reset after it was applied": (0.3, Fault(kind="lost", every=2)),
            "nobody listens": (0.15, Fault(kind="refused", until=dice.uniform(0.2, 1.5))),
            "429": (0.01, _status(429, times=1, retry_after="1", integration_key="key-default")),
            "rejected": (0.15, _status(400, key=f"*-{dice.randrange(10)}")),
            "404 without a code": (0.05, _status(404, code="", times=4, integration_key="key-limited")),
            "key refused": (0.4, REFUSED),
        }
        chosen = {name: fault for name, (chance, fault) in chances.items() if dice.random() < chance}
        self.faults.update(chosen.keys())
        return list(chosen.values())

    # What stands there ----------------------------------------------------------------------------------------

    def standing(self, key: str, target: str) -> Standing:
        """The key's alert, once all that was taken has had its effect."""
        self.core.advance(self.server.now() + 60)
        alert = self.core.open_alert(key, f"key-{target}")
        if alert is None:
            return "closed"
        return "accepted" if alert.status == "ACCEPTED" else "open"

    def open_digests(self) -> list[str]:
        """The digests that stand open, once all that was taken has had its effect."""
        self.core.advance(self.server.now() + 60)
        alerts = (alert for alert in self.core.alerts.all() if alert.is_open and alert.key is not None)
        return [str(alert.key) for alert in alerts if str(alert.key).startswith(DIGEST)]

    def paged_twice(self) -> int:
        """Operations that opened an alert more than once."""
        opened = {effect.request for effect in self.core.log if effect.what == "opened"}
        times = Counter(
            (a.target, a.key, a.number)
            for a in self.history.arrivals
            if a.request in opened and a.number is not None
        )
        return sum(number - 1 for number in times.values())


def _status(status: int, **changes: Any) -> Fault:
    return Fault(kind="status", status=status, **changes)


def _members(body: dict[str, Any]) -> int:
    return int(body["customDetails"]["digest"]["unresolved"])
