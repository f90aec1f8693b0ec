"""The TCP door without a socket: lines in, answers out, in order."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.doors.line_session import LineSession
from mcp_ilert.wire import Bounds, Head, Phase

OK = b'{"ok":true}\n'
PROBLEM = ((b"content-type", b"application/problem+json"),)
TOO_LONG = b'{"ok":false,"error":"the event is larger than 8 bytes (listen.max_event_bytes)"}\n'


class Client:
    """A session, and what has come of it."""

    def __init__(self, limit=65_536):
        self.bounds = Bounds(line_bytes=limit)
        self.overlong = 0
        self.session = LineSession(self.bounds, self._tell_overlong)
        self.arrivals = []

    def _tell_overlong(self):
        self.overlong += 1

    def send(self, *parts):
        for part in parts:
            self.session.receive(part, self.arrivals)
        return self

    @property
    def lines(self):
        return [body for _, _, _, body in self.arrivals]

    def accept_all(self):
        for _, stream, _, _ in self.arrivals:
            self.session.accepted(stream)
        return self.session.output()


def problem(detail):
    return json.dumps({"title": "Unprocessable Entity", "status": 422, "detail": detail}).encode()


def test_each_line_is_given_out_and_answered():
    client = Client().send(b'{"a":1}\n{"b"', b":2}\n")
    assert client.arrivals == [
        (client.session, 0, Head("tcp"), b'{"a":1}'),
        (client.session, 1, Head("tcp"), b'{"b":2}'),
    ]
    assert client.arrivals[0][2] is client.arrivals[1][2]
    assert client.session.pending == 2
    assert client.accept_all() == OK * 2
    assert (client.session.pending, client.session.output(), client.session.unread) == (0, b"", None)
    assert not client.session.closing


def test_blank_lines_have_no_answer_and_returns_are_no_part_of_a_line():
    client = Client().send(b"\n\r\n \t\n1\r\n\n 2 \n")
    assert client.lines == [b"1", b"2"]


def test_answers_leave_in_the_order_of_their_lines():
    client = Client().send(b"0\n1\n2\n3\n4\n")
    client.session.accepted(3)
    client.session.answer(1, 422, PROBLEM, problem("$.source: expected str, got int"))
    assert (client.session.output(), client.session.pending) == (b"", 3)
    client.session.accepted(0)
    refused = b'{"ok":false,"error":"$.source: expected str, got int"}\n'
    assert client.session.output() == OK + refused
    client.session.accepted(4)
    client.session.answer(2, 202, (), b'{"accepted":1}')
    assert client.session.output() == OK * 3


def test_a_second_answer_and_one_for_no_line_are_passed_over():
    client = Client().send(b"0\n1\n")
    for stream in (0, 0, 2, -1):
        client.session.accepted(stream)
        client.session.answer(stream, 500, PROBLEM, problem("no"))
    assert client.session.output() == OK
    assert client.session.pending == 1
    assert client.accept_all() == OK
    assert client.session.pending == 0


def test_an_overlong_line_is_answered_in_its_turn_and_skipped():
    client = Client(limit=8).send(b"1\n" + b"x" * 9, b"x" * 100_000)
    assert client.session.phase == Phase.BODY
    assert client.session.held == 0
    client.send(b"x\n2\n")
    assert client.lines == [b"1", b"2"]
    assert client.session.pending == 2
    assert client.overlong == 1
    assert client.session.output() == b""
    assert client.accept_all() == OK + TOO_LONG + OK


def test_an_overlong_line_that_is_the_first_is_answered_at_once():
    assert Client(limit=8).send(b"x" * 9 + b"\n").session.output() == TOO_LONG


def test_who_shuts_its_own_side_still_gets_all_answers():
    client = Client().send(b"1\n2", b"", b"3\n")
    assert client.lines == [b"1", b"2"]
    assert client.session.closing
    assert client.session.phase == Phase.IDLE
    assert client.accept_all() == OK * 2


def test_a_line_that_is_late_is_answered_after_those_before_it():
    client = Client().send(b"1\n2")
    assert client.session.phase == Phase.BODY
    client.session.expire()
    assert client.session.closing
    assert client.session.output() == b""
    late = b'{"ok":false,"error":"the line did not arrive in time (listen.read_timeout_seconds)"}\n'
    assert client.accept_all() == OK + late


def test_an_idle_connection_is_closed_in_silence():
    client = Client().send(b"1\n")
    assert client.session.phase == Phase.IDLE
    client.session.expire()
    assert client.session.closing
    assert client.accept_all() == OK


def test_on_going_away_nothing_more_is_taken():
    client = Client().send(b"1\n")
    client.session.go_away()
    assert client.session.closing
    assert client.send(b"2\n").accept_all() == OK


def test_on_going_away_a_line_that_has_begun_is_the_last():
    client = Client().send(b"1\n2")
    client.session.go_away()
    assert not client.session.closing
    client.send(b"2\n3\n")
    assert client.session.closing
    assert client.accept_all() == OK * 2


def test_bounds_may_change_between_lines():
    client = Client(limit=100).send(b"x" * 20 + b"\n")
    client.bounds.line_bytes = 8
    client.send(b"x" * 20 + b"\n")
    assert client.lines == [b"x" * 20]
    assert client.accept_all() == OK + TOO_LONG


@given(
    st.lists(st.sampled_from([b"", b" ", b"\r", b"1", b"12345678", b"123456789"])),
    st.booleans(),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
)
def test_answers_do_not_depend_on_how_the_bytes_are_cut(lines, newline, sizes):
    text = b"\n".join(lines) + b"\n" * newline
    client, at, turn = Client(limit=8), 0, 0
    while at < len(text):
        client.send(text[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    client.send(b"")
    meant = [line.strip(b" \r") for line in lines]
    assert client.lines == [line for line in meant if 0 < len(line) <= 8]
    assert client.accept_all() == b"".join(TOO_LONG if len(line) > 8 else OK for line in meant if line)
