"""Requests for events out of the bytes of an HTTP/1.1 connection."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

cimport mcp_ilert._fast.http1_chunks as chunks
from mcp_ilert._fast.http1 cimport Http1Session
from mcp_ilert._fast.http1_head cimport (
    COMPLETE, LINE_SIZE, PARTIAL, STRANGE, Fields, Found, Slice, read_head, read_length)


cdef inline Py_ssize_t parse(
    Http1Session session, const char* data, Py_ssize_t size, list arrivals
) except -1:
    """Append what is complete; return where the rest begins."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t max_head = session.bounds.head_bytes
    cdef Py_ssize_t max_body = session.bounds.body_bytes
    cdef Found found
    cdef bytes body
    while at < size:
        if session.needed == 0:
            found = begin(session, data + at, size - at, max_head, max_body)
            if found == STRANGE:
                session.leaving = True
                return at
            if found == PARTIAL:
                return at
        if size - at < session.needed:
            return at
        if session.fields.chunked:
            found = chunks.read_on(&session.chunks, data + at, size - at, max_body)
            session.needed = session.chunks.needed
            if found == STRANGE:
                session.leaving = True
                return at
            if found == PARTIAL:
                return at
            body = chunks.whole(&session.chunks, data + at)
        else:
            body = PyBytes_FromStringAndSize(
                data + at + session.fields.size, session.needed - session.fields.size)
        at += session.needed
        arrivals.append((session, session.next, session.head, body))
        session.next += 1
        session.needed = 0
        session.searched = 0
        if session.fields.close or session.going:
            session.closing = True
            return at
    return at


cdef inline Found begin(
    Http1Session session, const char* data, Py_ssize_t size, Py_ssize_t max_head, Py_ssize_t max_body
) except? STRANGE:
    """Read the head of a request, and what is needed for it to be complete."""
    cdef Fields fields
    cdef Found found
    cdef long long length = as_before(session, data, size)
    if length < 0:
        if session.searched >= LINE_SIZE and not memchr(
            data + session.searched, c"\n", size - session.searched
        ):
            found = PARTIAL
        else:
            found = read_head(data, size, &fields)
        if found == PARTIAL:
            session.searched = size
            return STRANGE if size > max_head else PARTIAL
        if found == STRANGE:
            return STRANGE
        learn(session, data, &fields)
        length = 0 if fields.chunked else read_length(data + fields.length.at, fields.length.size)
    if session.fields.size > max_head or length > max_body:
        return STRANGE
    session.needed = session.fields.size + length
    if session.fields.chunked:
        chunks.begin(&session.chunks, session.fields.size)
        session.needed = session.chunks.needed
    return COMPLETE


# Most heads say what the one before them said ---------------------------------------------------------------

cdef inline long long as_before(Http1Session session, const char* data, Py_ssize_t size) noexcept:
    """The Content-Length, where the head is the last one but for that; -1 where it is not."""
    cdef const char* last = PyBytes_AS_STRING(session.last_head)
    cdef Py_ssize_t last_size = PyBytes_GET_SIZE(session.last_head)
    cdef Py_ssize_t before = session.fields.length.at
    cdef Py_ssize_t after = session.tail_size
    cdef Py_ssize_t end = before
    cdef long long length
    if session.fields.chunked:
        if last_size == 0 or size < last_size or memcmp(data, last, last_size) != 0:
            return -1
        return 0
    if last_size == 0 or size <= before or memcmp(data, last, before) != 0:
        return -1
    while end < size and c"0" <= data[end] <= c"9":
        end += 1
    length = read_length(data + before, end - before)
    if length < 0 or size - end < after or memcmp(data + end, last + last_size - after, after) != 0:
        return -1
    session.fields.length.size = end - before
    session.fields.size = end + after
    return length


cdef inline int learn(Http1Session session, const char* data, Fields* fields) except -1:
    """This head is the last one now; the Head is the same object if it says the same."""
    session.last_head = PyBytes_FromStringAndSize(data, fields.size)
    session.fields = fields[0]
    session.tail_size = fields.size - fields.length.at - fields.length.size
    return session.note_head(slice_of(data, fields.content_type), slice_of(data, fields.authorization))


cdef inline bytes slice_of(const char* data, Slice place):
    if place.size < 0:
        return None
    return PyBytes_FromStringAndSize(data + place.at, place.size)
