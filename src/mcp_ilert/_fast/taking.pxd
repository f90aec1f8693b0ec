import cython

from mcp_ilert._fast.mapping cimport Table

cdef object ALERT
cdef str PLAIN_TIME


cdef class Taker:
    cdef readonly Table table
    cdef readonly object decode
    cdef readonly object careful
    cdef readonly tuple targets
    cdef readonly bint plain_key
    cdef readonly tuple severities
    cdef readonly dict kinds
    cdef readonly object entry

    cpdef object take(self, bytes payload, Py_ssize_t most_bytes, object now_ms, object allows)

    @cython.locals(severity=cython.int, index=cython.int, key=str)
    cdef object mapped(self, object event, bytes payload, object now_ms)
    cdef bint sound(self, bytes payload) except -1

    @cython.locals(index=Py_ssize_t, end=Py_ssize_t)
    cpdef Py_ssize_t each(
        self,
        object payloads,
        Py_ssize_t start,
        Py_ssize_t most_bytes,
        object now_ms,
        object allows,
        list entries,
    ) except -1


cdef bint plain_details(bytes raw) except -1


@cython.locals(size=Py_ssize_t, index=Py_ssize_t, char=Py_UCS4, pattern=Py_UCS4)
cpdef bint plain_time(str text) except -1


@cython.locals(minute=Py_UCS4, digit=Py_UCS4)
cdef bint plain_zone(str text, Py_ssize_t index, Py_ssize_t size) except -1


cdef bint in_range(
    Py_UCS4 tens, Py_UCS4 ones, Py_UCS4 least_tens, Py_UCS4 least, Py_UCS4 most_tens, Py_UCS4 most
) except -1


@cython.locals(tens=Py_UCS4, ones=Py_UCS4, month=Py_UCS4)
cdef bint plain_day(str text) except -1


@cython.locals(payload=bytes)
cpdef bint shallow(list payloads, Py_ssize_t most) except -1
