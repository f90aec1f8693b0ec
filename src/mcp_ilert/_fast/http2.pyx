# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""One HTTP/2 connection on libnghttp2: bytes in, requests for events and bytes out; no sockets, no clock.

`POST /events` with a body within its bound is an arrival. Every other stream is foreign: it is told of,
piece by piece, to who was given for that, and answered through `respond` and `send`. libnghttp2 holds the
protocol and HTTP's rules; what a client may cost is bounded here: frames that lead to nothing, resets, heads,
bodies, windows.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from mcp_ilert._fast cimport http2_head
from mcp_ilert._fast.http2_head cimport (
    BAD, CONNECT, EVENTS, EXPECTS, HAS_AUTHORIZATION, HAS_TYPE, ODD, POST, WEBSOCKET, unpacked)
from mcp_ilert._fast.nghttp2 cimport *

from mcp_ilert.wire import Head, Phase

cdef enum:
    MAX_STREAMS = 256
    CONNECTION_WINDOW = 1 << 20  # given back at once: streams, shares and the budget bound what is held
    STREAM_WINDOW = 65_535       # HTTP/2's own; a larger body is given its whole window once it shows
    ASKS_AT = 32_768             # so much of a body shows that it is a larger one
    SHARE_BYTES = 8 << 20        # of such windows, on one connection at once
    SMALL_BYTES = 4_096          # a body up to this passes where the budget is spent, until a quarter beyond
    BOMB_FACTOR = 4              # a head so many times above its bound ends the connection
    MOST_CREDIT = 2_000          # frames that lead to nothing, in a row
    FIRST_CREDIT = 1_000
    REQUEST_CREDIT = 32          # a request pays for its own frames, and for windows opened in small steps
    BYTES_A_CREDIT = 16          # so do bodies, either way: a frame of fewer bytes than this costs
    SETTINGS_COST = 8            # they may touch every stream
    MOST_RESETS = 200            # beyond one for every two requests that the client let us answer
    MOST_STRAY = 4 << 20         # bytes of frames that are passed over, beyond
    STRAY_BYTES = 131_072        # what may be under way for a stream when it is closed
    SEND_CHUNK = 65_536

cdef enum Going:
    STAYS
    ASKED
    NOTICE
    LAST_WORD

cdef enum Tell:
    BEGIN
    DATA
    END
    RESET
    DRAINED

cdef bytes ACCEPTED = b'{"accepted":1}'
cdef bytes NOTHING = b""
PROBLEM = b"application/problem+json"
REFUSALS = {
    404: b'{"title":"Not Found","status":404,"detail":"there is nothing at this path"}',
    408: b'{"title":"Request Timeout","status":408,'
         b'"detail":"the body did not arrive in time (listen.read_timeout_seconds)"}',
    431: b'{"title":"Request Header Fields Too Large","status":431,'
         b'"detail":"the request\'s head is too large"}',
    503: b'{"title":"Service Unavailable","status":503,"detail":"too many bodies are being received"}',
}
HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))

cdef nghttp2_nv accepted_head[3]
cdef nghttp2_nv continue_head[1]
cdef nghttp2_session_callbacks* callbacks
cdef nghttp2_option* options


cdef class Budget:
    """Bytes of incomplete bodies that all sessions together hold."""

    cdef readonly size_t held
    cdef public size_t most

    def __init__(self, size_t most=64 << 20):
        self.most = most
        self.held = 0


@cython.final
@cython.freelist(512)
@cython.no_gc  # it refers to bytes and heads only
cdef class Stream:
    cdef int32_t id
    cdef bint foreign      # others read and answer it
    cdef bint ended        # by the client
    cdef bint given        # as an arrival
    cdef bint answered
    cdef bint done         # all of the answer is on its way
    cdef bint closed
    cdef bint overdue      # it was incomplete when time was up once before
    cdef bint wants        # a larger window
    cdef bint told         # its owner knows that it is over
    cdef bint watched      # its owner wants to know when what it sent has gone
    cdef object head
    cdef bytes packed      # its head, where others may yet have to read it
    cdef bytes body        # its first piece, while that is all there is
    cdef char* buffer      # all pieces
    cdef size_t size, capacity, limit, window, charged
    cdef bytes fixed       # the answer's body, or
    cdef bytearray queued  # what is known of it
    cdef size_t sent       # of either
    cdef bint last         # nothing more will be queued

    def __dealloc__(self):
        PyMem_Free(self.buffer)


