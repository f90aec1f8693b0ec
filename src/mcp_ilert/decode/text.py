"""What a body must be as text, before anyone reads it as JSON: UTF-8, paired surrogates, at most 64 levels deep.

msgspec does not look for bad UTF-8 in the values that it skips, words lone surrogates by accident of where they
stand, and recurses on nesting. So each is looked for here: by a search of the bytes that nearly every body
passes, and exactly only where that search finds something. All of it runs at C speed, whatever is sent.
"""

import re

from mcp_ilert.errors import InvalidEventError, MalformedError

MAX_DEPTH = 64

_HIGH = rb"[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"[dD][c-fC-F][0-9a-fA-F]{2}"
_OTHER = rb"(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})"
# Possessive quantifiers: each byte is looked at once, whatever an attacker sends.
_PAIRED = re.compile(rb"(?:[^\\]++|\\[^u]|\\u%b\\u%b|\\u%b)*+" % (_HIGH, _LOW, _OTHER), re.DOTALL)
_WITHOUT_NUL = re.compile(rb"(?:[^\\]++|\\(?!u0000).)*+", re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(c for c in range(256) if c not in b"[]{}")


def check_text(body: bytes) -> None:
    """Raise MalformedError unless the body is UTF-8, its surrogate escapes pair up and it is not too deep."""
    check_characters(body)
    check_depth(body)


def check_characters(body: bytes) -> None:
    """Raise MalformedError unless the body is UTF-8 and its surrogate escapes pair up."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    if b"\\u" in body:
        paired = _PAIRED.match(body)
        end = paired.end() if paired else 0
        if end != len(body):
            raise MalformedError(f"a lone surrogate or a broken escape at byte {end}")


def check_depth(body: bytes) -> None:
    """Raise MalformedError where the body is nested too deep."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper(body):
        raise MalformedError(f"more than {MAX_DEPTH} levels of nesting")


def is_sound(payload: bytes) -> bool:
    """Whether an event's text passes all that is checked here."""
    try:
        check_text(payload)
        refuse_nul(payload)
    except (MalformedError, InvalidEventError):
        return False
    return True


def refuse_nul(payload: bytes) -> None:
    """Raise InvalidEventError where a key or a value holds the character NUL."""
    if b"\\u0000" not in payload:
        return
    clean = _WITHOUT_NUL.match(payload)
    if clean is None or clean.end() != len(payload):
        raise InvalidEventError("$: the character NUL (\\u0000) is not allowed")


def _deeper(body: bytes) -> bool:
    """Whether brackets outside strings are nested too deep; unbalanced ones count as open."""
    brackets = _STRING.sub(b"", body).translate(_TO_SQUARE, _NO_BRACKETS)
    if b"[" * (MAX_DEPTH + 1) in brackets:
        return True
    for _ in range(MAX_DEPTH):  # each turn takes away the innermost level, everywhere at once
        fewer = brackets.replace(b"[]", b"")
        if not fewer:
            return False
        if len(fewer) == len(brackets):
            return len(brackets) > MAX_DEPTH  # not balanced, so no JSON; the parser says where
        brackets = fewer
    return True
