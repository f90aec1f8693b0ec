"""The HTTP/2 session leaves nothing behind, however a connection goes, and whatever is sent."""

import itertools

import pytest
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame

from http2_client import GET, POST, Attacker, Foreign, http2
from leaks import blocks_leaked, kilobytes_grown, references
from mcp_ilert.wire import Arrival, Bounds

BUDGET = http2.Budget()
BOUNDS = Bounds()


class Recorded:
    """What an attacker has sent, so that only the session is at work when it is sent again."""

    def __init__(self, *, foreign=None, settings=None):
        self._sent: list[bytes] = []
        self._makes = Attacker(settings=settings)
        self._foreign = foreign
        self.session = self._makes.session

    def send(self, *frames) -> "Recorded":
        self._sent += [one if isinstance(one, bytes) else one.serialize() for one in frames]
        return self

    def head(self, headers=POST, **options):
        return self._makes.head(headers, **options)

    def talk(self, end) -> None:
        session = http2.Http2Session(BOUNDS, self._foreign, BUDGET)
        arrivals: list[Arrival] = []
        session.receive(PREFACE, arrivals)
        session.output()
        for part in self._sent:
            session.receive(part, arrivals)
            session.output()
        end(session, arrivals)
        session.output()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"


class Deaf:
    """Who is told of foreign streams, and keeps nothing."""

    def begin(self, session, stream, headers): ...
    def data(self, session, stream, data): ...
    def end(self, session, stream):
        session.respond(stream, 200, [(b"a", b"b")])
        session.send(stream, b"x" * 100, end=stream % 4 == 1)

    def reset(self, session, stream): ...
    def drained(self, session, stream): ...


def accept(session, arrivals):
    for _, stream, _, _ in arrivals:
        session.accepted(stream)


def refuse(session, arrivals):
    for _, stream, _, _ in arrivals:
        session.answer(stream, 422, ((b"content-type", b"a/b"),), b"{}" * 100)


def forget(session, arrivals):
    pass


def expire(session, arrivals):
    session.expire()
    session.expire()
    session.output()
    accept(session, arrivals)


def go_away(session, arrivals):
    session.go_away()
    accept(session, arrivals)
    session.output()
    session.receive(b"", arrivals)


def requests(*, body=b"{}", headers=POST, foreign=None, end=True) -> Recorded:
    made = Recorded(foreign=foreign)
    for _ in range(5):
        head = made.head(headers, end=False)
        made.send(head, DataFrame(head.stream_id, body), DataFrame(head.stream_id, body))
        if end:
            made.send(DataFrame(head.stream_id, flags=["END_STREAM"]))
    return made


ENDLESS = requests(body=b"x" * 9_000, end=False)
RESET = Recorded()
for one in (RESET.head() for _ in range(5)):
    RESET.send(one, RstStreamFrame(one.stream_id, 8))
BAD = Recorded().send(*[PingFrame(0)] * 3_000)
TALKS = {
    "accepted": (requests(), accept),
    "refused": (requests(), refuse),
    "without answers": (requests(), forget),
    "cut off": (ENDLESS, forget),
    "late": (ENDLESS, expire),
    "going": (requests(), go_away),
    "reset": (RESET, accept),
    "reset and forgotten": (RESET, forget),
    "foreign": (requests(headers=GET, foreign=Deaf()), accept),
    "foreign and cut off": (requests(headers=GET, foreign=Deaf(), end=False), forget),
    "foreign at last": (requests(headers=POST, body=b"x" * 16_000, foreign=Deaf()), accept),
    "sent away": (BAD, forget),
}


@pytest.mark.parametrize(("talk", "end"), TALKS.values(), ids=TALKS)
def test_no_object_is_left(talk, end):
    shared = (None, b"", 202, BOUNDS, BUDGET)
    before = references(*shared)
    assert blocks_leaked(lambda: talk.talk(end), 1_000) == 0
    after = references(*shared)
    assert all(new - old < 200 for new, old in zip(after, before, strict=True))
    assert BUDGET.held == 0


def test_memory_is_flat_whatever_is_sent():
    def attack() -> None:
        bomb = Attacker()
        bomb.send(bomb.head([*POST, (b"x-bomb", b"x" * 3_900)]))
        bomb.send(HeadersFrame(bomb.next, bomb.head(POST).data + b"\xbe" * 8_000, flags=["END_HEADERS"]))
        holder = Attacker(settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
        holder.send(*[holder.head(end=False) for _ in range(250)])
        holder.send(*[DataFrame(stream, bytes(4_000)) for stream in range(1, 500, 2)])
        reader = Attacker(foreign=Foreign(), settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
        reader.send(*[reader.head(GET) for _ in range(20)])
        for stream in range(1, 40, 2):
            reader.session.respond(stream, 200, [])
            reader.session.send(stream, bytes(65_536))
        resetter = Attacker()
        for _ in range(10):
            heads = [resetter.head() for _ in range(10)]
            resetter.send(*itertools.chain(*((one, RstStreamFrame(one.stream_id, 8)) for one in heads)))
        accept(resetter.session, resetter.arrivals)

    for _ in range(3):
        attack()
    assert kilobytes_grown(attack, 30) < 10_000
