"""The iLert target against real sockets that misbehave."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trustme

from ilert_world import delivery, target
from mcp_ilert.events import Delivered, Rejected, Suspect, Unavailable

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
DEADLINE = 20


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port on loopback where each connection is served so."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            served: trio.abc.Stream = stream
            if tls is not None:
                served = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            try:
                await serve(served)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def request(stream: trio.abc.Stream) -> bytes:
    """One request of HTTP/1.1 with a Content-Length; nothing at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await stream.receive_some(65_536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = (
        int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += await stream.receive_some(65_536)
    return head + b"\r\n\r\n" + body


def answering(answer: bytes) -> Serve:
    async def serve(stream: trio.abc.Stream) -> None:
        while await request(stream):
            await stream.send_all(answer)

    return serve


async def test_an_empty_202_is_a_delivery_and_the_connection_is_kept() -> None:
    connections = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1
        await answering(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\ncorrelation-id: c-9\r\n\r\n")(stream)

    async with server(serve) as port:
        sender = target(url=f"http://127.0.0.1:{port}")
        for _ in range(5):
            assert await sender.send(delivery()) == Delivered(202, "c-9")
        await sender.aclose()
    assert connections == 1


async def test_an_html_page_is_no_code() -> None:
    page = b"<html><h1>403 Forbidden</h1></html>"
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
        len(page),
        page,
    )
    async with server(answering(answer)) as port:
        sender = target(url=f"http://127.0.0.1:{port}")
        assert await sender.send(delivery()) == Suspect(403, page.decode())
        await sender.aclose()


async def test_a_connection_cut_before_the_answer_is_not_certain() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await request(stream)

    async with server(serve) as port:
        sender = target(url=f"http://127.0.0.1:{port}")
        outcome = await sender.send(delivery())
        await sender.aclose()
    assert isinstance(outcome, Unavailable)
    assert not outcome.certain


async def test_a_reset_connection_is_not_certain() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await request(stream)
        assert isinstance(stream, trio.SocketStream)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with server(serve) as port:
        sender = target(url=f"http://127.0.0.1:{port}")
        outcome = await sender.send(delivery())
        await sender.aclose()
    assert isinstance(outcome, Unavailable)
    assert not outcome.certain


async def test_a_refused_connection_is_certain() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        sender = target(url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert await sender.send(delivery()) == Unavailable(
            "connect error (Connection refused)", certain=True
        )
        await sender.aclose()


async def test_what_is_not_http_is_not_certain() -> None:
    async with server(answering(b"220 smtp.example ESMTP\r\n\r\n")) as port:
        sender = target(url=f"http://127.0.0.1:{port}")
        assert await sender.send(delivery()) == Unavailable("remote protocol error", certain=False)
        await sender.aclose()


async def test_a_server_that_never_answers_ends_with_the_deadline() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await request(stream)
        await trio.sleep_forever()

    async with server(serve) as port:
        sender = target(url=f"http://127.0.0.1:{port}", seconds=0.3)
        outcome = await sender.send(delivery())
        await sender.aclose()
    assert isinstance(outcome, Unavailable)
    assert not outcome.certain


async def test_a_slow_body_changes_nothing_about_the_answer() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await request(stream)
        await stream.send_all(b"HTTP/1.1 422 No\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.05)

    async with server(serve) as port:
        sender = target(url=f"http://127.0.0.1:{port}", seconds=0.5)
        outcome = await sender.send(delivery())
        await sender.aclose()
    assert isinstance(outcome, Rejected)


async def test_of_a_body_without_end_only_the_beginning_is_read() -> None:
    sent = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await request(stream)
        await stream.send_all(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            sent += 65_536

    async with server(serve) as port:
        sender = target(url=f"http://127.0.0.1:{port}", seconds=DEADLINE)
        outcome = await sender.send(delivery())
        await sender.aclose()
    assert isinstance(outcome, Rejected)
    assert sent < 64 * 1024 * 1024, "what sockets buffer, no more"


def certificates(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent() -> None:
    async with server(answering(b"HTTP/1.1 202 A\r\n\r\n"), certificates(trustme.CA(), "127.0.0.1")) as port:
        sender = target(url=f"https://127.0.0.1:{port}")
        assert await sender.send(delivery()) == Unavailable(
            "connect error (unable to get local issuer certificate)", certain=True
        )
        await sender.aclose()


async def test_a_certificate_of_another_name_is_refused() -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with server(answering(b""), certificates(authority, "other.example")) as port:
        sender = target(url=f"https://127.0.0.1:{port}", tls=trusting)
        assert await sender.send(delivery()) == Unavailable(
            "connect error (IP address mismatch)", certain=True
        )
        await sender.aclose()


async def test_a_port_that_speaks_no_tls_is_a_certain_failure() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(1)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with server(serve) as port:
        sender = target(url=f"https://127.0.0.1:{port}")
        assert await sender.send(delivery()) == Unavailable(
            "connect error (wrong version number)", certain=True
        )
        await sender.aclose()


async def serve_http2(stream: trio.abc.Stream) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    await stream.send_all(connection.data_to_send())
    while data := await stream.receive_some(65_536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                connection.send_headers(
                    event.stream_id, [(":status", "202"), ("correlation-id", "h2")], end_stream=True
                )
        await stream.send_all(connection.data_to_send())


@pytest.mark.parametrize("at_once", [1, 8])
async def test_http_2_is_spoken_where_the_server_offers_it(at_once: int) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = certificates(authority, "127.0.0.1")
    tls.set_alpn_protocols(["h2"])
    outcomes = []
    async with server(serve_http2, tls) as port:
        sender = target(url=f"https://127.0.0.1:{port}", tls=trusting)

        async def send() -> None:
            outcomes.append(await sender.send(delivery()))

        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(send)
        await sender.aclose()
    assert outcomes == [Delivered(202, "h2")] * at_once
