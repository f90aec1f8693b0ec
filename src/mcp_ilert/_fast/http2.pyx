# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""One HTTP/2 connection on libnghttp2: bytes in, requests for events and bytes out; no sockets, no clock.

`POST /events` with a body within its bound is an arrival. Every other stream is foreign: it is told of,
piece by piece, to who was given for that, and answered through `respond` and `send`. libnghttp2 holds the
protocol and HTTP's rules; what a client may cost is bounded here: frames that lead to nothing, resets, heads,
bodies, windows. http2.pxd says which file holds what.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

cimport mcp_ilert._fast.http2_allowance as allowance
cimport mcp_ilert._fast.http2_answers as answers
cimport mcp_ilert._fast.http2_ending as ending
cimport mcp_ilert._fast.http2_foreign as foreigners
cimport mcp_ilert._fast.http2_head as http2_head
cimport mcp_ilert._fast.http2_leaving as leaving
from mcp_ilert._fast.http2_callbacks cimport prepare
from mcp_ilert._fast.nghttp2 cimport *

from mcp_ilert.wire import Head, Phase

cdef enum:
    CONNECTION_WINDOW = 1 << 20  # given back at once: streams, shares and the budget bound what is held

cdef nghttp2_session_callbacks* callbacks
cdef nghttp2_option* options
prepare(&callbacks, &options)

cdef object IDLE_PHASE = Phase.IDLE
cdef object HEAD_PHASE = Phase.HEAD
cdef object BODY_PHASE = Phase.BODY


cdef class Budget:
    """Bytes of incomplete bodies that all sessions together hold."""

    def __init__(self, size_t most=64 << 20):
        self.most = most
        self.held = 0


@cython.final
@cython.freelist(512)
@cython.no_gc  # it refers to bytes and heads only
cdef class Stream:
    def __dealloc__(self):
        PyMem_Free(self.buffer)


