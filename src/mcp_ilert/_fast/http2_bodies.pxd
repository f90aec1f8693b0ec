"""What is held of the bodies of an HTTP/2 connection, and how much more the client may send of them.

Bodies draw on the budget of all sessions. A large one is given a window for all of it, within
a connection's share.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from mcp_ilert._fast.http2 cimport Http2Session, Stream
from mcp_ilert._fast.nghttp2 cimport NGHTTP2_FLAG_NONE, nghttp2_session_set_local_window_size

cdef enum:
    STREAM_WINDOW = 65_535  # HTTP/2's own; a larger body is given its whole window once it shows
    ASKS_AT = 32_768        # so much of a body shows that it is a larger one
    SHARE_BYTES = 8 << 20   # of such windows, on one connection at once
    SMALL_BYTES = 4_096     # a body up to this passes where the budget is spent, until a quarter beyond


cdef inline bint charge(Http2Session session, Stream stream, size_t size) noexcept:
    """Count it as held, unless all sessions together hold too much. Apps keep at most a body's bound."""
    if stream.foreign and stream.charged >= session.body_limit:
        return True
    if session.budget.held + size > session.budget.most and (
        stream.charged + size > SMALL_BYTES
        or session.budget.held + size > session.budget.most + session.budget.most // 4
    ):
        return False
    stream.charged += size
    session._held += size
    session.budget.held += size
    return True


cdef inline int append(Stream stream, const char* data, size_t size) except -1:
    """A body in one piece is one copy; in several, it grows by doubling."""
    cdef size_t needed = stream.size + size
    cdef char* grown
    if stream.size == 0:
        stream.body = PyBytes_FromStringAndSize(data, size)
    else:
        if needed > stream.capacity:
            stream.capacity = max(needed, min(2 * needed, stream.limit))
            grown = <char*>PyMem_Realloc(stream.buffer, stream.capacity)
            if grown == NULL:
                raise MemoryError
            stream.buffer = grown
        if stream.body is not None:
            memcpy(stream.buffer, PyBytes_AS_STRING(stream.body), stream.size)
            stream.body = None
        memcpy(stream.buffer + stream.size, data, size)
    stream.size = needed
    return 0


cdef inline bytes whole(Stream stream):
    if stream.buffer != NULL:
        return PyBytes_FromStringAndSize(stream.buffer, stream.size)
    return b"" if stream.body is None else stream.body


cdef inline int ask(Http2Session session, Stream stream) except -1:
    """Where it shows that the body is a large one, it wants a window for all of it."""
    if stream.size >= ASKS_AT and not stream.window and not stream.wants:
        stream.wants = True
        session.wanting += 1
        widen(session)
    return 0


cdef inline int widen(Http2Session session) except -1:
    """Give the streams that want it, oldest first, a window for all of their body."""
    cdef Stream stream
    for stream in session.streams.values():
        if session.wanting == 0 or session.windows + stream.limit > SHARE_BYTES and session.windows > 0:
            break
        if stream.wants:
            stream.wants = False
            session.wanting -= 1
            stream.window = stream.limit + 1  # one more, so that a body beyond it shows
            session.windows += stream.window
            if stream.window > STREAM_WINDOW:
                nghttp2_session_set_local_window_size(
                    session.session, NGHTTP2_FLAG_NONE, stream.id, <int32_t>stream.window)
    return 0


cdef inline void narrow(Http2Session session, Stream stream) noexcept:
    """It has no window for all of its body, and wants none."""
    session.windows -= stream.window
    stream.window = 0
    if stream.wants:
        stream.wants = False
        session.wanting -= 1


cdef inline int release(Http2Session session, Stream stream) except -1:
    """Its body is no longer held here."""
    stream.body = stream.packed = None
    PyMem_Free(stream.buffer)
    stream.buffer = NULL
    session._held -= stream.charged
    session.budget.held -= stream.charged
    stream.charged = 0
    narrow(session, stream)
    if session.wanting and session.session != NULL:
        widen(session)
    return 0
