"""The long crash test: producers, kills and a faulty iLert, all at random from a seed; then the reckoning.

    python tests/soak.py --minutes 10 --seed 1

For each key one producer knows the order of its events and which of them were answered 202. At the end the faults
stop, the bridge drains, and each key must stand at iLert as its last answered event says. What was cut off without
an answer may have been taken or not; a key whose last word is such an event may stand either way.
"""

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import httpx
import msgspec
import trio

from bridge import Bridge, running, write_config
from mcp_ilert.sandbox import Fault, Limits, Options, SandboxIlert
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox
from mcp_ilert.spool.view import SpoolView

PRODUCERS = 6
KEYS_EACH = 40
STATUSES = ("firing",) * 6 + ("acknowledged",) + ("resolved",) * 3


class Word(msgspec.Struct, frozen=True):
    """One event of a key."""

    number: int
    status: str
    answered: bool


class Told:
    """What the producers have said of each key, in order."""

    def __init__(self) -> None:
        self.words: dict[str, list[Word]] = {}
        self.answered = 0
        self.refused = 0
        self._number = 0

    def next(self) -> int:
        self._number += 1
        return self._number

    def add(self, key: str, word: Word) -> None:
        self.words.setdefault(key, []).append(word)
        self.answered += word.answered


def may_be_open(words: list[Word]) -> set[bool]:
    """Whether the key's alert is open at iLert, as far as its events decide it."""
    states = {False}
    for word in words:
        if word.status == "acknowledged":
            continue
        said = {word.status == "firing"}
        states = said if word.answered else states | said
    return states


class Soak:
    """One run."""

    def __init__(self, seed: int, minutes: float, sandbox: SandboxServer, config: Path, port: int) -> None:
        self.random = random.Random(seed)
        self.until = time.monotonic() + minutes * 60
        self.sandbox = sandbox
        self.config = config
        self.url = f"http://127.0.0.1:{port}/events"
        self.told = Told()
        self.kills = 0
        self.ends = 0
        self.faults = 0

    async def run(self, spool: Path) -> int:
        """Returns how many keys stand wrong."""
        async with trio.open_nursery() as nursery:
            for producer in range(PRODUCERS):
                nursery.start_soon(self.produce, producer)
            nursery.start_soon(self.be_faulty)
            await self.restart_often(spool)
            nursery.cancel_scope.cancel()
        self.sandbox.core.clear_faults()
        async with running(self.config) as bridge:
            await self.drain(spool)
            bridge.signal(signal.SIGTERM)
            await bridge.exit_code()
        return self.reckon(spool)

    async def produce(self, producer: int) -> None:
        dice = random.Random(self.random.random())
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            while time.monotonic() < self.until:
                await self.post(client, dice, producer)

    async def post(self, client: httpx.AsyncClient, dice: random.Random, producer: int) -> None:
        picked = {f"key-{producer}-{dice.randrange(KEYS_EACH)}" for _ in range(dice.randint(1, 5))}
        said = {key: (self.told.next(), dice.choice(STATUSES)) for key in sorted(picked)}
        events = [
            {
                "mcp_id": key,
                "source": f"probe-{producer}",
                "summary": f"{key} {number}",
                "priority": 1 + number % 4,
                "status": status,
                # An accept may rightly go behind a newer alert that was folded into one before it.
                **({} if status == "acknowledged" else {"sequence": number}),
            }
            for key, (number, status) in said.items()
        ]
        answered = False
        try:
            answer = await client.post(self.url, json=events)
        except httpx.HTTPError:
            await trio.sleep(0.05)
        else:
            answered = answer.status_code == 202
            if not answered:  # 503: nothing of it was kept
                self.told.refused += len(events)
                return
        for key, (number, status) in said.items():
            self.told.add(key, Word(number, status, answered))

    async def restart_often(self, spool: Path) -> None:
        while time.monotonic() < self.until:
            async with running(self.config) as bridge:
                await trio.sleep(self.random.uniform(0.2, 4))
                await self.end(bridge)
            with SpoolView(spool) as view:
                error = view.audit().error
            if error:
                raise SystemExit(f"the conservation law is broken by {error} after kill {self.kills}")
            print(
                f"\rkills {self.kills}, ends {self.ends}, answered {self.told.answered:,}, faults {self.faults}",
                end="",
                file=sys.stderr,
            )

    async def end(self, bridge: Bridge) -> None:
        if self.random.random() < 0.85:
            self.kills += 1
            bridge.signal(signal.SIGKILL)
        else:
            self.ends += 1
            bridge.signal(signal.SIGTERM)
        await bridge.exit_code()

    async def be_faulty(self) -> None:
        while True:
            now, dice = self.sandbox.now(), self.random
            faults = (
                Fault(
                    kind="status",
                    status=dice.choice((500, 502, 503, 504)),
                    every=2,
                    html=dice.random() < 0.5,
                ),
                Fault(kind="hang", seconds=dice.uniform(0.1, 2), applied=dice.random() < 0.5, every=3),
                Fault(kind="status", status=429, every=5, retry_after="1"),
                Fault(kind="reset", every=2),
                Fault(kind="lost", every=2),
                Fault(kind="refused", until=1.5),
            )
            self.sandbox.core.clear_faults()
            chosen = [fault for fault in faults if dice.random() < 0.3]
            self.sandbox.core.set_faults(*chosen, now=now)
            self.faults += len(chosen)
            await trio.sleep(dice.uniform(0.3, 2))

    async def drain(self, spool: Path) -> None:
        with trio.fail_after(300):
            while True:
                with SpoolView(spool) as view:
                    counts = view.counts()
                if counts.pending == 0 and counts.dead == 0:
                    return
                await trio.sleep(0.2)

    def reckon(self, spool: Path) -> int:
        core = self.sandbox.core
        core.advance(self.sandbox.now() + 60)
        wrong = []
        for key, words in self.told.words.items():
            allowed = may_be_open(words)
            if (core.open_alert(key) is not None) not in allowed:
                wrong.append(key)
        with SpoolView(spool) as view:
            audit = view.audit()
        stats = core.stats()
        report = {
            "kills": self.kills,
            "gentle_ends": self.ends,
            "events_answered_202": self.told.answered,
            "events_answered_503": self.told.refused,
            "keys": len(self.told.words),
            "faults": self.faults,
            "requests_at_ilert": stats.requests,
            "keys_that_stand_wrong": len(wrong),
            "inversions": stats.inversions,
            "conservation_error": audit.error,
            "counts": msgspec.structs.asdict(audit.counts),
        }
        print("\n" + json.dumps(report, indent=2))
        for key in wrong[:5]:
            print(key, self.told.words[key][-4:], core.open_alert(key))
        return len(wrong) + stats.inversions + abs(audit.error)


async def main(minutes: float, seed: int) -> int:
    unlimited = Options(limits=Limits(integration_key=None, ip=None))
    with tempfile.TemporaryDirectory(prefix="mcp-ilert-soak-") as name:
        folder = Path(name)
        async with open_sandbox(SandboxIlert(unlimited)) as sandbox:
            port = await free_port()
            config = write_config(
                folder,
                sandbox.url,
                listen={"port": port},
                ilert={"timeout_seconds": 1},
                rate_limit={"per_minute": 100_000, "burst": 10_000},
                retries={"base_interval_seconds": 0.05, "max_interval_seconds": 1},
            )
            return await Soak(seed, minutes, sandbox, config, port).run(folder / "spool.db")


async def free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = int(listener.socket.getsockname()[1])
    await listener.aclose()
    return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(1 if trio.run(main, given.minutes, given.seed) else 0)
