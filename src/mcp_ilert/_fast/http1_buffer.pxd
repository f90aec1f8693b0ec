"""Bytes that wait for more: a connection that waits for nothing costs none."""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

cdef struct Buffer:
    char* data
    Py_ssize_t size
    Py_ssize_t room


cdef inline int append(Buffer* kept, const char* data, Py_ssize_t size, Py_ssize_t most) except -1:
    """It grows by doubling up to `most`, so that small parts cost no copy each; beyond, to what is needed."""
    cdef Py_ssize_t room = kept.size + size
    if room > kept.room:
        resize(kept, max(room, min(2 * kept.room, most)))
    memcpy(kept.data + kept.size, data, size)
    kept.size += size
    return 0


cdef inline int cut(Buffer* kept, Py_ssize_t size) except -1:
    """The first bytes, not all, are done with."""
    kept.size -= size
    memmove(kept.data, kept.data + size, kept.size)
    return resize(kept, kept.size)


cdef inline int resize(Buffer* kept, Py_ssize_t room) except -1:
    cdef char* moved = <char*>realloc(kept.data, room)
    if moved == NULL:
        raise MemoryError
    kept.data = moved
    kept.room = room
    return 0


cdef inline void drop(Buffer* kept) noexcept:
    free(kept.data)
    kept.data = NULL
    kept.size = kept.room = 0
