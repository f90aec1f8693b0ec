"""The HTTP/2 session by its public methods, with the h2 library as its client."""

import h2.errors
import h2.settings
import pytest
from hyperframe.frame import DataFrame, HeadersFrame

from http2_client import GET, POST, Client, Foreign, http2
from mcp_ilert._fast.http1 import Calendar
from mcp_ilert.wire import Bounds, Phase

NO_ERROR = 0
LARGE = 1_048_576


def test_a_post_of_an_event_arrives_and_is_answered():
    client = Client()
    stream = client.post(b'{"a":1}')
    client.talk()
    ((session, number, head, body),) = client.arrivals
    assert (session, number, body) == (client.session, stream, b'{"a":1}')
    assert (head.door, head.content_type, head.authorization) == ("http2", b"application/json", None)
    assert client.session.pending == 1
    client.accept()
    answer = client.answers[stream]
    assert (answer.status, answer.body, answer.ended) == (202, b'{"accepted":1}', True)
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"content-length"] == b"14"
    assert (client.session.pending, client.session.held, client.session.phase) == (0, 0, Phase.IDLE)


def test_what_says_the_same_shares_its_head():
    client = Client()
    secret = [*POST, (b"authorization", b"Bearer a")]
    for headers in (POST, POST, secret, secret, POST):
        client.post(headers=headers)
        client.talk()
    heads = [head for _, _, head, _ in client.arrivals]
    assert heads[0] is heads[1]
    assert heads[2] is heads[3]
    assert heads[2].authorization == b"Bearer a"
    assert heads[4] == heads[0]


def test_an_answer_has_its_headers_body_and_length():
    client = Client()
    stream, empty = client.post(), client.post()
    client.talk()
    client.session.answer(stream, 422, ((b"content-type", b"application/problem+json"),), b"no" * 50_000)
    client.session.answer(empty, 503, ((b"retry-after", b"5"),), b"")
    client.talk()
    answer = client.answers[stream]
    assert (answer.status, answer.body, answer.ended) == (422, b"no" * 50_000, True)
    assert answer.headers[b"content-length"] == b"100000"
    answer = client.answers[empty]
    assert (answer.status, answer.body, answer.ended) == (503, b"", True)
    assert answer.headers[b"retry-after"] == b"5"


def test_answers_bear_the_date_of_their_calendar():
    calendar = Calendar(0.0)
    client = Client(calendar=calendar)
    dates = []
    for now in (0.0, 0.0, 86_400.0):
        calendar.turn(now)
        accepted, refused = client.post(), client.post()
        client.talk()
        client.session.answer(refused, 422, (), b"no")
        client.session.accepted(accepted)
        client.talk()
        dates += [client.answers[one].headers[b"date"] for one in (accepted, refused)]
    assert dates == [b"Thu, 01 Jan 1970 00:00:00 GMT"] * 4 + [b"Fri, 02 Jan 1970 00:00:00 GMT"] * 2


def test_a_body_in_many_pieces_is_one():
    client = Client()
    stream = client.open()
    pieces = [bytes([number]) * (number * 37 % 900 + 1) for number in range(200)]
    for piece in pieces:
        client.h2.send_data(stream, piece, pad_length=len(piece) % 9)
        client.talk()
        assert client.session.phase is Phase.BODY
    assert client.session.held == sum(map(len, pieces))
    client.h2.end_stream(stream)
    client.talk()
    assert client.bodies == [b"".join(pieces)]
    assert client.session.held == 0


@pytest.mark.parametrize("size", [0, 1, 32_768, 65_535, 65_536, 300_000, LARGE])
@pytest.mark.parametrize("said", [True, False])
def test_a_body_up_to_its_bound_arrives_through_the_windows(size, said):
    client = Client()
    body = bytes(size)
    for _ in range(3):  # the windows are given back
        client.upload(body, [*POST, (b"content-length", b"%d" % size)] if said else POST)
    assert client.bodies == [body] * 3
    client.accept()
    assert client.session.held == 0


def test_many_large_bodies_at_once_all_get_through():
    """There are windows for some of them at a time; the others have theirs when those are through."""
    client = Client()
    streams = [client.open() for _ in range(30)]
    client.talk()
    left = dict.fromkeys(streams, 300_000)
    most = 0
    while left:
        sent = 0
        for stream in list(left):
            room = min(client.h2.local_flow_control_window(stream), 16_384, left[stream])
            if room:
                client.h2.send_data(stream, bytes(room))
                sent += room
                left[stream] -= room
                if not left[stream]:
                    client.h2.end_stream(stream)
                    del left[stream]
                client.talk()
                most = max(most, client.session.held)
        assert sent, "every window is closed"
    assert len(client.arrivals) == 30
    assert most < 8 * LARGE
    assert client.session.held == 0


