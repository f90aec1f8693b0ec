# cython: language_level=3, boundscheck=False, wraparound=False
"""Many connections over one epoll set: a round receives from all that are ready, and gives all that they ask.

It moves bytes between sockets and sessions (mcp_ilert.wire), through TLS where a connection has it
(_fast/tls.py). Of a connection that waits it keeps nothing but a small object: what is received goes
through one buffer for all. It knows no Trio and no intake; its owner (doors/reactor.py) turns it, answers the
requests, and takes over what is not for sessions. reactor.pxd says which file holds what.

- A round is bounded in bytes, and goes on in the next one where it stopped: nobody is delayed for long.
- A connection is not read while what it was sent waits for its client, while too much of it waits for
  answers, or, where any of it does, while too much waits in all (`full`): that is the back-pressure.
- What fails in a session ends its connection, and nothing else.
"""

cimport cython
from libc.errno cimport errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc

cimport mcp_ilert._fast.epoll as epoll
cimport mcp_ilert._fast.reactor_accepting as accepting
from mcp_ilert._fast.epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll_create1, epoll_wait)
from mcp_ilert._fast.reactor_ending cimport drop, fail
from mcp_ilert._fast.reactor_receiving cimport receive
from mcp_ilert._fast.reactor_sending cimport send_on
from mcp_ilert._fast.reactor_settling cimport finish, look, settle
from mcp_ilert._fast.sockets cimport close

cdef enum:
    EVENTS = 256           # taken from epoll at once
    ROUND_BYTES = 524_288


@cython.final
cdef class Listener:
    """A listening socket, and what becomes of the connections that it accepts."""

    def __init__(self, int fd, begin, full, layer):
        """`begin(first, fd, tls)` gives a session for a connection that begins with these bytes, None where
        it is none for a session, NotImplemented where that takes more. Who is turned away is told `full()`.
        `layer()` is the next connection's TLS, None where it is plain."""
        self.fd = fd
        self.begin = begin
        self.full = full
        self.layer = layer


@cython.final
cdef class Conn:
    pass


@cython.final
cdef class Reactor:
    """The connections of some listeners. Not to be used from two threads."""

    def __cinit__(self):
        self.fd = -1
        self.reserve = -1
        self.events = <epoll_event*>malloc(EVENTS * sizeof(epoll_event))
        self.buffer = <char*>malloc(RECEIVE_BYTES)
        if self.events == NULL or self.buffer == NULL:
            raise MemoryError

    def __init__(self, owner, wheel):
        """`owner` has enter(address) → whether a connection more of it is let in, leave(address), and
        failed(error); `wheel` tells when a connection's deadline is to be looked at (doors/wheel.py)."""
        self.owner = owner
        self.wheel = wheel
        self.conns = {}
        self.by_session = {}
        self.listeners = {}
        self.paused = []
        self.stalled = set()
        self.handed = []
        self.most_held = 64 * 1024 * 1024
        self.handshake = self.head = self.body = self.send_for = 10
        self.keep_alive = 75
        self.grace, self.rate = 10, 500
        self.linger = 2
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno, "epoll")
        self.reserve = accepting.spare()

    def __dealloc__(self):
        free(self.events)
        free(self.buffer)
        if self.fd >= 0:
            close(self.fd)
        if self.reserve >= 0:
            close(self.reserve)

    def __len__(self):
        return len(self.conns)

    @property
    def more(self):
        """Whether the last round left something for the next."""
        return self.next < self.count

    def listen(self, Listener listener):
        """Accept what comes at this socket."""
        self.listeners[listener.fd] = listener
        epoll.control(self.fd, EPOLL_CTL_ADD, listener.fd, 0, EPOLLIN)

    def refuse(self, double now):
        """Accept what has come until now, and no more."""
        self.now = now
        accepting.refuse(self)

    def poll(self, double now, list arrivals):
        """One round; returns of how many sockets something was to be done."""
        cdef int done = 0
        self.now = now
        self.received = 0
        if self.next >= self.count:
            self.next = 0
            self.count = epoll_wait(self.fd, self.events, EVENTS, 0)
            if self.count <= 0:
                self.count = 0
                return 0
        while self.next < self.count and self.received < ROUND_BYTES:
            self.next += 1
            done += 1
            self.handle(&self.events[self.next - 1], arrivals)
        return done

    cdef int handle(self, const epoll_event* event, list arrivals) except -1:
        """Do what may be done at one socket."""
        cdef uint32_t events = event.events
        cdef Conn conn
        if epoll.number(event) == 0:
            listener = self.listeners.get(epoll.descriptor(event))
            if listener is not None:
                accepting.accept_all(self, <Listener>listener)
            return 0
        found = self.conns.get(epoll.descriptor(event))
        if found is None:
            return 0
        conn = <Conn>found
        if conn.number != epoll.number(event):
            return 0  # it ended in this round, and its descriptor has come back
        if events & EPOLLIN and conn.watched & EPOLLIN:  # not where what was told is of the past
            receive(self, conn, arrivals)
        elif events & (EPOLLERR | EPOLLHUP):
            drop(self, conn)
        if events & EPOLLOUT and conn.fd >= 0:
            send_on(self, conn)
            if conn.fd >= 0:
                settle(self, conn, False)
        return 0

    def flush(self, sessions, double now):
        """Send what these sessions have to say, and read on where that was waited for."""
        cdef Conn conn
        self.now = now
        for session in sessions:
            found = self.by_session.get(session)
            if found is not None:
                settle(self, <Conn>found, True)
        if self.stalled and not self.full:
            stalled, self.stalled = self.stalled, set()
            for conn in stalled:
                settle(self, conn, False)

    def expire(self, double now):
        """Look at the deadlines that are due."""
        self.now = now
        for conn in self.wheel.due(now):
            if isinstance(conn, Conn):
                look(self, <Conn>conn)
        if self.paused:
            accepting.go_on(self)

    def go_away(self, double now, bint firm, bint later=True):
        """Have every session take no request that has not begun; let go of who is in the middle of none.

        Who waits for answers is told after them, but at once where `firm`: some clients of HTTP/2 take
        nothing after a GOAWAY. `later`: so it is for those who come after this, too.
        """
        cdef Conn conn
        self.now = now
        if later:
            self.leaving = True
        for conn in list(self.conns.values()):
            if not later:
                conn.leaving = True
            if conn.fd < 0 or conn.lingering:
                continue
            if conn.session is None:
                if conn.first is None:
                    finish(self, conn)
                continue
            if firm:
                try:
                    conn.session.go_away()
                except Exception as error:
                    fail(self, conn, error)
                    continue
            settle(self, conn, False)

    def drop_leaving(self):
        """Drop those who were to go away, but for who came later, and have not gone."""
        cdef Conn conn
        for conn in list(self.conns.values()):
            if conn.leaving:
                drop(self, conn)

    def end(self):
        """Drop every connection."""
        for conn in list(self.conns.values()):
            drop(self, <Conn>conn)

    def fail(self, session, error):
        """This session failed outside: its connection ends."""
        found = self.by_session.get(session)
        if found is not None:
            fail(self, <Conn>found, error)
