"""HTTP/1.1 without a socket: what the fast door takes, what it leaves to others, and how it answers."""

import json
from http import HTTPStatus

import pytest

from mcp_ilert.wire import Bounds, Head, Phase

http1 = pytest.importorskip("mcp_ilert._fast.http1", reason="_fast/http1 is not compiled here")

BODY = b'{"mcp_id":"1"}'
JSON = ((b"content-type", b"application/json"),)
OK = b'HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"accepted":1}'
LAST = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


def post(body=BODY, extra=b"", length=None):
    return (
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + extra
        + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length)
        + body
    )


def chunked(chunks):
    return b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


class Client:
    """A session, and what has come of it."""

    def __init__(self, **bounds):
        self.bounds = Bounds(**bounds)
        self.session = http1.Http1Session(self.bounds)
        self.arrivals = []

    def send(self, *parts):
        for part in parts:
            self.session.receive(part, self.arrivals)
        return self

    @property
    def streams(self):
        return [stream for _, stream, _, _ in self.arrivals]

    @property
    def heads(self):
        return [head for _, _, head, _ in self.arrivals]

    @property
    def bodies(self):
        return [body for _, _, _, body in self.arrivals]

    def accept_all(self):
        for stream in self.streams[-self.session.pending :] if self.session.pending else []:
            self.session.accepted(stream)
        return self.session.output()


def test_a_request_is_given_out_once_it_is_whole_and_answered():
    client = Client().send(post())
    assert client.arrivals == [(client.session, 0, Head("http1", b"application/json"), BODY)]
    assert client.session.pending == 1
    assert client.session.output() == b""
    assert client.accept_all() == OK
    assert (client.session.pending, client.session.held, client.session.phase) == (0, 0, Phase.IDLE)
    assert client.session.output() == b""
    assert client.session.unread is None
    assert not client.session.closing


def test_a_request_may_come_byte_by_byte():
    client = Client().send(*(bytes([byte]) for byte in post(extra=b"X-A: b\r\n") + post(b"")))
    assert client.bodies == [BODY, b""]
    assert client.accept_all() == OK * 2


def test_the_phase_tells_what_is_being_read():
    client = Client()
    assert client.session.phase == Phase.IDLE
    whole = post()
    client.send(whole[:5])
    assert (client.session.phase, client.session.held) == (Phase.HEAD, 5)
    client.send(whole[5 : -len(BODY)])
    assert client.session.phase == Phase.BODY
    client.send(BODY[:-1])
    assert (client.session.phase, client.session.held) == (Phase.BODY, len(whole) - 1)
    client.send(BODY[-1:])
    assert (client.session.phase, client.session.held) == (Phase.IDLE, 0)


def test_heads_that_say_the_same_are_one_object():
    other = post(extra=b"X-Request: 7\r\n")
    client = Client().send(
        post() + post(b"longer than before") + other, post(), post(extra=b"Authorization: Bearer t\r\n")
    )
    assert len({id(head) for head in client.heads[:4]}) == 1
    assert client.heads[4] == Head("http1", b"application/json", b"Bearer t")
    assert client.bodies == [BODY, b"longer than before", BODY, BODY, BODY]


@pytest.mark.parametrize("first", [5, 14, 3])
@pytest.mark.parametrize("second", [0, 9, 10, 100, 12345])
def test_a_head_that_differs_in_its_length_alone_is_understood(first, second):
    bodies = [b"a" * first, b"b" * second, b"c" * first]
    trailing = b"POST /events HTTP/1.1\r\nContent-Length: %d\r\nHost: x\r\nX: 1\r\n\r\n%b"
    assert Client().send(*(trailing % (len(body), body) for body in bodies)).bodies == bodies
    assert Client().send(b"".join(post(body) for body in bodies)).bodies == bodies


@pytest.mark.parametrize(
    "length",
    [b"014", b"+14", b"14 4", b"-1", b"0x0e", b"1_4", b"14,14", b"", b"99999999999", b"18446744073709551630"],
)
def test_after_a_plain_length_another_spelling_is_still_left_to_others(length):
    strange = post().replace(b"Content-Length: 14", b"Content-Length: " + length)
    client = Client().send(post(), strange)
    assert client.bodies == [BODY]
    client.accept_all()
    assert client.session.unread == strange


