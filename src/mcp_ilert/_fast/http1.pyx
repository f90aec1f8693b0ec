# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""HTTP/1.1 for one request, `POST /events` in its common shape; everything else is left to others.

A strict recogniser: it may refuse to recognise, never recognise wrongly. What it takes, h11 would take
for the same request; what h11 refuses, it never takes. It leaves what is unusual, however valid: then
the connection is somebody else's from that request's first byte on, once those before it are answered
(`leaving`, `unread`). That goes for HTTP/2's preface too, so a pump looks for it before or after as it
likes.

Taken are: the request line `POST /events HTTP/1.1`; at most MAX_FIELDS fields of token, colon, value, CRLF;
one Host; either one Content-Length in plain digits, or one Transfer-Encoding `chunked`, its chunks without
extensions and trailers; Connection, if at all, `keep-alive` or `close`; no Upgrade, no Expect, no
Origin (a browser's); no Content-Encoding but `identity`; nothing of these, nor of Content-Type and
Authorization, twice. The decision does not depend on how the bytes were cut.

Whatever is received is parsed at once: a pump that reads no further while much is `pending` bounds it
all. The shortest request is 51 bytes.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pyport cimport PY_SSIZE_T_MAX

cimport mcp_ilert._fast.http1_answers as answers
cimport mcp_ilert._fast.http1_buffer as buffer
cimport mcp_ilert._fast.http1_requests as requests
from mcp_ilert._fast.http1_head cimport prepare

from email.utils import formatdate
from http import HTTPStatus

from mcp_ilert.wire import Head, Phase

cdef enum:
    SMALL = 4096  # bytes that a head's buffer grows to by doubling

prepare()

cdef object IDLE = Phase.IDLE
cdef object IN_HEAD = Phase.HEAD
cdef object IN_BODY = Phase.BODY

cdef dict REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


@cython.final
cdef class Calendar:
    """The Date that answers bear, one for all sessions of a pump, which turns it.

    Without a time, and until `turn` is called, answers bear none.
    """

    def __init__(self, now=None):
        self.second = -1
        self.date = b""
        self.accepted = answers.accepted(b"", False)
        if now is not None:
            self.turn(now)

    def turn(self, double now):
        """It is `now`, in seconds of the wall clock; cheap within a second, so it may be told each round."""
        cdef long long second = <long long>now
        if second == self.second:
            return
        self.second = second
        self.date = formatdate(second, usegmt=True).encode()
        self.accepted = answers.accepted(self.date, False)


@cython.final
cdef class Http1Session:
    """One connection, as far as it is for events: a `wire.Session`.

    `leaving` tells that what comes now is not: read no more, send what is pending, then hand over `unread`.
    """

    def __init__(self, bounds, calendar=None):
        self.bounds = bounds
        self.calendar = Calendar() if calendar is None else calendar
        self.last_head = b""
        self.head = None
        self.early = {}
        self.ready = []

    def __dealloc__(self):
        buffer.drop(&self.kept)

    @property
    def pending(self):
        return self.next - self.first - len(self.early)

    @property
    def held(self):
        return self.kept.size

    @property
    def phase(self):
        if self.leaving or self.kept.size == 0:
            return IDLE
        return IN_BODY if self.needed else IN_HEAD

    @property
    def beside(self):
        return False

    @property
    def unread(self):
        if not self.leaving or self.first != self.next:
            return None
        return PyBytes_FromStringAndSize(self.kept.data, self.kept.size)

    # From the client ---------------------------------------------------------------------------------------

    def receive(self, bytes data not None, list arrivals not None):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t done
        if self.closing:
            return
        if size == 0:
            if not self.leaving:
                self.end()
            return
        if self.kept.size == 0:
            done = requests.parse(self, PyBytes_AS_STRING(data), size, arrivals)
            if not self.closing and done < size:
                self.keep(PyBytes_AS_STRING(data) + done, size - done)
            return
        self.keep(PyBytes_AS_STRING(data), size)
        if self.leaving or self.kept.size < self.needed:
            return
        done = requests.parse(self, self.kept.data, self.kept.size, arrivals)
        if self.closing or done == self.kept.size:
            self.drop()
        elif done:
            buffer.cut(&self.kept, done)

    cdef int note_head(self, bytes content_type, bytes authorization) except -1:
        if (
            self.head is None
            or self.head.content_type != content_type
            or self.head.authorization != authorization
        ):
            self.head = Head("http1", content_type, authorization)
        return 0

    cdef int keep(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t most = self.needed
        if self.needed == 0:
            most = SMALL
        elif self.fields.chunked:
            most = PY_SSIZE_T_MAX
        return buffer.append(&self.kept, data, size, most)

    cdef void drop(self) noexcept:
        buffer.drop(&self.kept)
        self.needed = self.searched = 0

    cdef void end(self) noexcept:
        self.closing = True
        self.drop()

    # To the client -----------------------------------------------------------------------------------------

    def accepted(self, long long stream):
        if answers.is_next(self, stream):
            answers.send_accepted(self)
            answers.go_on(self)
        else:
            answers.set_aside(self, stream, None)

    def answer(self, long long stream, int status, tuple headers, bytes body):
        if answers.is_next(self, stream):
            answers.send(self, status, headers, body)
            answers.go_on(self)
        else:
            answers.set_aside(self, stream, (status, headers, body))

    def output(self):
        return answers.output(self)

    def expire(self):
        if self.leaving or self.closing:
            return
        if self.needed:
            self.farewell = answers.late(self.calendar.date)
        self.end()
        answers.go_on(self)

    def go_away(self):
        if self.leaving or self.closing:
            return
        self.going = True
        if self.kept.size == 0:
            self.closing = True
