"""Clients that cost much and send nothing: each is sent away with ENHANCE_YOUR_CALM, and memory stays flat."""

import itertools
import struct

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from http2_client import GET, POST, Attacker, Client, Foreign, http2
from mcp_ilert.wire import Phase

CALM = ErrorCodes.ENHANCE_YOUR_CALM
UNKNOWN = struct.pack("!I", 1_000)[1:] + b"\xef\0\0\0\0\0" + bytes(1_000)


def flood(attacker: Attacker, rounds, most: int, code: int = CALM) -> None:
    """Send rounds of frames until the connection is given up, which is to be within so many frames."""
    sent = 0
    for frames in rounds:
        attacker.send(*frames)
        sent += len(frames)
        if attacker.session.closing:
            break
        assert sent < most, "it goes on and on"
    assert attacker.goaway == code
    session = attacker.session
    assert session.held == 0
    attacker.send(*next(iter(rounds), [PingFrame(0)]))
    assert session.output() == b""


def forever(*frames, times: int = 50):
    return itertools.repeat(frames * times)


def opened(attacker: Attacker) -> int:
    """A stream whose body is awaited."""
    frame = attacker.head(end=False)
    attacker.send(frame)
    return frame.stream_id


def test_a_flood_of_pings():
    flood(Attacker(), forever(PingFrame(0, b"12345678")), 2_500)


def test_a_flood_of_settings():
    flood(Attacker(), forever(SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 1})), 2_500)


def test_a_flood_of_settings_acks():
    flood(Attacker(), forever(SettingsFrame(0, flags=["ACK"])), 2_500, ErrorCodes.PROTOCOL_ERROR)


def test_a_flood_of_empty_data():
    attacker = Attacker()
    stream = opened(attacker)
    flood(attacker, forever(DataFrame(stream)), 2_500)


def test_a_flood_of_padding():
    attacker = Attacker()
    stream = opened(attacker)
    flood(attacker, forever(DataFrame(stream, pad_length=200, flags=["PADDED"])), 2_500)


def test_a_body_in_pieces_of_a_byte():
    attacker = Attacker()
    stream = opened(attacker)
    flood(attacker, forever(DataFrame(stream, b"x")), 2_500)


def test_a_flood_of_priorities():
    flood(Attacker(), forever(PriorityFrame(1, depends_on=3, stream_weight=7)), 400_000)


def test_a_flood_of_window_updates():
    attacker = Attacker()
    stream = opened(attacker)
    flood(attacker, forever(WindowUpdateFrame(stream, 1), WindowUpdateFrame(0, 1)), 2_500)


def test_a_flood_of_frames_that_nobody_knows():
    flood(Attacker(), forever(UNKNOWN, times=500), 6_000)


def test_a_flood_of_data_for_a_stream_that_is_closed():
    attacker = Attacker()
    stream = opened(attacker)
    attacker.send(RstStreamFrame(stream, 8))
    flood(attacker, forever(DataFrame(stream, bytes(1_000)), times=500), 6_000)


# A literal header, never indexed: its name is x, its value 60,000 bytes long; and one that is complete.
LONG = b"\x10\x01x\x7f" + bytes([59_873 & 127 | 128, 59_873 >> 7 & 127 | 128, 59_873 >> 14])
WHOLE = b"\x10\x01x\x7f" + bytes([873 & 127 | 128, 873 >> 7]) + b"v" * 1_000


@pytest.mark.parametrize(
    ("first", "then"), [(LONG, b""), (LONG, b"v"), (LONG, b"v" * 16_000), (b"", WHOLE * 16)]
)
def test_a_flood_of_continuations(first, then):
    attacker = Attacker()
    attacker.send(HeadersFrame(1, first, flags=["END_STREAM"]))
    assert attacker.session.phase is Phase.HEAD
    flood(attacker, itertools.repeat([ContinuationFrame(1, then)]), 2_500)


def test_rapid_resets_of_complete_requests():
    attacker = Attacker()

    def rounds():
        while True:
            head = attacker.head()
            yield head, RstStreamFrame(head.stream_id, 8)

    flood(attacker, rounds(), 450)
    assert len(attacker.arrivals) <= 201
    for session, stream, _, _ in attacker.arrivals:
        session.accepted(stream)
    assert attacker.session.pending == 0


def test_rapid_resets_of_foreign_requests():
    foreign = Foreign()
    attacker = Attacker(foreign=foreign)

    def rounds():
        while True:
            head = attacker.head(GET)
            yield head, RstStreamFrame(head.stream_id, 8)

    flood(attacker, rounds(), 450)
    assert sorted(foreign.resets) == sorted(foreign.headers)


def test_requests_that_have_us_reset_their_streams():
    """A frame that is a stream error costs the client as much as its own reset would."""
    attacker = Attacker()

    def rounds():
        while True:
            head = attacker.head()
            yield head, WindowUpdateFrame(head.stream_id, 2**31 - 1)

    flood(attacker, rounds(), 450)


def test_requests_that_are_not_sound():
    attacker = Attacker()

    def rounds():
        while True:
            yield [attacker.head([*POST, (b"connection", b"close")])]

    flood(attacker, rounds(), 450)


def test_who_lets_us_answer_may_reset_one_of_three_for_as_long_as_it_likes():
    attacker = Attacker()
    for _ in range(1_000):
        heads = [attacker.head() for _ in range(3)]
        attacker.send(*heads, RstStreamFrame(heads[0].stream_id, 8))
        for session, stream, _, _ in attacker.arrivals:
            session.accepted(stream)
        attacker.arrivals.clear()
        attacker.read()
    assert attacker.goaway is None


