# The types of tls.py; a file without this one is the same program, slower.

import cython

cdef Py_ssize_t SLICE
cdef Py_ssize_t OWED
cdef Py_ssize_t HANDSHAKE


cdef class Tls:
    cdef object _incoming
    cdef object _outgoing
    cdef object _ssl
    cdef readonly object admit
    cdef bint _closed
    cdef readonly bint established
    cdef readonly bint ended
    cdef readonly Py_ssize_t work

    @cython.locals(size=Py_ssize_t, start=Py_ssize_t, said=list)
    cpdef bytes receive(self, bytes data)

    @cython.locals(size=Py_ssize_t, start=Py_ssize_t, sent=list)
    cpdef bytes seal(self, bytes data)

    cpdef bytes output(self)
    cpdef bytes close(self)

    @cython.locals(most=Py_ssize_t, size=Py_ssize_t, part=bytes, parts=list)
    cdef bytes _take(self)

    cdef bint _shaken(self) except -1