def test_trailers_are_passed_over():
    client = Client()
    stream = client.open()
    client.h2.send_data(stream, b"body")
    client.h2.send_headers(stream, [(b"x-checksum", b"1")], end_stream=True)
    client.talk()
    assert client.bodies == [b"body"]


def test_a_client_that_asks_first_is_told_to_go_on():
    client = Client()
    sent = client.open([*POST, (b"expect", b"100-continue")])
    client.session.receive(client.h2.data_to_send(), client.arrivals)
    events = client.h2.receive_data(client.session.output())
    assert [dict(event.headers) for event in events if hasattr(event, "headers")] == [{b":status": b"100"}]
    client.h2.send_data(sent, b"body", end_stream=True)
    client.talk()
    assert client.bodies == [b"body"]


def test_an_answer_to_a_client_that_has_gone_is_passed_over():
    client = Client()
    stream = client.post()
    client.talk()
    client.h2.reset_stream(stream)
    client.talk()
    assert client.session.pending == 1
    client.session.accepted(stream)
    client.session.accepted(stream)
    assert client.session.pending == 0
    client.accept()
    assert client.answers[stream].status is None
    client.post()
    client.talk()
    assert len(client.arrivals) == 1


def test_a_reset_in_the_middle_leaves_nothing():
    client = Client()
    stream = client.open()
    client.h2.send_data(stream, bytes(5_000))
    client.talk()
    assert client.session.held == 5_000
    client.h2.reset_stream(stream)
    client.talk()
    assert (client.session.held, client.session.pending, client.session.phase) == (0, 0, Phase.IDLE)


def test_a_body_that_is_not_as_long_as_it_said_resets_its_stream_only():
    client = Client()
    for said, body in ((b"3", b"four"), (b"5", b"four")):
        stream = client.open([*POST, (b"content-length", said)])
        client.talk()
        frame = DataFrame(stream, body, flags=["END_STREAM"])
        client.raw(frame)
        assert client.answers[stream].reset == h2.errors.ErrorCodes.PROTOCOL_ERROR
    client.post()
    client.talk()
    assert client.bodies == [b"{}"]
    assert client.session.held == 0


# Foreign streams ---------------------------------------------------------------------------------------------


OTHERS = {
    "another path": [*GET],
    "a query": [*POST[:3], (b":path", b"/events?x=1"), POST[4]],
    "another method": [(b":method", b"PUT"), *POST[1:]],
    "a coded body": [*POST, (b"content-encoding", b"gzip")],
    "a browser's origin": [*POST, (b"origin", b"http://evil.example")],
    "a large body": [*POST, (b"content-length", b"1048577")],
    "two content types": [*POST, (b"content-type", b"text/plain")],
    "two authorizations": [*POST, (b"authorization", b"a"), (b"authorization", b"b")],
}


@pytest.mark.parametrize("headers", OTHERS.values(), ids=OTHERS)
def test_what_is_no_plain_request_for_events_is_others_to_answer(headers):
    foreign = Foreign()
    client = Client(foreign=foreign)
    stream = client.open(headers)
    client.h2.send_data(stream, b"part")
    client.talk()
    assert foreign.headers == {stream: headers}
    assert foreign.bodies == {stream: b"part"}
    assert client.arrivals == []
    assert client.session.pending == 1
    client.session.respond(stream, 200, [(b"content-type", b"text/plain"), (b"connection", b"close")])
    client.talk()
    assert client.answers[stream].headers == {b":status": b"200", b"content-type": b"text/plain"}
    client.session.send(stream, b"one")
    client.talk()
    assert client.answers[stream].body == b"one"
    client.session.send(stream, b"two", end=True)
    client.talk()
    answer = client.answers[stream]
    assert (answer.body, answer.ended, answer.reset) == (b"onetwo", True, NO_ERROR)
    assert (client.session.pending, client.session.held) == (0, 0)
    assert foreign.resets == []


