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

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, strncasecmp

from email.utils import formatdate
from http import HTTPStatus

from mcp_ilert.wire import Head, Phase

cdef enum:
    MAX_FIELDS = 100
    SMALL = 4096  # bytes that a head's buffer grows to by doubling
    MAX_DIGITS = 10  # of a Content-Length; h11 takes 20, but no body that we take is so large
    MAX_LABEL = 63
    MAX_HEX = 7  # of a chunk's size
    END_SIZE = 5  # of the bytes that end chunks: 0, CRLF, CRLF
    WITH_CHUNKS = 2  # a chunked body may come in so many times the bytes of the largest body

cdef enum Found:
    PARTIAL
    STRANGE
    COMPLETE

cdef const char* LINE = b"POST /events HTTP/1.1\r\n"
cdef Py_ssize_t LINE_SIZE = 23

cdef object IDLE = Phase.IDLE
cdef object IN_HEAD = Phase.HEAD
cdef object IN_BODY = Phase.BODY

cdef dict REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

cdef bytes ACCEPTED_BODY = b'{"accepted":1}'
cdef bytes LATE = (
    b'{"title":"Request Timeout","status":408,'
    b'"detail":"the body did not arrive in time (listen.read_timeout_seconds)"}'
)
cdef tuple PROBLEM = ((b"content-type", b"application/problem+json"),)
cdef tuple JSON = ((b"content-type", b"application/json"),)

# Per byte, whether it may stand in a token (RFC 9110, 5.6.2), in a value (visible, space, tab, obs-text),
# between the dots of a host's name, in an IPv6 address.
cdef unsigned char[256] IN_TOKEN
cdef unsigned char[256] IN_VALUE
cdef unsigned char[256] IN_LABEL
cdef unsigned char[256] IN_IPV6


cdef void mark(unsigned char* table, bytes members) noexcept:
    cdef int code
    for code in range(256):
        table[code] = 1 if code in members else 0


cdef bytes ALNUM = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
mark(IN_TOKEN, ALNUM + b"!#$%&'*+-.^_`|~")
mark(IN_VALUE, b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)))
mark(IN_LABEL, ALNUM + b"-_")
mark(IN_IPV6, b"0123456789abcdefABCDEF:.")


cdef struct Slice:
    Py_ssize_t at
    Py_ssize_t size  # -1: there is none


cdef struct Fields:
    Py_ssize_t size      # of the whole head
    Slice length         # the digits of Content-Length
    Slice content_type
    Slice authorization
    bint close
    bint chunked


cdef bint is_word(const char* value, Py_ssize_t size, const char* word, Py_ssize_t word_size) noexcept:
    return size == word_size and strncasecmp(value, word, size) == 0


cdef bint all_in(const char* text, Py_ssize_t size, const unsigned char* table) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        if not table[<unsigned char>text[i]]:
            return False
    return True


cdef bint is_name(const char* text, Py_ssize_t size) noexcept:
    """Labels of 1 to 63 characters between dots, a last dot or none; the app refuses other names."""
    cdef Py_ssize_t i, label = 0
    for i in range(size):
        if text[i] != c".":
            label += 1
            if label > MAX_LABEL or not IN_LABEL[<unsigned char>text[i]]:
                return False
        elif label == 0:
            return False
        else:
            label = 0
    return size > 0


cdef bint is_host(const char* text, Py_ssize_t size) noexcept:
    """A name or an address, perhaps with a port; the rest of RFC 3986 is for others to judge."""
    cdef const char* colon
    cdef const char* end = text + size
    cdef Py_ssize_t name
    if size < 1:
        return False
    if text[0] == c"[":
        colon = <const char*>memchr(text, c"]", size)
        if colon == NULL or colon - text < 3 or not all_in(text + 1, colon - text - 1, IN_IPV6):
            return False
        colon += 1
        if colon < end and colon[0] != c":":
            return False
    else:
        colon = <const char*>memchr(text, c":", size)
        name = size if colon == NULL else colon - text
        if not is_name(text, name):
            return False
    if colon == NULL or colon == end:
        return True
    return end - colon <= 6 and 0 < read_length(colon + 1, end - colon - 1) <= 65535


cdef long long read_length(const char* digits, Py_ssize_t size) noexcept:
    """A number in plain digits, without zeros before it; -1 where it is something else."""
    cdef long long number = 0
    cdef Py_ssize_t i
    if size < 1 or size > MAX_DIGITS or (digits[0] == c"0" and size > 1):
        return -1
    for i in range(size):
        if digits[i] < c"0" or digits[i] > c"9":
            return -1
        number = number * 10 + (digits[i] - c"0")
    return number