@cython.final
@cython.no_gc_clear  # what it holds is given back to the budget when it goes
cdef class Http2Session:
    """See `wire.Session`; and `respond`, `send`, `taken`, `reset` for foreign streams."""

    cdef nghttp2_session* session  # NULL once the connection is given up
    cdef object bounds, foreign, calendar
    cdef Budget budget
    cdef dict streams
    cdef Stream latest
    cdef list arrivals, events, early
    cdef bytes farewell
    cdef bint opened, heading, ended, over
    cdef uint32_t fault            # why the connection is given up, where libnghttp2 does not know it
    cdef int32_t highest           # the last stream that the client opened
    cdef int32_t forgiven          # up to here, frames may come for streams that were reset by our side
    cdef int32_t reset_by_client
    cdef int going
    cdef int32_t left_at           # up to here, streams are to be answered before the notice
    cdef Py_ssize_t waiting        # arrivals without an answer
    cdef Py_ssize_t open           # streams that have one, or are foreign, until they close
    cdef Py_ssize_t unsent         # answers that the client has not let us send
    cdef Py_ssize_t incomplete     # requests for events that are being read
    cdef Py_ssize_t wanting
    cdef size_t _held, windows, body_limit, head_limit
    cdef Py_ssize_t credit, resets, stray
    cdef size_t moved, moved_before
    cdef bint head_overdue
    # The head that is being read, and what the one before it said.
    cdef http2_head.Head block
    cdef object head
    cdef bytes content_type, authorization, last_type, last_authorization

    def __cinit__(self, bounds, foreign=None, Budget budget=None, calendar=None):
        cdef nghttp2_settings_entry settings[4]
        self.bounds = bounds
        self.foreign = foreign
        self.calendar = calendar
        self.budget = Budget() if budget is None else budget
        self.streams = {}
        self.events = []
        self.early = []
        self.farewell = NOTHING
        self.credit = FIRST_CREDIT
        self.resets = MOST_RESETS
        self.stray = MOST_STRAY
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
            self.end()
            return
        self.head_limit = self.bounds.head_bytes
        self.body_limit = self.bounds.body_bytes
        self.gain(1)
        self.arrivals = arrivals
        taken = nghttp2_session_mem_recv(
            self.session, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.arrivals = None
        if taken < 0:
            self.fail(taken)
        else:
            self.count_stray(taken)
        if self.events:
            self.tell()

    def output(self):
        cdef bytes out
        if self.session == NULL:
            out, self.farewell = self.farewell, NOTHING
            return out
        out = self.drain()
        if self.early and self.session != NULL:
            self.cut_short()
            out += self.drain()
        if self.going == ASKED and self.session != NULL and not self.is_under_way():
            out += self.notice()
        if self.session == NULL:
            out, self.farewell = out + self.farewell, NOTHING
        else:
            self.over = not (
                nghttp2_session_want_read(self.session) or nghttp2_session_want_write(self.session))
            if self.over:
                self.forget()
        if self.events:
            self.tell()
        return out

    cdef int cut_short(self) except -1:
        """Reset the streams that are answered while their requests go on."""
        cdef Stream stream
        for id in self.early:
            stream = self.streams.get(id)
            if stream is not None and not stream.ended:
                nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR)
        self.early.clear()
        return 0

    cdef bytes notice(self):
        """Say that we leave; then ask for a sign that this was heard (a PING overtakes what goes with it)."""
        self.going = NOTICE
        nghttp2_submit_shutdown_notice(self.session)
        out = self.drain()
        if self.session != NULL:
            nghttp2_submit_ping(self.session, NGHTTP2_FLAG_NONE, NULL)
            out += self.drain()
        return out

    cdef bint is_under_way(self):
        """Whether a request that had begun when we were to leave has no answer yet."""
        cdef Stream stream
        for stream in self.streams.values():
            if stream.id <= self.left_at and not (
                stream.closed or stream.done or stream.answered and stream.foreign
            ):
                return True
        return False

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
            self.fail(size)
        if parts is None:
            return last
        parts.append(last)
        return NOTHING.join(parts)

    # Answers ------------------------------------------------------------------------------------------------

    def accepted(self, int stream):
        cdef nghttp2_data_provider provider
        cdef nghttp2_nv lines[4]
        cdef bytes date = self.date()
        cdef Stream found = self.answering(stream)
        if found is not None:
            found.fixed = ACCEPTED
            provider.source.ptr = <void*>found
            provider.read_callback = read_fixed
            memcpy(lines, accepted_head, sizeof(accepted_head))
            set_line(&lines[3], b"date", 4, date, PyBytes_GET_SIZE(date), NGHTTP2_NV_FLAG_NO_COPY_NAME)
            nghttp2_submit_response(self.session, stream, lines, 4 if date else 3, &provider)

    def answer(self, int stream, int status, tuple headers, bytes body):
        cdef Stream found = self.answering(stream)
        if found is not None:
            self.submit(found, status, headers, body)

    cdef bytes date(self):
        return NOTHING if self.calendar is None else self.calendar.date

    cdef Stream answering(self, int stream):
        """The stream of an arrival, counted as answered; None where the client has gone."""
        cdef Stream found = self.streams.get(stream)
        if found is None or found.answered or not found.given:
            return None
        self.waiting -= 1
        if found.closed:
            del self.streams[stream]
            return None
        self.count_answered(found)
        return found

    cdef void count_answered(self, Stream stream):
        stream.answered = True
        self.open += 1
        self.unsent += 1

    cdef int submit(self, Stream stream, int status, object headers, bytes body) except -1:
        cdef nghttp2_data_provider provider
        cdef bytes date = self.date()
        stream.fixed = body
        provider.source.ptr = <void*>stream
        provider.read_callback = read_fixed
        headers = (*headers, (b"content-length", b"%d" % PyBytes_GET_SIZE(body)))
        if date:
            headers = (*headers, (b"date", date))
        self.submit_head(stream, status, headers, &provider if body else NULL)
        if not body:
            self.finished(stream)
        return 0

    cdef int submit_head(
        self, Stream stream, int status, object headers, nghttp2_data_provider* provider
    ) except -1:
        cdef Py_ssize_t count = 1
        cdef bytes code = b"%d" % status
        cdef bytes name, value
        cdef nghttp2_nv* lines = <nghttp2_nv*>PyMem_Malloc((len(headers) + 1) * sizeof(nghttp2_nv))
        if lines == NULL:
            raise MemoryError
        try:
            set_line(&lines[0], b":status", 7, code, PyBytes_GET_SIZE(code), NGHTTP2_NV_FLAG_NONE)
            for name, value in headers:
                if name not in HOP_BY_HOP:
                    set_line(&lines[count], name, PyBytes_GET_SIZE(name), value, PyBytes_GET_SIZE(value),
                             NGHTTP2_NV_FLAG_NONE)
                    count += 1
            if status < 200:
                nghttp2_submit_headers(self.session, NGHTTP2_FLAG_NONE, stream.id, NULL, lines, count, NULL)
            else:
                nghttp2_submit_response(self.session, stream.id, lines, count, provider)
        finally:
            PyMem_Free(lines)
        return 0

    cdef void finished(self, Stream stream):
        """The answer's end is on its way; where the request has not ended, its rest is not wanted."""
        stream.done = True
        if not stream.ended:
            self.early.append(stream.id)

    cdef int refuse(self, Stream stream, int status) except -1:
        """Answer a request for events that goes to nobody."""
        headers = ((b"content-type", PROBLEM),)
        if status == 503:
            headers = (*headers, (b"retry-after", b"1"))
        if not stream.ended and not stream.foreign:
            self.incomplete -= 1
        self.release(stream)
        self.count_answered(stream)
        return self.submit(stream, status, headers, REFUSALS[status])

    # Foreign streams ----------------------------------------------------------------------------------------

    def respond(self, int stream, int status, headers, bint end=False):
        """Begin the answer of a foreign stream (below 200: an interim one); `end`: it has no body."""
        cdef nghttp2_data_provider provider
        cdef Stream found = self.owned(stream)
        if found is None or found.answered:
            return
        if status < 200:
            self.submit_head(found, status, headers, NULL)
            return
        found.answered = True
        if end:
            self.submit_head(found, status, headers, NULL)
            self.finished(found)
        else:
            found.queued = bytearray()
            provider.source.ptr = <void*>found
            provider.read_callback = read_queued
            self.submit_head(found, status, headers, &provider)

    def send(self, int stream, data, bint end=False):
        """Queue a part of a foreign stream's answer; gives the bytes queued; `drained` is told at none."""
        cdef Stream found = self.owned(stream)
        if found is None or found.queued is None or found.last:
            return 0
        if data:
            if not found.watched:
                found.watched = True
                self.unsent += 1
            found.queued += data
        found.last = end
        nghttp2_session_resume_data(self.session, stream)
        return len(found.queued) - found.sent

    def taken(self, int stream, size_t size):
        """So much of a foreign stream's body has been read: the client may send as much again."""
        if self.session != NULL and self.owned(stream) is not None:
            nghttp2_session_consume_stream(self.session, stream, size)

    def reset(self, int stream, uint32_t code=NGHTTP2_INTERNAL_ERROR):
        """End a foreign stream without an answer, or in the middle of it."""
        cdef Stream found = self.owned(stream)
        if found is not None:
            found.told = found.done = True
            nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream, code)

    cdef Stream owned(self, int stream):
        cdef Stream found = self.streams.get(stream)
        if found is None or not found.foreign or found.told or self.session == NULL:
            return None
        return found

    cdef int tell(self) except -1:
        """Outside of libnghttp2, so that who is told may answer at once."""
        cdef list events
        while self.events:
            events, self.events = self.events, []
            for kind, stream, what in events:
                if kind == BEGIN:
                    self.foreign.begin(self, stream, what)
                elif kind == DATA:
                    self.foreign.data(self, stream, what)
                elif kind == END:
                    self.foreign.end(self, stream)
                elif kind == RESET:
                    self.foreign.reset(self, stream)
                else:
                    self.foreign.drained(self, stream)
        return 0

    cdef int estrange(self, Stream stream, list headers) except -1:
        """From here on others read and answer it."""
        stream.foreign = True
        self.open += 1
        self.events.append((BEGIN, stream.id, headers))
        return 0

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
            self.expire_bodies()
        elif not self.opened:
            self.give_up(NGHTTP2_NO_ERROR)
        elif self.heading:
            if self.head_overdue:
                self.give_up(NGHTTP2_NO_ERROR)
            self.head_overdue = True
        if self.session != NULL and self.unsent:
            if self.moved == self.moved_before:
                self.give_up(NGHTTP2_NO_ERROR)
            self.moved_before = self.moved
        elif self.session != NULL and not reading and not self.heading and self.waiting + self.open == 0:
            self.last_word()
        if self.events:
            self.tell()

    cdef int expire_bodies(self) except -1:
        cdef Stream stream
        for stream in list(self.streams.values()):
            if not (stream.foreign or stream.ended or stream.answered or stream.closed):
                if stream.overdue:
                    self.refuse(stream, 408)
                stream.overdue = True
        return 0

    def go_away(self):
        """Take no more streams than the client sends before it hears of this; what is taken is answered.

        What is under way is answered first (some clients take nothing after a GOAWAY), then comes the notice,
        and the last word when the client has heard that. Each further call goes a step ahead.
        """
        if self.session == NULL or self.going == LAST_WORD:
            return
        if not self.opened or self.going == NOTICE or self.going == ASKED and self.left_at == 0:
            self.last_word()
        else:
            self.left_at = 0 if self.going == ASKED else self.highest
            self.going = ASKED

    cdef void last_word(self):
        if self.going < LAST_WORD:
            self.going = LAST_WORD
            nghttp2_submit_goaway(
                self.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(self.session),
                NGHTTP2_NO_ERROR, NULL, 0)

    cdef int end(self) except -1:
        """The client sends no more: what is complete is answered, as far as its windows reach."""
        cdef Stream stream
        self.ended = True
        for stream in self.streams.values():
            if (stream.foreign or not (stream.ended or stream.answered)) and not stream.told:
                self.let_go(stream)
                stream.done = stream.ended = True
                nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL)
        self.incomplete = 0
        return self.tell()

    cdef int fail(self, ssize_t error) except -1:
        if self.fault:
            return self.give_up(self.fault)
        if error < NGHTTP2_ERR_BAD_CLIENT_MAGIC:  # the library's own bounds of floods
            return self.give_up(NGHTTP2_ENHANCE_YOUR_CALM)
        if error == NGHTTP2_ERR_NOMEM:
            raise MemoryError
        return self.give_up(
            NGHTTP2_PROTOCOL_ERROR if error == NGHTTP2_ERR_BAD_CLIENT_MAGIC else NGHTTP2_INTERNAL_ERROR)

    cdef int give_up(self, uint32_t code) except -1:
        """Say GOAWAY, and keep nothing."""
        cdef int32_t last = nghttp2_session_get_last_proc_stream_id(self.session)
        self.farewell = (
            b"\0\0\x08\x07\0\0\0\0\0" + (<object>last).to_bytes(4, "big") + (<object>code).to_bytes(4, "big"))
        return self.forget()

    cdef int forget(self) except -1:
        cdef Stream stream
        nghttp2_session_del(self.session)
        self.session = NULL
        self.heading = False
        for stream in list(self.streams.values()):
            self.lose(stream)
        self.open = self.unsent = self.incomplete = 0
        return 0

    cdef int let_go(self, Stream stream) except -1:
        """The client has no more interest in it, or can have none."""
        self.release(stream)
        if stream.foreign and not stream.told and not stream.done:
            self.events.append((RESET, stream.id, None))
        stream.told = True
        return 0

    cdef int lose(self, Stream stream) except -1:
        """It is closed. Until then it is kept: libnghttp2 reads what is to be sent from it."""
        self.let_go(stream)
        stream.closed = True
        if stream.answered or not stream.given:  # else an answer will still come for it
            self.streams.pop(stream.id, None)
        return 0

    # What libnghttp2 tells ----------------------------------------------------------------------------------

    cdef int count_stray(self, ssize_t received) except -1:
        """Frames that libnghttp2 passes over, of closed streams or unknown types, show as bytes only."""
        self.stray -= received
        if self.stray < 0:
            return self.give_up(NGHTTP2_ENHANCE_YOUR_CALM)
        return 0

    cdef inline void gain(self, Py_ssize_t credit):
        self.credit += credit
        if self.credit > MOST_CREDIT:
            self.credit = MOST_CREDIT

    cdef inline int spend(self, Py_ssize_t cost):
        self.credit -= cost
        return 0 if self.credit >= 0 else self.calm()

    cdef int calm(self):
        return self.blame(NGHTTP2_ENHANCE_YOUR_CALM)

    cdef int blame(self, uint32_t code):
        self.fault = code
        return NGHTTP2_ERR_CALLBACK_FAILURE

    cdef int frame(self, const nghttp2_frame_hd* head) except? -902:
        """A frame's head has come. libnghttp2 keeps nothing of streams that are over: judged here."""
        cdef int32_t id = head.stream_id
        self.stray += head.length + 9
        if head.type != NGHTTP2_CONTINUATION:
            self.heading = False
        if head.type == NGHTTP2_HEADERS and id > self.highest:
            self.highest = id
        elif head.type == NGHTTP2_HEADERS:
            if id > self.forgiven and self.going < LAST_WORD and self.find(id) is None:
                return self.blame(NGHTTP2_STREAM_CLOSED if id == self.highest else NGHTTP2_PROTOCOL_ERROR)
        elif head.type == NGHTTP2_PRIORITY and id == 0:
            return self.blame(NGHTTP2_PROTOCOL_ERROR)
        elif head.type == NGHTTP2_SETTINGS:
            return self.spend(SETTINGS_COST)
        return self.spend(1)

    cdef void forgive(self, int32_t id):
        if id > self.forgiven:
            self.forgiven = id

    cdef void begin_head(self):
        self.heading = True
        self.head_overdue = False
        http2_head.clear(&self.block)
        self.content_type = self.authorization = None

    cdef int header(self, const char* name, size_t named, const char* value, size_t size) except? -902:
        cdef int kept
        self.block.listed += named + size + 32
        if self.block.listed > self.head_limit:
            return self.calm() if self.block.listed > BOMB_FACTOR * self.head_limit else 0
        kept = http2_head.note(&self.block, name, named, value, size)
        if kept == HAS_TYPE:
            self.content_type = same(self.last_type, value, size)
        elif kept == HAS_AUTHORIZATION:
            self.authorization = same(self.last_authorization, value, size)
        return http2_head.pack(&self.block, name, named, value, size)

    cdef int begin(self, int32_t id, bint ended) except? -902:
        """A request's head is complete."""
        cdef Stream stream
        self.heading = False
        if len(self.streams) >= 2 * MAX_STREAMS:
            return self.calm()  # those beyond MAX_STREAMS were reset by the client, and are being worked on
        if self.block.listed <= self.head_limit and (
            self.block.marks & BAD or (self.block.marks & CONNECT and not self.block.marks & WEBSOCKET)
        ):
            return nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR)
        stream = Stream.__new__(Stream)
        stream.id = id
        stream.limit = self.body_limit
        stream.ended = ended
        self.streams[id] = stream
        self.latest = stream
        if not ended:
            self.incomplete += 1
        if self.block.listed > self.head_limit:
            return self.refuse(stream, 431)
        if self.block.marks & EXPECTS and not ended:
            nghttp2_submit_headers(self.session, NGHTTP2_FLAG_NONE, id, NULL, continue_head, 1, NULL)
        if (
            self.block.marks & (POST | EVENTS | ODD) != POST | EVENTS
            or self.block.length > <Py_ssize_t>self.body_limit
        ):
            return self.begin_foreign(stream)
        stream.head = self.shared_head()
        if self.block.length < 0 and not ended:
            stream.packed = PyBytes_FromStringAndSize(self.block.packed, self.block.size)
        if self.block.room > 2048:
            http2_head.drop(&self.block)
        return 0

    cdef int begin_foreign(self, Stream stream) except -1:
        if self.foreign is None:
            return self.refuse(stream, 404)
        if not stream.ended:
            self.incomplete -= 1
        self.estrange(stream, unpacked(self.block.packed, self.block.size))
        http2_head.drop(&self.block)
        return 0

    cdef object shared_head(self):
        if (
            self.head is None
            or self.content_type is not self.last_type
            or self.authorization is not self.last_authorization
        ):
            self.last_type, self.last_authorization = self.content_type, self.authorization
            self.head = Head("http2", self.content_type, self.authorization)
        return self.head

    cdef Stream find(self, int32_t id):
        return self.latest if self.latest is not None and self.latest.id == id else self.streams.get(id)

    cdef int data(self, int32_t id, const char* data, size_t size, bint more) except? -902:
        """A piece of a body; `more`: its frame is not the stream's last."""
        cdef Stream stream = self.find(id)
        self.gain(size // BYTES_A_CREDIT)
        nghttp2_session_consume_connection(self.session, size)
        if stream is None or stream.answered and not stream.foreign or stream.closed or stream.told:
            return 0  # nobody wants it
        if not self.charge(stream, size):
            return self.refuse_for_room(stream)
        if not stream.foreign and stream.size + size > stream.limit:
            self.turn_over(stream)
        if stream.foreign:
            self.events.append((DATA, id, PyBytes_FromStringAndSize(data, size)))
            return 0
        append(stream, data, size)
        if more and stream.size >= ASKS_AT and not stream.window and not stream.wants:
            stream.wants = True
            self.wanting += 1
            self.widen()
        return 0

    cdef bint charge(self, Stream stream, size_t size):
        """Count it as held, unless all sessions together hold too much. Apps keep at most a body's bound."""
        if stream.foreign and stream.charged >= self.body_limit:
            return True
        if self.budget.held + size > self.budget.most and (
            stream.charged + size > SMALL_BYTES
            or self.budget.held + size > self.budget.most + self.budget.most // 4
        ):
            return False
        stream.charged += size
        self._held += size
        self.budget.held += size
        return True

    cdef int refuse_for_room(self, Stream stream) except -1:
        if not stream.foreign:
            return self.refuse(stream, 503)
        self.events.append((RESET, stream.id, None))
        stream.told = stream.done = True
        self.release(stream)
        return nghttp2_submit_rst_stream(
            self.session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_ENHANCE_YOUR_CALM)

    cdef int turn_over(self, Stream stream) except -1:
        """The body is larger than its bound: others take it, with what has come."""
        if self.foreign is None or stream.packed is None:
            raise AssertionError("a body is larger than libnghttp2 lets it be")
        self.incomplete -= 1
        self.estrange(stream, unpacked(PyBytes_AS_STRING(stream.packed), PyBytes_GET_SIZE(stream.packed)))
        self.events.append((DATA, stream.id, whole(stream)))
        self.windows -= stream.window
        stream.window = 0
        if stream.wants:
            self.wanting -= 1
            stream.wants = False
        return 0

    cdef int widen(self) except -1:
        """Give the streams that want it, oldest first, a window for all of their body."""
        cdef Stream stream
        for stream in self.streams.values():
            if self.wanting == 0 or self.windows + stream.limit > SHARE_BYTES and self.windows > 0:
                break
            if stream.wants:
                stream.wants = False
                self.wanting -= 1
                stream.window = stream.limit + 1  # one more, so that a body beyond it shows
                self.windows += stream.window
                if stream.window > STREAM_WINDOW:
                    nghttp2_session_set_local_window_size(
                        self.session, NGHTTP2_FLAG_NONE, stream.id, <int32_t>stream.window)
        return 0

    cdef int release(self, Stream stream) except -1:
        """Its body is no longer held here."""
        stream.body = stream.packed = None
        PyMem_Free(stream.buffer)
        stream.buffer = NULL
        self._held -= stream.charged
        self.budget.held -= stream.charged
        self.windows -= stream.window
        stream.charged = stream.window = 0
        if stream.wants:
            stream.wants = False
            self.wanting -= 1
        if self.wanting and self.session != NULL:
            self.widen()
        return 0

    cdef int complete(self, int32_t id) except -1:
        """The client has ended the stream."""
        cdef Stream stream = self.find(id)
        cdef bint reading
        if stream is None:
            return 0
        reading = not stream.ended
        stream.ended = True
        self.gain(REQUEST_CREDIT)
        if stream.foreign:
            if not stream.told:
                self.events.append((END, id, None))
        elif not stream.answered:
            if reading:
                self.incomplete -= 1
            self.waiting += 1
            stream.given = True
            self.arrivals.append((self, id, stream.head, whole(stream)))
            stream.head = None
            self.release(stream)
        return 0

    cdef int close(self, int32_t id, uint32_t code) except? -902:
        """The stream is closed, by either side's end or reset."""
        cdef Stream stream = self.find(id)
        if id != self.reset_by_client and (stream is None or not stream.ended):
            self.forgive(id)
        if stream is None:
            return self.count_reset() if code != NGHTTP2_NO_ERROR else 0
        if self.latest is stream:
            self.latest = None
        if not (stream.ended or stream.foreign or stream.answered):
            self.incomplete -= 1
        if stream.foreign or stream.answered:
            self.open -= 1
        if stream.watched or stream.answered and not stream.foreign:
            self.unsent -= 1
            stream.watched = False
        reset = not stream.done
        self.stray = min(self.stray + STRAY_BYTES, MOST_STRAY)
        self.lose(stream)
        if reset:
            return self.count_reset()
        if self.resets < MOST_RESETS and not id & 2:
            self.resets += 1  # one for every two streams
        return 0

    cdef int count_reset(self):
        self.resets -= 1
        return 0 if self.resets >= 0 else self.calm()

    cdef int heard(self):
        """The client has answered our PING, so it has our notice too."""
        if self.going == NOTICE:
            self.last_word()
        return 0

    cdef void pay(self, size_t size):
        """So much of an answer's body goes out."""
        self.moved += size
        self.gain(size // BYTES_A_CREDIT)


# Callbacks; what they are given as `user` is the session, which outlives libnghttp2's.

cdef int on_begin_frame(nghttp2_session* _, const nghttp2_frame_hd* head, void* user) except? -902:
    return (<Http2Session>user).frame(head)


cdef int on_invalid_frame(nghttp2_session* _, const nghttp2_frame* frame, int error, void* user) except? -902:
    (<Http2Session>user).forgive(frame.hd.stream_id)
    return 0


cdef int on_begin_headers(nghttp2_session* _, const nghttp2_frame* frame, void* user) except? -902:
    (<Http2Session>user).begin_head()
    return 0


cdef int on_header(
    nghttp2_session* _, const nghttp2_frame* frame, const uint8_t* name, size_t named, const uint8_t* value,
    size_t size, uint8_t flags, void* user
) except? -902:
    return (<Http2Session>user).header(<const char*>name, named, <const char*>value, size)


cdef int on_invalid_header(
    nghttp2_session* _, const nghttp2_frame* frame, const uint8_t* name, size_t named, const uint8_t* value,
    size_t size, uint8_t flags, void* user
) except? -902:
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE  # the stream is reset, not the header passed over


cdef int on_data(
    nghttp2_session* _, uint8_t flags, int32_t id, const uint8_t* data, size_t size, void* user
) except? -902:
    return (<Http2Session>user).data(id, <const char*>data, size, not flags & NGHTTP2_FLAG_END_STREAM)


cdef int on_frame(nghttp2_session* _, const nghttp2_frame* frame, void* user) except? -902:
    cdef Http2Session self = <Http2Session>user
    cdef int failed = 0
    if frame.hd.type == NGHTTP2_HEADERS:
        self.heading = False
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            failed = self.begin(frame.hd.stream_id, frame.hd.flags & NGHTTP2_FLAG_END_STREAM != 0)
            if failed:
                return failed
    elif frame.hd.type == NGHTTP2_SETTINGS:
        self.opened = True
        return 0
    elif frame.hd.type == NGHTTP2_PING and frame.hd.flags & NGHTTP2_FLAG_ACK:
        return self.heard()
    elif frame.hd.type == NGHTTP2_RST_STREAM:
        self.reset_by_client = frame.hd.stream_id
        return 0
    elif frame.hd.type != NGHTTP2_DATA:
        return 0
    if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        self.complete(frame.hd.stream_id)
    return 0


cdef int on_stream_close(nghttp2_session* _, int32_t id, uint32_t code, void* user) except? -902:
    return (<Http2Session>user).close(id, code)


cdef ssize_t read_fixed(
    nghttp2_session* _, int32_t id, uint8_t* into, size_t room, uint32_t* flags, nghttp2_data_source* source,
    void* user
) except? -902:
    cdef Stream stream = <Stream>source.ptr
    cdef size_t size = min(room, <size_t>PyBytes_GET_SIZE(stream.fixed) - stream.sent)
    memcpy(into, PyBytes_AS_STRING(stream.fixed) + stream.sent, size)
    stream.sent += size
    (<Http2Session>user).pay(size)
    if stream.sent == <size_t>PyBytes_GET_SIZE(stream.fixed):
        flags[0] = NGHTTP2_DATA_FLAG_EOF
        (<Http2Session>user).finished(stream)
    return size


cdef ssize_t read_queued(
    nghttp2_session* _, int32_t id, uint8_t* into, size_t room, uint32_t* flags, nghttp2_data_source* source,
    void* user
) except? -902:
    cdef Http2Session self = <Http2Session>user
    cdef Stream stream = <Stream>source.ptr
    cdef size_t size = min(room, <size_t>len(stream.queued) - stream.sent)
    if size == 0 and not stream.last:
        return NGHTTP2_ERR_DEFERRED
    memcpy(into, PyByteArray_AS_STRING(stream.queued) + stream.sent, size)
    stream.sent += size
    self.pay(size)
    if stream.sent == <size_t>len(stream.queued):
        stream.queued.clear()
        stream.sent = 0
        if stream.watched:
            stream.watched = False
            self.unsent -= 1
            self.events.append((DRAINED, id, None))
        if stream.last:
            flags[0] = NGHTTP2_DATA_FLAG_EOF
            self.finished(stream)
    elif stream.sent > SEND_CHUNK:
        del stream.queued[:stream.sent]
        stream.sent = 0
    return size


# Bytes ------------------------------------------------------------------------------------------------------

cdef int append(Stream stream, const char* data, size_t size) except -1:
    """A body in one piece is one copy; in several, it grows by doubling."""
    cdef size_t needed = stream.size + size
    cdef char* grown
    if stream.size == 0:
        stream.body = PyBytes_FromStringAndSize(data, size)
    else:
        if needed > stream.capacity:
            stream.capacity = max(needed, min(2 * needed, stream.limit))
            grown = <char*>PyMem_Realloc(stream.buffer, stream.capacity)
            if grown == NULL:
                raise MemoryError
            stream.buffer = grown
        if stream.body is not None:
            memcpy(stream.buffer, PyBytes_AS_STRING(stream.body), stream.size)
            stream.body = None
        memcpy(stream.buffer + stream.size, data, size)
    stream.size = needed
    return 0


cdef bytes whole(Stream stream):
    if stream.buffer != NULL:
        return PyBytes_FromStringAndSize(stream.buffer, stream.size)
    return NOTHING if stream.body is None else stream.body


cdef bytes same(bytes before, const char* value, size_t size):
    """The value as bytes: the object of the head before, if that said the same."""
    if (
        before is not None
        and <size_t>PyBytes_GET_SIZE(before) == size
        and memcmp(PyBytes_AS_STRING(before), value, size) == 0
    ):
        return before
    return PyBytes_FromStringAndSize(value, size)


cdef void set_line(
    nghttp2_nv* line, const char* name, size_t named, const char* value, size_t size, uint8_t flags
):
    line.name = <uint8_t*>name
    line.value = <uint8_t*>value
    line.namelen = named
    line.valuelen = size
    line.flags = flags


cdef int prepare() except -1:
    """The tables that all sessions share; nothing changes them after this."""
    cdef uint8_t constant = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    set_line(&accepted_head[0], b":status", 7, b"202", 3, constant)
    set_line(&accepted_head[1], b"content-type", 12, b"application/json", 16, constant)
    set_line(&accepted_head[2], b"content-length", 14, b"14", 2, constant)
    set_line(&continue_head[0], b":status", 7, b"100", 3, constant)
    if nghttp2_session_callbacks_new(&callbacks) != 0 or nghttp2_option_new(&options) != 0:
        raise MemoryError
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame)
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame)
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header)
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data)
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame)
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close)
    nghttp2_option_set_no_auto_window_update(options, 1)
    nghttp2_option_set_no_closed_streams(options, 1)
    return 0


cdef object IDLE_PHASE = Phase.IDLE
cdef object HEAD_PHASE = Phase.HEAD
cdef object BODY_PHASE = Phase.BODY
prepare()
