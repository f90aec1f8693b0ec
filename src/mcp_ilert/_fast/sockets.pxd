"""What is used of the system's sockets."""

from libc.errno cimport EINTR, errno

cdef extern from "sys/socket.h":
    enum: SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL, AF_INET, AF_INET6, SHUT_WR
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    ssize_t recv(int fd, void* into, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)
    int shutdown(int fd, int how)

cdef extern from "netinet/in.h":
    enum: IPPROTO_TCP
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        in_addr sin_addr
    struct sockaddr_in6:
        in6_addr sin6_addr

cdef extern from "netinet/tcp.h":
    enum: TCP_NODELAY

cdef extern from "arpa/inet.h":
    const char* inet_ntop(int family, const void* address, char* into, socklen_t size)

cdef extern from "unistd.h":
    int close(int fd)

cdef extern from "fcntl.h":
    enum: O_RDONLY, O_CLOEXEC
    int open(const char* path, int flags)


cdef inline int accept(int listener, sockaddr_storage* address) noexcept:
    """A connection that does not block and waits for no more before it sends; below 0: see errno."""
    cdef socklen_t size = sizeof(sockaddr_storage)
    cdef int one = 1
    cdef int fd = accept4(listener, <sockaddr*>address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd >= 0:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    return fd


cdef inline ssize_t send_some(int fd, const char* data, size_t size) noexcept:
    """The bytes that the socket takes; below 0: see errno."""
    cdef ssize_t sent
    while True:
        sent = send(fd, data, size, MSG_NOSIGNAL)
        if sent >= 0 or errno != EINTR:
            return sent


cdef inline str name(const sockaddr_storage* address):
    """The address without its port; "" where it has none."""
    cdef char text[64]
    cdef const char* found = NULL
    if address.ss_family == AF_INET:
        found = inet_ntop(AF_INET, &(<sockaddr_in*>address).sin_addr, text, sizeof(text))
    elif address.ss_family == AF_INET6:
        found = inet_ntop(AF_INET6, &(<sockaddr_in6*>address).sin6_addr, text, sizeof(text))
    return "" if found == NULL else (<bytes>found).decode("ascii")