@cython.final
@cython.no_gc_clear  # what it holds is given back to the budget when it goes
cdef class Http2Session:
    """See `wire.Session`; and `respond`, `send`, `taken`, `reset` for foreign streams."""

    def __cinit__(self, bounds, foreign=None, Budget budget=None, calendar=None):
        cdef nghttp2_settings_entry settings[4]
        self.bounds = bounds
        self.foreign = foreign
        self.calendar = calendar
        self.budget = Budget() if budget is None else budget
        self.streams = {}
        self.events = []
        self.early = []
        self.farewell = b""
        allowance.begin(&self.allowance)
        self.moved_before = <size_t>-1
        self.head_limit = bounds.head_bytes
        self.body_limit = bounds.body_bytes
        if nghttp2_session_server_new2(&self.session, callbacks, <void*>self, options) != 0:
            raise MemoryError
        settings[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        settings[0].value = MAX_STREAMS
        settings[1].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        settings[1].value = <uint32_t>self.head_limit
        settings[2].settings_id = NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES
        settings[2].value = 1
        settings[3].settings_id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
        settings[3].value = 1
        nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, settings, 3 if foreign is None else 4)
        nghttp2_session_set_local_window_size(self.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW)

    def __dealloc__(self):
        if self.session != NULL:
            nghttp2_session_del(self.session)
        if self.budget is not None:
            self.budget.held -= self._held
        http2_head.drop(&self.block)

    # What a pump asks ---------------------------------------------------------------------------------------

    @property
    def pending(self):
        return self.waiting if self.ended or self.session == NULL else self.waiting + self.open

    @property
    def held(self):
        return self._held + (self.block.size if self.heading else 0)

    @property
    def phase(self):
        """BODY also while a client does not take the answers that it has asked for."""
        if self.incomplete or self.unsent:
            return BODY_PHASE
        return HEAD_PHASE if self.heading or not self.opened else IDLE_PHASE

    @property
    def beside(self):
        return True

    @property
    def closing(self):
        return self.session == NULL or self.ended or self.over

    @property
    def leaving(self):
        return False

    @property
    def unread(self):
        return None

    # Bytes --------------------------------------------------------------------------------------------------

    def receive(self, bytes data, list arrivals):
        cdef ssize_t taken
        if self.session == NULL or self.ended:
            return
        if not data:
            ending.end(self)
            return
        self.head_limit = self.bounds.head_bytes
        self.body_limit = self.bounds.body_bytes
        allowance.earn(&self.allowance, 1)
        self.arrivals = arrivals
        taken = nghttp2_session_mem_recv(
            self.session, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.arrivals = None
        if taken < 0:
            ending.fail(self, taken)
        elif not allowance.count_received(&self.allowance, taken):
            ending.give_up(self, NGHTTP2_ENHANCE_YOUR_CALM)
        if self.events:
            foreigners.tell(self)

    def output(self):
        cdef bytes out
        if self.session == NULL:
            out, self.farewell = self.farewell, b""
            return out
        out = self.drain()
        if self.early and self.session != NULL:
            ending.cut_short(self)
            out += self.drain()
        if self.going == leaving.ASKED and self.session != NULL and not leaving.is_under_way(self):
            out += self.notice()
        if self.session == NULL:
            out, self.farewell = out + self.farewell, b""
        else:
            self.over = not (
                nghttp2_session_want_read(self.session) or nghttp2_session_want_write(self.session))
            if self.over:
                ending.forget(self)
        if self.events:
            foreigners.tell(self)
        return out

    cdef bytes notice(self):
        """Say that we leave; then ask for a sign that this was heard (a PING overtakes what goes with it)."""
        self.going = leaving.NOTICE
        nghttp2_submit_shutdown_notice(self.session)
        out = self.drain()
        if self.session != NULL:
            nghttp2_submit_ping(self.session, NGHTTP2_FLAG_NONE, NULL)
            out += self.drain()
        return out

    cdef bytes drain(self):
        """Whole frames, so that a connection may be given up between any two outputs."""
        cdef char chunk[SEND_CHUNK]
        cdef const uint8_t* frame
        cdef size_t used = 0
        cdef ssize_t size
        cdef list parts = None
        while True:
            size = nghttp2_session_mem_send(self.session, &frame)
            if size <= 0:
                break
            if used + <size_t>size > SEND_CHUNK:
                if parts is None:
                    parts = []
                parts.append(PyBytes_FromStringAndSize(chunk, used))
                used = 0
            memcpy(chunk + used, frame, size)
            used += size
        last = PyBytes_FromStringAndSize(chunk, used)
        if size < 0:
            ending.fail(self, size)
        if parts is None:
            return last
        parts.append(last)
        return b"".join(parts)

    # Requests for events ------------------------------------------------------------------------------------

    cdef object shared_head(self):
        """Of the head that is complete; the object of the one before, if that said the same."""
        if (
            self.head is None
            or self.content_type is not self.last_type
            or self.authorization is not self.last_authorization
        ):
            self.last_type, self.last_authorization = self.content_type, self.authorization
            self.head = Head("http2", self.content_type, self.authorization)
        return self.head

    cdef bytes date(self):
        return b"" if self.calendar is None else self.calendar.date

    def accepted(self, int stream):
        cdef Stream found = answers.answering(self, stream)
        if found is not None:
            answers.accept(self, found)

    def answer(self, int stream, int status, tuple headers, bytes body):
        cdef Stream found = answers.answering(self, stream)
        if found is not None:
            answers.submit(self, found, status, headers, body)

    # Foreign streams ----------------------------------------------------------------------------------------

    def respond(self, int stream, int status, headers, bint end=False):
        """Begin the answer of a foreign stream (below 200: an interim one); `end`: it has no body."""
        cdef Stream found = foreigners.owned(self, stream)
        if found is not None and not found.answered:
            foreigners.respond(self, found, status, headers, end)

    def send(self, int stream, data, bint end=False):
        """Queue a part of a foreign stream's answer; gives the bytes queued; `drained` is told at none."""
        cdef Stream found = foreigners.owned(self, stream)
        if found is None or found.queued is None or found.last:
            return 0
        return foreigners.send(self, found, data, end)

    def taken(self, int stream, size_t size):
        """So much of a foreign stream's body has been read: the client may send as much again."""
        if foreigners.owned(self, stream) is not None:
            nghttp2_session_consume_stream(self.session, stream, size)

    def reset(self, int stream, uint32_t code=NGHTTP2_INTERNAL_ERROR):
        """End a foreign stream without an answer, or in the middle of it."""
        cdef Stream found = foreigners.owned(self, stream)
        if found is not None:
            found.told = found.done = True
            nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream, code)

    # The end ------------------------------------------------------------------------------------------------

    def expire(self):
        """Time is up for what was incomplete at the last `expire` already; the rest has until the next.

        A request so old is answered 408, and the connection goes on. It ends where no head comes, where the
        client does not take its answers, and where it is idle.
        """
        cdef bint reading = self.incomplete > 0
        if self.session == NULL:
            return
        if reading:
            ending.expire_bodies(self)
        elif not self.opened:
            ending.give_up(self, NGHTTP2_NO_ERROR)
        elif self.heading:
            if self.head_overdue:
                ending.give_up(self, NGHTTP2_NO_ERROR)
            self.head_overdue = True
        if self.session != NULL and self.unsent:
            if self.moved == self.moved_before:
                ending.give_up(self, NGHTTP2_NO_ERROR)
            self.moved_before = self.moved
        elif self.session != NULL and not reading and not self.heading and self.waiting + self.open == 0:
            leaving.last_word(self)
        if self.events:
            foreigners.tell(self)

    def go_away(self):
        """Take no more streams than the client sends before it hears of this; what is taken is answered.

        What is under way is answered first (some clients take nothing after a GOAWAY), then comes the notice,
        and the last word when the client has heard that. Each further call goes a step ahead.
        """
        if self.session != NULL:
            leaving.go_away(self)
