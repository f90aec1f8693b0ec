"""Bytes to the client: what the socket takes now, and the rest as it takes more."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, errno

from mcp_ilert._fast.reactor cimport Conn, Reactor
from mcp_ilert._fast.reactor_ending cimport drop
from mcp_ilert._fast.sockets cimport send_some


cdef inline int say(Reactor reactor, Conn conn, bytes data) except -1:
    """Send what the session says, while nothing is being sent."""
    return transmit(reactor, conn, data if conn.tls is None else conn.tls.seal(data))


cdef inline int push(Reactor reactor, Conn conn, bytes data) except -1:
    """Send this behind what is being sent."""
    if conn.out is not None:
        conn.out = conn.out + data
    elif data:
        transmit(reactor, conn, data)
    return 0


cdef inline int send_on(Reactor reactor, Conn conn) except -1:
    """The client takes more."""
    cdef bytes data = conn.out
    if data is not None:
        conn.out = None
        transmit(reactor, conn, data)
    return 0


cdef inline int transmit(Reactor reactor, Conn conn, bytes data) except -1:
    """Send what the socket takes, and keep the rest; the connection may have ended after it."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef ssize_t sent = send_some(conn.fd, PyBytes_AS_STRING(data) + conn.sent, size - conn.sent)
    if sent < 0:
        if errno != EAGAIN:
            return drop(reactor, conn)
        sent = 0
    conn.sent += sent
    if conn.sent == size:
        conn.sent = 0
    else:
        if sent or conn.out is None:
            conn.since_out = reactor.now
        conn.out = data
        reactor.wheel.by(conn, reactor.now + reactor.send_for)
    return 0