def test_answers_leave_in_the_order_of_their_requests():
    client = Client().send(post() * 5)
    client.session.accepted(4)
    client.session.answer(2, 422, JSON, b"{}")
    client.session.accepted(1)
    assert client.session.pending == 2
    assert client.session.output() == b""
    client.session.accepted(0)
    unprocessable = (
        b"HTTP/1.1 422 %b\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        % HTTPStatus(422).phrase.encode()  # Python 3.13 has another
    )
    assert client.session.output() == OK * 2 + unprocessable
    client.session.accepted(3)
    assert client.session.output() == OK * 2
    assert client.session.pending == 0


def test_a_second_answer_and_one_for_no_request_are_passed_over():
    client = Client().send(post() * 2)
    for stream in (0, 0, 7, -1):
        client.session.accepted(stream)
        client.session.answer(stream, 500, (), b"no")
    assert client.session.pending == 1
    assert client.session.output() == OK
    client.session.accepted(1)
    client.session.accepted(1)
    assert client.session.output() == OK


def test_who_asks_for_it_is_closed_after_the_answer_and_not_read_on():
    client = Client().send(post() + post(extra=b"Connection: Close\r\n") + post())
    assert client.bodies == [BODY, BODY]
    assert client.session.closing
    client.send(post())
    assert client.session.pending == 2
    assert client.accept_all() == OK + LAST


def test_who_wants_to_be_kept_alive_is():
    client = Client().send(post(extra=b"connection:\tKeep-Alive \r\n") * 2)
    assert client.accept_all() == OK * 2
    assert not client.session.closing


def test_who_shuts_its_own_side_still_gets_the_answers():
    client = Client().send(post() * 2, b"")
    assert client.session.closing
    assert client.accept_all() == OK + LAST


@pytest.mark.parametrize("size", [1, 30, len(post()) - 1])
def test_who_vanishes_within_a_request_is_let_go(size):
    client = Client().send(post(), post()[:size], b"")
    assert client.session.closing
    assert client.session.held == 0
    assert client.accept_all() == LAST


def test_a_body_that_is_late_is_answered_408_after_those_before_it():
    client = Client().send(post() + post()[:-1])
    client.session.expire()
    assert client.session.closing
    assert client.session.output() == b""
    answer = client.accept_all()
    assert answer.startswith(
        OK + b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\n"
    )
    head, _, body = answer.removeprefix(OK).partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body) == {
        "title": "Request Timeout",
        "status": 408,
        "detail": "the body did not arrive in time (listen.read_timeout_seconds)",
    }


@pytest.mark.parametrize("begun", [b"", b"POST /eve", post()[:60]])
def test_a_head_that_is_late_and_an_idle_connection_are_closed_in_silence(begun):
    client = Client().send(begun) if begun else Client()
    client.session.expire()
    assert client.session.closing
    assert client.session.output() == b""


def test_on_going_away_an_idle_connection_closes_and_takes_nothing_more():
    client = Client()
    client.session.go_away()
    assert client.session.closing
    assert client.send(post()).arrivals == []


def test_on_going_away_what_is_pending_is_answered_and_the_last_answer_says_so():
    client = Client().send(post() * 2)
    client.session.go_away()
    assert client.session.closing
    assert client.accept_all() == OK + LAST


@pytest.mark.parametrize("size", [3, 40, len(post()) - 2])
def test_on_going_away_a_request_that_has_begun_is_the_last(size):
    client = Client().send(post()[:size])
    client.session.go_away()
    assert not client.session.closing
    client.send(post()[size:] + post())
    assert client.session.closing
    assert client.accept_all() == LAST


