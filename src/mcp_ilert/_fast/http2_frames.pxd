"""What a client's frames mean for an HTTP/2 connection, frame by frame as libnghttp2 has found them in order.

What gives NGHTTP2_ERR_CALLBACK_FAILURE has the connection given up, for the `fault` that it has noted.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcmp

cimport mcp_ilert._fast.http2_allowance as http2_allowance
cimport mcp_ilert._fast.http2_foreign as foreign
cimport mcp_ilert._fast.http2_head as http2_head
from mcp_ilert._fast.http2 cimport MAX_STREAMS, Http2Session, Stream
from mcp_ilert._fast.http2_allowance cimport REQUEST_CREDIT, SETTINGS_COST
from mcp_ilert._fast.http2_answers cimport go_on, refuse
from mcp_ilert._fast.http2_bodies cimport append, ask, charge, release, whole
from mcp_ilert._fast.http2_ending cimport lose
from mcp_ilert._fast.http2_head cimport (
    BAD, CONNECT, EVENTS, EXPECTS, HAS_AUTHORIZATION, HAS_TYPE, ODD, POST, WEBSOCKET)
from mcp_ilert._fast.http2_leaving cimport LAST_WORD
from mcp_ilert._fast.nghttp2 cimport *

cdef enum:
    BOMB_FACTOR = 4  # a head so many times above its bound ends the connection


cdef inline int blame(Http2Session session, uint32_t code) noexcept:
    session.fault = code
    return NGHTTP2_ERR_CALLBACK_FAILURE


cdef inline int calm(Http2Session session) noexcept:
    return blame(session, NGHTTP2_ENHANCE_YOUR_CALM)


cdef inline int spend(Http2Session session, Py_ssize_t cost) noexcept:
    return 0 if http2_allowance.spend(&session.allowance, cost) else calm(session)


cdef inline Stream find(Http2Session session, int32_t id):
    if session.latest is not None and session.latest.id == id:
        return session.latest
    return session.streams.get(id)


cdef inline int frame(Http2Session session, const nghttp2_frame_hd* head) except? -902:
    """A frame's head has come. libnghttp2 keeps nothing of streams that are over: judged here."""
    cdef int32_t id = head.stream_id
    http2_allowance.count_frame(&session.allowance, head.length + 9)
    if head.type != NGHTTP2_CONTINUATION:
        session.heading = False
    if head.type == NGHTTP2_HEADERS and id > session.highest:
        session.highest = id
    elif head.type == NGHTTP2_HEADERS:
        if id > session.forgiven and session.going < LAST_WORD and find(session, id) is None:
            return blame(session, NGHTTP2_STREAM_CLOSED if id == session.highest else NGHTTP2_PROTOCOL_ERROR)
    elif head.type == NGHTTP2_PRIORITY and id == 0:
        return blame(session, NGHTTP2_PROTOCOL_ERROR)
    elif head.type == NGHTTP2_SETTINGS:
        return spend(session, SETTINGS_COST)
    return spend(session, 1)


cdef inline void forgive(Http2Session session, int32_t id) noexcept:
    if id > session.forgiven:
        session.forgiven = id


# A request's head -------------------------------------------------------------------------------------------

cdef inline void begin_head(Http2Session session) noexcept:
    session.heading = True
    session.head_overdue = False
    http2_head.clear(&session.block)
    session.content_type = session.authorization = None


cdef inline int header(
    Http2Session session, const char* name, size_t named, const char* value, size_t size
) except? -902:
    cdef int kept
    session.block.listed += named + size + 32
    if session.block.listed > session.head_limit:
        return calm(session) if session.block.listed > BOMB_FACTOR * session.head_limit else 0
    kept = http2_head.note(&session.block, name, named, value, size)
    if kept == HAS_TYPE:
        session.content_type = same(session.last_type, value, size)
    elif kept == HAS_AUTHORIZATION:
        session.authorization = same(session.last_authorization, value, size)
    return http2_head.pack(&session.block, name, named, value, size)


