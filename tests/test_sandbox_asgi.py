"""How the sandbox reads a request that is long, slow or broken off."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from trio.testing import MockClock

from mcp_ilert.sandbox import Answer, Request, SandboxIlert
from mcp_ilert.sandbox.asgi import BODY_SECONDS, application
from mcp_ilert.sandbox.options import BODY_CAP

SCOPE: Any = {
    "type": "http",
    "method": "POST",
    "raw_path": b"/api/events",
    "query_string": b"",
    "headers": [(b"Content-Type", b"application/json")],
    "client": ("127.0.0.1", 1),
    "http_version": "1.1",
}


async def answered(receive: Callable[[], Awaitable[Any]]) -> tuple[int | None, list[Request]]:
    """The status that was sent, if any, and the requests that the sandbox saw."""
    core = SandboxIlert()
    seen: list[Request] = []
    sent: list[Any] = []

    def handle(request: Request) -> Answer:
        seen.append(request)
        return core.handle(request, 0.0)

    async def send(message: Any) -> None:
        sent.append(message)

    await application(handle, 1, lambda: None)(SCOPE, receive, send)
    return (sent[0]["status"] if sent else None), seen


async def test_a_body_that_does_not_end_is_cut_at_the_cap_and_413() -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b" " * 1_048_576, "more_body": True}

    status, [request] = await answered(receive)
    assert (status, len(request.body)) == (413, BODY_CAP + 1)


async def test_a_body_that_does_not_come_is_408(autojump_clock: MockClock) -> None:
    async def receive() -> Any:
        await trio.sleep(1)
        return {"type": "http.request", "body": b" ", "more_body": True}

    assert await answered(receive) == (408, [])
    assert trio.current_time() == BODY_SECONDS


async def test_a_body_broken_off_is_no_request() -> None:
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    assert await answered(receive) == (None, [])
