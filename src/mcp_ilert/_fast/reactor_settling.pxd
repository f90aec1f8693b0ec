"""What is next for a connection, after anything has happened to it: send, then end, hand over, or watch."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

from mcp_ilert._fast.epoll cimport EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, control
from mcp_ilert._fast.reactor cimport Conn, Reactor
from mcp_ilert._fast.reactor_deadlines cimport until
from mcp_ilert._fast.reactor_ending cimport drop, fail, hand_over, part
from mcp_ilert._fast.reactor_sending cimport push, say
from mcp_ilert._fast.sockets cimport SHUT_WR, shutdown

cdef enum:
    MOST_PENDING = 8_192   # requests of one connection that wait for their answers
    LARGE_BYTES = 16_384   # of output, after which there may be more
    EAGER_HELD = 4_096     # bytes of a request that is not complete, while too much is held in all


cdef inline int settle(Reactor reactor, Conn conn, bint answered) except -1:
    try:
        settled(reactor, conn, answered)
    except Exception as error:
        fail(reactor, conn, error)
    return 0


cdef inline int settled(Reactor reactor, Conn conn, bint answered) except -1:
    cdef object session = conn.session
    cdef int pending, phase
    cdef Py_ssize_t held
    cdef bytes data
    if conn.fd < 0 or conn.lingering:
        return 0
    if session is None:
        return want(reactor, conn, EPOLLIN if conn.out is None else EPOLLOUT)
    if conn.told:
        if conn.out is None:
            finish(reactor, conn)
        return 0
    while conn.out is None:
        data = session.output()
        if not data:
            break
        say(reactor, conn, data)
        if conn.fd < 0:
            return 0
        if PyBytes_GET_SIZE(data) < LARGE_BYTES:
            break
    pending = session.pending
    if (reactor.leaving or conn.leaving) and pending == 0 and conn.out is None and not session.closing:
        for _ in range(3):  # each call is firmer
            session.go_away()
        data = session.output()
        if data:
            say(reactor, conn, data)
            if conn.fd < 0:
                return 0
    if pending == 0 and conn.out is None:
        if session.closing:
            return finish(reactor, conn)
        data = session.unread
        if data is not None:
            return hand_over(reactor, conn, data)
    phase = session.phase
    if phase != conn.phase or answered:
        if phase != conn.phase or phase == 0:
            conn.since = reactor.now
        conn.phase = phase
    held = session.held
    reactor.held += held - conn.held
    conn.held = held
    if phase != 0:
        reactor.wheel.by(conn, until(reactor, conn))
    return watch(reactor, conn, pending, session.closing)


cdef inline int watch(Reactor reactor, Conn conn, int pending, bint closing) except -1:
    """Have epoll tell what may be done now, and no more."""
    cdef double recheck = 0.25  # seconds
    cdef uint32_t wanted = 0
    if conn.out is not None:
        wanted = EPOLLOUT
    elif conn.ended or closing or conn.session.leaving or pending >= MOST_PENDING:
        wanted = 0
    elif pending and reactor.full:
        reactor.stalled.add(conn)
        wanted = 0
    elif conn.held > EAGER_HELD and reactor.held > reactor.most_held:
        reactor.wheel.by(conn, reactor.now + recheck)
    else:
        wanted = EPOLLIN
    return want(reactor, conn, wanted)


cdef inline int want(Reactor reactor, Conn conn, uint32_t wanted) except -1:
    if wanted != conn.watched:
        conn.watched = wanted
        control(reactor.fd, EPOLL_CTL_MOD, conn.fd, conn.number, wanted)
    return 0


cdef inline int finish(Reactor reactor, Conn conn) except -1:
    """All is said. Our side is shut first, and what the client still sends is read for a moment."""
    cdef double linger, leaving_linger = 0.5  # seconds
    if conn.tls is not None and not conn.told:
        conn.told = True
        push(reactor, conn, conn.tls.close())
        if conn.fd < 0:
            return 0
        if conn.out is not None and conn.session is not None:
            return want(reactor, conn, EPOLLOUT)
    shutdown(conn.fd, SHUT_WR)
    if reactor.leaving:
        linger = min(reactor.linger, leaving_linger)  # who was answered long ago has read it
    else:
        linger = reactor.linger
        conn.since = reactor.now
    if conn.ended or conn.since + linger <= reactor.now:
        return drop(reactor, conn)
    part(reactor, conn)
    conn.lingering = True
    conn.since += linger
    reactor.wheel.by(conn, conn.since)
    return want(reactor, conn, EPOLLIN)


cdef inline int look(Reactor reactor, Conn conn) except -1:
    """Whether the connection's time is over."""
    cdef double end = until(reactor, conn)
    if conn.fd < 0:
        return 0
    if end > reactor.now:
        reactor.wheel.by(conn, min(end, reactor.now + reactor.keep_alive))
        if conn.session is not None:
            settle(reactor, conn, False)
        return 0
    if conn.session is None or conn.lingering or conn.out is not None:
        return drop(reactor, conn)
    reactor.wheel.by(conn, reactor.now + reactor.keep_alive)
    try:
        conn.session.expire()
    except Exception as error:
        return fail(reactor, conn, error)
    conn.since = reactor.now
    return settle(reactor, conn, False)
