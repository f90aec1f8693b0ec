# cython: language_level=3, boundscheck=False, wraparound=False
"""Many connections over one epoll set: a round receives from all that are ready, and gives all that they ask.

It moves bytes between sockets and sessions (mcp_ilert.wire), through TLS where a connection has it
(_fast/tls.py). Of a connection that waits it keeps nothing but
a small object: what is received goes through one buffer for all. It knows no Trio and no intake; its owner
(doors/reactor.py) turns it, answers the requests, and takes over what is not for sessions.

- A round is bounded in bytes, and goes on in the next one where it stopped: nobody is delayed for long.
- A connection is not read while what it was sent waits for its client, while too much of it waits for
  answers, or, where any of it does, while too much waits in all (`full`): that is the back-pressure.
- What fails in a session ends its connection, and nothing else.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

import os


cdef extern from "sys/epoll.h":
    enum: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int milliseconds)

cdef extern from "sys/socket.h":
    enum: SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL, AF_INET, AF_INET6, SHUT_WR
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    ssize_t recv(int fd, void* into, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)
    int shutdown(int fd, int how)

cdef extern from "netinet/in.h":
    enum: IPPROTO_TCP
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        in_addr sin_addr
    struct sockaddr_in6:
        in6_addr sin6_addr

cdef extern from "netinet/tcp.h":
    enum: TCP_NODELAY

cdef extern from "arpa/inet.h":
    const char* inet_ntop(int family, const void* address, char* into, socklen_t size)

cdef extern from "unistd.h":
    int c_close "close"(int fd)


cdef enum:
    EVENTS = 256  # taken from epoll at once
    ACCEPTS = 64  # in a round, of a listener
    RECEIVE_BYTES = 65_536
    ROUND_BYTES = 524_288
    MOST_PENDING = 8_192  # requests of one connection that wait for their answers
    LARGE_BYTES = 16_384  # of output, after which there may be more
    RECORD_BYTES = 128  # of a round that reading a record of TLS costs, however small it is
    EAGER_HELD = 4_096  # bytes of a request that is not complete, while too much is held in all

cdef double ACCEPT_PAUSE = 0.125
cdef double LEAVING_LINGER = 0.5
cdef double RECHECK = 0.25


cdef class Listener:
    """A listening socket, and what becomes of the connections that it accepts."""

    cdef readonly int fd
    cdef readonly object begin
    cdef readonly object full
    cdef readonly object layer

    def __init__(self, int fd, begin, full, layer):
        """`begin(first, fd, tls)` gives a session for a connection that begins with these bytes, None where
        it is none for a session, NotImplemented where that takes more. Who is turned away is told `full()`.
        `layer()` is the next connection's TLS, None where it is plain."""
        self.fd = fd
        self.begin = begin
        self.full = full
        self.layer = layer


cdef class Conn:
    """A connection: a few numbers, and its session once its first bytes have come."""

    cdef readonly int fd
    cdef readonly str address
    cdef readonly object session
    cdef readonly object tls
    cdef Listener listener
    cdef bytes first  # what has come while that is too little for a session
    cdef bytes out  # what is being sent, of which `sent` bytes are
    cdef Py_ssize_t sent
    cdef Py_ssize_t held
    cdef uint32_t number
    cdef uint32_t watched
    cdef int phase
    cdef bint beside  # requests are read beside each other
    cdef bint ended  # the client sends no more
    cdef bint told  # that we say no more (TLS)
    cdef bint leaving  # it takes no request any more
    cdef bint lingering  # our side is shut; what comes is thrown away
    cdef double since  # when the phase began, or the last request came; of a lingering one, when it ends
    cdef double since_out  # when the client last took something

    cdef inline bint alive(self) noexcept:
        return self.fd >= 0


