/* SPDX-License-Identifier: Apache-2.0 */
#include "client/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Waits for a connection that is on its way; 0 or an errno. */
static int await_connected(int fd, uint64_t timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = 0, ready;
    socklen_t len = sizeof(error);

    do {
        ready = poll(&wait, 1, (int)timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return ETIMEDOUT;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

/* 0 or an errno. */
static int bind_source(int fd, int family, const char *source)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = 0;

    if (getaddrinfo(source, NULL, &hints, &found) != 0)
        return EADDRNOTAVAIL;
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0)
        error = errno;
    freeaddrinfo(found);
    return error;
}

/* Gives a connected descriptor, or -1 with errno. */
static int dial_address(const struct addrinfo *address, const char *source, uint64_t timeout_ms)
{
    int one = 1, error = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (source != NULL)
        error = bind_source(fd, address->ai_family, source);
    if (error == 0 && connect(fd, address->ai_addr, address->ai_addrlen) != 0)
        error = errno == EINPROGRESS ? await_connected(fd, timeout_ms) : errno;
    if (error == 0)
        return fd;
    close(fd);
    errno = error;
    return -1;
}

enum rc dial(const char *host, uint16_t port, const char *source, uint64_t timeout_ms, int *fd,
             char *why, size_t why_room)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[8];

    snprintf(service, sizeof(service), "%u", port);
    int error = getaddrinfo(host, service, &hints, &found);
    if (error != 0) {
        snprintf(why, why_room, "%s: %s", host, gai_strerror(error));
        return RC_NOT_FOUND;
    }
    *fd = -1;
    for (const struct addrinfo *at = found; at != NULL && *fd < 0; at = at->ai_next)
        *fd = dial_address(at, source, timeout_ms);
    if (*fd < 0)
        snprintf(why, why_room, "%s:%u: %s", host, port, strerror(errno));
    freeaddrinfo(found);
    return *fd < 0 ? RC_IO : RC_OK;
}
