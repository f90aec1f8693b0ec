"""Answers of an HTTP/2 connection, given to libnghttp2, which reads their bodies as the client takes them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy

cimport mcp_ilert._fast.http2_allowance as http2_allowance
from mcp_ilert._fast.http2 cimport Http2Session, Stream
from mcp_ilert._fast.http2_bodies cimport release
from mcp_ilert._fast.nghttp2 cimport *

cdef enum:
    CONSTANT = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE


cdef inline Stream answering(Http2Session session, int32_t id):
    """The stream of an arrival, counted as answered; None where the client has gone."""
    cdef Stream stream = session.streams.get(id)
    if stream is None or stream.answered or not stream.given:
        return None
    session.waiting -= 1
    if stream.closed:
        del session.streams[id]
        return None
    count_answered(session, stream)
    return stream


cdef inline void count_answered(Http2Session session, Stream stream) noexcept:
    stream.answered = True
    session.open += 1
    session.unsent += 1


cdef inline int accept(Http2Session session, Stream stream) except -1:
    """202: the answer of nearly every request for events, of which only the date is not constant."""
    cdef nghttp2_data_provider provider
    cdef nghttp2_nv lines[4]
    cdef bytes date = session.date()
    stream.fixed = b'{"accepted":1}'
    provider.source.ptr = <void*>stream
    provider.read_callback = read_fixed
    set_line(&lines[0], b":status", 7, b"202", 3, CONSTANT)
    set_line(&lines[1], b"content-type", 12, b"application/json", 16, CONSTANT)
    set_line(&lines[2], b"content-length", 14, b"14", 2, CONSTANT)
    set_line(&lines[3], b"date", 4, date, PyBytes_GET_SIZE(date), NGHTTP2_NV_FLAG_NO_COPY_NAME)
    nghttp2_submit_response(session.session, stream.id, lines, 4 if date else 3, &provider)
    return 0


cdef inline int go_on(Http2Session session, int32_t id) except -1:
    """Have the client send the body that it announces: 100."""
    cdef nghttp2_nv line
    set_line(&line, b":status", 7, b"100", 3, CONSTANT)
    nghttp2_submit_headers(session.session, NGHTTP2_FLAG_NONE, id, NULL, &line, 1, NULL)
    return 0


cdef inline int submit(
    Http2Session session, Stream stream, int status, object headers, bytes body
) except -1:
    cdef nghttp2_data_provider provider
    cdef bytes date = session.date()
    stream.fixed = body
    provider.source.ptr = <void*>stream
    provider.read_callback = read_fixed
    headers = (*headers, (b"content-length", b"%d" % PyBytes_GET_SIZE(body)))
    if date:
        headers = (*headers, (b"date", date))
    submit_head(session, stream, status, headers, &provider if body else NULL)
    if not body:
        finished(session, stream)
    return 0


cdef inline int submit_head(
    Http2Session session, Stream stream, int status, object headers, nghttp2_data_provider* provider
) except -1:
    cdef Py_ssize_t count = 1
    cdef bytes code = b"%d" % status
    cdef bytes name, value
    cdef nghttp2_nv* lines = <nghttp2_nv*>PyMem_Malloc((len(headers) + 1) * sizeof(nghttp2_nv))
    if lines == NULL:
        raise MemoryError
    try:
        set_line(&lines[0], b":status", 7, code, PyBytes_GET_SIZE(code), NGHTTP2_NV_FLAG_NONE)
        for name, value in headers:
            if not is_hop_by_hop(name):
                set_line(&lines[count], name, PyBytes_GET_SIZE(name), value, PyBytes_GET_SIZE(value),
                         NGHTTP2_NV_FLAG_NONE)
                count += 1
        if status < 200:
            nghttp2_submit_headers(session.session, NGHTTP2_FLAG_NONE, stream.id, NULL, lines, count, NULL)
        else:
            nghttp2_submit_response(session.session, stream.id, lines, count, provider)
    finally:
        PyMem_Free(lines)
    return 0


cdef inline int finished(Http2Session session, Stream stream) except -1:
    """The answer's end is on its way; where the request has not ended, its rest is not wanted."""
    stream.done = True
    if not stream.ended:
        session.early.append(stream.id)
    return 0


cdef inline int refuse(Http2Session session, Stream stream, int status) except -1:
    """Answer a request for events that goes to nobody."""
    cdef tuple headers = ((b"content-type", b"application/problem+json"),)
    if status == 503:
        headers = (*headers, (b"retry-after", b"1"))
    if not stream.ended and not stream.foreign:
        session.incomplete -= 1
    release(session, stream)
    count_answered(session, stream)
    return submit(session, stream, status, headers, problem(status))


cdef inline bytes problem(int status):
    return {
        404: b'{"title":"Not Found","status":404,"detail":"there is nothing at this path"}',
        408: b'{"title":"Request Timeout","status":408,'
             b'"detail":"the body did not arrive in time (listen.read_timeout_seconds)"}',
        431: b'{"title":"Request Header Fields Too Large","status":431,'
             b'"detail":"the request\'s head is too large"}',
        503: b'{"title":"Service Unavailable","status":503,"detail":"too many bodies are being received"}',
    }[status]


cdef inline void pay(Http2Session session, size_t size) noexcept:
    """So much of an answer's body goes out."""
    session.moved += size
    http2_allowance.earn_for_bytes(&session.allowance, size)


cdef inline ssize_t read_fixed(
    nghttp2_session* _, int32_t id, uint8_t* into, size_t room, uint32_t* flags, nghttp2_data_source* source,
    void* user
) except? -902:
    """libnghttp2 reads a body that is known whole."""
    cdef Stream stream = <Stream>source.ptr
    cdef size_t size = min(room, <size_t>PyBytes_GET_SIZE(stream.fixed) - stream.sent)
    memcpy(into, PyBytes_AS_STRING(stream.fixed) + stream.sent, size)
    stream.sent += size
    pay(<Http2Session>user, size)
    if stream.sent == <size_t>PyBytes_GET_SIZE(stream.fixed):
        flags[0] = NGHTTP2_DATA_FLAG_EOF
        finished(<Http2Session>user, stream)
    return size


cdef inline bint is_hop_by_hop(bytes name):
    return name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")


cdef inline void set_line(
    nghttp2_nv* line, const char* name, size_t named, const char* value, size_t size, uint8_t flags
) noexcept:
    line.name = <uint8_t*>name
    line.value = <uint8_t*>value
    line.namelen = named
    line.valuelen = size
    line.flags = flags
