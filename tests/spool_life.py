"""A spool in a Trio thread of its own, for tests that are not asynchronous: opened, asked through its port, ended."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from mcp_ilert.errors import StartError
from mcp_ilert.spool.port import Rules
from mcp_ilert.spool.spool import WrittenSpool
from spools import Clock, opened

T = TypeVar("T")


class SpoolLife:
    """One spool at a time; `error` is what ended it, if it did not end when told to."""

    def __init__(self, folder: Path, rules: Rules, clock: Clock, kind: str = "inline") -> None:
        self._arguments = (kind, folder, rules, clock)
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._end = trio.Event()
        self._ended = trio.Event()
        self._spool: WrittenSpool | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with trio.open_nursery() as self._nursery:
            self._ready.set()
            await self._stop.wait()

    def _call(self, act: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(act, trio_token=self._token)

    def start(self) -> None:
        """Open the spool; raises StartError where it cannot be."""
        self._call(self._open)
        if self._spool is None:
            assert self.error is not None
            raise self.error

    async def _open(self) -> None:
        assert self._nursery is not None
        self._end, self._ended, self.error, self._spool = trio.Event(), trio.Event(), None, None
        await self._nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with opened(*self._arguments) as spool:
                self._spool = spool
                task_status.started()
                await self._end.wait()
        except Exception as error:  # noqa: BLE001 - told by `end`
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            self.error = error
        finally:
            self._ended.set()
        if self._spool is None:
            task_status.started()

    def ask(self, question: Callable[[WrittenSpool], Awaitable[T]]) -> T:
        """Ask the spool something; raises what it raises. One that has to wait longer than a test may is stuck."""

        async def act() -> T:
            assert self._spool is not None
            with trio.fail_after(20):
                return await question(self._spool)

        return self._call(act)

    def end(self, *, whatever: bool = False) -> None:
        """Close the spool, if it is open; raises what else than a StartError ended it, unless `whatever`."""

        async def act() -> None:
            self._end.set()
            with trio.fail_after(20):
                await self._ended.wait()

        if self._spool is not None:
            self._call(act)
            self._spool = None
            if self.error is not None and not isinstance(self.error, StartError) and not whatever:
                raise self.error

    def close(self) -> None:
        """End the spool and the thread."""
        self.end(whatever=True)
        assert self._token is not None
        self._token.run_sync_soon(self._stop.set)
        self._thread.join()
