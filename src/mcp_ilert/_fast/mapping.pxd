cdef class Rule:
    cdef readonly str literal
    cdef readonly object pattern
    cdef readonly tuple tags
    cdef readonly int severities
    cdef readonly tuple labels

    cpdef bint matches(self, str source, tuple tags, int severity, dict labels) except? -1


cdef class Table:
    cdef readonly dict priorities
    cdef readonly int default
    cdef readonly dict words
    cdef readonly tuple parts
    cdef readonly list rules

    cpdef int severity(self, object priority, object word) except? -1
    cpdef int first(self, str source, tuple tags, int severity, dict labels) except? -2
    cpdef object key(self, object event)
