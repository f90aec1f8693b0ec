"""What a client of HTTP/2 may cost: what leads to nothing is paid for by what leads somewhere.

There is no clock in it: each read earns a little.
"""

cdef enum:
    MOST_CREDIT = 2_000      # frames that lead to nothing, in a row
    FIRST_CREDIT = 1_000
    REQUEST_CREDIT = 32      # a request pays for its own frames, and for windows opened in small steps
    BYTES_A_CREDIT = 16      # so do bodies, either way: a frame of fewer bytes than this costs
    SETTINGS_COST = 8        # they may touch every stream
    MOST_RESETS = 200        # beyond one for every two requests that the client let us answer
    MOST_STRAY = 4 << 20     # bytes of frames that are passed over, beyond
    STRAY_BYTES = 131_072    # what may be under way for a stream when it is closed

cdef struct Allowance:
    Py_ssize_t credit, resets, stray


cdef inline void begin(Allowance* left) noexcept:
    left.credit = FIRST_CREDIT
    left.resets = MOST_RESETS
    left.stray = MOST_STRAY


cdef inline void earn(Allowance* left, Py_ssize_t credit) noexcept:
    left.credit = min(left.credit + credit, MOST_CREDIT)


cdef inline void earn_for_bytes(Allowance* left, size_t size) noexcept:
    earn(left, size // BYTES_A_CREDIT)


cdef inline bint spend(Allowance* left, Py_ssize_t cost) noexcept:
    """Whether that was left."""
    left.credit -= cost
    return left.credit >= 0


cdef inline bint count_reset(Allowance* left) noexcept:
    """Whether one was left."""
    left.resets -= 1
    return left.resets >= 0


cdef inline void count_answered(Allowance* left, int stream) noexcept:
    """A reset is earned by every second stream: they have odd numbers."""
    if left.resets < MOST_RESETS and not stream & 2:
        left.resets += 1


cdef inline bint count_received(Allowance* left, Py_ssize_t size) noexcept:
    """Whether it may be so much more than the frames that are told of.

    Those that libnghttp2 passes over, of closed streams or unknown types, show as bytes only.
    """
    left.stray -= size
    return left.stray >= 0


cdef inline void count_frame(Allowance* left, Py_ssize_t size) noexcept:
    """So many of the bytes received are a frame that is told of."""
    left.stray += size


cdef inline void count_closed(Allowance* left) noexcept:
    left.stray = min(left.stray + STRAY_BYTES, MOST_STRAY)
