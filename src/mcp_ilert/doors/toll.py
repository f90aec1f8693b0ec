"""What an HTTP/2 client may cost where no compiled session bounds it: a credit that useful frames earn, others spend.

Pure: it is told the bytes that come, looks at the frames' heads alone, and has no clock. The bounds are those of
`_fast/http2.pyx`.
"""

from typing import Final

MOST_CREDIT: Final = 2_000
"""Frames that lead to nothing, in a row."""
FIRST_CREDIT: Final = 1_000
REQUEST_CREDIT: Final = 32
BYTES_A_CREDIT: Final = 16
"""So do bodies, either way: a frame of fewer bytes costs."""
SETTINGS_COST: Final = 8
"""They may touch every stream."""
MOST_RESETS: Final = 200
"""Streams that end by a reset, of either side's, beyond one for every two requests."""
MOST_STRAY: Final = 4 << 20
"""Bytes of frames that are passed over: of streams that have ended, or of types that nobody knows."""
STRAY_BYTES: Final = 131_072
"""Of them, those that may have been under way when a stream ended."""
MOST_HEAD_BYTES: Final = 65_536
"""Of one request's head as it comes, packed."""
_PREFACE_BYTES: Final = 24
_HEAD_BYTES: Final = 9
_DATA, _HEADERS, _SETTINGS, _CONTINUATION = 0, 1, 4, 9
_KNOWN: Final = 10
_PADDED: Final = 8


class Toll:
    """Of one connection. What is asked answers whether the client may go on."""

    def __init__(self) -> None:
        self._credit = FIRST_CREDIT
        self._resets = 2 * MOST_RESETS
        """In halves."""
        self._stray = MOST_STRAY
        self._skip = _PREFACE_BYTES
        self._part = b""
        """Of a frame's head, where it was cut."""
        self._block = 0
        """Bytes of the head that is coming."""

    def take(self, data: bytes) -> bool:
        """These bytes have come. Frames are paid for before anybody works on them."""
        self._earn(1)
        at = 0
        while at < len(data) and self._may_go_on():
            step = min(self._skip, len(data) - at)
            self._skip -= step
            at += step
            if self._skip:
                break
            lacking = _HEAD_BYTES - len(self._part)
            self._part += data[at : at + lacking]
            at += lacking
            if len(self._part) == _HEAD_BYTES:
                self._pay(int.from_bytes(self._part[:3]), self._part[3], padded=bool(self._part[4] & _PADDED))
                self._part = b""
        return self._may_go_on()

    def came(self, size: int) -> None:
        """So many bytes were for a stream that waits for them."""
        self._stray = min(MOST_STRAY, self._stray + size)

    def sent(self, size: int) -> None:
        """So many bytes of answers have gone."""
        self._earn(size // BYTES_A_CREDIT)

    def began(self) -> None:
        """A request was taken."""
        self._resets = min(2 * MOST_RESETS, self._resets + 1)

    def ended_early(self) -> bool:
        """A stream was reset, or refused."""
        self._resets -= 2
        self._stray = min(MOST_STRAY, self._stray + STRAY_BYTES)
        return self._may_go_on()

    def _pay(self, length: int, kind: int, *, padded: bool) -> None:
        self._skip = length
        self._credit -= SETTINGS_COST if kind == _SETTINGS else 1
        if kind == _HEADERS:
            self._block = 0
            self._earn(REQUEST_CREDIT)
        if kind in {_HEADERS, _CONTINUATION}:
            self._block += length
        elif kind == _DATA and not padded:
            self._earn(length // BYTES_A_CREDIT)
        if kind == _DATA or kind >= _KNOWN:
            self._stray -= length

    def _earn(self, credit: int) -> None:
        if self._credit >= 0:
            self._credit = min(MOST_CREDIT, self._credit + credit)

    def _may_go_on(self) -> bool:
        return min(self._credit, self._resets, self._stray) >= 0 and self._block <= MOST_HEAD_BYTES


class Allowance:
    """Bytes of requests' bodies that all connections together hold; small ones pass a little longer."""

    def __init__(self, most: int = 64 << 20, small: int = 4_096) -> None:
        self.most = most
        self.held = 0
        self._small = small

    def take(self, size: int, before: int) -> bool:
        """Hold so many bytes more of a body of which so many are held; false where they are too many."""
        held = self.held + size
        if held > self.most and (before + size > self._small or held > self.most + self.most // 4):
            return False
        self.held = held
        return True

    def give_back(self, size: int) -> None:
        self.held -= size
