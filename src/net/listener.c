/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include "base/check.h"
#include "base/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct addrinfo *resolve(const struct listener_address *address)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *found = NULL;
    char port[8];

    snprintf(port, sizeof(port), "%u", address->port);
    if (getaddrinfo(address->host[0] == '\0' ? NULL : address->host, port, &hints, &found) != 0) {
        errno = EADDRNOTAVAIL;
        return NULL;
    }
    return found;
}

static bool option_on(int fd, int level, int name)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

static bool bound_port(int fd, uint16_t *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t len = sizeof(address);

    if (getsockname(fd, &address.any, &len) != 0)
        return false;
    *port = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
    return true;
}

/* A socket without SO_REUSEPORT binds only where nobody is; the option may be set behind that. */
static bool bind_to(int fd, const struct addrinfo *info, bool exclusive)
{
    return (exclusive || option_on(fd, SOL_SOCKET, SO_REUSEPORT)) &&
           bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
           (!exclusive || option_on(fd, SOL_SOCKET, SO_REUSEPORT));
}

static bool bind_and_listen(int fd, const struct addrinfo *info, bool exclusive, int backlog)
{
    return option_on(fd, SOL_SOCKET, SO_REUSEADDR) && option_on(fd, IPPROTO_TCP, TCP_NODELAY) &&
           (info->ai_family != AF_INET6 || option_on(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
           bind_to(fd, info, exclusive) && listen(fd, backlog) == 0;
}

int listener_bind(struct listener_address *address, int backlog)
{
    struct addrinfo *info = resolve(address);
    int fd;

    if (info == NULL)
        return -1;
    fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !(bind_and_listen(fd, info, address->exclusive, backlog) &&
                     bound_port(fd, &address->port))) {
        int error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    freeaddrinfo(info);
    return fd;
}

/* Errors of the connection, not of the listener: look at the next one. */
static bool accept_error_passes(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO;
}

static void rest(struct listener *listener, int error)
{
    LOG_LIMITED(LOG_WARN, "listener.out_of_descriptors", log_text("error", uv_err_name(-error)),
                log_uint("rest_ms", LISTENER_REST_MS));
    uv_poll_stop(&listener->poll);
    loop_timer_start(listener->loop, &listener->rest, listener->loop->now_ms + LISTENER_REST_MS);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = CONTAINER_OF(poll, struct listener, poll);

    (void)status; /* accept4() says what is wrong */
    (void)events;
    for (int i = 0; i < LISTENER_ACCEPTS_PER_TURN && !uv_is_closing((uv_handle_t *)poll); i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            loop_count(&listener->loop->counters.accepts, 1);
            listener->accepted(listener, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (!accept_error_passes(errno)) {
            rest(listener, errno);
            return;
        }
    }
}

static void start_polling(struct listener *listener)
{
    CHECK(uv_poll_start(&listener->poll, UV_READABLE, on_poll) == 0);
}

static void on_rest_over(struct loop_timer *timer)
{
    start_polling(CONTAINER_OF(timer, struct listener, rest));
}

static void close_from_loop(uv_poll_t *poll)
{
    struct listener *listener = CONTAINER_OF(poll, struct listener, poll);
    listener_close(listener, listener->closed);
}

static const struct loop_handle_kind listener_kind = {.close = close_from_loop};

enum rc listener_start(struct listener *listener, struct loop *loop, int fd,
                       enum transport transport,
                       void (*accepted)(struct listener *listener, int fd), void *owner)
{
    *listener = (struct listener){
        .loop = loop,
        .fd = fd,
        .transport = transport,
        .accepted = accepted,
        .owner = owner,
    };
    loop_timer_init(&listener->rest, on_rest_over);
    if (uv_poll_init(&loop->uv, &listener->poll, fd) != 0) {
        close(fd);
        return RC_IO;
    }
    listener->poll.data = (void *)(uintptr_t)&listener_kind;
    start_polling(listener);
    return RC_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = CONTAINER_OF((uv_poll_t *)handle, struct listener, poll);
    if (listener->closed != NULL)
        listener->closed(listener);
}

void listener_close(struct listener *listener, void (*closed)(struct listener *listener))
{
    listener->closed = closed;
    loop_timer_stop(listener->loop, &listener->rest);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd);
    listener->fd = -1;
}
