"""How an HTTP/2 connection is left: what is under way is answered, then comes a notice, then the last word.

Some clients take nothing after a GOAWAY, so the notice waits for what is under way. It is a GOAWAY with the
highest stream number, and a PING: who has answered that has heard the notice, and opens no more streams.
"""

from mcp_ilert._fast.http2 cimport Http2Session, Stream
from mcp_ilert._fast.nghttp2 cimport (
    NGHTTP2_FLAG_NONE, NGHTTP2_NO_ERROR, nghttp2_session_get_last_proc_stream_id, nghttp2_submit_goaway)

cdef enum Going:
    STAYS
    ASKED
    NOTICE
    LAST_WORD


cdef inline int go_away(Http2Session session) except -1:
    """Begin to leave; each further call goes a step ahead."""
    if session.going == LAST_WORD:
        return 0
    if not session.opened or session.going == NOTICE or session.going == ASKED and session.left_at == 0:
        return last_word(session)
    session.left_at = 0 if session.going == ASKED else session.highest
    session.going = ASKED
    return 0


cdef inline bint is_under_way(Http2Session session) except -1:
    """Whether a request that had begun when we were to leave has no answer yet."""
    cdef Stream stream
    for stream in session.streams.values():
        if stream.id <= session.left_at and not (
            stream.closed or stream.done or stream.answered and stream.foreign
        ):
            return True
    return False


cdef inline int heard(Http2Session session) except -1:
    """The client has answered our PING, so it has our notice too."""
    return last_word(session) if session.going == NOTICE else 0


cdef inline int last_word(Http2Session session) except -1:
    """Streams up to the last one taken are answered, and then the connection ends."""
    if session.going < LAST_WORD:
        session.going = LAST_WORD
        nghttp2_submit_goaway(
            session.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session.session),
            NGHTTP2_NO_ERROR, NULL, 0)
    return 0