@pytest.mark.parametrize("size", [100_001, 150_000, 500_000])
def test_a_body_that_turns_out_too_large_goes_to_others_with_what_has_come(size):
    foreign = Foreign()
    client = Client(foreign=foreign, bounds=Bounds(body_bytes=100_000))
    body = bytes(range(250)) * (size // 250) + bytes(size % 250)
    stream = client.upload(body)
    assert foreign.headers == {stream: POST}
    assert foreign.bodies == {stream: body}
    assert foreign.ended == [stream]
    assert client.arrivals == []
    client.session.respond(stream, 413, [], end=True)
    client.talk()
    assert client.answers[stream].status == 413
    assert (client.session.pending, client.session.held) == (0, 0)


def test_a_foreign_body_comes_as_fast_as_it_is_taken():
    foreign = Foreign()
    foreign.takes = False
    client = Client(foreign=foreign)
    stream = client.open([*GET])
    client.talk()
    client.h2.send_data(stream, bytes(16_384))
    client.h2.send_data(stream, bytes(16_384))
    client.h2.send_data(stream, bytes(16_384))
    client.h2.send_data(stream, bytes(16_383))
    client.talk()
    assert client.h2.local_flow_control_window(stream) == 0
    client.session.taken(stream, 60_000)
    client.talk()
    assert client.h2.local_flow_control_window(stream) == 60_000
    client.post()  # others are not held up
    client.talk()
    assert len(client.arrivals) == 1


def test_a_foreign_answer_waits_for_the_client_and_says_when_it_has_gone():
    foreign = Foreign()
    client = Client(foreign=foreign)
    client.acknowledges = False
    stream = client.open(GET, end=True)
    client.talk()
    client.session.respond(stream, 200, [])
    assert client.session.send(stream, bytes(100_000)) == 100_000
    client.talk()
    assert foreign.drains == []
    assert client.session.phase == Phase.BODY
    client.h2.acknowledge_received_data(65_535, stream)
    client.talk()
    assert foreign.drains == [stream]
    assert len(client.answers[stream].body) == 100_000
    assert client.session.phase == Phase.IDLE
    assert client.session.send(stream, b"x", end=True) == 1
    client.talk()
    assert client.answers[stream].ended


def test_a_foreign_stream_can_be_reset_by_either_side():
    foreign = Foreign()
    client = Client(foreign=foreign)
    ours, theirs = client.open(GET, end=True), client.open(GET, end=True)
    client.talk()
    client.session.reset(ours, 5)
    client.h2.reset_stream(theirs)
    client.talk()
    assert client.answers[ours].reset == 5
    assert foreign.resets == [theirs]
    assert client.session.pending == 0
    client.session.respond(theirs, 200, [])
    client.session.send(theirs, b"x")
    client.talk()
    assert client.answers[theirs].status is None


def test_an_interim_answer_goes_before_the_answer():
    client = Client(foreign=Foreign())
    stream = client.open(GET, end=True)
    client.talk()
    client.session.respond(stream, 103, [(b"link", b"</style.css>")])
    client.session.respond(stream, 200, [], end=True)
    client.talk()
    assert client.answers[stream].status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [*POST[:3], (b":path", b"/\xc3\xa4")],
        [*POST[:3], (b":path", b"")],
        POST[:3],
        [(b":method", b"CONNECT"), (b":authority", b"x")],
        [*POST, (b"host", b"elsewhere")],
        [*POST, (b"connection", b"close")],
        [*POST, (b"x-bad", b"a\r\nb")],
        [*POST, (b"X-Upper", b"a")],
    ],
)
def test_what_nobody_can_read_resets_its_stream_only(headers):
    foreign = Foreign()
    client = Client(foreign=foreign)
    stream = client.open()
    client.h2.send_data(stream, b"{}", end_stream=True)
    client.talk()
    bad = client.open(headers, end=True)
    client.talk()
    assert client.answers[bad].reset == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert len(client.arrivals) == 1
    assert foreign.headers == {}
    client.accept()
    assert client.answers[stream].status == 202


# The end -----------------------------------------------------------------------------------------------------


def test_going_away_loses_no_request():
    """What is under way is answered; then the client is told; what it sent before it heard is answered too."""
    client = Client()
    before, begun = client.post(), client.open()
    client.talk()
    client.session.go_away()
    client.talk()
    assert client.goaways == []
    client.h2.send_data(begun, b"{}", end_stream=True)
    client.talk()
    for _, stream, _, _ in client.arrivals:
        client.session.accepted(stream)
    crossing = client.post()
    sent = client.h2.data_to_send()
    client.take(client.session.output())
    assert client.goaways == [(NO_ERROR, 2**31 - 1)]
    client.session.receive(sent, client.arrivals)
    client.talk()  # the client answers the PING that came with the notice
    assert client.goaways[-1] == (NO_ERROR, crossing)
    assert not client.session.closing
    late = client.post()
    client.talk()
    assert len(client.arrivals) == 3
    client.session.accepted(crossing)
    client.talk()
    assert [client.answers[one].status for one in (before, begun, crossing, late)] == [202, 202, 202, None]
    assert client.session.closing
    assert client.session.pending == 0


def test_a_foreign_answer_that_goes_on_does_not_keep_the_notice_back():
    client = Client(foreign=Foreign())
    stream = client.open(GET, end=True)
    client.talk()
    client.session.go_away()
    client.talk()
    assert client.goaways == []
    client.session.respond(stream, 200, [])
    client.talk()
    assert client.goaways == [(NO_ERROR, 2**31 - 1), (NO_ERROR, stream)]
    assert not client.session.closing
    client.session.send(stream, b"the end", end=True)
    client.talk()
    assert client.answers[stream].body == b"the end"
    assert client.session.closing