cdef int hex_digit(char digit) noexcept:
    """Its value; -1 where it is none."""
    if c"0" <= digit <= c"9":
        return digit - c"0"
    digit |= 0x20
    return digit - c"a" + 10 if c"a" <= digit <= c"f" else -1


cdef bint may_be_end(const char* data, Py_ssize_t size) noexcept:
    """Whether it begins with CRLF, or with what is there of it."""
    return (size < 1 or data[0] == c"\r") and (size < 2 or data[1] == c"\n")


cdef bint has_newline(const char* data, Py_ssize_t size) noexcept:
    return memchr(data, c"\n", size) != NULL


cdef bint once(Slice* place, Py_ssize_t at, Py_ssize_t size) noexcept:
    if place.size >= 0:
        return False
    place.at = at
    place.size = size
    return True


cdef bint take_field(
    const char* head, Fields* fields, Slice* host, Slice* connection, Slice* encoding, Slice* coding,
    Py_ssize_t at, Py_ssize_t colon, Py_ssize_t start, Py_ssize_t end,
) noexcept:
    """Note one field, `at`..`colon` its name and `start`..`end` its value; False where it is for others."""
    cdef const char* name = head + at
    cdef const char* value = head + start
    cdef Py_ssize_t size = end - start
    cdef Py_ssize_t name_size = colon - at
    if name_size == 4:
        if strncasecmp(name, b"host", 4) == 0:
            return once(host, start, size) and is_host(value, size)
    elif name_size == 6:
        return strncasecmp(name, b"expect", 6) != 0 and strncasecmp(name, b"origin", 6) != 0
    elif name_size == 7:
        return strncasecmp(name, b"upgrade", 7) != 0
    elif name_size == 10:
        if strncasecmp(name, b"connection", 10) == 0:
            fields.close = is_word(value, size, b"close", 5)
            return once(connection, start, size) and (fields.close or is_word(value, size, b"keep-alive", 10))
    elif name_size == 12:
        if strncasecmp(name, b"content-type", 12) == 0:
            return once(&fields.content_type, start, size)
    elif name_size == 13:
        if strncasecmp(name, b"authorization", 13) == 0:
            return once(&fields.authorization, start, size)
    elif name_size == 14:
        if strncasecmp(name, b"content-length", 14) == 0:
            return once(&fields.length, start, size) and read_length(value, size) >= 0
    elif name_size == 16:
        if strncasecmp(name, b"content-encoding", 16) == 0:
            return once(encoding, start, size) and is_word(value, size, b"identity", 8)
    elif name_size == 17:
        if strncasecmp(name, b"transfer-encoding", 17) == 0:
            fields.chunked = is_word(value, size, b"chunked", 7)
            return once(coding, start, size) and fields.chunked
    return True


cdef Found read_head(const char* head, Py_ssize_t size, Fields* fields) noexcept:
    """Look at the bytes from a request's first on; `fields` is whole where the answer is COMPLETE."""
    cdef Slice host, connection, encoding, coding
    cdef const char* newline
    cdef Py_ssize_t at, colon, start, end, count = 0
    if memcmp(head, LINE, min(size, LINE_SIZE)) != 0:
        return STRANGE
    host.size = connection.size = encoding.size = coding.size = -1
    fields.length.size = fields.content_type.size = fields.authorization.size = -1
    fields.length.at = 0
    fields.close = fields.chunked = False
    at = LINE_SIZE
    while at < size:
        newline = <const char*>memchr(head + at, c"\n", size - at)
        if newline == NULL:
            return PARTIAL
        end = newline - head
        if head[end - 1] != c"\r":
            return STRANGE
        end -= 1
        if end == at:
            fields.size = at + 2
            return COMPLETE if host.size >= 0 and (fields.length.size >= 0) != fields.chunked else STRANGE
        colon = at
        while IN_TOKEN[<unsigned char>head[colon]]:
            colon += 1  # ends at the CR at the latest
        if colon == at or head[colon] != c":":
            return STRANGE
        start = colon + 1
        if not all_in(head + start, end - start, IN_VALUE):
            return STRANGE
        fields.size = end + 2
        while start < end and (head[start] == c" " or head[start] == c"\t"):
            start += 1
        while start < end and (head[end - 1] == c" " or head[end - 1] == c"\t"):
            end -= 1
        count += 1
        if count > MAX_FIELDS:
            return STRANGE
        if not take_field(head, fields, &host, &connection, &encoding, &coding, at, colon, start, end):
            return STRANGE
        at = fields.size
    return PARTIAL


