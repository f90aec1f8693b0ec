"""The soak's producers: each speaks for alert keys of its own, and remembers what it was answered."""

import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count

import trio

from bridge import post_raw
from oracle import History, Word

STATUSES = ("firing",) * 6 + ("acknowledged",) + ("resolved",) * 3
ANSWER_SECONDS = 60.0
BATCH = 20


class BrokenPromiseError(AssertionError):
    """A promise is broken; there is no use in going on."""


class Producers:
    """What all producers share: the record, the numbers, and whether they may speak now."""

    def __init__(self, history: History, port: Callable[[], int]) -> None:
        self.history = history
        self.may_speak = trio.Event()
        self.hasty = False
        """Whether they speak as fast as they can stand."""
        self._port = port
        self._numbers = count(1)
        self._speaking = 0
        self._silence = trio.Event()

    def word(self, key: str, status: str, priority: int, target: str = "default") -> Word:
        """A new event."""
        number = next(self._numbers)
        return Word(number, key, target, status, priority, f"{key} {number}")

    async def allowed(self) -> None:
        """Wait until they may speak; it still is so when this returns, for nothing comes in between."""
        while not self.may_speak.is_set():
            await self.may_speak.wait()

    async def hush(self) -> None:
        """Have them pause, and wait until nothing is on its way."""
        self.may_speak = trio.Event()
        while self._speaking:
            self._silence = trio.Event()
            await self._silence.wait()

    async def speak(self, mouth: "Mouth", words: Sequence[Word]) -> bool:
        """Send these in one request once it is allowed; whether they were taken."""
        await self.allowed()
        self._speaking += 1
        try:
            return await mouth.say(words)
        finally:
            self._speaking -= 1
            self._silence.set()

    @asynccontextmanager
    async def mouth(self) -> AsyncIterator["Mouth"]:
        """A connection of its own."""
        mouth = Mouth(self.history, self._port)
        try:
            yield mouth
        finally:
            await mouth.close()


class Mouth:
    """One connection to the bridge, made again when it is cut."""

    def __init__(self, history: History, port: Callable[[], int]) -> None:
        self._history = history
        self._port = port
        self._stream: trio.SocketStream | None = None

    async def say(self, words: Sequence[Word]) -> bool:
        """Send these in one request; whether they were taken."""
        try:
            self._stream = self._stream or await trio.open_tcp_stream("127.0.0.1", self._port())
        except OSError:  # nobody was there, so nothing was said
            await trio.sleep(0.03)
            return False
        self._history.say(words)
        try:
            with trio.fail_after(ANSWER_SECONDS):
                status, answer = await post_raw(self._stream, json.dumps([_event(w) for w in words]).encode())
        except (trio.BrokenResourceError, EOFError):
            await self.close()
            return False
        if (status, answer) == (202, {"accepted": len(words)}):
            self._history.answer(words, "answered")
            return True
        if status != 503:
            raise BrokenPromiseError(f"{status} {answer} for {words}")
        self._history.answer(words, "refused")
        await self.close()
        return False

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)


def _event(word: Word) -> dict[str, object]:
    return {
        "mcp_id": word.key,
        "source": word.key.rsplit("-", 1)[0],
        "summary": word.summary,
        "priority": word.priority,
        "status": word.status,
        "number": word.number,
    }


# What they say ---------------------------------------------------------------------------------------------------


async def urgent(all_: Producers, dice: random.Random, name: str, target: str, keys: int) -> None:
    """Alerts that come, are accepted and resolved at random."""
    async with all_.mouth() as mouth:
        while True:
            picked = {f"{name}-{dice.randrange(keys)}" for _ in range(dice.randint(1, 5))}
            words = [
                all_.word(key, dice.choice(STATUSES), dice.randint(1, 2), target) for key in sorted(picked)
            ]
            await all_.speak(mouth, words)
            await trio.sleep(dice.uniform(0, 0.1) if all_.hasty else dice.uniform(0.3, 1.2))


async def singles(all_: Producers, dice: random.Random) -> None:
    """An alert key for each event."""
    async with all_.mouth() as mouth:
        for first in count(step=3):
            words = [all_.word(f"single-{first + i}", "firing", dice.randint(1, 2)) for i in range(3)]
            await all_.speak(mouth, words)
            await trio.sleep(dice.uniform(0.05, 0.4) if all_.hasty else dice.uniform(0.3, 1.2))


async def storms(all_: Producers, dice: random.Random, keys: int) -> None:
    """Waves of lesser alerts: they come, some are repeated, accepted, or become urgent, and they are resolved."""
    async with all_.mouth() as mouth:
        while True:
            await _wave(all_, mouth, dice, keys)


async def _wave(all_: Producers, mouth: Mouth, dice: random.Random, keys: int) -> None:
    wave = [f"storm{dice.randrange(2)}-{i}" for i in range(keys) if dice.random() < 0.9]
    dice.shuffle(wave)
    await _say_of_each(all_, mouth, wave, lambda key: all_.word(key, "firing", dice.randint(3, 4)))
    await trio.sleep(dice.uniform(0, 12))  # a digest waits for 5 s before it says anything
    more = [key for key in wave if dice.random() < 0.2]
    await _say_of_each(all_, mouth, more, lambda key: _follow_up(all_, dice, key))
    await trio.sleep(dice.uniform(0, 6))
    left = dice.choice((0, 0, 0.3))
    over = [key for key in wave if dice.random() >= left]
    await _say_of_each(all_, mouth, over, lambda key: all_.word(key, "resolved", 4))
    await trio.sleep(dice.uniform(0, 2))


def _follow_up(all_: Producers, dice: random.Random, key: str) -> Word:
    status = dice.choice(("firing", "firing", "acknowledged", "resolved"))
    return all_.word(key, status, dice.choice((2, 3, 4, 4, 4)))


async def _say_of_each(
    all_: Producers, mouth: Mouth, keys: Sequence[str], make: Callable[[str], Word]
) -> None:
    for first in range(0, len(keys), BATCH):
        await all_.speak(mouth, [make(key) for key in keys[first : first + BATCH]])
        await trio.sleep(0.02)
