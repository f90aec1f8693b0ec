"""A JSON body → one event's text, or those of an array's elements, each exactly as received."""

import msgspec

from mcp_ilert._fast.taking import shallow
from mcp_ilert.decode.native import malformed
from mcp_ilert.decode.text import MAX_DEPTH, check_characters, check_depth
from mcp_ilert.errors import MalformedError

_BLANK = b" \t\r\n"
_elements = msgspec.json.Decoder(list[msgspec.Raw])


def split(body: bytes) -> bytes | list[bytes]:
    """The text of a single event, or of the elements of an array; raises MalformedError for what is neither.

    An array is read to its end. A single event's own syntax is left to who decodes it.
    """
    text = body.strip(_BLANK)
    if not text:
        raise MalformedError("the body is empty; expected an event as a JSON object, or an array of them")
    check_characters(text)
    if text.startswith(b"["):
        return _split_array(text)
    check_depth(text)
    if text.startswith(b"{"):
        return text
    raise MalformedError("expected an event as a JSON object, or an array of them")


def _split_array(text: bytes) -> list[bytes]:
    try:
        elements = [bytes(raw) for raw in _elements.decode(text)]
    except (msgspec.DecodeError, RecursionError) as error:
        check_depth(text)
        raise malformed(error) from None
    if not shallow(elements, MAX_DEPTH - 1):  # looking at the depth of the whole is slow, and seldom needed
        check_depth(text)
    return elements
