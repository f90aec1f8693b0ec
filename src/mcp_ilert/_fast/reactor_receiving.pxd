"""Bytes from the client: through TLS where there is any, to the session, which the first of them choose."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from mcp_ilert._fast.reactor cimport RECEIVE_BYTES, Conn, Reactor
from mcp_ilert._fast.reactor_deadlines cimport IN_BODY
from mcp_ilert._fast.reactor_ending cimport drop, fail, hand_over
from mcp_ilert._fast.reactor_sending cimport push
from mcp_ilert._fast.reactor_settling cimport settle
from mcp_ilert._fast.sockets cimport recv

cdef enum:
    RECORD_BYTES = 128  # of a round that reading a record of TLS costs, however small it is


cdef inline int receive(Reactor reactor, Conn conn, list arrivals) except -1:
    cdef bytes data
    cdef ssize_t size = recv(conn.fd, reactor.buffer, RECEIVE_BYTES, 0)
    if size < 0:
        if errno != EAGAIN and errno != EINTR:
            drop(reactor, conn)
        return 0
    reactor.received += size
    if conn.lingering:
        if size == 0:
            drop(reactor, conn)
        return 0
    data = PyBytes_FromStringAndSize(reactor.buffer, size)
    if conn.tls is not None:
        return unseal(reactor, conn, data, arrivals)
    return give(reactor, conn, data, arrivals)


cdef inline int unseal(Reactor reactor, Conn conn, bytes data, list arrivals) except -1:
    """Give the session what the client says in these records."""
    cdef object tls = conn.tls
    cdef bint shaking = not tls.established
    cdef bytes said
    try:
        said = tls.receive(data)
    except Exception as error:
        push(reactor, conn, tls.output())  # the alert
        return fail(reactor, conn, error)
    reactor.received += <Py_ssize_t>tls.work * RECORD_BYTES
    if shaking:
        push(reactor, conn, tls.output())
        if conn.fd < 0:
            return 0
        if tls.established:
            conn.since = reactor.now
        elif tls.ended:
            return drop(reactor, conn)
        settle(reactor, conn, False)
    if said:
        give(reactor, conn, said, arrivals)
    if tls.ended and conn.fd >= 0 and not conn.lingering and (
        conn.session is None or not conn.session.leaving  # who takes it over is told
    ):
        give(reactor, conn, b"", arrivals)
    return 0


cdef inline int give(Reactor reactor, Conn conn, bytes data, list arrivals) except -1:
    """Give the session what the client says; b"" where it says no more."""
    cdef Py_ssize_t before = len(arrivals)
    if PyBytes_GET_SIZE(data) == 0:
        conn.ended = True
    if conn.session is None:
        data = begin(reactor, conn, data)
        if data is None:
            return 0
    try:
        conn.session.receive(data, arrivals)
    except Exception as error:
        return fail(reactor, conn, error)
    if len(arrivals) != before and not (conn.beside and conn.phase == IN_BODY):
        conn.since = reactor.now
    return settle(reactor, conn, False)


cdef inline bytes begin(Reactor reactor, Conn conn, bytes data):
    """Give the connection its session, and the session's first bytes; None where there is none (yet)."""
    if conn.ended:
        drop(reactor, conn)
        return None
    if conn.first is not None:
        data = conn.first + data
    try:
        session = conn.listener.begin(data, conn.fd, conn.tls)
    except Exception as error:
        fail(reactor, conn, error)
        return None
    if session is NotImplemented:
        if conn.first is None:
            conn.since = reactor.now
            reactor.wheel.by(conn, reactor.now + reactor.head)
        conn.first = data
        return None
    conn.first = None
    if session is None:
        hand_over(reactor, conn, data)
        return None
    conn.session = session
    conn.beside = session.beside
    conn.phase = 0
    conn.since = reactor.now
    reactor.by_session[session] = conn
    return data
