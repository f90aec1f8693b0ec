"""What is known of an HTTP/1.1 connection that is for events.

What is done with it stands in http1.pyx and, one thing a file and in inline functions, in: http1_head (a
request's head), http1_chunks (a chunked body), http1_buffer (bytes that wait for more), http1_requests,
http1_answers. All are one extension module, and a call is one in C.
"""

cimport cython

from mcp_ilert._fast.http1_buffer cimport Buffer
from mcp_ilert._fast.http1_chunks cimport Chunks
from mcp_ilert._fast.http1_head cimport Fields

cdef dict REASONS  # by status


@cython.final
cdef class Calendar:
    cdef long long second
    cdef readonly bytes date
    cdef bytes accepted


@cython.final
cdef class Http1Session:
    cdef object bounds
    cdef Calendar calendar
    cdef Buffer kept           # a request that is not complete, or that is for others
    cdef Py_ssize_t searched   # so much of a head was looked at, and is not all of it
    cdef Py_ssize_t needed     # bytes that the request whose head is known has at least; 0: none is known
    cdef Chunks chunks
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

    cdef int note_head(self, bytes content_type, bytes authorization) except -1
    cdef int keep(self, const char* data, Py_ssize_t size) except -1
    cdef void drop(self) noexcept
    cdef void end(self) noexcept
