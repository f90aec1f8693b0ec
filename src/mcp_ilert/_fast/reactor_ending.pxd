"""The end of a connection, at once: by its own fault, by the client, or by another owner."""

from mcp_ilert._fast.epoll cimport EPOLL_CTL_DEL, control
from mcp_ilert._fast.reactor cimport Conn, Reactor
from mcp_ilert._fast.sockets cimport close


cdef inline int fail(Reactor reactor, Conn conn, object error) except -1:
    drop(reactor, conn)
    reactor.owner.failed(error)
    return 0


cdef inline int drop(Reactor reactor, Conn conn) except -1:
    cdef int fd = conn.fd
    if fd < 0:
        return 0
    forget(reactor, conn)
    close(fd)
    reactor.owner.leave(conn.address)
    return 0


cdef inline int hand_over(Reactor reactor, Conn conn, bytes unread) except -1:
    """Give socket and bytes to the owner; the connection stays counted as one of its address."""
    cdef int fd = conn.fd
    control(reactor.fd, EPOLL_CTL_DEL, fd, 0, 0)
    reactor.handed.append((fd, unread, conn.address, conn.tls))
    forget(reactor, conn)
    return 0


cdef inline int forget(Reactor reactor, Conn conn) except -1:
    del reactor.conns[conn.fd]
    part(reactor, conn)
    reactor.wheel.remove(conn)
    conn.fd = -1
    conn.out = conn.first = conn.tls = None
    return 0


cdef inline int part(Reactor reactor, Conn conn) except -1:
    """Let go of the session; answers that still come for it find nobody."""
    cdef object session = conn.session
    if session is not None:
        conn.session = None
        reactor.stalled.discard(conn)
        del reactor.by_session[session]
        try:
            session.receive(b"", [])  # it may have to tell others
        except Exception as error:
            reactor.owner.failed(error)
        reactor.owner.part(session)
        reactor.held -= conn.held
        conn.held = 0
    return 0
