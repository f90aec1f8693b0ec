"""A command that changes something at a running bridge, while that does not answer."""

import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mcp_ilert.cli.change import ask_patiently
from mcp_ilert.control import Answer, PauseTarget
from mcp_ilert.control.address import socket_path
from mcp_ilert.control.protocol import encode_line
from mcp_ilert.spool.lock import lock_path, own

PAUSE = PauseTarget("default")


class Stopped:
    """What a process that was stopped is to others: the kernel takes connections, and nothing comes."""

    def __init__(self, spool: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path(spool)))
        self._listener.listen()

    def go_on(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection:
            connection.recv(65536)
            connection.sendall(encode_line(Answer(ok=True, events=3)))


@pytest.mark.parametrize("locked", [True, False])
async def test_who_waits_for_a_stopped_bridge_is_told_once_after_five_seconds(
    tmp_path: Path,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    locked: bool,
) -> None:
    spool = tmp_path / "spool.db"
    who = f"the bridge (pid {os.getpid()})" if locked else "the bridge"
    with own(spool):
        if not locked:
            lock_path(spool).write_text("{")
        bridge = Stopped(spool)
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await ask_patiently(spool, PAUSE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(4.9)
            assert capsys.readouterr().err == ""
            await trio.sleep(0.2)
            line = (
                f"mcp-ilert: waiting for {who}, which has not answered for 5 s; it may be stopped or busy\n"
            )
            assert capsys.readouterr() == ("", line)
            await trio.sleep(500)
            bridge.go_on()
    assert answers == [Answer(ok=True, events=3)]
    assert capsys.readouterr() == ("", "")
