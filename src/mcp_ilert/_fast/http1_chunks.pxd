"""A chunked body of HTTP/1.1 (RFC 9112, 7.1), without extensions and trailers, as far as it has come."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from mcp_ilert._fast.http1_head cimport COMPLETE, PARTIAL, STRANGE, Found

cdef enum:
    MAX_HEX = 7      # of a chunk's size
    END_SIZE = 5     # of the bytes that end chunks: 0, CRLF, CRLF
    WITH_CHUNKS = 2  # a chunked body may come in so many times the bytes of the largest body

cdef struct Chunks:
    Py_ssize_t begin   # of the first, in the request
    Py_ssize_t next    # of the one that is to be looked at
    Py_ssize_t size    # bytes in those before that
    Py_ssize_t needed  # bytes that the request has at least


cdef inline void begin(Chunks* chunks, Py_ssize_t at) noexcept:
    chunks.begin = chunks.next = at
    chunks.size = 0
    chunks.needed = at + END_SIZE


cdef inline Found read_on(Chunks* chunks, const char* data, Py_ssize_t size, Py_ssize_t max_body) noexcept:
    """Look at the request's bytes; where its body is COMPLETE, `needed` is where that ends.

    What is asked for with `needed` depends on the bytes before it alone, not on how they came.
    """
    cdef Py_ssize_t at, length
    while size >= chunks.needed:
        at = chunks.next
        length = 0
        while at < size and at - chunks.next < MAX_HEX and hex_digit(data[at]) >= 0:
            length = 16 * length + hex_digit(data[at])
            at += 1
        if at == chunks.next or not may_be_end(data + at, size - at):
            return STRANGE
        if size - at < 2:
            chunks.needed = size + 1
            return PARTIAL
        at += 2
        if length == 0:
            chunks.needed = at + 2
            if not may_be_end(data + at, size - at):
                return STRANGE  # trailers
            return COMPLETE if size >= chunks.needed else PARTIAL
        if chunks.size + length > max_body or at - chunks.begin > WITH_CHUNKS * max_body:
            return STRANGE
        chunks.needed = at + length + 2
        if size < chunks.needed:
            return PARTIAL
        if not may_be_end(data + at + length, 2):
            return STRANGE
        chunks.next = chunks.needed
        chunks.size += length
        chunks.needed += END_SIZE
    return PARTIAL


cdef inline bytes whole(const Chunks* chunks, const char* data):
    """What is in them, once they are COMPLETE."""
    cdef Py_ssize_t length, size = chunks.size
    cdef bytes body = PyBytes_FromStringAndSize(NULL, size)
    cdef char* to = PyBytes_AS_STRING(body)
    data += chunks.begin
    while size:
        length = 0
        while data[0] != c"\r":
            length = 16 * length + hex_digit(data[0])
            data += 1
        memcpy(to, data + 2, length)
        data += length + 4
        to += length
        size -= length
    return body


cdef inline int hex_digit(char digit) noexcept:
    """Its value; -1 where it is none."""
    if c"0" <= digit <= c"9":
        return digit - c"0"
    digit |= 0x20
    return digit - c"a" + 10 if c"a" <= digit <= c"f" else -1


cdef inline bint may_be_end(const char* data, Py_ssize_t size) noexcept:
    """Whether it begins with CRLF, or with what is there of it."""
    return (size < 1 or data[0] == c"\r") and (size < 2 or data[1] == c"\n")
