"""ASGI ⇄ the sandbox's own requests and answers, the bad ones too: late, slow, or none but a reset."""

from collections.abc import Callable

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from mcp_ilert.sandbox.messages import Answer, Request, error, pieces
from mcp_ilert.sandbox.options import BODY_CAP

BODY_SECONDS = 30.0
"""A request's body must be here after so long."""

Handle = Callable[[Request], Answer]


def application(handle: Handle, connection: int, reset: Callable[[], None]) -> ASGIFramework:
    """An ASGI application for one connection, which `reset` breaks off."""

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            return
        late = error(408, "The body did not arrive in time")
        answer = late if body is _LATE else handle(_request(scope, body, connection))
        if answer.hang_seconds or answer.drip_seconds:
            await _send_unless_gone(answer, receive, send, reset)
        else:
            await _send(answer, send, reset)

    return app


_LATE = b"late"


async def _body(receive: ASGIReceiveCallable) -> bytes | None:
    """The body, at most a byte more than BODY_CAP of it; None where the client went away, _LATE where it is slow."""
    body = bytearray()
    with trio.move_on_after(BODY_SECONDS):
        while len(body) <= BODY_CAP:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message["body"]
            if not message["more_body"]:
                break
        return bytes(body[: BODY_CAP + 1])
    return _LATE


def _request(scope: HTTPScope, body: bytes, connection: int) -> Request:
    query = scope["query_string"].decode("latin-1")
    path = scope["raw_path"].decode("latin-1")
    client = scope["client"]
    return Request(
        method=scope["method"],
        target=f"{path}?{query}" if query else path,
        headers=tuple((k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in scope["headers"]),
        body=body,
        connection=connection,
        ip=client[0] if client else "",
        http_version=scope["http_version"],
    )


async def _send_unless_gone(
    answer: Answer, receive: ASGIReceiveCallable, send: ASGISendCallable, reset: Callable[[], None]
) -> None:
    """Send an answer that takes its time, and stop where nobody waits for it any more."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await trio.sleep(answer.hang_seconds)
        await _send(answer, send, reset)
        nursery.cancel_scope.cancel()


async def _send(answer: Answer, send: ASGISendCallable, reset: Callable[[], None]) -> None:
    if answer.reset:
        reset()
        return
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for seconds, piece in pieces(answer):
        await trio.sleep(seconds)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
