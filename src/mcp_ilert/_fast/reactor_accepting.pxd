"""New connections: those for which there is a place and a descriptor."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, errno
from libc.string cimport strerror

from mcp_ilert._fast.epoll cimport EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, control
from mcp_ilert._fast.reactor cimport RECEIVE_BYTES, Conn, Listener, Reactor
from mcp_ilert._fast.reactor_ending cimport fail
from mcp_ilert._fast.sockets cimport *

cdef enum:
    ACCEPTS = 64  # in a round, of a listener


cdef inline int accept_all(Reactor reactor, Listener listener) except -1:
    """Returns how many came, ACCEPTS at most."""
    cdef sockaddr_storage address
    cdef int fd, came, error
    for came in range(ACCEPTS):
        fd = accept(listener.fd, &address)
        if fd < 0:
            error = errno
            if error == EINTR or error == ECONNABORTED or error == EPROTO:
                continue
            if error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM:
                pause(reactor, listener, error)
            return came
        take(reactor, listener, fd, name(&address))
    return ACCEPTS


cdef inline int take(Reactor reactor, Listener listener, int fd, str address) except -1:
    cdef Conn conn
    if not reactor.owner.enter(address):
        return turn_away(reactor, listener, fd)
    conn = Conn.__new__(Conn)
    conn.fd = fd
    conn.address = address
    conn.listener = listener
    conn.since = reactor.now
    reactor.numbers += 1
    if reactor.numbers == 0:
        reactor.numbers = 1
    conn.number = reactor.numbers
    conn.watched = EPOLLIN
    reactor.conns[fd] = conn
    try:
        conn.tls = listener.layer()
        reactor.wheel.by(
            conn, reactor.now + (reactor.keep_alive if conn.tls is None else reactor.handshake))
        control(reactor.fd, EPOLL_CTL_ADD, fd, conn.number, EPOLLIN)
    except Exception as error:  # the system watches no more
        fail(reactor, conn, error)
    return 0


cdef inline int turn_away(Reactor reactor, Listener listener, int fd) except -1:
    cdef bytes full = listener.full()
    send(fd, PyBytes_AS_STRING(full), PyBytes_GET_SIZE(full), MSG_NOSIGNAL)
    shutdown(fd, SHUT_WR)
    recv(fd, reactor.buffer, RECEIVE_BYTES, 0)  # what is unread at a close would take the answer with it
    close(fd)
    return 0


cdef inline int pause(Reactor reactor, Listener listener, int error) except -1:
    """No descriptors are left: turn one away by the one in reserve, and accept none for a moment."""
    cdef double moment = 0.125  # seconds
    cdef int fd
    if reactor.reserve >= 0:
        close(reactor.reserve)
        fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            close(fd)
        reactor.reserve = spare()
    control(reactor.fd, EPOLL_CTL_DEL, listener.fd, 0, 0)
    reactor.paused.append(listener)
    reactor.wheel.by(listener, reactor.now + moment)
    reactor.owner.failed(OSError(error, (<bytes>strerror(error)).decode()))
    return 0


cdef inline int go_on(Reactor reactor) except -1:
    """The moment is over."""
    cdef Listener listener
    for listener in reactor.paused:
        control(reactor.fd, EPOLL_CTL_ADD, listener.fd, 0, EPOLLIN)
    reactor.paused.clear()
    return 0


cdef inline int refuse(Reactor reactor) except -1:
    """Accept what has come until now, and no more."""
    cdef Listener listener
    for listener in reactor.listeners.values():
        if listener not in reactor.paused:
            while accept_all(reactor, listener) == ACCEPTS:
                pass
        if listener not in reactor.paused:
            control(reactor.fd, EPOLL_CTL_DEL, listener.fd, 0, 0)
    reactor.listeners.clear()
    reactor.paused.clear()
    return 0


cdef inline int spare() noexcept:
    """A descriptor to be given up where there are no others; -1 where there is none."""
    return open(b"/dev/null", O_RDONLY | O_CLOEXEC)
