"""What is used of Linux' epoll."""

from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "sys/epoll.h":
    enum: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int milliseconds)


cdef inline int control(int epoll, int what, int fd, uint32_t number, uint32_t events) except -1:
    """`number` comes back with what is told: a descriptor may have become another socket's by then."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = (<uint64_t>number << 32) | <uint32_t>fd
    if epoll_ctl(epoll, what, fd, &event) < 0:
        raise OSError(errno, "epoll_ctl")
    return 0


cdef inline int descriptor(const epoll_event* event) noexcept:
    return <int>(event.data.u64 & 0xFFFFFFFF)


cdef inline uint32_t number(const epoll_event* event) noexcept:
    return event.data.u64 >> 32
