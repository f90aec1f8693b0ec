"""What keeps a request from being answered: as an outcome, and in words that hold no address and no key.

The texts of httpx and of what is below it may hold the URL, and so a key. Told are the kind of the error, and what
the system or OpenSSL calls the cause.
"""

import os
import socket
import ssl
from collections.abc import Iterator

import httpx

from mcp_ilert.events import Unavailable
from mcp_ilert.targets.addresses import RefusedAddressError

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""What happens only before a request leaves; a failed TLS handshake or certificate is a ConnectError."""


def failed(error: Exception) -> Unavailable:
    """The outcome of an attempt that got no answer."""
    return Unavailable(in_words(error), certain=isinstance(error, NEVER_SENT))


def in_words(error: BaseException) -> str:
    """Such as "connect error (Connection refused)"."""
    named = error.__cause__ if isinstance(error.__cause__, RefusedAddressError) else error
    cause = next((said for found in _causes(error) if (said := _said(found))), "")
    return _words(type(named).__name__) + (f" ({cause})" if cause else "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it: Trio tries all addresses of a host, and has an error of each."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _causes(one)
        error = error.__cause__ or error.__context__


def _said(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.partition(",")[0]  # behind it stands the name that was expected
    if isinstance(error, ssl.SSLError):
        return (error.reason or "").replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return error.strerror or ""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""


def _words(name: str) -> str:
    """ConnectTimeout → connect timeout."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
