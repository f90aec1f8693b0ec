"""What libnghttp2 calls. `user` is the session, which outlives libnghttp2's."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

cimport mcp_ilert._fast.http2_frames as frames
from mcp_ilert._fast.http2 cimport Http2Session
from mcp_ilert._fast.http2_leaving cimport heard
from mcp_ilert._fast.nghttp2 cimport *


cdef inline int on_begin_frame(nghttp2_session* _, const nghttp2_frame_hd* head, void* user) except? -902:
    return frames.frame(<Http2Session>user, head)


cdef inline int on_invalid_frame(
    nghttp2_session* _, const nghttp2_frame* frame, int error, void* user
) except? -902:
    frames.forgive(<Http2Session>user, frame.hd.stream_id)
    return 0


cdef inline int on_begin_headers(nghttp2_session* _, const nghttp2_frame* frame, void* user) except? -902:
    frames.begin_head(<Http2Session>user)
    return 0


cdef inline int on_header(
    nghttp2_session* _, const nghttp2_frame* frame, const uint8_t* name, size_t named, const uint8_t* value,
    size_t size, uint8_t flags, void* user
) except? -902:
    return frames.header(<Http2Session>user, <const char*>name, named, <const char*>value, size)


cdef inline int on_invalid_header(
    nghttp2_session* _, const nghttp2_frame* frame, const uint8_t* name, size_t named, const uint8_t* value,
    size_t size, uint8_t flags, void* user
) except? -902:
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE  # the stream is reset, not the header passed over


cdef inline int on_data(
    nghttp2_session* _, uint8_t flags, int32_t id, const uint8_t* data, size_t size, void* user
) except? -902:
    return frames.data(<Http2Session>user, id, <const char*>data, size, not flags & NGHTTP2_FLAG_END_STREAM)


cdef inline int on_frame(nghttp2_session* _, const nghttp2_frame* frame, void* user) except? -902:
    cdef Http2Session session = <Http2Session>user
    cdef int failed = 0
    if frame.hd.type == NGHTTP2_HEADERS:
        session.heading = False
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            failed = frames.head(session, frame.hd.stream_id, frame.hd.flags & NGHTTP2_FLAG_END_STREAM != 0)
            if failed:
                return failed
    elif frame.hd.type == NGHTTP2_SETTINGS:
        session.opened = True
        return 0
    elif frame.hd.type == NGHTTP2_PING and frame.hd.flags & NGHTTP2_FLAG_ACK:
        return heard(session)
    elif frame.hd.type == NGHTTP2_RST_STREAM:
        session.reset_by_client = frame.hd.stream_id
        return 0
    elif frame.hd.type != NGHTTP2_DATA:
        return 0
    if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        frames.complete(session, frame.hd.stream_id)
    return 0


cdef inline int on_stream_close(nghttp2_session* _, int32_t id, uint32_t code, void* user) except? -902:
    return frames.close(<Http2Session>user, id, code)


cdef inline int prepare(nghttp2_session_callbacks** callbacks, nghttp2_option** options) except -1:
    """Make the tables that all sessions share; nothing changes them after this."""
    if nghttp2_session_callbacks_new(callbacks) != 0 or nghttp2_option_new(options) != 0:
        raise MemoryError
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks[0], on_begin_frame)
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks[0], on_invalid_frame)
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks[0], on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback(callbacks[0], on_header)
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks[0], on_invalid_header)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks[0], on_data)
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks[0], on_frame)
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks[0], on_stream_close)
    nghttp2_option_set_no_auto_window_update(options[0], 1)
    nghttp2_option_set_no_closed_streams(options[0], 1)
    return 0
