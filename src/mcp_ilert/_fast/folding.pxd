import cython

cdef object ALERT
cdef object CRITICAL


@cython.locals(size=Py_ssize_t)
cpdef Py_ssize_t sift(object entries, list kept, set critical) except -1


@cython.locals(key=str, found=list)
cpdef group(object entries, dict by_key)


cpdef run_of(list entries)