cdef inline bytes same(bytes before, const char* value, size_t size):
    """The value as bytes: the object of the head before, if that said the same."""
    if (
        before is not None
        and <size_t>PyBytes_GET_SIZE(before) == size
        and memcmp(PyBytes_AS_STRING(before), value, size) == 0
    ):
        return before
    return PyBytes_FromStringAndSize(value, size)


cdef inline int head(Http2Session session, int32_t id, bint ended) except? -902:
    """A request's head is complete: a stream begins."""
    cdef Stream stream
    session.heading = False
    if len(session.streams) >= 2 * MAX_STREAMS:
        return calm(session)  # those beyond MAX_STREAMS were reset by the client, and are being worked on
    if session.block.listed <= session.head_limit and (
        session.block.marks & BAD or (session.block.marks & CONNECT and not session.block.marks & WEBSOCKET)
    ):
        return nghttp2_submit_rst_stream(session.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR)
    stream = Stream.__new__(Stream)
    stream.id = id
    stream.limit = session.body_limit
    stream.ended = ended
    session.streams[id] = stream
    session.latest = stream
    if not ended:
        session.incomplete += 1
    if session.block.listed > session.head_limit:
        return refuse(session, stream, 431)
    if session.block.marks & EXPECTS and not ended:
        go_on(session, id)
    if (
        session.block.marks & (POST | EVENTS | ODD) != POST | EVENTS
        or session.block.length > <Py_ssize_t>session.body_limit
    ):
        return foreign.begin(session, stream)
    stream.head = session.shared_head()
    if session.block.length < 0 and not ended:
        stream.packed = PyBytes_FromStringAndSize(session.block.packed, session.block.size)
    if session.block.room > 2048:
        http2_head.drop(&session.block)
    return 0


# Its body, and its end --------------------------------------------------------------------------------------

cdef inline int data(
    Http2Session session, int32_t id, const char* piece, size_t size, bint more
) except? -902:
    """A piece of a body; `more`: its frame is not the stream's last."""
    cdef Stream stream = find(session, id)
    http2_allowance.earn_for_bytes(&session.allowance, size)
    nghttp2_session_consume_connection(session.session, size)
    if stream is None or stream.answered and not stream.foreign or stream.closed or stream.told:
        return 0  # nobody wants it
    if not charge(session, stream, size):
        return foreign.refuse_for_room(session, stream) if stream.foreign else refuse(session, stream, 503)
    if not stream.foreign and stream.size + size > stream.limit:
        foreign.turn_over(session, stream)
    if stream.foreign:
        return foreign.data(session, stream, piece, size)
    append(stream, piece, size)
    return ask(session, stream) if more else 0


cdef inline int complete(Http2Session session, int32_t id) except -1:
    """The client has ended the stream."""
    cdef Stream stream = find(session, id)
    cdef bint reading
    if stream is None:
        return 0
    reading = not stream.ended
    stream.ended = True
    http2_allowance.earn(&session.allowance, REQUEST_CREDIT)
    if stream.foreign:
        return foreign.end(session, stream)
    if not stream.answered:
        if reading:
            session.incomplete -= 1
        session.waiting += 1
        stream.given = True
        session.arrivals.append((session, id, stream.head, whole(stream)))
        stream.head = None
        release(session, stream)
    return 0


cdef inline int close(Http2Session session, int32_t id, uint32_t code) except? -902:
    """The stream is closed, by either side's end or reset."""
    cdef Stream stream = find(session, id)
    cdef bint reset
    if id != session.reset_by_client and (stream is None or not stream.ended):
        forgive(session, id)
    if stream is None:
        return count_reset(session) if code != NGHTTP2_NO_ERROR else 0
    if session.latest is stream:
        session.latest = None
    if not (stream.ended or stream.foreign or stream.answered):
        session.incomplete -= 1
    if stream.foreign or stream.answered:
        session.open -= 1
    if stream.watched or stream.answered and not stream.foreign:
        session.unsent -= 1
        stream.watched = False
    reset = not stream.done
    http2_allowance.count_closed(&session.allowance)
    lose(session, stream)
    if reset:
        return count_reset(session)
    http2_allowance.count_answered(&session.allowance, id)
    return 0


cdef inline int count_reset(Http2Session session) noexcept:
    return 0 if http2_allowance.count_reset(&session.allowance) else calm(session)
