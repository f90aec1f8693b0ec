"""What is known of the connections over one epoll set.

What is done with it stands in reactor.pyx and, one thing a file and in inline functions, in: epoll and
sockets (the system's), reactor_ending, reactor_sending, reactor_deadlines (when a time is over),
reactor_settling (what is next after anything has happened), reactor_receiving, reactor_accepting. A file
uses those named before it. All are one extension module, and a call is one in C.
"""

cimport cython
from libc.stdint cimport uint32_t

from mcp_ilert._fast.epoll cimport epoll_event

cdef enum:
    RECEIVE_BYTES = 65_536


@cython.final
cdef class Listener:
    cdef readonly int fd
    cdef readonly object begin
    cdef readonly object full
    cdef readonly object layer


@cython.final
cdef class Conn:
    """A connection: a few numbers, and its session once its first bytes have come."""

    cdef readonly int fd
    cdef readonly str address
    cdef readonly object session
    cdef readonly object tls
    cdef Listener listener
    cdef bytes first        # what has come while that is too little for a session
    cdef bytes out          # what is being sent, of which `sent` bytes are
    cdef Py_ssize_t sent
    cdef Py_ssize_t held
    cdef uint32_t number
    cdef uint32_t watched
    cdef int phase
    cdef bint beside        # requests are read beside each other
    cdef bint ended         # the client sends no more
    cdef bint told          # that we say no more (TLS)
    cdef bint leaving       # it takes no request any more
    cdef bint lingering     # our side is shut; what comes is thrown away
    cdef double since       # when the phase began, or the last request came; of a lingering one, when it ends
    cdef double since_out   # when the client last took something


@cython.final
cdef class Reactor:
    cdef readonly int fd
    cdef public bint full          # too much waits for the spool
    cdef public Py_ssize_t most_held
    cdef public double handshake, head, body, keep_alive, send_for, linger
    cdef public double grace, rate  # after so many seconds a body must have come at so many bytes a second
    cdef readonly Py_ssize_t held  # bytes of requests that are not complete
    cdef readonly list handed
    cdef object owner, wheel
    cdef dict conns                # by fd
    cdef dict by_session
    cdef dict listeners            # by fd
    cdef set stalled               # connections that are not read for `full`
    cdef list paused               # listeners that wait for file descriptors
    cdef uint32_t numbers
    cdef int reserve
    cdef bint leaving
    cdef double now
    cdef epoll_event* events
    cdef int next, count
    cdef char* buffer
    cdef Py_ssize_t received

    cdef int handle(self, const epoll_event* event, list arrivals) except -1
