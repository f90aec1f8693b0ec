"""A Quart app as all of ours are: our errors and no others, bounded bodies, connections that stay usable."""

from typing import Any, cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Response, request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioRequest

from mcp_ilert.problems import CONTENT_TYPE, RequestError
from mcp_ilert.web.body import BoundedBody
from mcp_ilert.web.problems import problem, response_of

__all__ = ["BridgeRequest", "base_app", "use_limits"]


class BridgeRequest(TrioRequest):
    """A request whose body is bounded."""

    body_class = BoundedBody  # type: ignore[assignment]  # in the place of Quart's, with what Quart calls of it
    body: BoundedBody  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.body.seconds = self.body_timeout or 0.0

    @property
    def host(self) -> str:
        """What the client calls us; "" where that is no name, on which Quart would stumble before any handler."""
        return super().host if self.has_name else ""

    @property
    def has_name(self) -> bool:
        """Whether its Host header is a name or an address, or left out."""
        return _is_name(super().host)


def base_app(name: str, *, max_body_bytes: int, read_timeout_seconds: float) -> QuartTrio:
    """An app without routes yet."""
    app = QuartTrio(name, static_folder=None)
    app.request_class = BridgeRequest
    app.asgi_websocket_class = _NoWebsocket  # type: ignore[assignment]  # it has what Quart calls
    app.url_map.merge_slashes = False  # what is not a path of ours is a 404, never a redirect
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    use_limits(app, max_body_bytes=max_body_bytes, read_timeout_seconds=read_timeout_seconds)
    app.register_error_handler(Exception, _failed)
    app.before_request(_refuse_strange_hosts)
    app.after_request(_read_to_the_end)
    return app


def _is_name(host: str) -> bool:
    try:
        host.partition(":")[0].encode("idna")
    except UnicodeError:
        return False
    return True


async def _refuse_strange_hosts() -> None:
    if not cast("BridgeRequest", request).has_name:
        raise RequestError(400, "Host: expected a name or an address, each part of 1 to 63 characters")


def use_limits(app: QuartTrio, *, max_body_bytes: int, read_timeout_seconds: float) -> None:
    """Take these from the next request on."""
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    app.config["BODY_TIMEOUT"] = read_timeout_seconds


async def _failed(error: Exception) -> Response:
    return response_of(error)


async def _read_to_the_end(response: Response) -> Response:
    """Read the rest of a body that nobody wanted: only then does the connection serve the next request.

    Where its end is too far, or does not come in time, HTTP/1.1 closes the connection after the answer; HTTP/2
    ends the stream by itself.
    """
    body = cast("BridgeRequest", request).body
    ended = body.ended
    if not ended and response.status_code != 408:
        ended = await body.discard()
    if request.http_version != "2" and (not ended or body.too_large):
        response.headers["Connection"] = "close"
    return response


class _NoWebsocket:
    """Answers whoever asks for a websocket: there is none."""

    def __init__(self, app: QuartTrio, scope: WebsocketScope) -> None:
        pass

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        body = problem(404, "there is no websocket at this path")
        await receive()
        headers = [(b"content-type", CONTENT_TYPE.encode())]
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send(
            {
                "type": "websocket.http.response.body",
                "body": await body.get_data(as_text=False),
                "more_body": False,
            }
        )
