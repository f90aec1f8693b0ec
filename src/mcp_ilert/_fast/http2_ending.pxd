"""The end of an HTTP/2 connection's streams, and of itself when it is given up."""

from libc.stdint cimport int32_t, uint32_t

cimport mcp_ilert._fast.http2_foreign as foreign
from mcp_ilert._fast.http2 cimport Http2Session, Stream
from mcp_ilert._fast.http2_answers cimport refuse
from mcp_ilert._fast.http2_bodies cimport release
from mcp_ilert._fast.nghttp2 cimport *


# Of a stream ------------------------------------------------------------------------------------------------

cdef inline int expire_bodies(Http2Session session) except -1:
    """Answer 408 to the requests that were incomplete at the last time already."""
    cdef Stream stream
    for stream in list(session.streams.values()):
        if not (stream.foreign or stream.ended or stream.answered or stream.closed):
            if stream.overdue:
                refuse(session, stream, 408)
            stream.overdue = True
    return 0


cdef inline int cut_short(Http2Session session) except -1:
    """Reset the streams that are answered while their requests go on."""
    cdef Stream stream
    for id in session.early:
        stream = session.streams.get(id)
        if stream is not None and not stream.ended:
            nghttp2_submit_rst_stream(session.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR)
    session.early.clear()
    return 0


cdef inline int let_go(Http2Session session, Stream stream) except -1:
    """The client has no more interest in it, or can have none."""
    release(session, stream)
    if stream.foreign:
        foreign.lost(session, stream)
    stream.told = True
    return 0


cdef inline int lose(Http2Session session, Stream stream) except -1:
    """It is closed. Until then it is kept: libnghttp2 reads what is to be sent from it."""
    let_go(session, stream)
    stream.closed = True
    if stream.answered or not stream.given:  # else an answer will still come for it
        session.streams.pop(stream.id, None)
    return 0


# Of the connection ------------------------------------------------------------------------------------------

cdef inline int end(Http2Session session) except -1:
    """The client sends no more: what is complete is answered, as far as its windows reach."""
    cdef Stream stream
    session.ended = True
    for stream in session.streams.values():
        if (stream.foreign or not (stream.ended or stream.answered)) and not stream.told:
            let_go(session, stream)
            stream.done = stream.ended = True
            nghttp2_submit_rst_stream(session.session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL)
    session.incomplete = 0
    return foreign.tell(session)


cdef inline int fail(Http2Session session, ssize_t error) except -1:
    """libnghttp2 gives this error."""
    if session.fault:
        return give_up(session, session.fault)
    if error < NGHTTP2_ERR_BAD_CLIENT_MAGIC:  # the library's own bounds of floods
        return give_up(session, NGHTTP2_ENHANCE_YOUR_CALM)
    if error == NGHTTP2_ERR_NOMEM:
        raise MemoryError
    return give_up(
        session,
        NGHTTP2_PROTOCOL_ERROR if error == NGHTTP2_ERR_BAD_CLIENT_MAGIC else NGHTTP2_INTERNAL_ERROR)


cdef inline int give_up(Http2Session session, uint32_t code) except -1:
    """Say GOAWAY, and keep nothing."""
    cdef int32_t last = nghttp2_session_get_last_proc_stream_id(session.session)
    session.farewell = (
        b"\0\0\x08\x07\0\0\0\0\0" + (<object>last).to_bytes(4, "big") + (<object>code).to_bytes(4, "big"))
    return forget(session)


cdef inline int forget(Http2Session session) except -1:
    cdef Stream stream
    nghttp2_session_del(session.session)
    session.session = NULL
    session.heading = False
    for stream in list(session.streams.values()):
        lose(session, stream)
    session.open = session.unsent = session.incomplete = 0
    return 0
