"""Answers of an HTTP/1.1 connection: they go out in the order of the requests, whichever is known first."""

from mcp_ilert._fast.http1 cimport REASONS, Http1Session


cdef inline bytes compose(int status, tuple headers, bytes body, bytes date, bint close):
    """An answer's bytes."""
    cdef list parts = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"Unknown"))]
    for name, value in headers:
        parts.append(b"%b: %b\r\n" % (name, value))
    parts.append(b"content-length: %d\r\n" % len(body))
    if date:
        parts.append(b"date: %b\r\n" % date)
    if close:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    parts.append(body)
    return b"".join(parts)


cdef inline bytes accepted(bytes date, bint close):
    return compose(202, ((b"content-type", b"application/json"),), b'{"accepted":1}', date, close)


cdef inline bytes late(bytes date):
    return compose(
        408, ((b"content-type", b"application/problem+json"),),
        b'{"title":"Request Timeout","status":408,'
        b'"detail":"the body did not arrive in time (listen.read_timeout_seconds)"}', date, True)


cdef inline bint is_next(Http1Session session, long long stream) noexcept:
    return stream == session.first and stream != session.next


cdef inline int set_aside(Http1Session session, long long stream, object answer) except -1:
    """Keep it until its turn has come; None stands for 202."""
    if session.first < stream < session.next:
        session.early.setdefault(stream, answer)
    return 0


cdef inline int go_on(Http1Session session) except -1:
    """Send what has waited for the answer before it."""
    while session.early and session.first in session.early:
        answer = session.early.pop(session.first)
        if answer is None:
            send_accepted(session)
        else:
            send(session, answer[0], answer[1], answer[2])
    if session.farewell is not None and session.first == session.next:
        end_run(session)
        session.ready.append(session.farewell)
        session.farewell = None
    return 0


cdef inline int send_accepted(Http1Session session) except -1:
    if session.closing and is_last(session):
        session.first += 1
        end_run(session)
        session.ready.append(accepted(session.calendar.date, True))
    else:
        session.first += 1
        session.run += 1
    return 0


cdef inline int send(Http1Session session, int status, tuple headers, bytes body) except -1:
    cdef bint close = session.closing and is_last(session)
    session.first += 1
    end_run(session)
    session.ready.append(compose(status, headers, body, session.calendar.date, close))
    return 0


cdef inline bint is_last(Http1Session session) noexcept:
    return session.first + 1 == session.next and session.farewell is None


cdef inline int end_run(Http1Session session) except -1:
    """Other answers come after these 202s."""
    if session.run:
        session.ready.append(session.calendar.accepted * session.run)
        session.run = 0
    return 0


cdef inline bytes output(Http1Session session):
    cdef bytes sent
    if not session.ready:
        if session.run == 0:
            return b""
        sent = session.calendar.accepted if session.run == 1 else session.calendar.accepted * session.run
        session.run = 0
        return sent
    end_run(session)
    sent = b"".join(session.ready)
    session.ready = []
    return sent
