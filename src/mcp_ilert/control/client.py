"""A command's end of the control socket; blocking, for a command does nothing else meanwhile."""

import socket
from pathlib import Path

import msgspec

from mcp_ilert.console.requests import Answer, Request
from mcp_ilert.control.address import address, socket_path
from mcp_ilert.control.protocol import MAX_LINE_BYTES, decode_answer, encode_line
from mcp_ilert.errors import McpIlertError

TIMEOUT_SECONDS = 600.0
"""Replaying a million letters goes in slices and takes its time."""


class NoBridgeError(McpIlertError):
    """No bridge runs on this spool."""


def ask(spool: Path, request: Request, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Send one request to the bridge that runs on this spool, and wait for its answer.

    Raises NoBridgeError where none runs, McpIlertError where the bridge cannot be asked.
    """
    path = socket_path(spool)
    if not hasattr(socket, "AF_UNIX"):
        raise NoBridgeError(f"no bridge runs on {spool}, nor can one on this system")
    try:
        with address(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(name)
            return _exchange(connection, request)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise NoBridgeError(f"no bridge runs on {spool}") from None
    except PermissionError:
        raise McpIlertError(f"{path}: permission denied; run this as the user that runs the bridge") from None
    except TimeoutError:
        raise McpIlertError(f"the bridge did not answer on {path} within {timeout_seconds:g} s") from None
    except (OSError, msgspec.DecodeError) as error:
        raise McpIlertError(f"the bridge gave no answer on {path}: {error}") from None


def _exchange(connection: socket.socket, request: Request) -> Answer:
    connection.sendall(encode_line(request))
    answer = bytearray()
    while not answer.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk or len(answer) > MAX_LINE_BYTES:
            raise ConnectionError("the connection ended early")
        answer += chunk
    return decode_answer(bytes(answer))
