"""What is known of an HTTP/2 connection and of its streams.

What is done with it stands in http2.pyx and, one thing a file and in inline functions, in: http2_head (a
request's head), http2_allowance (what a client may cost), http2_bodies (bodies and windows), http2_answers,
http2_foreign (the streams of others), http2_leaving (the way to GOAWAY), http2_ending (the end of streams,
and of the connection), http2_frames (what frames mean), http2_callbacks (what libnghttp2 calls). A file
uses those named before it. All are one extension module: libnghttp2 is linked once, and a call is one in C.
"""

cimport cython
from libc.stdint cimport int32_t, uint32_t

cimport mcp_ilert._fast.http2_head as http2_head
from mcp_ilert._fast.http2_allowance cimport Allowance
from mcp_ilert._fast.nghttp2 cimport nghttp2_session

cdef enum:
    MAX_STREAMS = 256
    SEND_CHUNK = 65_536


cdef class Budget:
    """Bytes of incomplete bodies that all sessions together hold."""

    cdef readonly size_t held
    cdef public size_t most


@cython.final
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


@cython.final
cdef class Http2Session:
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
    cdef Allowance allowance
    cdef size_t moved, moved_before
    cdef bint head_overdue
    # The head that is being read, and what the one before it said.
    cdef http2_head.Head block
    cdef object head
    cdef bytes content_type, authorization, last_type, last_authorization

    cdef bytes date(self)
    cdef object shared_head(self)
    cdef bytes drain(self)
    cdef bytes notice(self)
