"""The sandbox without sockets: an httpx transport that calls it in process, on whatever clock it is given.

A fault becomes the error that httpx would raise over a network; time-outs are kept as httpx keeps them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import trio

from mcp_ilert.sandbox.ilert import SandboxIlert
from mcp_ilert.sandbox.messages import Answer, Request, pieces

Sleep = Callable[[float], Awaitable[None]]


class SandboxTransport(httpx.AsyncBaseTransport):
    """Carries requests to `core` over one connection that is kept; `now` gives seconds, `sleep` takes them."""

    def __init__(
        self, core: SandboxIlert, now: Callable[[], float] = trio.current_time, sleep: Sleep = trio.sleep
    ) -> None:
        self._core = core
        self._now = now
        self._sleep = sleep
        self._connection: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        connection = self._connect(request)
        answer = self._core.handle(_request(request, body, connection), self._now())
        patience = _Patience(request, self._sleep)
        try:
            await patience.wait(answer.hang_seconds)
        except httpx.ReadTimeout:
            self._connection = None
            raise
        if answer.reset:
            self._connection = None
            raise httpx.ReadError("The connection was reset", request=request)
        stream = _Body(answer, patience) if request.method != "HEAD" else None
        return httpx.Response(answer.status, headers=list(answer.headers), stream=stream, request=request)

    def _connect(self, request: httpx.Request) -> int:
        now = self._now()
        if self._connection is not None and self._core.script.connecting(now) is None:
            return self._connection
        self._connection, fault = self._core.connect(now)
        if fault is None:
            return self._connection
        self._connection = None
        what = "Connection refused" if fault.kind == "refused" else "TLS handshake failed"
        raise httpx.ConnectError(what, request=request)


class _Patience:
    """Waits as long as the request's read time-out allows."""

    def __init__(self, request: httpx.Request, sleep: Sleep) -> None:
        self._request = request
        self._sleep = sleep
        self._most: float | None = request.extensions.get("timeout", {}).get("read")

    async def wait(self, seconds: float) -> None:
        if self._most is not None and seconds > self._most:
            await self._sleep(self._most)
            raise httpx.ReadTimeout("The answer took too long", request=self._request)
        await self._sleep(seconds)


class _Body(httpx.AsyncByteStream):
    """An answer's body, at the speed that the answer asks for."""

    def __init__(self, answer: Answer, patience: _Patience) -> None:
        self._answer = answer
        self._patience = patience

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for seconds, piece in pieces(self._answer):
            await self._patience.wait(seconds)
            yield piece


def _request(request: httpx.Request, body: bytes, connection: int) -> Request:
    headers = tuple((k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in request.headers.raw)
    return Request(
        method=request.method,
        target=request.url.raw_path.decode("ascii"),
        headers=headers,
        body=body,
        connection=connection,
    )
