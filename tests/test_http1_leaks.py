"""The compiled HTTP/1.1 session leaves nothing behind, however a connection goes."""

import pytest

from leaks import blocks_leaked, kilobytes_grown, references
from mcp_ilert.wire import Arrival, Bounds

http1 = pytest.importorskip("mcp_ilert._fast.http1", reason="_fast/http1 is not compiled here")

POST = b"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %d\r\nContent-Length: 2\r\n\r\n{}"
TYPED = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
BOUNDS = Bounds()
CALENDAR = http1.Calendar(0.0)


def talk(*parts, end):
    session = http1.Http1Session(BOUNDS, CALENDAR)
    arrivals: list[Arrival] = []
    for part in parts:
        session.receive(part, arrivals)
    assert session.phase >= 0
    end(session, arrivals)
    session.output()
    return session.unread, session.held, session.pending


def accept(session, arrivals):
    for _, stream, _, _ in arrivals:
        session.accepted(stream)


def refuse(session, arrivals):
    for _, stream, _, _ in reversed(arrivals):
        session.answer(stream, 422, ((b"content-type", b"a/b"),), b"{}" * 100)


def forget(session, arrivals):
    pass


def expire(session, arrivals):
    session.expire()
    accept(session, arrivals)


def go_away(session, arrivals):
    session.go_away()
    accept(session, arrivals)
    session.receive(b"", arrivals)


TALKS = {
    "accepted": lambda: talk(POST % 1 + POST % 2 + TYPED, POST % 3, end=accept),
    "refused": lambda: talk(TYPED * 5, end=refuse),
    "without answers": lambda: talk(TYPED * 5, end=forget),
    "in small parts": lambda: talk(TYPED[:50], TYPED[50:99], TYPED[99:] + TYPED[:9], end=accept),
    "cut off": lambda: talk(TYPED, TYPED[:99], b"", end=accept),
    "late": lambda: talk(TYPED + TYPED[:99], end=expire),
    "going": lambda: talk(TYPED + TYPED[:99], end=go_away),
    "left to others": lambda: talk(TYPED + b"GET / HTTP/1.1\r\n\r\n", end=accept),
    "another day": lambda: http1.Calendar(1.0).turn(2.0),
}


@pytest.mark.parametrize("step", TALKS.values(), ids=TALKS.keys())
def test_no_object_is_left(step):
    shared = (None, b"", 202, BOUNDS, CALENDAR)
    before = references(*shared)
    assert blocks_leaked(step) == 0
    after = references(*shared)
    assert all(new - old < 500 for new, old in zip(after, before, strict=True))


def test_a_large_body_that_never_ends_is_let_go_with_its_connection():
    part = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000
    assert kilobytes_grown(lambda: talk(part, part[:400_000], end=forget), 400) < 100_000


def test_an_object_that_is_left_would_be_found():
    left: list[object] = []
    assert blocks_leaked(lambda: left.append(bytearray(1))) > 1_000
    assert kilobytes_grown(lambda: left.append(b"x" * 1_000_000), 400) > 100_000