STRANGE = {
    "another path": post().replace(b"/events", b"/event"),
    "a query": post().replace(b"/events", b"/events?a=1"),
    "another method": b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in lower case": post().replace(b"POST", b"post"),
    "absolute form": post().replace(b"/events", b"http://x/events"),
    "HTTP/1.0": post().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "an empty line": b"\r\n" + post(),
    "no length": post().replace(b"Content-Length: 14\r\n", b""),
    "two lengths": post(extra=b"Content-Length: 14\r\n"),
    "chunks with an extension": chunked(b"5;a=b\r\n12345\r\n0\r\n\r\n"),
    "chunks with trailers": chunked(b"5\r\n12345\r\n0\r\nX: a\r\n\r\n"),
    "an end without a size": chunked(b"\r\n\r\n" + post()),
    "a chunk of no size": chunked(b"\r\n12345\r\n0\r\n\r\n"),
    "a chunk of a strange size": chunked(b"g\r\n12345\r\n0\r\n\r\n"),
    "a chunk with a sign": chunked(b"+5\r\n12345\r\n0\r\n\r\n"),
    "a chunk of a hexadecimal prefix": chunked(b"0x5\r\n12345\r\n0\r\n\r\n"),
    "a chunk of eight digits": chunked(b"00000005\r\n12345\r\n0\r\n\r\n"),
    "a chunk with space": chunked(b"5 \r\n12345\r\n0\r\n\r\n"),
    "a chunk with a bare newline": chunked(b"5\n12345\r\n0\r\n\r\n"),
    "a chunk longer than its size": chunked(b"5\r\n123456\r\n0\r\n\r\n"),
    "chunks beyond the bound": chunked(b"fffff\r\n%b\r\n2\r\n12\r\n0\r\n\r\n" % (b"x" * 0xFFFFF)),
    "chunks so small that they are many": chunked(b"1\r\nx\r\n" * 349_526 + b"0\r\n\r\n"),
    "chunks that are coded": chunked(b"0\r\n\r\n").replace(b"chunked", b"gzip, chunked"),
    "chunks twice": chunked(b"0\r\n\r\n").replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked"),
    "a length and chunks": post(b"5\r\n12345\r\n0\r\n\r\n", extra=b"Transfer-Encoding: chunked\r\n"),
    "no host": post().replace(b"Host: x\r\n", b""),
    "two hosts": post(extra=b"Host: x\r\n"),
    "an empty host": post().replace(b"Host: x", b"Host: "),
    "a host with a path": post().replace(b"Host: x", b"Host: a/b"),
    "a host with a user": post().replace(b"Host: x", b"Host: u@x"),
    "a host with a strange port": post().replace(b"Host: x", b"Host: x:99999"),
    "a host of a dot": post().replace(b"Host: x", b"Host: ."),
    "a host with an empty label": post().replace(b"Host: x", b"Host: a..b"),
    "a host with a long label": post().replace(b"Host: x", b"Host: a." + b"b" * 64),
    "half an IPv6 host": post().replace(b"Host: x", b"Host: [::1"),
    "an expectation": post(extra=b"Expect: 100-continue\r\n"),
    "a browser's origin": post(extra=b"origin: http://evil.example\r\n"),
    "an upgrade": post(extra=b"Upgrade: h2c\r\n"),
    "no connection option that we know": post(extra=b"Connection: closed\r\n"),
    "two connection options": post(extra=b"Connection: keep-alive, x\r\n"),
    "an encoding": post(extra=b"Content-Encoding: gzip\r\n"),
    "two types": post(extra=b"Content-Type: application/json\r\n"),
    "two tokens": post(extra=b"Authorization: a\r\nAuthorization: b\r\n"),
    "a folded field": post(extra=b"X: a\r\n b\r\n"),
    "a bare newline": post(extra=b"X: a\n"),
    "bare newlines only": post().replace(b"\r\n", b"\n"),
    "a bare return": post(extra=b"X: a\rb\r\n"),
    "a zero byte": post(extra=b"X: a\0b\r\n"),
    "a control character": post(extra=b"X: a\x01b\r\n"),
    "a space before a colon": post(extra=b"X : a\r\n"),
    "a name of nothing": post(extra=b": a\r\n"),
    "a line without a colon": post(extra=b"nonsense\r\n"),
    "a name beyond ASCII": post(extra=b"\xe4: a\r\n"),
    "101 fields": post(extra=b"X: a\r\n" * 98),
    "a head beyond the bound": post(extra=b"X: " + b"a" * 16_384 + b"\r\n"),
    "a body beyond the bound": post(length=1_048_577),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_what_is_unusual_is_left_to_others_after_the_requests_before_it(strange, step):
    client = Client().send(post() * 2)
    whole = post() + strange
    cut = min(len(whole), 20_000)  # what is larger than that comes in one part then
    client.send(
        *(whole[at : min(at + step, cut)] for at in range(0, cut, step)), *filter(None, [whole[cut:]])
    )
    assert client.bodies == [BODY] * 3
    assert client.session.leaving
    assert client.session.phase == Phase.IDLE
    assert client.session.unread is None
    assert client.accept_all() == OK * 3
    assert client.session.unread == strange
    assert not client.session.closing


def test_what_comes_after_something_unusual_is_left_to_others_too():
    client = Client().send(post(), b"GET / HT", b"TP/1.1\r\n", b"", post())
    client.session.expire()
    client.session.go_away()
    assert client.accept_all() == OK
    assert client.session.unread == b"GET / HTTP/1.1\r\n" + post()
    assert not client.session.closing


USUAL = {
    "an IPv6 host": post().replace(b"Host: x", b"Host: [2001:db8::1]:8080"),
    "a host with long labels": post().replace(b"Host: x", b"Host: " + (b"b" * 63 + b".") * 4),
    "a host with a port": post().replace(b"Host: x", b"hOsT:bridge-1.example.com:65535"),
    "identity": post(extra=b"Content-Encoding: Identity\r\n"),
    "an empty field": post(extra=b"X:\r\nY: \t \r\n"),
    "text beyond ASCII": post(extra="X: späte\r\n".encode()),
    "no type": post().replace(b"Content-Type: application/json\r\n", b""),
    "100 fields": post(extra=b"X: a\r\n" * 97),
    "a head within the bound": post(extra=b"X: " + b"a" * 16_200 + b"\r\n"),
    "a body as large as may be": post(b"x" * 1_048_576),
    "no body": post(b""),
}


@pytest.mark.parametrize("usual", USUAL.values(), ids=USUAL.keys())
def test_what_is_usual_is_taken(usual):
    client = Client().send(usual + post(), usual)
    assert client.bodies == [usual.partition(b"\r\n\r\n")[2], BODY, usual.partition(b"\r\n\r\n")[2]]
    assert client.accept_all() == OK * 3


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_chunks_are_put_together(step):
    body = bytes(range(256)) * 3
    chunks = b"5\r\n%b\r\n00A\r\n%b\r\n2f1\r\n%b\r\n0\r\n\r\n" % (body[:5], body[5:15], body[15:])
    whole = chunked(chunks) * 2 + chunked(b"000\r\n\r\n") + post() + chunked(chunks)
    client = Client().send(*(whole[at : at + step] for at in range(0, len(whole), step)))
    assert client.bodies == [body, body, b"", BODY, body]
    assert client.session.held == 0
    assert client.accept_all() == OK * 5


@pytest.mark.parametrize("end", range(1, 16))
def test_chunks_that_do_not_end_are_a_body_that_is_late(end):
    chunks = b"5\r\n12345\r\n0\r\n\r\n"
    client = Client().send(chunked(chunks[:-end]))
    assert client.session.phase == Phase.BODY
    client.session.expire()
    assert client.session.output().startswith(b"HTTP/1.1 408 ")


def test_a_value_stands_without_the_space_around_it():
    client = Client().send(post(extra=b"authorization:\t Bearer a b\t \r\n"))
    assert client.heads[0].authorization == b"Bearer a b"


def test_bounds_may_change_between_requests():
    client = Client().send(post())
    client.bounds.body_bytes = len(BODY) - 1
    client.send(post())
    assert client.bodies == [BODY]
    assert client.session.leaving


def test_a_head_without_end_is_held_up_to_its_bound():
    client = Client(head_bytes=200)
    client.send(post()[:30])
    for _ in range(200 - 30):
        client.send(b"a")
        assert not client.session.leaving
    assert client.send(b"a").session.leaving
    assert client.session.held == 201


def test_a_body_in_small_parts_is_put_together():
    body = bytes(range(256)) * 400
    whole = post(body) + post()
    client = Client().send(*(whole[at : at + 97] for at in range(0, len(whole), 97)))
    assert client.bodies == [body, BODY]
    assert client.session.held == 0


def test_answers_bear_the_date_of_their_calendar():
    calendar = http1.Calendar(1_700_000_000.9)
    session = http1.Http1Session(Bounds(), calendar)
    session.receive(post() * 3, [])
    dated = b"\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n"
    session.accepted(0)
    assert session.output() == OK.replace(b"\r\n\r\n", dated)
    calendar.turn(1_700_000_001.0)
    session.accepted(1)
    session.answer(2, 400, (), b"")
    assert session.output().count(b"date: Tue, 14 Nov 2023 22:13:21 GMT\r\n") == 2


def test_what_is_no_bytes_is_refused():
    with pytest.raises(TypeError):
        Client().send(None)
    with pytest.raises(TypeError):
        Client().send(bytearray(post()))