cdef class Reactor:
    """The connections of some listeners. Not to be used from two threads."""

    cdef readonly int fd
    cdef public bint full  # too much waits for the spool
    cdef public Py_ssize_t most_held
    cdef public double handshake, head, body, keep_alive, send_for, linger
    cdef public double grace, rate  # after so many seconds a body must have come at so many bytes a second
    cdef readonly Py_ssize_t held  # bytes of requests that are not complete
    cdef readonly list handed
    cdef object owner, wheel
    cdef dict conns  # by fd
    cdef dict by_session
    cdef dict listeners  # by fd
    cdef set stalled  # connections that are not read for `full`
    cdef list paused  # listeners that wait for file descriptors
    cdef uint32_t numbers
    cdef int reserve
    cdef bint leaving
    cdef double now
    cdef epoll_event* events
    cdef int next, count
    cdef char* buffer
    cdef Py_ssize_t received

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
        self.reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def __dealloc__(self):
        free(self.events)
        free(self.buffer)
        if self.fd >= 0:
            c_close(self.fd)
        if self.reserve >= 0:
            c_close(self.reserve)

    def __len__(self):
        return len(self.conns)

    @property
    def more(self):
        """Whether the last round left something for the next."""
        return self.next < self.count

    def listen(self, Listener listener):
        """Accept what comes at this socket."""
        self.listeners[listener.fd] = listener
        self._control(EPOLL_CTL_ADD, listener.fd, 0, EPOLLIN)

    def refuse(self, double now):
        """Accept what has come until now, and no more."""
        self.now = now
        for listener in self.listeners.values():
            if listener not in self.paused:
                while self._accept(listener) == ACCEPTS:
                    pass
            if listener not in self.paused:
                self._control(EPOLL_CTL_DEL, (<Listener>listener).fd, 0, 0)
        self.listeners.clear()
        self.paused.clear()

    def poll(self, double now, list arrivals):
        """One round; returns of how many sockets something was to be done."""
        cdef uint64_t told
        cdef uint32_t events
        cdef Conn conn
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
            told = self.events[self.next].data.u64
            events = self.events[self.next].events
            self.next += 1
            done += 1
            if told >> 32 == 0:
                listener = self.listeners.get(<int>told)
                if listener is not None:
                    self._accept(listener)
                continue
            found = self.conns.get(<int>(told & 0xFFFFFFFF))
            if found is None:
                continue
            conn = <Conn>found
            if conn.number != told >> 32:
                continue  # it ended in this round, and its descriptor has come back
            if events & EPOLLIN and conn.watched & EPOLLIN:  # not where what was told is of the past
                self._receive(conn, arrivals)
            elif events & (EPOLLERR | EPOLLHUP):
                self._drop(conn)
            if events & EPOLLOUT and conn.fd >= 0:
                self._go_on(conn)
        return done

    def flush(self, sessions, double now):
        """Send what these sessions have to say, and read on where that was waited for."""
        cdef Conn conn
        self.now = now
        for session in sessions:
            found = self.by_session.get(session)
            if found is not None:
                conn = <Conn>found
                self._settle(conn, True)
        if self.stalled and not self.full:
            stalled, self.stalled = self.stalled, set()
            for conn in stalled:
                self._settle(conn, False)

    def expire(self, double now):
        """Look at the deadlines that are due."""
        self.now = now
        for conn in self.wheel.due(now):
            if isinstance(conn, Conn):
                self._look(<Conn>conn)
        if self.paused:
            for listener in self.paused:
                self._control(EPOLL_CTL_ADD, (<Listener>listener).fd, 0, EPOLLIN)
            self.paused.clear()

    def go_away(self, double now, bint firm):
        """Have every session take no request that has not begun; let go of who is in the middle of none.

        Who waits for answers is told after them, but at once where `firm`: some clients of HTTP/2 take
        nothing after a GOAWAY.
        """
        self.leaving = True
        self._send_away(now, firm)

    def let_go(self, double now):
        """Have all who are connected now go after what they wait for; who comes later stays."""
        for conn in self.conns.values():
            (<Conn>conn).leaving = True
        self._send_away(now, True)

    cdef int _send_away(self, double now, bint firm) except -1:
        """Let go of who has asked nothing; of the others after what they wait for (`firm`: told at once)."""
        cdef Conn conn
        self.now = now
        for found in list(self.conns.values()):
            conn = <Conn>found
            if conn.fd < 0 or conn.lingering:
                continue
            if conn.session is None:
                if conn.first is None:
                    self._finish(conn)
                continue
            if firm:
                try:
                    conn.session.go_away()
                except Exception as error:
                    self._fail(conn, error)
                    continue
            self._settle(conn, False)
        return 0

    def drop_leaving(self):
        """Drop those of them who have not gone."""
        for conn in list(self.conns.values()):
            if (<Conn>conn).leaving:
                self._drop(<Conn>conn)

    def end(self):
        """Drop every connection."""
        for conn in list(self.conns.values()):
            self._drop(<Conn>conn)

    def fail(self, session, error):
        """This session failed outside: its connection ends."""
        found = self.by_session.get(session)
        if found is not None:
            self._fail(<Conn>found, error)

    # Accepting ---------------------------------------------------------------------------------------------

    cdef int _accept(self, Listener listener) except -1:
        """Returns how many came, ACCEPTS at most."""
        cdef sockaddr_storage address
        cdef socklen_t size
        cdef int fd, came, one = 1, error
        for came in range(ACCEPTS):
            size = sizeof(address)
            fd = accept4(listener.fd, <sockaddr*>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                error = errno
                if error == EINTR or error == ECONNABORTED or error == EPROTO:
                    continue
                if error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM:
                    self._pause(listener, error)
                return came
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
            self._take(listener, fd, _name(&address))
        return ACCEPTS

    cdef int _take(self, Listener listener, int fd, str address) except -1:
        cdef Conn conn
        cdef bytes full
        if not self.owner.enter(address):
            full = listener.full()
            send(fd, PyBytes_AS_STRING(full), PyBytes_GET_SIZE(full), MSG_NOSIGNAL)
            shutdown(fd, SHUT_WR)
            recv(fd, self.buffer, RECEIVE_BYTES, 0)  # what is unread at a close would take the answer with it
            c_close(fd)
            return 0
        conn = Conn.__new__(Conn)
        conn.fd = fd
        conn.address = address
        conn.listener = listener
        conn.since = self.now
        self.numbers += 1
        if self.numbers == 0:
            self.numbers = 1
        conn.number = self.numbers
        conn.watched = EPOLLIN
        self.conns[fd] = conn
        try:
            conn.tls = listener.layer()
            self.wheel.by(conn, self.now + (self.keep_alive if conn.tls is None else self.handshake))
            self._control(EPOLL_CTL_ADD, fd, conn.number, EPOLLIN)
        except Exception as error:  # the system watches no more
            self._fail(conn, error)
        return 0

    cdef int _pause(self, Listener listener, int error) except -1:
        """No descriptors are left: turn one away by the one in reserve, and accept none for a moment."""
        cdef int fd
        if self.reserve >= 0:
            c_close(self.reserve)
            fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                c_close(fd)
            try:
                self.reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self.reserve = -1
        self._control(EPOLL_CTL_DEL, listener.fd, 0, 0)
        self.paused.append(listener)
        self.wheel.by(listener, self.now + ACCEPT_PAUSE)
        self.owner.failed(OSError(error, os.strerror(error)))
        return 0

    # From the client ---------------------------------------------------------------------------------------

    cdef int _receive(self, Conn conn, list arrivals) except -1:
        cdef ssize_t size = recv(conn.fd, self.buffer, RECEIVE_BYTES, 0)
        if size < 0:
            if errno != EAGAIN and errno != EINTR:
                self._drop(conn)
            return 0
        self.received += size
        if conn.lingering:
            if size == 0:
                self._drop(conn)
            return 0
        data = PyBytes_FromStringAndSize(self.buffer, size)
        if conn.tls is not None:
            self._unseal(conn, data, arrivals)
        else:
            self._give(conn, data, arrivals)
        return 0

    cdef int _unseal(self, Conn conn, bytes data, list arrivals) except -1:
        """Give the session what the client says in these records."""
        cdef object tls = conn.tls
        cdef bint shaking = not tls.established
        cdef bytes said
        try:
            said = tls.receive(data)
        except Exception as error:
            self._push(conn, tls.output())  # the alert
            self._fail(conn, error)
            return 0
        self.received += <Py_ssize_t>tls.work * RECORD_BYTES
        if shaking:
            self._push(conn, tls.output())
            if conn.fd < 0:
                return 0
            if tls.established:
                conn.since = self.now
            elif tls.ended:
                self._drop(conn)
                return 0
            self._settle(conn, False)
        if said:
            self._give(conn, said, arrivals)
        if tls.ended and conn.fd >= 0 and not conn.lingering and (
            conn.session is None or not conn.session.leaving  # who takes it over is told
        ):
            self._give(conn, b"", arrivals)
        return 0

    cdef int _give(self, Conn conn, bytes data, list arrivals) except -1:
        """Give the session what the client says; b"" where it says no more."""
        cdef Py_ssize_t before = len(arrivals)
        if PyBytes_GET_SIZE(data) == 0:
            conn.ended = True
        if conn.session is None:
            data = self._begin(conn, data)
            if data is None:
                return 0
        try:
            conn.session.receive(data, arrivals)
        except Exception as error:
            self._fail(conn, error)
            return 0
        if len(arrivals) != before and not (conn.beside and conn.phase == 2):
            conn.since = self.now
        self._settle(conn, False)
        return 0

    cdef bytes _begin(self, Conn conn, bytes data):
        """Give the connection its session, and the session's first bytes; None where there is none (yet)."""
        if conn.ended:
            self._drop(conn)
            return None
        if conn.first is not None:
            data = conn.first + data
        try:
            session = conn.listener.begin(data, conn.fd, conn.tls)
        except Exception as error:
            self._fail(conn, error)
            return None
        if session is NotImplemented:
            if conn.first is None:
                conn.since = self.now
                self.wheel.by(conn, self.now + self.head)
            conn.first = data
            return None
        conn.first = None
        if session is None:
            self._hand_over(conn, data)
            return None
        conn.session = session
        conn.beside = session.beside
        conn.phase = 0
        conn.since = self.now
        self.by_session[session] = conn
        return data

    # To the client -----------------------------------------------------------------------------------------

    cdef int _go_on(self, Conn conn) except -1:
        """The client takes more."""
        cdef bytes data = conn.out
        if data is not None:
            conn.out = None
            self._send(conn, data)
        if conn.fd >= 0:
            self._settle(conn, False)
        return 0

    cdef int _push(self, Conn conn, bytes data) except -1:
        """Send this behind what is being sent."""
        if conn.out is not None:
            conn.out = conn.out + data
        elif data:
            self._send(conn, data)
        return 0

    cdef int _say(self, Conn conn, bytes data) except -1:
        self._send(conn, data if conn.tls is None else conn.tls.seal(data))
        return 0

    cdef int _send(self, Conn conn, bytes data) except -1:
        """Send what the socket takes, and keep the rest; the connection may have ended after it."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef ssize_t sent
        while True:
            sent = send(conn.fd, PyBytes_AS_STRING(data) + conn.sent, size - conn.sent, MSG_NOSIGNAL)
            if sent >= 0 or errno != EINTR:
                break
        if sent < 0:
            if errno != EAGAIN:
                self._drop(conn)
                return 0
            sent = 0
        conn.sent += sent
        if conn.sent == size:
            conn.sent = 0
        else:
            if sent or conn.out is None:
                conn.since_out = self.now
            conn.out = data
            self.wheel.by(conn, self.now + self.send_for)
        return 0

    # In between --------------------------------------------------------------------------------------------

    cdef int _settle(self, Conn conn, bint answered) except -1:
        """After anything has happened: send, then end, hand over, or watch for what may happen next."""
        try:
            self._settled(conn, answered)
        except Exception as error:
            self._fail(conn, error)
        return 0

    cdef int _settled(self, Conn conn, bint answered) except -1:
        cdef object session = conn.session
        cdef int pending, phase
        cdef Py_ssize_t held
        cdef bytes data
        if conn.fd < 0 or conn.lingering:
            return 0
        if session is None:
            self._want(conn, EPOLLIN if conn.out is None else EPOLLOUT)
            return 0
        if conn.told:
            if conn.out is None:
                self._finish(conn)
            return 0
        while conn.out is None:
            data = session.output()
            if not data:
                break
            self._say(conn, data)
            if conn.fd < 0:
                return 0
            if PyBytes_GET_SIZE(data) < LARGE_BYTES:
                break
        pending = session.pending
        if (self.leaving or conn.leaving) and pending == 0 and conn.out is None and not session.closing:
            for _ in range(3):  # each call is firmer
                session.go_away()
            data = session.output()
            if data:
                self._say(conn, data)
                if conn.fd < 0:
                    return 0
        if pending == 0 and conn.out is None:
            if session.closing:
                self._finish(conn)
                return 0
            data = session.unread
            if data is not None:
                self._hand_over(conn, data)
                return 0
        phase = session.phase
        if phase != conn.phase or answered:
            if phase != conn.phase or phase == 0:
                conn.since = self.now
            conn.phase = phase
        held = session.held
        self.held += held - conn.held
        conn.held = held
        if phase != 0:
            self.wheel.by(conn, self._until(conn))
        self._watch(conn, pending, session.closing)
        return 0

    cdef int _watch(self, Conn conn, int pending, bint closing) except -1:
        """Have epoll tell what may be done now, and no more."""
        cdef uint32_t wanted = 0
        if conn.out is not None:
            wanted = EPOLLOUT
        elif conn.ended or closing or conn.session.leaving or pending >= MOST_PENDING:
            wanted = 0
        elif pending and self.full:
            self.stalled.add(conn)
            wanted = 0
        elif conn.held > EAGER_HELD and self.held > self.most_held:
            self.wheel.by(conn, self.now + RECHECK)
        else:
            wanted = EPOLLIN
        self._want(conn, wanted)
        return 0

    cdef int _want(self, Conn conn, uint32_t wanted) except -1:
        if wanted != conn.watched:
            conn.watched = wanted
            self._control(EPOLL_CTL_MOD, conn.fd, conn.number, wanted)
        return 0

    cdef int _control(self, int what, int fd, uint32_t number, uint32_t events) except -1:
        cdef epoll_event event
        event.events = events
        event.data.u64 = (<uint64_t>number << 32) | <uint32_t>fd
        if epoll_ctl(self.fd, what, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        return 0

    cdef int _look(self, Conn conn) except -1:
        """Whether a connection's time is over."""
        cdef double until = self._until(conn)
        if conn.fd < 0:
            return 0
        if until > self.now:
            self.wheel.by(conn, min(until, self.now + self.keep_alive))
            if conn.session is not None:
                self._settle(conn, False)
            return 0
        if conn.session is None or conn.lingering or conn.out is not None:
            self._drop(conn)
            return 0
        self.wheel.by(conn, self.now + self.keep_alive)
        try:
            conn.session.expire()
        except Exception as error:
            self._fail(conn, error)
            return 0
        conn.since = self.now
        self._settle(conn, False)
        return 0

    cdef double _until(self, Conn conn) except -1:
        if conn.lingering:
            return conn.since
        if conn.tls is not None and not conn.tls.established:
            return conn.since + self.handshake
        if conn.out is not None:
            return conn.since_out + self.send_for
        if conn.session is None:
            return conn.since + (self.keep_alive if conn.first is None else self.head)
        if conn.phase == 1:
            return conn.since + self.head
        if conn.phase == 2:
            return conn.since + min(self.body, self.grace + conn.held / self.rate)
        if conn.session.pending:
            return self.now + self.keep_alive
        return conn.since + self.keep_alive

    # The end of a connection -------------------------------------------------------------------------------

    cdef int _finish(self, Conn conn) except -1:
        """All is said. Our side is shut first, and what the client still sends is read for a moment."""
        cdef double linger
        if conn.tls is not None and not conn.told:
            conn.told = True
            self._push(conn, conn.tls.close())
            if conn.fd < 0:
                return 0
            if conn.out is not None and conn.session is not None:
                self._want(conn, EPOLLOUT)
                return 0
        shutdown(conn.fd, SHUT_WR)
        if self.leaving:
            linger = min(self.linger, LEAVING_LINGER)  # who was answered long ago has read it
        else:
            linger = self.linger
            conn.since = self.now
        if conn.ended or conn.since + linger <= self.now:
            self._drop(conn)
            return 0
        self._part(conn)
        conn.lingering = True
        conn.since += linger
        self.wheel.by(conn, conn.since)
        self._want(conn, EPOLLIN)
        return 0

    cdef int _hand_over(self, Conn conn, bytes unread) except -1:
        """Give socket and bytes to the owner; the connection stays counted as one of its address."""
        cdef int fd = conn.fd
        self._control(EPOLL_CTL_DEL, fd, 0, 0)
        self.handed.append((fd, unread, conn.address, conn.tls))
        self._forget(conn)
        return 0

    cdef int _fail(self, Conn conn, error) except -1:
        self._drop(conn)
        self.owner.failed(error)
        return 0

    cdef int _drop(self, Conn conn) except -1:
        cdef int fd = conn.fd
        if fd < 0:
            return 0
        self._forget(conn)
        c_close(fd)
        self.owner.leave(conn.address)
        return 0

    cdef int _forget(self, Conn conn) except -1:
        del self.conns[conn.fd]
        self._part(conn)
        self.wheel.remove(conn)
        conn.fd = -1
        conn.out = conn.first = conn.tls = None
        return 0

    cdef int _part(self, Conn conn) except -1:
        """Let go of the session; answers that still come for it find nobody."""
        session = conn.session
        if session is not None:
            conn.session = None
            self.stalled.discard(conn)
            del self.by_session[session]
            try:
                session.receive(b"", [])  # it may have to tell others
            except Exception as error:
                self.owner.failed(error)
            self.owner.part(session)
            self.held -= conn.held
            conn.held = 0
        return 0


cdef str _name(sockaddr_storage* address):
    cdef char text[64]
    cdef const char* found = NULL
    if address.ss_family == AF_INET:
        found = inet_ntop(AF_INET, &(<sockaddr_in*>address).sin_addr, text, sizeof(text))
    elif address.ss_family == AF_INET6:
        found = inet_ntop(AF_INET6, &(<sockaddr_in6*>address).sin6_addr, text, sizeof(text))
    return "" if found == NULL else (<bytes>found).decode("ascii")
