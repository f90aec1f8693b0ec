"""A request's head as libnghttp2 reads it out, header by header: kept for who may have to read it; judged."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

cdef enum Mark:
    POST = 1
    EVENTS = 2
    ODD = 4          # others shall read it
    BAD = 8          # nobody shall
    EXPECTS = 16
    HAS_LENGTH = 32
    CONNECT = 64
    WEBSOCKET = 128
    HAS_TYPE = 256
    HAS_AUTHORIZATION = 512

cdef struct Head:
    char* packed            # each header: two sizes of four bytes, name, value
    size_t size, room       # of that
    size_t listed           # its size as RFC 9113, 6.5.2 counts it
    size_t authority_at, authority_size
    Py_ssize_t length       # of the body, as the client says; -1: it does not
    int marks


cdef inline void clear(Head* head) noexcept:
    head.marks = 0
    head.length = -1
    head.size = head.listed = head.authority_size = 0


cdef inline void drop(Head* head) noexcept:
    PyMem_Free(head.packed)
    head.packed = NULL
    head.room = head.size = 0


cdef inline bint is_ascii(const char* value, size_t size) noexcept:
    cdef size_t at
    for at in range(size):
        if <uint8_t>value[at] >= 128:
            return False
    return True


cdef inline Py_ssize_t number(const char* value, size_t size) noexcept:
    """A content-length that libnghttp2 has found sound."""
    cdef Py_ssize_t found = 0
    cdef size_t at
    for at in range(size):
        if found > 1 << 58:
            break
        found = found * 10 + value[at] - 48
    return found


cdef inline int pack(
    Head* head, const char* name, size_t named, const char* value, size_t size
) except -1:
    cdef size_t needed = head.size + named + size + 8
    cdef uint32_t sizes[2]
    cdef char* at
    if needed > head.room:
        at = <char*>PyMem_Realloc(head.packed, needed + 512)
        if at == NULL:
            raise MemoryError
        head.packed = at
        head.room = needed + 512
    at = head.packed + head.size
    sizes[0] = <uint32_t>named
    sizes[1] = <uint32_t>size
    memcpy(at, sizes, 8)
    memcpy(at + 8, name, named)
    memcpy(at + 8 + named, value, size)
    head.size = needed
    return 0


cdef inline int note(
    Head* head, const char* name, size_t named, const char* value, size_t size
) noexcept:
    """What matters of this header here; HAS_TYPE or HAS_AUTHORIZATION where it is that."""
    if named == 5 and memcmp(name, b":path", 5) == 0:
        if size == 7 and memcmp(value, b"/events", 7) == 0:
            head.marks |= EVENTS
        elif size == 0 or not is_ascii(value, size):
            head.marks |= BAD  # Hypercorn cannot read it
    elif named == 7 and memcmp(name, b":method", 7) == 0:
        if size == 4 and memcmp(value, b"POST", 4) == 0:
            head.marks |= POST
        elif size == 7 and memcmp(value, b"CONNECT", 7) == 0:
            head.marks |= CONNECT
    elif named == 9 and memcmp(name, b":protocol", 9) == 0:
        head.marks |= WEBSOCKET if size == 9 and memcmp(value, b"websocket", 9) == 0 else BAD
    elif named == 10 and memcmp(name, b":authority", 10) == 0:
        head.authority_at = head.size + 18
        head.authority_size = size
    elif named == 4 and memcmp(name, b"host", 4) == 0:
        if head.authority_size and (
            size != head.authority_size or memcmp(value, head.packed + head.authority_at, size) != 0
        ):
            head.marks |= BAD
    elif named == 12 and memcmp(name, b"content-type", 12) == 0:
        head.marks |= ODD if head.marks & HAS_TYPE else HAS_TYPE
        return HAS_TYPE
    elif named == 13 and memcmp(name, b"authorization", 13) == 0:
        head.marks |= ODD if head.marks & HAS_AUTHORIZATION else HAS_AUTHORIZATION
        return HAS_AUTHORIZATION
    elif named == 14 and memcmp(name, b"content-length", 14) == 0:
        head.length = number(value, size)
    elif named == 16 and memcmp(name, b"content-encoding", 16) == 0:
        if not (size == 8 and memcmp(value, b"identity", 8) == 0):
            head.marks |= ODD
    elif named == 6 and memcmp(name, b"expect", 6) == 0:
        if size == 12 and memcmp(value, b"100-continue", 12) == 0:
            head.marks |= EXPECTS
    elif named == 6 and memcmp(name, b"origin", 6) == 0:
        head.marks |= ODD  # a browser's
    return 0


cdef inline list unpacked(const char* packed, size_t size):
    cdef size_t at = 0
    cdef uint32_t sizes[2]
    cdef list headers = []
    while at < size:
        memcpy(sizes, packed + at, 8)
        at += 8
        headers.append((
            PyBytes_FromStringAndSize(packed + at, sizes[0]),
            PyBytes_FromStringAndSize(packed + at + sizes[0], sizes[1]),
        ))
        at += sizes[0] + sizes[1]
    return headers
