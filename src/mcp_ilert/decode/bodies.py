"""A JSON body → one event's text, or those of an array's elements, each exactly as received."""

import msgspec

from mcp_ilert.decode.native import malformed
from mcp_ilert.decode.text import check_text
from mcp_ilert.errors import MalformedError

_BLANK = b" \t\r\n"
_elements = msgspec.json.Decoder(list[msgspec.Raw])


def split(body: bytes) -> bytes | list[msgspec.Raw]:
    """The text of a single event, or the elements of an array; raises MalformedError for what is neither.

    An array is read to its end. A single event's own syntax is left to who decodes it.
    """
    text = body.strip(_BLANK)
    if not text:
        raise MalformedError("the body is empty; expected an event as a JSON object, or an array of them")
    check_text(text)
    if text.startswith(b"{"):
        return text
    if not text.startswith(b"["):
        raise MalformedError("expected an event as a JSON object, or an array of them")
    try:
        return _elements.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None
