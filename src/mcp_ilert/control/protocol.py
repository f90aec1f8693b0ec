"""What travels over the control socket: one request line, one answer line."""

import msgspec

from mcp_ilert.console.requests import Answer, Request

MAX_LINE_BYTES = 4 * 1024 * 1024
"""The longest line, of a request as of an answer."""


def decode_request(line: bytes) -> Request:
    """Raises msgspec.DecodeError (which names the field) for what is no request."""
    request: Request = msgspec.json.decode(line, type=Request)
    return request


def decode_answer(line: bytes) -> Answer:
    return msgspec.json.decode(line, type=Answer)


def encode_line(message: Request | Answer) -> bytes:
    return msgspec.json.encode(message) + b"\n"
