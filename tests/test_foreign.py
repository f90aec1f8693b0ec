"""HTTP/2 streams that Hypercorn and the app serve: a session, an app, and a client without sockets between them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import wsproto
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app
from quart import request
from quart_trio import QuartTrio
from wsproto.connection import Connection, ConnectionType

from http2_client import Client
from mcp_ilert.doors import foreign
from mcp_ilert.doors.foreign import ForeignStreams, Peers, Stage
from mcp_ilert.doors.hyper import hypercorn_config
from mcp_ilert.doors.places import Bounds

BOUND = 100_000


def get(path: str, method: str = "GET") -> list[tuple[bytes, bytes]]:
    return [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", b"bridge"),
        (b":path", path.encode()),
    ]


class World:
    """An app behind one connection. `settle` lets all that can happen happen."""

    def __init__(self, nursery: trio.Nursery, app: Any):
        stage = Stage(wrap_app(app, 0, "asgi"), hypercorn_config(), WorkerContext(None), nursery)
        peers = Peers(ssl=False, client=("192.0.2.1", 1234), server=("192.0.2.2", 80))
        self.client = Client(foreign=ForeignStreams(stage, peers, self._flush))

    def _flush(self, session: Any) -> None:
        assert session is self.client.session
        self.client.talk()

    async def settle(self) -> None:
        self.client.talk()
        await trio.testing.wait_all_tasks_blocked()

    async def fetch(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        client = self.client
        stream = client.open(get(path, method), end=body is None)
        if body is not None:
            client.h2.send_data(stream, body, end_stream=True)
        await self.settle()
        return client.answers[stream]


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        world = World(nursery, app)
        yield world
        world.client.session.receive(b"", [])
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks, "a stream's task is left"


def quart_app() -> Any:
    app: Any = QuartTrio("foreign", static_folder=None)
    app.config |= {"MAX_CONTENT_LENGTH": BOUND, "BODY_TIMEOUT": 10}
    app.ended = app.made = 0

    @app.route("/echo", methods=["POST", "PUT"])
    async def echo():
        return (
            await request.get_data(),
            200,
            {"X-Query": request.query_string.decode(), "X-Host": request.host},
        )

    @app.route("/ticks")
    async def ticks():
        async def parts():
            try:
                for number in range(100):
                    yield f"data: {number}\n\n"
                    await trio.sleep(1)
            finally:
                app.ended += 1

        return parts(), 200, {"Content-Type": "text/event-stream"}

    @app.route("/much")
    async def much():
        async def parts():
            for _ in range(200):
                app.made += 10_000
                yield bytes(10_000)

        return parts()

    return app


@pytest.fixture
async def world():
    async with serving(quart_app()) as world:
        yield world


async def test_the_app_reads_the_request_and_its_answer_comes_back(world):
    answer = await world.fetch("/echo?a=b", "PUT", b"body")
    assert (answer.status, answer.body, answer.ended) == (200, b"body", True)
    assert answer.headers[b"x-query"] == b"a=b"
    assert answer.headers[b"x-host"] == b"bridge"
    assert b"date" in answer.headers
    assert (await world.fetch("/nope")).status == 404
    assert (await world.fetch("/echo", "DELETE")).status == 405
    assert world.client.session.pending == 0


async def test_many_at_once_do_not_touch(world):
    client = world.client
    streams = {}
    for number in range(50):
        stream = client.open(get("/echo", "POST"))
        client.h2.send_data(stream, b"%d" % number)
        streams[stream] = number
    await world.settle()
    for stream in streams:
        client.h2.end_stream(stream)
    await world.settle()
    assert {stream: client.answers[stream].body for stream in streams} == {
        stream: b"%d" % number for stream, number in streams.items()
    }


async def test_a_large_body_goes_through_the_windows(world):
    client = world.client
    stream = client.open(get("/echo", "POST"))
    body = bytes(range(250)) * (BOUND // 250)
    sent = 0
    while sent < BOUND:
        room = min(client.h2.local_flow_control_window(stream), 10_000, BOUND - sent)
        assert room
        client.h2.send_data(stream, body[sent : sent + room])
        sent += room
        await world.settle()
    client.h2.end_stream(stream)
    await world.settle()
    assert client.answers[stream].body == body
    assert client.session.held == 0


async def test_a_body_above_the_bound_is_413_and_the_stream_ends_alone(world):
    client = world.client
    stream = client.open([*get("/echo", "POST"), (b"content-length", b"99999999")])
    await world.settle()
    answer = client.answers[stream]
    assert (answer.status, answer.ended, answer.reset) == (413, True, ErrorCodes.NO_ERROR)
    assert b"connection" not in answer.headers
    assert (await world.fetch("/echo", "POST", b"x")).status == 200


async def test_a_body_that_does_not_come_is_408_by_the_app(autojump_clock):
    async with serving(quart_app()) as world:
        client = world.client
        stream = client.open(get("/echo", "POST"))
        client.h2.send_data(stream, b"par")
        await world.settle()
        assert client.answers[stream].status is None
        await trio.sleep(11)
        await world.settle()
        answer = client.answers[stream]
        assert (answer.status, answer.ended, answer.reset) == (408, True, ErrorCodes.NO_ERROR)


async def test_events_come_as_they_are_sent_until_the_client_goes(autojump_clock):
    app = quart_app()
    async with serving(app) as world:
        client = world.client
        stream = client.open(get("/ticks"), end=True)
        await world.settle()
        assert client.answers[stream].body == b"data: 0\n\n"
        await trio.sleep(1.5)
        await world.settle()
        assert client.answers[stream].body == b"data: 0\n\ndata: 1\n\n"
        client.h2.reset_stream(stream)
        await world.settle()
        assert app.ended == 1
        assert client.session.pending == 0


async def test_events_end_when_the_connection_does(autojump_clock):
    app = quart_app()
    async with serving(app) as world:
        world.client.open(get("/ticks"), end=True)
        await world.settle()
    assert app.ended == 1


async def test_an_answer_is_made_as_fast_as_the_client_takes_it():
    app = quart_app()
    async with serving(app) as world:
        client = world.client
        client.acknowledges = False
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 20_000})
        stream = client.open(get("/much"), end=True)
        await world.settle()
        assert app.made <= 200_000
        taken = 0
        while not client.answers[stream].ended:
            size = len(client.answers[stream].body) - taken
            assert size, "it has come to a halt"
            taken += size
            client.h2.acknowledge_received_data(size, stream)
            await world.settle()
            assert app.made - taken <= 300_000
        assert len(client.answers[stream].body) == 2_000_000 == app.made


async def test_an_app_that_fails_is_500_and_in_the_middle_of_its_answer_a_reset():
    async def failing(scope, receive, send):
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        raise ZeroDivisionError

    async with serving(failing) as world:
        assert (await world.fetch("/")).status == 500
        late = await world.fetch("/late")
        assert (late.status, late.body, late.ended) == (200, b"a part", False)
        assert late.reset == ErrorCodes.INTERNAL_ERROR
        assert (await world.fetch("/")).status == 500


async def test_an_app_that_ends_without_reading_leaves_no_task():
    async def deaf(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def waits(scope, receive, send):
        await trio.sleep_forever()

    async with serving(deaf) as world:
        client = world.client
        stream = client.open(get("/", "POST"))
        for _ in range(50):  # more pieces than its queue has room for
            client.h2.send_data(stream, b"x")
        await world.settle()
        assert client.answers[stream].status == 204
        assert client.answers[stream].reset == ErrorCodes.NO_ERROR
    async with trio.open_nursery() as nursery:
        world = World(nursery, waits)
        stream = world.client.open(get("/", "POST"))
        for _ in range(50):
            world.client.h2.send_data(stream, b"x")
        await world.settle()
        assert len(nursery.child_tasks) == 1
        nursery.cancel_scope.cancel()


async def test_a_websocket_is_a_stream_like_others():
    async def upper(scope, receive, send):
        assert scope["type"] == "websocket"
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})

    async with serving(upper) as world:
        client = world.client
        headers = [*get("/ws", "CONNECT"), (b"sec-websocket-version", b"13")]
        headers.insert(1, (b":protocol", b"websocket"))
        stream = client.open(headers)
        await world.settle()
        assert client.answers[stream].status == 200
        socket = Connection(ConnectionType.CLIENT)
        client.h2.send_data(stream, socket.send(wsproto.events.TextMessage("hello")))
        await world.settle()
        socket.receive_data(client.answers[stream].body)
        assert list(socket.events()) == [wsproto.events.TextMessage("HELLO")]
        client.h2.send_data(stream, socket.send(wsproto.events.CloseConnection(1000)))
        await world.settle()
        assert client.answers[stream].ended or client.answers[stream].reset is not None
        assert client.session.pending == 0


async def test_a_websocket_that_the_app_has_not_is_refused(world):
    headers = [*get("/ws", "CONNECT"), (b"sec-websocket-version", b"13")]
    headers.insert(1, (b":protocol", b"websocket"))
    stream = world.client.open(headers)
    await world.settle()
    assert world.client.answers[stream].status == 404


async def test_what_is_under_way_is_answered_after_going_away(autojump_clock):
    app = quart_app()
    async with serving(app) as world:
        client = world.client
        stream = client.open(get("/echo", "POST"))
        await world.settle()
        client.session.go_away()
        await world.settle()
        client.h2.send_data(stream, b"last", end_stream=True)
        await world.settle()
        assert client.answers[stream].body == b"last"
        assert client.session.closing


async def test_so_many_are_worked_on_at_once_and_the_next_is_told_to_come_again(monkeypatch):
    monkeypatch.setattr(foreign, "STREAMS", Bounds(connections=9, per_address=2))
    async with serving(quart_app()) as world:
        client = world.client
        waiting = [client.open(get("/echo", "POST"), end=False) for _ in range(2)]
        await world.settle()
        refused = await world.fetch("/echo", "POST", b"a")
        assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
        assert b"being worked on" in refused.body
        client.h2.send_data(waiting[0], b"b", end_stream=True)
        await world.settle()
        assert (await world.fetch("/echo", "POST", b"c")).body == b"c"
        client.h2.reset_stream(waiting[1])
        await world.settle()
        also = [client.open(get("/echo", "POST"), end=False) for _ in range(2)]
        await world.settle()
        assert [client.answers[stream].status for stream in also] == [None, None]
