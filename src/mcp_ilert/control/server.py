"""The bridge's end of the control socket."""

import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
import trio

from mcp_ilert.console.requests import Answer, Request
from mcp_ilert.control.address import address, socket_path
from mcp_ilert.control.protocol import MAX_LINE_BYTES, decode_request, encode_line
from mcp_ilert.errors import McpIlertError, StartError

Handle = Callable[[Request], Awaitable[Answer]]
"""Carries a request out; what it raises of McpIlertError becomes the answer's error."""

MAX_CONNECTIONS = 16
READ_SECONDS = 5.0

log = structlog.get_logger()


async def serve_control(
    spool: Path, handle: Handle, *, task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer requests until cancelled; starts with the socket's path, and removes it at the end.

    The caller holds the spool's lock, so that a socket which is there already was left by a crash.
    Raises StartError where the socket cannot be made.
    """
    path = socket_path(spool)
    listener = _listen(path)
    try:
        slots = trio.CapacityLimiter(MAX_CONNECTIONS)
        async with trio.open_nursery() as nursery:
            task_status.started(path)
            while True:
                await slots.acquire_on_behalf_of(slot := object())
                try:
                    connection, _ = await listener.accept()
                except OSError as error:  # the process is out of descriptors, or the peer is gone already
                    slots.release_on_behalf_of(slot)
                    log.warning("control_accept_failed", error=str(error))
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(_serve_one, trio.SocketStream(connection), handle, slots, slot)
    finally:
        listener.close()
        with suppress(OSError):
            path.unlink()


def _listen(path: Path) -> trio.socket.SocketType:
    """A listening socket at `path` for its owner alone: nobody can connect before the mode is set."""
    unbound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        with address(path) as name:
            unbound.bind(name)
        path.chmod(0o600)
        unbound.listen(MAX_CONNECTIONS)
        unbound.setblocking(False)
        return trio.socket.from_stdlib_socket(unbound)
    except OSError as error:
        unbound.close()
        raise StartError(
            f"cannot make the control socket {path}: {error.strerror or error}; "
            "the folder of spool.path must be writable"
        ) from None
    except BaseException:
        unbound.close()
        raise


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(f"{path} is in the way of the control socket and is no socket; move it away")
    path.unlink()


async def _serve_one(
    stream: trio.SocketStream, handle: Handle, slots: trio.CapacityLimiter, slot: object
) -> None:
    try:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(encode_line(await _answer(stream, handle)))
    finally:
        slots.release_on_behalf_of(slot)


async def _answer(stream: trio.SocketStream, handle: Handle) -> Answer:
    with trio.move_on_after(READ_SECONDS) as reading:
        line = await _read_line(stream)
    if reading.cancelled_caught:
        return Answer(ok=False, error=f"no request within {READ_SECONDS:g} s")
    if line is None:
        return Answer(ok=False, error=f"the request is no line of at most {MAX_LINE_BYTES} bytes")
    try:
        return await handle(decode_request(line))
    except msgspec.DecodeError as error:
        return Answer(ok=False, error=f"not a request: {error}")
    except McpIlertError as error:
        return Answer(ok=False, error=str(error))


async def _read_line(stream: trio.SocketStream) -> bytes | None:
    """The first line without its newline; None where there is none within the limit."""
    line = bytearray()
    while len(line) <= MAX_LINE_BYTES:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return None
        searched = len(line)
        line += chunk
        end = line.find(b"\n", searched)
        if end >= 0:
            return bytes(line[:end])
    return None
