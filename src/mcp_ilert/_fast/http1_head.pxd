"""Reads the head of an HTTP/1.1 request, `POST /events` in its common shape; http1.pyx says what that is."""

from libc.string cimport memchr, memcmp, strncasecmp

cdef enum:
    MAX_FIELDS = 100
    MAX_DIGITS = 10  # of a Content-Length; h11 takes 20, but no body that we take is so large
    MAX_LABEL = 63
    LINE_SIZE = 23   # of the request line

# Per byte, whether it may stand in a token (RFC 9110, 5.6.2), in a value (visible, space, tab, obs-text),
# between the dots of a host's name, in an IPv6 address.
cdef extern from *:
    """
    static unsigned char IN_TOKEN[256], IN_VALUE[256], IN_LABEL[256], IN_IPV6[256];
    """
    unsigned char[256] IN_TOKEN, IN_VALUE, IN_LABEL, IN_IPV6

cdef enum Found:
    PARTIAL
    STRANGE
    COMPLETE

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


cdef inline Found read_head(const char* head, Py_ssize_t size, Fields* fields) noexcept:
    """Look at the bytes from a request's first on; `fields` is whole where the answer is COMPLETE."""
    cdef Slice host, connection, encoding, coding
    cdef const char* newline
    cdef Py_ssize_t at, colon, start, end, count = 0
    if memcmp(head, b"POST /events HTTP/1.1\r\n", min(size, LINE_SIZE)) != 0:
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


cdef inline bint take_field(
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


cdef inline bint once(Slice* place, Py_ssize_t at, Py_ssize_t size) noexcept:
    if place.size >= 0:
        return False
    place.at = at
    place.size = size
    return True


# What may stand in a value ----------------------------------------------------------------------------------

cdef inline bint is_word(const char* value, Py_ssize_t size, const char* word, Py_ssize_t word_size) noexcept:
    return size == word_size and strncasecmp(value, word, size) == 0


cdef inline long long read_length(const char* digits, Py_ssize_t size) noexcept:
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


cdef inline bint is_host(const char* text, Py_ssize_t size) noexcept:
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


cdef inline bint is_name(const char* text, Py_ssize_t size) noexcept:
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


cdef inline bint all_in(const char* text, Py_ssize_t size, const unsigned char* table) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        if not table[<unsigned char>text[i]]:
            return False
    return True


cdef inline int prepare() except -1:
    """Fill the tables, once; nothing changes them after this."""
    cdef bytes alnum = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    mark(IN_TOKEN, alnum + b"!#$%&'*+-.^_`|~")
    mark(IN_VALUE, b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)))
    mark(IN_LABEL, alnum + b"-_")
    mark(IN_IPV6, b"0123456789abcdefABCDEF:.")
    return 0


cdef inline int mark(unsigned char* table, bytes members) except -1:
    for code in members:
        table[<unsigned char>code] = 1
    return 0
