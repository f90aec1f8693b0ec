"""Signatures of webhooks: Standard Webhooks, and an HMAC of the body in a header, as GitHub sends it. Pure.

All that is compared is compared in constant time, and all of it, so that time tells nothing.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_SECONDS: Final = 300
MOST_SIGNATURES: Final = 16
MOST_ID: Final = 256
VERSION: Final = "v1,"


class Signed(msgspec.Struct, frozen=True):
    """What a Standard Webhooks request says of itself; taken over only once its signature is right."""

    id: str
    timestamp: str
    signatures: tuple[str, ...]


def signed(headers: Mapping[str, str]) -> Signed | None:
    """The three headers; None where one is missing."""
    given = [headers.get(name) for name in (ID, TIMESTAMP, SIGNATURE)]
    if not all(given):
        return None
    identity, timestamp, signatures = (text or "" for text in given)
    return Signed(identity, timestamp, tuple(signatures.split()[:MOST_SIGNATURES]))


def refused(claim: Signed, body: bytes, keys: Sequence[bytes], now: float) -> str | None:
    """Why the request is not to be believed; None where it is. `now` in seconds since 1970."""
    if len(claim.id) > MOST_ID:
        return f"{ID} has more than {MOST_ID} characters"
    content = b"%b.%b.%b" % (_bytes(claim.id), _bytes(claim.timestamp), body)
    given = [text.removeprefix(VERSION) for text in claim.signatures if text.startswith(VERSION)]
    right = False
    for key in keys:
        wanted = base64.b64encode(hmac.digest(key, content, hashlib.sha256))
        for text in given:
            right |= hmac.compare_digest(wanted, _bytes(text))
    if not right:
        return f"{SIGNATURE} is of none of the secrets"
    if not (claim.timestamp.isascii() and claim.timestamp.isdigit() and len(claim.timestamp) < 20):
        return f"{TIMESTAMP} is no number of seconds"
    if abs(now - int(claim.timestamp)) > TOLERANCE_SECONDS:
        return f"{TIMESTAMP} is more than {TOLERANCE_SECONDS} seconds from now; set the clocks"
    return None


def is_hmac(header: str, prefix: str, body: bytes, key: bytes) -> bool:
    """Whether the header is the body's HMAC-SHA256 in hexadecimal digits, behind its prefix."""
    wanted = f"{prefix}{hmac.digest(key, body, hashlib.sha256).hex()}"
    return hmac.compare_digest(wanted.encode(), _bytes(header.strip()))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
