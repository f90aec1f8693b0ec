"""What answers by a callback, awaited."""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def answer_of(call: Callable[[Callable[[T], None]], None]) -> T:
    """What `call` gives to the callback that it is handed, in the Trio thread.

    Whoever is cancelled does not hear of it; the call itself goes on. An answer at once costs no checkpoint, for
    virtual time passes faster without.
    """
    answers: list[T] = []
    came: trio.Event | None = None

    def take(answer: T) -> None:
        answers.append(answer)
        if came is not None:
            came.set()

    call(take)
    if not answers:
        came = trio.Event()
        await came.wait()
    return answers[0]
