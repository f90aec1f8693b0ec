"""When certificates are valid: PEM → from when until when. Of X.509's DER no more is read than lies before it.

The standard library tells that of a peer's certificate, but not of one's own.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERAL_TIME = 0x30, 0xA0, 0x17, 0x18
NEVER: Final = float("inf")
_SHOWN: Final = "%Y-%m-%dT%H:%M:%SZ"


class _Item(msgspec.Struct, frozen=True):
    tag: int
    content: bytes


class Validity(msgspec.Struct, frozen=True):
    """While all of some certificates are valid, in seconds since 1970; always, where none can be read."""

    begins: float = -NEVER
    ends: float = NEVER

    def flaw(self, now: float) -> str | None:
        """What is wrong now, in words; None where nothing is."""
        if now > self.ends:
            return "has expired"
        return "is not valid yet" if now < self.begins else None

    @property
    def words(self) -> tuple[str, str]:
        """Beginning and end, for people. Both must be known, as they are where there is a flaw."""
        begins, ends = (datetime.fromtimestamp(at, UTC) for at in (self.begins, self.ends))
        return f"{begins:{_SHOWN}}", f"{ends:{_SHOWN}}"


def validity_of(pem: bytes) -> Validity:
    """While all of these certificates are valid; those that cannot be read do not count."""
    found = [_validity(block) for block in _BLOCK.findall(pem)]
    return Validity(
        max((each.begins for each in found), default=-NEVER),
        min((each.ends for each in found), default=NEVER),
    )


def _validity(block: bytes) -> Validity:
    try:
        begins, ends = (_time(item).timestamp() for item in _times(b64decode(block)))
    except (ValueError, IndexError, OverflowError, StopIteration):
        return Validity()
    return Validity(begins, ends)


def _times(der: bytes) -> tuple[_Item, _Item]:
    """Certificate: {tbsCertificate: {[0] version?, serial, algorithm, issuer, validity: {notBefore, notAfter}, …}}."""
    certificate = next(_items(der))
    fields = _items(next(_items(certificate.content)).content)
    first = next(fields)
    if first.tag == _VERSION:
        next(fields)
    next(fields)
    next(fields)
    validity = next(fields)
    if validity.tag != _SEQUENCE:
        raise ValueError("no validity")
    times = _items(validity.content)
    return next(times), next(times)


def _items(der: bytes) -> Iterator[_Item]:
    """What stands one after the other."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            more = size & 0x7F
            size, at = int.from_bytes(der[at : at + more], "big"), at + more
        if at + size > len(der):
            raise ValueError("cut off")
        yield _Item(tag, der[at : at + size])
        at += size


def _time(item: _Item) -> datetime:
    text = item.content.decode("ascii")
    if item.tag == _UTC_TIME:  # RFC 5280, 4.1.2.5.1: years from 50 on are of the last century
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif item.tag != _GENERAL_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
