"""The streams of an HTTP/2 connection that are no plain requests for events: others read and answer them.

Their owner is told in order, and never inside of libnghttp2, so that it may answer at once.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy

cimport mcp_ilert._fast.http2_head as http2_head
from mcp_ilert._fast.http2 cimport SEND_CHUNK, Http2Session, Stream
from mcp_ilert._fast.http2_answers cimport finished, pay, refuse, submit_head
from mcp_ilert._fast.http2_bodies cimport narrow, release, whole
from mcp_ilert._fast.nghttp2 cimport *

cdef enum Tell:
    BEGIN
    DATA
    END
    RESET
    DRAINED


# What the client does ---------------------------------------------------------------------------------------

cdef inline int begin(Http2Session session, Stream stream) except -1:
    """A foreign stream's head is complete."""
    if session.foreign is None:
        return refuse(session, stream, 404)
    if not stream.ended:
        session.incomplete -= 1
    estrange(session, stream, http2_head.unpacked(session.block.packed, session.block.size))
    http2_head.drop(&session.block)
    return 0


cdef inline int turn_over(Http2Session session, Stream stream) except -1:
    """The body is larger than its bound: others take it, with what has come."""
    if session.foreign is None or stream.packed is None:
        raise AssertionError("a body is larger than libnghttp2 lets it be")
    session.incomplete -= 1
    estrange(
        session, stream,
        http2_head.unpacked(PyBytes_AS_STRING(stream.packed), PyBytes_GET_SIZE(stream.packed)))
    session.events.append((DATA, stream.id, whole(stream)))
    narrow(session, stream)
    return 0


cdef inline int estrange(Http2Session session, Stream stream, list headers) except -1:
    """From here on others read and answer it."""
    stream.foreign = True
    session.open += 1
    session.events.append((BEGIN, stream.id, headers))
    return 0


cdef inline int data(Http2Session session, Stream stream, const char* piece, size_t size) except -1:
    session.events.append((DATA, stream.id, PyBytes_FromStringAndSize(piece, size)))
    return 0


cdef inline int end(Http2Session session, Stream stream) except -1:
    if not stream.told:
        session.events.append((END, stream.id, None))
    return 0


cdef inline int lost(Http2Session session, Stream stream) except -1:
    """The client has reset it, or has gone."""
    if not stream.told and not stream.done:
        session.events.append((RESET, stream.id, None))
    return 0


cdef inline int refuse_for_room(Http2Session session, Stream stream) except -1:
    """There is no room for what has come of its body."""
    session.events.append((RESET, stream.id, None))
    stream.told = stream.done = True
    release(session, stream)
    return nghttp2_submit_rst_stream(
        session.session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_ENHANCE_YOUR_CALM)


cdef inline int tell(Http2Session session) except -1:
    """Outside of libnghttp2, so that who is told may answer at once."""
    cdef list events
    while session.events:
        events, session.events = session.events, []
        for kind, stream, what in events:
            if kind == BEGIN:
                session.foreign.begin(session, stream, what)
            elif kind == DATA:
                session.foreign.data(session, stream, what)
            elif kind == END:
                session.foreign.end(session, stream)
            elif kind == RESET:
                session.foreign.reset(session, stream)
            else:
                session.foreign.drained(session, stream)
    return 0


# What their owner does --------------------------------------------------------------------------------------

cdef inline Stream owned(Http2Session session, int32_t id):
    """The stream, while its owner has something to say about it; else None."""
    cdef Stream stream = session.streams.get(id)
    if stream is None or not stream.foreign or stream.told or session.session == NULL:
        return None
    return stream


cdef inline int respond(
    Http2Session session, Stream stream, int status, object headers, bint end
) except -1:
    cdef nghttp2_data_provider provider
    if status < 200:
        return submit_head(session, stream, status, headers, NULL)
    stream.answered = True
    if end:
        submit_head(session, stream, status, headers, NULL)
        return finished(session, stream)
    stream.queued = bytearray()
    provider.source.ptr = <void*>stream
    provider.read_callback = read_queued
    return submit_head(session, stream, status, headers, &provider)


cdef inline Py_ssize_t send(Http2Session session, Stream stream, object piece, bint end) except -1:
    """Gives the bytes queued."""
    if piece:
        if not stream.watched:
            stream.watched = True
            session.unsent += 1
        stream.queued += piece
    stream.last = end
    nghttp2_session_resume_data(session.session, stream.id)
    return len(stream.queued) - stream.sent


cdef inline ssize_t read_queued(
    nghttp2_session* _, int32_t id, uint8_t* into, size_t room, uint32_t* flags, nghttp2_data_source* source,
    void* user
) except? -902:
    """libnghttp2 reads what there is of a body."""
    cdef Http2Session session = <Http2Session>user
    cdef Stream stream = <Stream>source.ptr
    cdef size_t size = min(room, <size_t>len(stream.queued) - stream.sent)
    if size == 0 and not stream.last:
        return NGHTTP2_ERR_DEFERRED
    memcpy(into, PyByteArray_AS_STRING(stream.queued) + stream.sent, size)
    stream.sent += size
    pay(session, size)
    if stream.sent == <size_t>len(stream.queued):
        stream.queued.clear()
        stream.sent = 0
        if stream.watched:
            stream.watched = False
            session.unsent -= 1
            session.events.append((DRAINED, id, None))
        if stream.last:
            flags[0] = NGHTTP2_DATA_FLAG_EOF
            finished(session, stream)
    elif stream.sent > SEND_CHUNK:
        del stream.queued[:stream.sent]
        stream.sent = 0
    return size
