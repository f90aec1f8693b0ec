"""Sockets bound before anything is served, so that a port that is taken is one readable line at the start."""

import errno
import os
import socket
from typing import Final

from mcp_ilert.errors import StartError

BACKLOG: Final = 1024


def listening_sockets(address: str, port: int, *, keys: tuple[str, str]) -> list[socket.socket]:
    """Sockets that listen on the port at every address that the name stands for; port 0 takes a free one.

    `keys` names the configuration's keys of address and port. Raises StartError.
    """
    address_key, port_key = keys
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"{address_key}: {address} is not known here: {error.strerror or error}") from None
    sockets: list[socket.socket] = []
    try:
        for family, where in {(family, where) for family, _, _, _, where in found}:
            sockets.append(_listening(family, (where[0], port, *where[2:])))
            port = port or sockets[0].getsockname()[1]
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise StartError(_line(error, address, port, address_key, port_key)) from None
    return sockets


def _listening(family: int, where: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(where)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _line(error: OSError, address: str, port: int, address_key: str, port_key: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{port_key}: {port} on {address} is taken by another program; stop it, or choose another port"
    if error.errno == errno.EACCES:
        return f"{port_key}: {port} may not be opened by this user; choose one above 1023 or grant CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address_key}: {address} is no address of this machine; 0.0.0.0 or :: stands for all of them"
    return f"{port_key}: {port} on {address} cannot be opened: {os.strerror(error.errno or 0)}"