cdef bytes compose(int status, tuple headers, bytes body, bytes date, bint close):
    """An answer's bytes."""
    cdef list parts = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"Unknown"))]
    for name, value in headers:
        parts.append(b"%b: %b\r\n" % (name, value))
    parts.append(b"content-length: %d\r\n" % len(body))
    if date:
        parts.append(b"date: %b\r\n" % date)
    if close:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    parts.append(body)
    return b"".join(parts)


cdef class Calendar:
    """The Date that answers bear, one for all sessions of a pump, which turns it.

    Without a time, and until `turn` is called, answers bear none.
    """

    cdef long long second
    cdef readonly bytes date
    cdef bytes accepted

    def __init__(self, now=None):
        self.second = -1
        self.date = b""
        self.accepted = compose(202, JSON, ACCEPTED_BODY, b"", False)
        if now is not None:
            self.turn(now)

    def turn(self, double now):
        """It is `now`, in seconds of the wall clock; cheap within a second, so it may be told each round."""
        cdef long long second = <long long>now
        if second == self.second:
            return
        self.second = second
        self.date = formatdate(second, usegmt=True).encode()
        self.accepted = compose(202, JSON, ACCEPTED_BODY, self.date, False)


cdef class Http1Session:
    """One connection, as far as it is for events: a `wire.Session`.

    `leaving` tells that what comes now is not: read no more, send what is pending, then hand over `unread`.
    """

    cdef object bounds
    cdef Calendar calendar
    cdef char* kept            # bytes of a request that is not complete, or that is for others
    cdef Py_ssize_t kept_size
    cdef Py_ssize_t kept_room
    cdef Py_ssize_t searched   # so much of a head was looked at, and is not all of it
    cdef Py_ssize_t needed     # bytes that the request whose head is known has at least; 0: none is known
    cdef Py_ssize_t chunk      # where its next chunk begins
    cdef Py_ssize_t chunked    # bytes in the chunks before that
    cdef bytes last_head       # the head last read, as it came
    cdef Py_ssize_t tail_size  # what stands in it after the digits of its Content-Length
    cdef Fields fields         # what the present head says
    cdef object head
    cdef long long next        # the next request's stream
    cdef long long first       # the first stream without an answer
    cdef dict early            # answers whose turn has not come, by stream; None stands for 202
    cdef Py_ssize_t run        # 202s to be sent after `ready`
    cdef list ready
    cdef bytes farewell        # the last answer, to a request that was never given out
    cdef bint going
    cdef readonly bint leaving
    cdef readonly bint closing

    def __init__(self, bounds, calendar=None):
        self.bounds = bounds
        self.calendar = Calendar() if calendar is None else calendar
        self.last_head = b""
        self.head = None
        self.early = {}
        self.ready = []

    def __dealloc__(self):
        free(self.kept)

    @property
    def pending(self):
        return self.next - self.first - len(self.early)

    @property
    def held(self):
        return self.kept_size

    @property
    def phase(self):
        if self.leaving or self.kept_size == 0:
            return IDLE
        return IN_BODY if self.needed else IN_HEAD

    @property
    def beside(self):
        return False

    @property
    def unread(self):
        if not self.leaving or self.first != self.next:
            return None
        return PyBytes_FromStringAndSize(self.kept, self.kept_size)

    # From the client ---------------------------------------------------------------------------------------

    def receive(self, bytes data not None, list arrivals not None):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t done
        if self.closing:
            return
        if size == 0:
            if not self.leaving:
                self._end()
            return
        if self.kept_size == 0:
            done = self._parse(PyBytes_AS_STRING(data), size, arrivals)
            if not self.closing and done < size:
                self._keep(PyBytes_AS_STRING(data) + done, size - done)
            return
        self._keep(PyBytes_AS_STRING(data), size)
        if self.leaving or self.kept_size < self.needed:
            return
        done = self._parse(self.kept, self.kept_size, arrivals)
        if self.closing or done == self.kept_size:
            self._drop()
        elif done:
            self.kept_size -= done
            memmove(self.kept, self.kept + done, self.kept_size)
            self._resize(self.kept_size)

    cdef Py_ssize_t _parse(self, const char* data, Py_ssize_t size, list arrivals) except -1:
        """Append what is complete; return where the rest begins."""
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t max_head = self.bounds.head_bytes
        cdef Py_ssize_t max_body = self.bounds.body_bytes
        cdef Py_ssize_t start
        cdef Found found
        cdef bytes body
        while at < size:
            if self.needed == 0:
                found = self._read_head(data + at, size - at, max_head, max_body)
                if found == STRANGE:
                    self.leaving = True
                    return at
                if found == PARTIAL:
                    return at
            if size - at < self.needed:
                return at
            start = at + self.fields.size
            if self.fields.chunked:
                found = self._read_chunks(data + at, size - at, max_body)
                if found == STRANGE:
                    self.leaving = True
                    return at
                if found == PARTIAL:
                    return at
                body = unchunked(data + start, self.chunked)
            else:
                body = PyBytes_FromStringAndSize(data + start, self.needed - self.fields.size)
            at += self.needed
            arrivals.append((self, self.next, self.head, body))
            self.next += 1
            self.needed = 0
            self.searched = 0
            if self.fields.close or self.going:
                self.closing = True
                return at
        return at

    cdef Found _read_head(
        self, const char* data, Py_ssize_t size, Py_ssize_t max_head, Py_ssize_t max_body
    ) except? STRANGE:
        cdef Fields fields
        cdef Found found
        cdef long long length = self._as_before(data, size)
        if length < 0:
            if self.searched >= LINE_SIZE and not has_newline(data + self.searched, size - self.searched):
                found = PARTIAL
            else:
                found = read_head(data, size, &fields)
            if found == PARTIAL:
                self.searched = size
                return STRANGE if size > max_head else PARTIAL
            if found == STRANGE:
                return STRANGE
            self._learn(data, &fields)
            length = 0 if fields.chunked else read_length(data + fields.length.at, fields.length.size)
        if self.fields.size > max_head or length > max_body:
            return STRANGE
        self.needed = self.fields.size + length
        if self.fields.chunked:
            self.chunk = self.needed
            self.chunked = 0
            self.needed += END_SIZE
        return COMPLETE

    cdef Found _read_chunks(self, const char* data, Py_ssize_t size, Py_ssize_t max_body) noexcept:
        """Go on at `chunk`; where the body is COMPLETE, `needed` is where it ends.

        What is asked for with `needed` depends on the bytes before it alone, not on how they came.
        """
        cdef Py_ssize_t at, length
        while size >= self.needed:
            at = self.chunk
            length = 0
            while at < size and at - self.chunk < MAX_HEX and hex_digit(data[at]) >= 0:
                length = 16 * length + hex_digit(data[at])
                at += 1
            if at == self.chunk or not may_be_end(data + at, size - at):
                return STRANGE
            if size - at < 2:
                self.needed = size + 1
                return PARTIAL
            at += 2
            if length == 0:
                self.needed = at + 2
                if not may_be_end(data + at, size - at):
                    return STRANGE  # trailers
                return COMPLETE if size >= self.needed else PARTIAL
            if self.chunked + length > max_body or at - self.fields.size > WITH_CHUNKS * max_body:
                return STRANGE
            self.needed = at + length + 2
            if size < self.needed:
                return PARTIAL
            if not may_be_end(data + at + length, 2):
                return STRANGE
            self.chunk = self.needed
            self.chunked += length
            self.needed += END_SIZE
        return PARTIAL

    cdef long long _as_before(self, const char* data, Py_ssize_t size) noexcept:
        """The Content-Length, where the head is the last one but for that; -1 where it is not."""
        cdef const char* last = PyBytes_AS_STRING(self.last_head)
        cdef Py_ssize_t last_size = PyBytes_GET_SIZE(self.last_head)
        cdef Py_ssize_t before = self.fields.length.at
        cdef Py_ssize_t after = self.tail_size
        cdef Py_ssize_t end = before
        cdef long long length
        if self.fields.chunked:
            if last_size == 0 or size < last_size or memcmp(data, last, last_size) != 0:
                return -1
            return 0
        if last_size == 0 or size <= before or memcmp(data, last, before) != 0:
            return -1
        while end < size and c"0" <= data[end] <= c"9":
            end += 1
        length = read_length(data + before, end - before)
        if length < 0 or size - end < after or memcmp(data + end, last + last_size - after, after) != 0:
            return -1
        self.fields.length.size = end - before
        self.fields.size = end + after
        return length

    cdef _learn(self, const char* data, Fields* fields):
        """This head is the last one now; the Head is the same object if it says the same."""
        cdef object kind = slice_of(data, fields.content_type)
        cdef object proof = slice_of(data, fields.authorization)
        self.last_head = PyBytes_FromStringAndSize(data, fields.size)
        self.fields = fields[0]
        self.tail_size = fields.size - fields.length.at - fields.length.size
        if self.head is None or self.head.content_type != kind or self.head.authorization != proof:
            self.head = Head("http1", kind, proof)

    cdef _keep(self, const char* data, Py_ssize_t size):
        cdef Py_ssize_t room = self.kept_size + size
        if room > self.kept_room:  # a body grows by doubling, so that small parts cost no copy each
            self._resize(max(room, self._grown()))
        memcpy(self.kept + self.kept_size, data, size)
        self.kept_size += size

    cdef Py_ssize_t _grown(self) noexcept:
        if self.needed == 0:
            return min(2 * self.kept_room, SMALL)
        return 2 * self.kept_room if self.fields.chunked else min(2 * self.kept_room, self.needed)

    cdef _resize(self, Py_ssize_t room):
        cdef char* moved = <char*>realloc(self.kept, room)
        if moved == NULL:
            raise MemoryError
        self.kept = moved
        self.kept_room = room

    cdef _drop(self):
        """A connection that waits costs no buffer."""
        free(self.kept)
        self.kept = NULL
        self.kept_size = self.kept_room = self.needed = self.searched = 0

    cdef _end(self):
        self.closing = True
        self._drop()

    # To the client -----------------------------------------------------------------------------------------

    def accepted(self, long long stream):
        if stream != self.first or stream == self.next:
            self._set_aside(stream, None)
            return
        self._send_accepted()
        self._go_on()

    def answer(self, long long stream, int status, tuple headers, bytes body):
        if stream != self.first or stream == self.next:
            self._set_aside(stream, (status, headers, body))
            return
        self._send(status, headers, body)
        self._go_on()

    def output(self):
        cdef bytes sent
        if not self.ready:
            if self.run == 0:
                return b""
            sent = self.calendar.accepted if self.run == 1 else self.calendar.accepted * self.run
            self.run = 0
            return sent
        self._end_run()
        sent = b"".join(self.ready)
        self.ready = []
        return sent

    def expire(self):
        if self.leaving or self.closing:
            return
        if self.needed:
            self.farewell = compose(408, PROBLEM, LATE, self.calendar.date, True)
        self._end()
        self._go_on()

    def go_away(self):
        if self.leaving or self.closing:
            return
        self.going = True
        if self.kept_size == 0:
            self.closing = True

    cdef _set_aside(self, long long stream, answer):
        if self.first < stream < self.next:
            self.early.setdefault(stream, answer)

    cdef _go_on(self):
        """Send what has waited for the answer before it."""
        while self.early and self.first in self.early:
            answer = self.early.pop(self.first)
            if answer is None:
                self._send_accepted()
            else:
                self._send(answer[0], answer[1], answer[2])
        if self.farewell is not None and self.first == self.next:
            self._end_run()
            self.ready.append(self.farewell)
            self.farewell = None

    cdef _send_accepted(self):
        if self.closing and self._is_last():
            self._send(202, JSON, ACCEPTED_BODY)
            return
        self.first += 1
        self.run += 1

    cdef _send(self, int status, tuple headers, bytes body):
        cdef bint close = self.closing and self._is_last()
        self.first += 1
        self._end_run()
        self.ready.append(compose(status, headers, body, self.calendar.date, close))

    cdef bint _is_last(self):
        return self.first + 1 == self.next and self.farewell is None

    cdef _end_run(self):
        if self.run:
            self.ready.append(self.calendar.accepted * self.run)
            self.run = 0


cdef object slice_of(const char* data, Slice place):
    if place.size < 0:
        return None
    return PyBytes_FromStringAndSize(data + place.at, place.size)


cdef bytes unchunked(const char* data, Py_ssize_t size):
    """The `size` bytes in these chunks, which have been looked at."""
    cdef bytes body = PyBytes_FromStringAndSize(NULL, size)
    cdef char* to = PyBytes_AS_STRING(body)
    cdef Py_ssize_t length
    while size:
        length = 0
        while data[0] != c"\r":
            length = 16 * length + hex_digit(data[0])
            data += 1
        memcpy(to, data + 2, length)
        data += length + 4
        to += length
        size -= length
    return body