def test_pings_between_requests_cost_nothing():
    attacker = Attacker()
    for _ in range(3_000):
        attacker.send(PingFrame(0))
    assert attacker.goaway is None


def test_streams_beyond_the_limit_are_refused_and_then_the_client_is():
    attacker = Attacker(knows=False)
    attacker.send(*[attacker.head(end=False) for _ in range(256)])
    attacker.send(attacker.head(end=False))
    assert attacker.resets() == [(attacker.next - 2, ErrorCodes.REFUSED_STREAM)]
    attacker.send(DataFrame(attacker.next - 2, b"it was under way"))
    assert attacker.session.held == 0
    flood(attacker, ([attacker.head(end=False) for _ in range(10)] for _ in itertools.count()), 2_500)


def test_who_opens_more_streams_than_it_knows_that_it_may_breaks_the_protocol():
    attacker = Attacker()
    rounds = ([attacker.head(end=False) for _ in range(10)] for _ in itertools.count())
    flood(attacker, rounds, 270, ErrorCodes.PROTOCOL_ERROR)


def test_requests_that_the_client_abandoned_are_worked_on_up_to_a_bound():
    attacker = Attacker()
    resets = 0
    while not attacker.session.closing:
        heads = [attacker.head() for _ in range(3)]
        attacker.send(*heads, *[RstStreamFrame(one.stream_id, 8) for one in heads])
        resets += 3
        assert resets < 1_000
    assert attacker.session.pending <= 512


# Heads -------------------------------------------------------------------------------------------------------


def test_a_head_above_its_bound_is_431_and_the_connection_goes_on():
    client = Client()
    stream = client.open([*POST, (b"x-long", b"x" * 15_000), (b"x-more", b"x" * 15_000)], end=True)
    client.talk()
    assert client.answers[stream].status == 431
    client.post()
    client.talk()
    assert len(client.arrivals) == 1


def test_a_head_that_unpacks_into_many_times_its_size():
    """One long header in the HPACK table, named by a byte as often as a frame has room."""
    attacker = Attacker()
    head = attacker.head([*POST, (b"x-bomb", b"x" * 3_900)])
    attacker.send(head)
    assert len(attacker.arrivals) == 1
    again = attacker.head(POST)
    again.data += b"\xbe" * 8_000
    attacker.send(again)
    assert attacker.goaway == CALM
    assert attacker.session.held == 0


# Readers -----------------------------------------------------------------------------------------------------


def test_who_takes_no_answers_holds_no_more_than_its_streams_and_is_let_go():
    attacker = Attacker(settings={SettingCodes.INITIAL_WINDOW_SIZE: 0}, knows=False)
    attacker.send(*[attacker.head() for _ in range(300)])
    assert len(attacker.arrivals) == 256
    for session, stream, _, _ in attacker.arrivals:
        session.accepted(stream)
    attacker.read()
    assert attacker.session.phase is Phase.BODY  # a deadline runs
    attacker.session.expire()
    attacker.read()
    assert not attacker.session.closing
    attacker.session.expire()
    attacker.read()
    assert attacker.session.closing
    assert attacker.session.pending == 0


def test_who_takes_an_answer_byte_by_byte_gets_it():
    attacker = Attacker(settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for _ in range(200):
        head = attacker.head()
        attacker.send(head)
        attacker.session.accepted(head.stream_id)
        attacker.send(*[WindowUpdateFrame(head.stream_id, 1)] * 14)
        assert attacker.session.pending == 0
    assert attacker.goaway is None


def test_who_takes_a_large_answer_byte_by_byte_is_sent_away():
    attacker = Attacker(foreign=Foreign(), settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    head = attacker.head(GET)
    attacker.send(head)
    attacker.session.respond(head.stream_id, 200, [])
    attacker.session.send(head.stream_id, bytes(65_536), end=True)
    flood(attacker, forever(WindowUpdateFrame(head.stream_id, 1)), 2_500)


# Bodies ------------------------------------------------------------------------------------------------------


def test_all_sessions_together_hold_no_more_than_their_budget():
    budget = http2.Budget(1 << 20)
    attackers = [Attacker(budget=budget) for _ in range(50)]
    for attacker in attackers:
        stream = opened(attacker)
        attacker.send(*[DataFrame(stream, bytes(16_000))] * 4)
        assert budget.held <= 1 << 20
        assert budget.held == sum(one.session.held for one in attackers)
    refused = [one for one in attackers if any(isinstance(frame, HeadersFrame) for frame in one.frames)]
    assert len(refused) == 50 - 16
    assert refused[0].resets() == [(1, ErrorCodes.NO_ERROR)]
    client = Client(budget=budget)  # a small one passes
    client.post(bytes(2_000))
    client.talk()
    client.accept()
    assert client.answers[1].status == 202
    del attackers, refused, attacker
    assert budget.held == 0


def test_foreign_bodies_count_until_their_streams_are_closed():
    budget = http2.Budget(100_000)
    foreign = Foreign()
    client = Client(foreign=foreign, budget=budget)
    first = client.upload(bytes(90_000), GET)
    assert budget.held == 90_000
    second = client.open(GET)
    client.h2.send_data(second, bytes(16_000))
    client.talk()
    assert client.answers[second].reset == CALM
    assert foreign.resets == [second]
    client.session.respond(first, 200, [], end=True)
    client.talk()
    assert budget.held == 0
