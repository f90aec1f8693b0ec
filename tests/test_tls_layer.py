"""TLS without sockets, compiled and as plain Python, against the ssl module's own client."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doors import client_tls, server_tls
from fast import load_fast
from leaks import blocks_leaked

CLIENT, SERVER = client_tls(), server_tls()
TEXTS = st.lists(st.binary(min_size=1, max_size=70_000), min_size=1, max_size=4)
CUTS = st.lists(st.integers(1, 20_000), min_size=1, max_size=8)


@pytest.fixture(params=["compiled", "pure"], scope="module")
def make(request: pytest.FixtureRequest) -> Any:
    module = load_fast("tls", pure=request.param == "pure")
    return lambda admit=lambda _: True: module.Tls(SERVER, admit)


class Peer:
    """A client in memory."""

    def __init__(self, context: ssl.SSLContext = CLIENT) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self.shaken = False

    def shake(self) -> None:
        try:
            self._ssl.do_handshake()
            self.shaken = True
        except ssl.SSLWantReadError:
            pass

    def output(self) -> bytes:
        return self._outgoing.read()

    def seal(self, text: bytes) -> bytes:
        self._ssl.write(text)
        return self.output()

    def leave(self) -> bytes:
        """Its close_notify."""
        with pytest.raises(ssl.SSLWantReadError):
            self._ssl.unwrap()
        return self.output()

    def read(self, data: bytes) -> bytes:
        """What is said in these bytes."""
        self._incoming.write(data)
        said = b""
        while True:
            try:
                more = self._ssl.read(65_536)
            except ssl.SSLWantReadError:
                return said
            if not more:
                return said
            said += more


def joined(layer: Any, peer: Peer) -> tuple[Any, Peer]:
    """Both after their handshake."""
    while not (layer.established and peer.shaken):
        if not peer.shaken:
            peer.shake()
        assert layer.receive(peer.output()) == b""
        peer._incoming.write(layer.output())
    return layer, peer


def cut(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The same bytes in pieces of these sizes, in turn."""
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


@given(texts=TEXTS, cuts=CUTS)
def test_what_the_client_says_comes_however_its_bytes_are_cut(
    make: Any, texts: list[bytes], cuts: list[int]
) -> None:
    layer, peer = joined(make(), Peer())
    sent = b"".join(peer.seal(text) for text in texts) + peer.leave()
    assert b"".join(layer.receive(piece) for piece in cut(sent, cuts)) == b"".join(texts)
    assert layer.ended
    assert layer.receive(b"more") == b""


@given(texts=TEXTS)
def test_what_we_say_comes_and_that_we_say_no_more(make: Any, texts: list[bytes]) -> None:
    layer, peer = joined(make(), Peer())
    for text in texts:
        assert peer.read(layer.seal(text)) == text
    assert peer.read(layer.close()) == b""
    assert peer._ssl.read(1) == b""  # not that it goes on, nor that anything is missing
    assert layer.close() == b""


@given(cuts=CUTS)
def test_a_handshake_may_come_in_pieces_with_the_first_words_behind_it(make: Any, cuts: list[int]) -> None:
    layer, peer = make(), Peer()
    peer.shake()
    for piece in cut(peer.output(), cuts):
        layer.receive(piece)
    peer._incoming.write(layer.output())
    peer.shake()
    rest = peer.output() + peer.seal(b"hello")
    assert b"".join(layer.receive(piece) for piece in cut(rest, cuts)) == b"hello"
    assert layer.established


@given(at=st.integers(5, 400), flip=st.integers(1, 255))
def test_a_record_that_was_changed_says_nothing(make: Any, at: int, flip: int) -> None:
    layer, peer = joined(make(), Peer())
    sent = bytearray(peer.seal(b"x" * 500))
    sent[at] ^= flip
    with pytest.raises(ssl.SSLError):
        layer.receive(bytes(sent))
    assert layer.output()  # an alert


@given(kept=st.integers(0, 300))
def test_a_record_that_was_cut_off_says_nothing(make: Any, kept: int) -> None:
    layer, peer = joined(make(), Peer())
    sent = peer.seal(b"whole") + peer.seal(b"x" * 300)[:kept]
    assert layer.receive(sent) == b"whole"
    assert layer.receive(b"") == b""
    assert layer.ended


@given(data=st.binary(min_size=1, max_size=300))
def test_what_is_no_tls_is_refused_or_waited_for(make: Any, data: bytes) -> None:
    layer = make()
    try:
        assert layer.receive(data) == b""
    except ssl.SSLError:
        assert not layer.established
    assert layer.receive(b"") == b""
    assert layer.ended


@pytest.mark.parametrize("offered", [["h2"], ["http/1.1"], ["http/1.1", "h2"], ["other"], None])
def test_the_protocol_is_the_first_of_ours_that_the_client_offers(
    make: Any, offered: list[str] | None
) -> None:
    context = client_tls()
    if offered:
        context.set_alpn_protocols(offered)
    layer, _ = joined(make(), Peer(context))
    ours = [name for name in ("h2", "http/1.1") if name in (offered or [])]
    assert layer.alpn == (ours[0] if ours else None)


def test_who_is_not_admitted_is_not_heard(make: Any) -> None:
    asked: list[ssl.SSLObject] = []
    layer, peer = make(asked.append), Peer()
    peer.shake()
    layer.receive(peer.output())
    peer._incoming.write(layer.output())
    peer.shake()
    with pytest.raises(ssl.SSLError, match="not admitted"):
        layer.receive(peer.output() + peer.seal(b"hello"))
    assert not layer.established
    assert len(asked) == 1


def test_small_records_and_handshakes_count_as_work(make: Any) -> None:
    layer, peer = make(), Peer()
    peer.shake()
    layer.receive(peer.output())
    shaking = layer.work
    peer._incoming.write(layer.output())
    layer, peer = joined(layer, peer)
    layer.receive(b"".join(peer.seal(b"x") for _ in range(100)))
    assert layer.work >= 100
    assert shaking > 100  # one is dearer than many records


def test_nothing_is_left_of_who_has_gone(make: Any) -> None:
    def come_and_go() -> None:
        layer, peer = joined(make(), Peer())
        layer.receive(peer.seal(b"hello"))
        peer.read(layer.seal(b"hello") + layer.close())

    assert blocks_leaked(come_and_go, times=200) == 0


def test_refusals_that_a_client_gathers_are_bounded() -> None:
    """OpenSSL refuses each renegotiation with an alert; the ssl module has no client that asks for one."""
    layer, peer = joined(load_fast("tls", pure=True).Tls(SERVER, lambda _: True), Peer())
    layer._outgoing.write(b"alert" * 3_000)
    assert layer.receive(peer.seal(b"hello")) == b"hello"
    layer._outgoing.write(b"alert" * 3_000)
    with pytest.raises(ssl.SSLError, match="too much"):
        layer.receive(peer.seal(b"hello"))
