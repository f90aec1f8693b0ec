"""The life of a bridge in a process: it starts, serves, reloads on SIGHUP and ends on SIGTERM or SIGINT."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn

import trio

Serve = Callable[["Life"], Awaitable[None]]
Reload = Callable[[], None]
ENDING = (signal.SIGTERM, signal.SIGINT)
RELOADING: tuple[int, ...] = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # Windows has none


class Life:
    """What the signals have said so far."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.stopping = trio.Event()
        self._hung_up = False
        self._reload: Reload | None = None

    def started(self, reload: Reload) -> None:
        """From now on the first signal ends the bridge gently (before, it ends the start); SIGHUP reloads."""
        self._reload = reload
        if self._hung_up:
            reload()

    def end(self) -> None:
        """Obey a signal to end."""
        if self._reload is None:
            self.scope.cancel()
        elif self.stopping.is_set():
            at_once()
        self.stopping.set()

    def hang_up(self) -> None:
        """Obey SIGHUP, where it came too early once there is something to reload."""
        self._hung_up = True
        if self._reload is not None:
            self._reload()


async def live(serve: Serve) -> None:
    """Run `serve` under the signals; it waits for `life.stopping` once it has started."""
    life = Life()
    with trio.open_signal_receiver(*ENDING, *RELOADING) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, life)
            with life.scope:
                await serve(life)
            nursery.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], life: Life) -> None:
    async for number in signals:
        if number in RELOADING:
            life.hang_up()
        else:
            life.end()


def obey_early() -> None:
    """For signals that come before `live` listens to them: there is nothing to finish yet."""

    def leave(_number: int, _frame: object) -> NoReturn:
        sys.exit(0)

    for number in ENDING:
        signal.signal(number, leave)
    for later in RELOADING:
        signal.signal(later, signal.SIG_IGN)


def at_once() -> NoReturn:
    """End the process now, as if it were killed: nothing that was answered is lost by that."""
    sys.stderr.flush()
    os._exit(1)
