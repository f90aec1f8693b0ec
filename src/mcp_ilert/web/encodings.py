"""`Content-Encoding`: gzip and zstd, one layer of one of them, inflated in pieces and never beyond a limit.

What is inflated at a time is a piece of at most PIECE bytes, and it ends as soon as the limit is passed: a bomb costs
no more than an honest body of that limit. A body that ends too early, or goes on behind its end, is refused.
"""

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from mcp_ilert.errors import MalformedError, TooLargeError
from mcp_ilert.problems import RequestError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["encoding_of", "inflated", "zstd"]

PIECE: Final = 65_536
MOST_PARTS: Final = 1_000
"""Members of gzip, or frames of zstd, in one body: each costs memory that its size does not show."""
WINDOW_LOG: Final = 23
"""8 MiB, which RFC 9659 allows to who sends zstd over HTTP."""
NAMES: Final = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
ACCEPTED: Final = {"Accept-Encoding": "gzip, zstd"}


def encoding_of(headers: Sequence[str]) -> str | None:
    """What the headers name: one of ours, or None where the body is as it is. Raises RequestError (415)."""
    name = ", ".join(headers).strip().lower()
    if name in {"", "identity"}:
        return None
    if name not in NAMES:
        raise RequestError(415, f"Content-Encoding: expected gzip or zstd, got {name[:80]}", ACCEPTED)
    return NAMES[name]


def inflated(body: bytes, encoding: str, limit: int) -> Iterator[bytes]:
    """The body's pieces. Raises TooLargeError beyond the limit, MalformedError where it is not what it says."""
    size = 0
    for piece in _pieces(body, encoding):
        size += len(piece)
        if size > limit:
            raise TooLargeError(
                f"the body is larger than {limit} bytes (listen.max_body_bytes), decompressed"
            )
        yield piece


class Inflater(Protocol):
    """One member of gzip, or one frame of zstd."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def feed(self, data: bytes) -> Iterator[bytes]: ...


def _pieces(body: bytes, encoding: str) -> Iterator[bytes]:
    make = _MAKERS[encoding]
    position = 0
    for _ in range(MOST_PARTS):
        part = make()
        while not part.eof:
            data = body[position : position + PIECE]
            if not data:
                raise MalformedError(f"the body ends before its {encoding} does")
            position += len(data)
            try:
                yield from part.feed(data)
            except (zlib.error, zstd.ZstdError) as error:
                raise MalformedError(f"the body is not {encoding}: {error}") from None
        position -= len(part.unused_data)
        if position == len(body):
            return
    raise MalformedError(f"the body has more than {MOST_PARTS} parts of {encoding}")


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self._inner.eof:
            piece = self._inner.decompress(data, PIECE)
            data = self._inner.unconsumed_tail
            if piece:
                yield piece
            elif not data:
                return


class _Zstd:
    def __init__(self) -> None:
        limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        self._inner = zstd.ZstdDecompressor(options=limits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self._inner.eof:
            piece = self._inner.decompress(data, PIECE)
            data = b""
            if piece:
                yield piece
            elif self._inner.needs_input:
                return


_MAKERS: Final[dict[str, Callable[[], Inflater]]] = {"gzip": _Gzip, "zstd": _Zstd}
