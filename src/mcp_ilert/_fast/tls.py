"""TLS without sockets: what a client sends turned into what it says, and what we say into what is to be sent.

It is the ssl module's, over buffers in memory that are drained at each call, so that a connection that waits
keeps little. Records are read until nothing is left, and no further: an exception costs more than a record.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress

SLICE = 16_384
"""Of a record, at most; more is not put into a buffer at once, for it never shrinks."""
OWED = 16_384
"""Bytes that a client may have us keep for it beside what we say: each renegotiation that it asks for is refused."""
HANDSHAKE = 512
"""So much of `work` is a step of a handshake."""


class Tls:
    """The server's side of one connection.

    Whether who has shown this certificate may speak, `admit` is asked once, after the handshake.
    """

    def __init__(self, context: ssl.SSLContext, admit: Callable[[ssl.SSLObject], bool]) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.admit = admit
        self._closed = False
        self.established = False
        self.ended = False
        """The client says no more."""
        self.work = 0
        """What the last `receive` took, in records."""

    @property
    def alpn(self) -> str | None:
        """The protocol that the handshake chose."""
        return self._ssl.selected_alpn_protocol()

    def receive(self, data: bytes) -> bytes:
        """What the client says in what has come (b"": it sends no more, whether it has said so or not).

        There may be something to send while the handshake goes on, and after an error. Raises ssl.SSLError, after
        which nothing but `output` is of use.
        """
        self.work = 0
        size = len(data)
        if size == 0 or self.ended:
            self.ended = True
            return b""
        if size <= SLICE:
            self._incoming.write(data)
            return self._take()
        said = []
        for start in range(0, size, SLICE):
            self._incoming.write(data[start : start + SLICE])
            said.append(self._take())
        return b"".join(said)

    def seal(self, data: bytes) -> bytes:
        """What is to be sent to say this; after the handshake only."""
        size = len(data)
        if size <= SLICE:
            self._ssl.write(data)
            return self._outgoing.read()
        sent = []
        for start in range(0, size, SLICE):
            self._ssl.write(data[start : start + SLICE])
            sent.append(self._outgoing.read())
        return b"".join(sent)

    def output(self) -> bytes:
        """What is to be sent beside what we say, once."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """What is to be sent to say that we say no more, once."""
        if self.established and not self._closed:
            self._closed = True
            with suppress(ssl.SSLError):  # the client's own is not waited for
                self._ssl.unwrap()
        return self._outgoing.read()

    def _take(self) -> bytes:
        if self.ended or not (self.established or self._shaken()):
            return b""
        most = self._incoming.pending
        if most == 0:
            return b""
        parts = []
        while True:
            if most > SLICE:
                most = SLICE + 1
            self.work += 1
            try:
                part = self._ssl.read(most)
            except ssl.SSLWantReadError:
                break
            size = len(part)
            if size == 0:
                self.ended = True
                break
            parts.append(part)
            if size == most:
                most = SLICE + 1  # there may be more of this record
                continue
            most = self._incoming.pending
            if most == 0:
                break
        if self._outgoing.pending > OWED:
            raise ssl.SSLError(0, "the client asks for too much that it is not given")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _shaken(self) -> bool:
        self.work += HANDSHAKE
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        if not self.admit(self._ssl):
            raise ssl.SSLError(0, "the client's certificate is not admitted")
        self.established = True
        return True
