"""When a connection's time is over, by what it is doing. Nothing is done about it here."""

from mcp_ilert._fast.reactor cimport Conn, Reactor

cdef enum:
    IN_HEAD = 1  # wire.Phase
    IN_BODY = 2


cdef inline double until(Reactor reactor, Conn conn) except -1:
    if conn.lingering:
        return conn.since
    if conn.tls is not None and not conn.tls.established:
        return conn.since + reactor.handshake
    if conn.out is not None:
        return conn.since_out + reactor.send_for
    if conn.session is None:
        return conn.since + (reactor.keep_alive if conn.first is None else reactor.head)
    if conn.phase == IN_HEAD:
        return conn.since + reactor.head
    if conn.phase == IN_BODY:
        return conn.since + min(reactor.body, reactor.grace + conn.held / reactor.rate)
    if conn.session.pending:
        return reactor.now + reactor.keep_alive
    return conn.since + reactor.keep_alive
