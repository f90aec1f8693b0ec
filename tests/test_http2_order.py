"""The HTTP/2 session's methods in any order, with a client that does anything: nothing is lost count of."""

import contextlib
from typing import Any

import h2.exceptions
import hypothesis.strategies as st
from hypothesis import given, settings

from http2_client import GET, POST, Client, Foreign, http2
from mcp_ilert.wire import Bounds

streams = st.integers(0, 11)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["post", "get"]), st.booleans()),
        st.tuples(st.just("data"), streams, st.sampled_from([0, 1, 500, 9_000]), st.booleans()),
        st.tuples(st.sampled_from(["cancel", "accepted", "refused", "respond", "finish", "drop"]), streams),
        st.tuples(st.just("send"), streams, st.sampled_from([0, 1, 500, 70_000]), st.booleans()),
        st.tuples(st.just("taken"), streams, st.integers(0, 20_000)),
        st.tuples(st.just("window"), streams, st.sampled_from([1, 1_000, 100_000])),
        st.tuples(st.sampled_from(["talk", "output", "expire", "go_away", "shut"])),
    ),
    max_size=40,
)


class Play:
    def __init__(self):
        self.foreign = Foreign()
        self.budget = http2.Budget(100_000)
        self.client = Client(foreign=self.foreign, bounds=Bounds(body_bytes=20_000), budget=self.budget)
        self.client.acknowledges = False
        self.session = self.client.session
        self.given: list[int] = []

    def stream(self, index: int) -> int:
        return 2 * index + 1

    def post(self, end: bool) -> None:
        self.client.open(POST, end=end)

    def get(self, end: bool) -> None:
        self.client.open(GET, end=end)

    def data(self, index: int, size: int, end: bool) -> None:
        if self.client.h2.local_flow_control_window(self.stream(index)) >= size:
            for at in range(0, size, 16_000) or [0]:
                last = at + 16_000 >= size
                data = bytes(min(16_000, size - at))
                self.client.h2.send_data(self.stream(index), data, end_stream=end and last)

    def cancel(self, index: int) -> None:
        self.client.h2.reset_stream(self.stream(index))

    def window(self, index: int, size: int) -> None:
        self.client.h2.increment_flow_control_window(size)
        self.client.h2.increment_flow_control_window(size, self.stream(index))

    def accepted(self, index: int) -> None:
        self.session.accepted(self.stream(index))

    def refused(self, index: int) -> None:
        self.session.answer(self.stream(index), 422, ((b"a", b"b"),), b"x" * (index % 2))

    def respond(self, index: int) -> None:
        self.session.respond(self.stream(index), 200, [(b"a", b"b")])

    def finish(self, index: int) -> None:
        self.session.respond(self.stream(index), 204, [], end=True)

    def send(self, index: int, size: int, end: bool) -> None:
        self.session.send(self.stream(index), bytes(size), end=end)

    def taken(self, index: int, size: int) -> None:
        self.session.taken(self.stream(index), size)

    def drop(self, index: int) -> None:
        self.session.reset(self.stream(index))

    def talk(self) -> None:
        self.client.talk()

    def output(self) -> None:
        self.client.take(self.session.output())

    def expire(self) -> None:
        self.session.expire()

    def go_away(self) -> None:
        self.session.go_away()

    def shut(self) -> None:
        self.session.receive(b"", self.client.arrivals)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_nothing_is_lost_count_of(steps: list[Any]):
    play = Play()
    session = play.session
    for name, *what in steps:
        with contextlib.suppress(h2.exceptions.ProtocolError, KeyError):
            getattr(play, name)(*what)
        assert session.pending >= 0
        assert session.held == play.budget.held
    with contextlib.suppress(h2.exceptions.ProtocolError):
        play.client.talk()
    for _, stream, _, _ in play.client.arrivals:
        session.accepted(stream)
    session.output()
    session.receive(b"", play.client.arrivals)
    session.output()
    assert session.closing
    assert session.output() == b""
    assert (session.pending, session.held, play.budget.held) == (0, 0, 0)
    begun = set(play.foreign.headers)
    assert len(play.foreign.resets) == len(set(play.foreign.resets))
    assert set(play.foreign.resets) <= begun
