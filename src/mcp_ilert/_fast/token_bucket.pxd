# The types of token_bucket.py; a file without this one is the same program, slower.

cdef double _NEVER


cdef class TokenBucket:
    cdef readonly double capacity
    cdef readonly double per_second
    cdef readonly double tokens
    cdef readonly double stamp

    cpdef double available(self, double now)
    cpdef double wait(self, double n, double now)
    cpdef double take(self, double n, double now)
    cpdef void spend(self, double n, double now)
    cpdef void limit(self, double capacity, double per_second, double now)
