"""The HTTP client for whatever the bridge asks of others: one way out for all targets, with the same bounds.

TLS 1.2 and up, certificates verified; no redirect followed, no cookie kept; no connection to a refused address
(`addresses.py`), looked at after the name is resolved and again once connected, before anything is sent. A proxy of
the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY) is used, but not for this machine itself.
"""

import math
import socket
import ssl
from collections.abc import Iterable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx
import structlog
import trio

from mcp_ilert import __version__
from mcp_ilert.errors import StartError
from mcp_ilert.targets.addresses import RefusedAddressError, is_refused, literal
from mcp_ilert.targets.answers import MAX_BODY_BYTES, decoded

log = structlog.get_logger()

USER_AGENT: Final = f"mcp-ilert/{__version__}"
BODY_SECONDS: Final = 2.0
"""How long a body is waited for whose status is all that counts."""
Options = Iterable[Any]


def async_client(
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    max_connections: int = 1,
    tls: ssl.SSLContext | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A client for requests to this URL's host, `seconds` each. Raises StartError where a proxy's address is none.

    `tls` and `transport` in place of the usual, for tests. Bodies are to be read by `stream` and `beginning`: no more
    than is needed is ever held.
    """
    client: httpx.AsyncClient = _opened(
        httpx.AsyncClient,
        url,
        headers,
        http2=True,
        verify=tls or client_tls(),
        event_hooks={"request": [_look_at_literal], "response": [_do_not_follow]},
        # Half for connecting, so that it fails as such, which is certain, before the deadline of the whole attempt.
        timeout=httpx.Timeout(seconds, connect=seconds / 2, pool=seconds / 2),
        limits=httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=60
        ),
        transport=transport,
    )
    for pool in _pools(client):
        pool._network_backend = GuardedBackend(pool._network_backend)  # noqa: SLF001 - httpx has no other way in
    return client


def sync_client(url: str, *, seconds: float, headers: Mapping[str, str] | None = None) -> httpx.Client:
    """The same for a command that asks one thing after the other."""
    client: httpx.Client = _opened(
        httpx.Client,
        url,
        headers,
        verify=client_tls(),
        timeout=seconds,
        event_hooks={"request": [_look_at_url]},
    )
    for pool in _pools(client):
        pool._network_backend = GuardedSyncBackend(pool._network_backend)  # noqa: SLF001 - as above
    return client


def check_proxies(*urls: str) -> None:
    """Raise StartError where the environment names a proxy for requests to one of these that cannot be used."""
    for url in urls:
        if url:
            sync_client(url, seconds=1).close()


def client_tls() -> ssl.SSLContext:
    """TLS 1.2 and up, certificates verified."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _opened(kind: Any, url: str, headers: Mapping[str, str] | None, **options: Any) -> Any:
    try:
        return kind(
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept
            trust_env=not _loopback(url),  # a proxy does not reach this machine's own sandbox
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})},
            **options,
        )
    except (ValueError, ImportError, httpx.InvalidURL):  # its text may hold the proxy's password
        raise StartError(
            "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY: the proxy cannot be used; expected http://[USER:PASSWORD@]HOST:PORT"
        ) from None


def _pools(client: httpx.AsyncClient | httpx.Client) -> list[Any]:
    """All that open connections for this client: its own and that of each proxy."""
    transports: list[Any] = [client._transport, *client._mounts.values()]  # noqa: SLF001 - as above
    return [
        one._pool  # noqa: SLF001 - as above
        for one in transports
        if isinstance(one, httpx.AsyncHTTPTransport | httpx.HTTPTransport)
    ]


async def _look_at_literal(request: httpx.Request) -> None:
    """Where a proxy connects for us, an address in the URL itself is all that can be looked at."""
    _look_at_url(request)


def _look_at_url(request: httpx.Request) -> None:
    host = request.url.host
    address = literal(host)
    try:
        _look_at(host, [address] if address is not None else [])
    except RefusedAddressError as error:
        raise httpx.ConnectError(str(error), request=request) from error


async def _do_not_follow(response: httpx.Response) -> None:
    """Take the redirection's address away before httpx looks at it: a malformed one would hide the status."""
    response.headers.pop("location", None)


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def beginning(
    response: httpx.Response, most_bytes: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS
) -> bytes:
    """What can be had of a streamed answer's body in so many seconds and bytes, decoded."""
    if response.is_stream_consumed:  # an answer made in memory comes as a whole
        return response.content[:most_bytes]
    raw = bytearray()
    with trio.move_on_after(seconds) as scope:
        async for chunk in response.aiter_raw():
            raw += chunk[: most_bytes - len(raw)]
            if len(raw) == most_bytes:
                scope.cancel()  # not break: httpx's generators close cleanly only from within
    return decoded(bytes(raw), response.headers.get("content-encoding", ""), most_bytes)


# Where a connection may go ----------------------------------------------------------------------------------------


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects as `inner` does, but to no refused address."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        until = trio.current_time() + (math.inf if timeout is None else timeout)
        with trio.CancelScope(deadline=until) as resolving:
            try:
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error
        if resolving.cancelled_caught:
            raise httpcore.ConnectTimeout("the name was not resolved in time")
        _look_at(host, (str(where[0]) for _, _, _, _, where in found))
        rest = None if timeout is None else until - trio.current_time()
        stream = await self._inner.connect_tcp(host, port, rest, local_address, socket_options)
        try:
            _look_at(host, _peer(stream))
        except RefusedAddressError:
            await stream.aclose()
            raise
        return stream

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return await self._inner.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class GuardedSyncBackend(httpcore.NetworkBackend):
    """The same without Trio."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        _look_at(host, (str(where[0]) for _, _, _, _, where in found))
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            _look_at(host, _peer(stream))
        except RefusedAddressError:
            stream.close()
            raise
        return stream

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Options | None = None
    ) -> httpcore.NetworkStream:
        return self._inner.connect_unix_socket(path, timeout, socket_options)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def _look_at(host: str, addresses: Iterable[str]) -> None:
    """Raise where one of them is refused: a name that leads there once is not to be believed at all."""
    for address in addresses:
        if is_refused(address):
            log.warning("not connected: link-local, metadata and multicast addresses are refused", host=host)
            raise RefusedAddressError("the address is refused")


def _peer(stream: httpcore.AsyncNetworkStream | httpcore.NetworkStream) -> list[str]:
    where = stream.get_extra_info("server_addr")
    return [str(where[0])] if where else []
