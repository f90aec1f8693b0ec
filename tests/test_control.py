"""The control socket, over a real Unix socket."""

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from mcp_ilert.control import (
    Answer,
    DropKey,
    NoBridgeError,
    PauseTarget,
    ReplayDead,
    Request,
    ask,
    serve_control,
)
from mcp_ilert.control import server as control_server
from mcp_ilert.control.address import address, socket_path
from mcp_ilert.control.protocol import MAX_LINE_BYTES, decode_answer
from mcp_ilert.errors import McpIlertError, StartError


async def echo(request: Request) -> Answer:
    """Answers with what it was asked, so that the test sees both ways."""
    match request:
        case ReplayDead(keys=keys, force=force):
            return Answer(ok=True, events=len(keys or ()) + force)
        case DropKey(key=key):
            raise McpIlertError(f"nothing waits for {key}")
        case _:
            return Answer(ok=True, events=len(request.target))


async def start(nursery: trio.Nursery, spool: Path) -> Path:
    path: Path = await nursery.start(serve_control, spool, echo)
    return path


async def ask_in_thread(spool: Path, request: Request) -> Answer:
    return await trio.to_thread.run_sync(ask, spool, request)


async def talk(path: Path, text: bytes) -> bytes:
    """What the bridge answers to these bytes."""
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        await stream.send_all(text)
        return b"".join([chunk async for chunk in stream])


async def test_a_request_is_carried_out_and_answered(tmp_path: Path, nursery: trio.Nursery) -> None:
    await start(nursery, tmp_path / "spool.db")
    answer = await ask_in_thread(tmp_path / "spool.db", ReplayDead(keys=("a", "b"), force=True))
    assert answer == Answer(ok=True, events=3)


async def test_an_error_of_ours_is_the_answer(tmp_path: Path, nursery: trio.Nursery) -> None:
    await start(nursery, tmp_path / "spool.db")
    answer = await ask_in_thread(tmp_path / "spool.db", DropKey(key="k"))
    assert answer == Answer(ok=False, error="nothing waits for k")


async def test_the_socket_is_for_its_owner_alone(tmp_path: Path, nursery: trio.Nursery) -> None:
    old = os.umask(0)
    try:
        path = await start(nursery, tmp_path / "spool.db")
    finally:
        os.umask(old)
    assert path == tmp_path / "spool.db.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path, nursery: trio.Nursery) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "spool.db.sock"))
    await start(nursery, tmp_path / "spool.db")
    assert (await ask_in_thread(tmp_path / "spool.db", PauseTarget(target="default"))).ok


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "spool.db.sock").write_text("mine")
    with pytest.raises(StartError, match=r"is in the way of the control socket"):
        await serve_control(tmp_path / "spool.db", echo)
    assert (tmp_path / "spool.db.sock").read_text() == "mine"


async def test_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        path = await start(nursery, tmp_path / "spool.db")
        nursery.cancel_scope.cancel()
    assert not path.exists()
    with pytest.raises(NoBridgeError):
        ask(tmp_path / "spool.db", PauseTarget(target="default"))


async def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path, nursery: trio.Nursery) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    path = await start(nursery, deep / "spool.db")
    assert len(str(path)) > 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await ask_in_thread(deep / "spool.db", PauseTarget(target="x"))).events == 1


def test_a_file_name_too_long_for_any_socket_is_a_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match=r"spool\.path: .* too long .* shorter path"),
        address(socket_path(tmp_path / ("s" * 200))),
    ):
        pass


def test_a_spool_behind_a_link_has_the_same_socket(tmp_path: Path) -> None:
    (tmp_path / "spool.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "spool.db")
    assert socket_path(tmp_path / "link.db") == socket_path(tmp_path / "spool.db")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"not json\n", "not a request: "),
        (b'{"op":"explode"}\n', "not a request: Invalid value 'explode'"),
        (b'{"op":"pause"}\n', "not a request: Object missing required field `target`"),
        (b'{"op":"pause","target":7}\n', "not a request: Expected `str`, got `int` - at `$.target`"),
    ],
)
async def test_what_is_no_request_is_answered_with_the_reason(
    tmp_path: Path, nursery: trio.Nursery, line: bytes, error: str
) -> None:
    path = await start(nursery, tmp_path / "spool.db")
    answer = decode_answer(await talk(path, line))
    assert not answer.ok
    assert str(answer.error).startswith(error)


async def test_an_endless_line_is_refused(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = await start(nursery, tmp_path / "spool.db")
    stream = await trio.open_unix_socket(str(path))
    async with stream, trio.open_nursery() as sending:

        async def pour() -> None:
            try:
                await stream.send_all(b"x" * (MAX_LINE_BYTES + 1))
                await stream.send_all(b"x" * MAX_LINE_BYTES)
            except trio.BrokenResourceError:
                pass  # the bridge has closed, as it should

        sending.start_soon(pour)
        try:
            answer = b"".join([chunk async for chunk in stream])
        except trio.BrokenResourceError:
            answer = b""  # reset: bytes of ours were still unread
        assert b"no line of at most" in answer or answer == b""
    assert (await ask_in_thread(tmp_path / "spool.db", PauseTarget(target="x"))).ok


async def test_a_client_that_says_nothing_is_let_go(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_server, "READ_SECONDS", 0.01)
    path = await start(nursery, tmp_path / "spool.db")
    assert decode_answer(await talk(path, b"")).error == "no request within 0.01 s"


async def test_clients_that_only_connect_keep_nobody_out(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_server, "READ_SECONDS", 0.01)
    path = await start(nursery, tmp_path / "spool.db")
    idle = [await trio.open_unix_socket(str(path)) for _ in range(control_server.MAX_CONNECTIONS)]
    assert (await ask_in_thread(tmp_path / "spool.db", PauseTarget(target="x"))).ok
    for stream in idle:
        await stream.aclose()