def test_each_further_call_to_go_away_goes_a_step_ahead():
    client = Client()
    stream = client.post()
    client.talk()
    for goaways in ([], [(NO_ERROR, 2**31 - 1)], [(NO_ERROR, 2**31 - 1), (NO_ERROR, stream)]):
        client.session.go_away()
        client.take(client.session.output())
        assert client.goaways == goaways
    client.accept()
    assert client.answers[stream].status == 202
    assert client.session.closing


def test_going_away_ends_an_idle_connection_when_the_client_has_heard():
    client = Client()
    client.session.go_away()
    client.take(client.session.output())
    assert not client.session.closing
    client.talk()
    assert client.session.closing
    assert client.goaways == [(NO_ERROR, 2**31 - 1), (NO_ERROR, 0)]


def test_an_idle_connection_is_ended_when_time_is_up():
    client = Client()
    client.post()
    client.talk()
    client.session.expire()
    client.talk()
    assert not client.session.closing  # it waits for us
    client.accept()
    client.session.expire()
    client.talk()
    assert client.session.closing
    assert client.goaways == [(NO_ERROR, 1)]


def test_a_body_that_does_not_come_is_408_and_the_connection_goes_on():
    client = Client()
    slow = client.open()
    client.h2.send_data(slow, b"par")
    client.talk()
    client.session.expire()
    client.talk()
    newer = client.open()
    client.talk()
    assert client.answers[slow].status is None  # it may have begun just before
    client.session.expire()
    client.talk()
    answer = client.answers[slow]
    assert (answer.status, answer.ended, answer.reset) == (408, True, NO_ERROR)
    assert b"listen.read_timeout_seconds" in answer.body
    assert client.answers[newer].status is None
    assert not client.session.closing
    client.h2.send_data(newer, b"{}", end_stream=True)
    client.post()
    client.talk()
    assert len(client.arrivals) == 2
    client.accept()
    assert (client.session.held, client.session.pending, client.session.phase) == (0, 0, Phase.IDLE)


def test_a_client_that_never_says_hello_is_let_go():
    session = http2.Http2Session(Bounds())
    session.receive(b"PRI * HTTP", [])
    assert session.phase is Phase.HEAD
    session.expire()
    session.output()
    assert session.closing


def test_what_follows_data_for_an_answered_stream_does_no_harm():
    """The client may have sent frames before it heard of the reset."""
    client = Client()
    slow = client.open()
    client.talk()
    client.session.expire()
    client.session.expire()
    client.session.output()
    trailers = HeadersFrame(
        slow, client.h2.encoder.encode([(b"x", b"y")]), flags=["END_HEADERS", "END_STREAM"]
    )
    client.raw(DataFrame(slow, b"late"), trailers)
    assert not client.session.closing
    assert client.arrivals == []


def test_what_is_complete_is_answered_after_the_client_has_shut_its_side():
    foreign = Foreign()
    client = Client(foreign=foreign)
    whole, part, other = client.post(), client.open(), client.open(GET, end=True)
    client.talk()
    client.session.receive(b"", client.arrivals)
    assert client.session.closing
    assert client.session.pending == 1
    assert foreign.resets == [other]
    client.session.accepted(whole)
    client.take(client.session.output())
    assert client.session.pending == 0
    assert client.answers[whole].status == 202
    assert client.answers[part].status is None


def test_what_was_queued_for_a_client_that_has_gone_is_let_go():
    foreign = Foreign()
    client = Client(foreign=foreign)
    blocked, fresh, part = (client.open(GET, end=end) for end in (True, True, False))
    client.talk()
    client.session.respond(blocked, 200, [])
    client.session.send(blocked, bytes(50_000))
    client.session.output()
    client.session.send(blocked, bytes(50_000))
    client.session.respond(fresh, 200, [])
    client.session.send(fresh, bytes(1_000), end=True)
    client.session.receive(b"", [])
    assert foreign.resets == [blocked, fresh, part]
    client.session.send(blocked, b"more")
    client.session.respond(part, 200, [])
    for _ in range(3):
        client.session.output()
    assert (client.session.pending, client.session.held) == (0, 0)
    assert foreign.resets == [blocked, fresh, part]
    assert foreign.drains == [blocked]


def test_settings_say_what_is_taken():
    client = Client()
    assert client.h2.remote_settings.max_concurrent_streams == 256
    assert client.h2.remote_settings.max_header_list_size == 16_384
    assert client.h2.remote_settings.enable_connect_protocol == 0
    assert Client(foreign=Foreign()).h2.remote_settings.enable_connect_protocol == 1
