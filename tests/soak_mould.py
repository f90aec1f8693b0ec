"""Bridges out of a mould (soak_bridge.py): processes of their own that need no imports to start."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import trio

from bridge import Bridge
from soak_bridge import END

PROGRAM = Path(__file__).with_name("soak_bridge.py")


class Casting:
    """One process, as far as a Bridge needs a trio.Process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = trio.Event()
        self.heard = trio.Event()
        """All that it said has been read."""

    def send_signal(self, number: signal.Signals) -> None:
        # Not reaped before its exit code was told, so the number is still its own.
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        await self.ended.wait()
        assert self.returncode is not None
        return self.returncode


class Mould:
    """The process that forks; one child at a time."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._answers = _lines(process.stdout)
        self._bridge: Bridge | None = None
        self._casting: Casting

    @asynccontextmanager
    async def spawned(self, args: list[str]) -> AsyncIterator[Bridge]:
        """Like bridge.spawned."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(args).encode() + b"\n")
        casting = self._casting = Casting(int(await anext(self._answers)))
        self._bridge = Bridge(cast("trio.Process", casting), Path())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._await_end, casting)
            try:
                yield self._bridge
            finally:
                casting.send_signal(signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await casting.wait()

    async def _await_end(self, casting: Casting) -> None:
        with trio.CancelScope(shield=True):  # the child is killed first
            code = int(await anext(self._answers))
            await casting.heard.wait()
        casting.returncode = code
        casting.ended.set()

    async def read(self) -> None:
        """Hand what the child says on stderr to its Bridge."""
        assert self._process.stderr is not None
        async for line in _lines(self._process.stderr):
            if line == END:
                self._casting.heard.set()
            elif line and self._bridge is not None:
                self._bridge.add(line)


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    unread = b""
    async for chunk in stream:
        *lines, unread = (unread + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


@asynccontextmanager
async def open_mould() -> AsyncIterator[Mould]:
    command = [sys.executable, str(PROGRAM)]
    async with trio.open_nursery() as nursery:
        start = partial(trio.lowlevel.open_process, command, stdin=-1, stdout=-1, stderr=-1)
        process = await start()
        mould = Mould(process)
        nursery.start_soon(mould.read)
        try:
            yield mould
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
