/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under a broker: a TCP forwarder that knows just enough MQTT for `skein bench` to
 * connect and subscribe, and then moves the publishers' bytes to the subscribers unread. What it
 * costs is what the kernel costs; no broker can be cheaper on the same machine.
 *
 * It is no broker: QoS 0 only, one filter a connection ("topic" or "prefix/+"), a publisher's
 * receivers are looked up once, at its first message, nothing is checked and nothing is limited.
 *
 *     skein_floor PORT
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    FILTER_MAX = 64,
    EVENTS = 512,
    BACKLOG = 4096,
    CONNECT = 1,
    PUBLISH = 3,
    SUBSCRIBE = 8,
    DISCONNECT = 14,
    VERSION_5 = 5,
};

struct buffer {
    uint8_t *data;
    size_t len, room;
};

struct conn {
    struct buffer out, kept; /* kept: the beginning of a packet */
    bool waits_writable, dirty;
    char filter[FILTER_MAX]; /* empty: subscribes to nothing */
    int *receivers;          /* NULL until the first message */
    int receiver_count;
    uint8_t version;
};

struct floor {
    int epoll, listener;
    struct conn *conns; /* by descriptor */
    int conns_max;
    int *dirty;
    int dirty_count;
    uint8_t read[2 * READ_SIZE];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *checked(void *block)
{
    if (block == NULL)
        die("memory");
    return block;
}

static void append(struct buffer *buffer, const void *data, size_t len)
{
    if (buffer->len + len > buffer->room) {
        buffer->room = 2 * (buffer->len + len);
        buffer->data = checked(realloc(buffer->data, buffer->room));
    }
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

static void put(struct floor *floor, int fd, const void *data, size_t len)
{
    struct conn *conn = &floor->conns[fd];

    append(&conn->out, data, len);
    if (!conn->dirty) {
        conn->dirty = true;
        floor->dirty[floor->dirty_count++] = fd;
    }
}

static void watch(struct floor *floor, int fd, int operation, bool writable)
{
    struct epoll_event event = {
        .events = EPOLLIN | (writable ? EPOLLOUT : 0),
        .data.fd = fd,
    };

    floor->conns[fd].waits_writable = writable;
    if (epoll_ctl(floor->epoll, operation, fd, &event) != 0)
        die("epoll_ctl");
}

static void flush(struct floor *floor, int fd)
{
    struct conn *conn = &floor->conns[fd];
    size_t sent = 0;

    while (sent < conn->out.len) {
        ssize_t n = send(fd, conn->out.data + sent, conn->out.len - sent, MSG_NOSIGNAL);
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    conn->out.len -= sent;
    memmove(conn->out.data, conn->out.data + sent, conn->out.len);
    if (conn->waits_writable != (conn->out.len > 0))
        watch(floor, fd, EPOLL_CTL_MOD, conn->out.len > 0);
}

static bool matches(const char *filter, const uint8_t *topic, size_t len)
{
    size_t filter_len = strlen(filter);

    if (filter_len > 0 && filter[filter_len - 1] == '+')
        return len >= filter_len - 1 && memcmp(filter, topic, filter_len - 1) == 0;
    return filter_len == len && memcmp(filter, topic, len) == 0;
}

static void find_receivers(struct floor *floor, struct conn *conn, const uint8_t *topic, size_t len)
{
    conn->receivers = checked(malloc(sizeof(int) * (size_t)floor->conns_max));
    for (int fd = 0; fd < floor->conns_max; fd++)
        if (floor->conns[fd].filter[0] != '\0' && matches(floor->conns[fd].filter, topic, len))
            conn->receivers[conn->receiver_count++] = fd;
}

static void take_subscribe(struct floor *floor, int fd, const uint8_t *body)
{
    struct conn *conn = &floor->conns[fd];
    bool v5 = conn->version == VERSION_5;
    size_t at = v5 ? 3 : 2; /* packet id, and no properties */
    size_t len = (size_t)body[at] << 8 | body[at + 1];
    uint8_t suback[6] = {0x90, v5 ? 4 : 3, body[0], body[1], 0, 0};

    snprintf(conn->filter, FILTER_MAX, "%.*s", (int)len, (const char *)body + at + 2);
    put(floor, fd, suback, v5 ? 6 : 5);
}

static void take_connect(struct floor *floor, int fd, const uint8_t *body)
{
    static const uint8_t connack[5] = {0x20, 2, 0, 0}, connack_v5[5] = {0x20, 3, 0, 0, 0};

    floor->conns[fd].version = body[6];
    if (body[6] == VERSION_5)
        put(floor, fd, connack_v5, 5);
    else
        put(floor, fd, connack, 4);
}

/* Where the packet at `at` has its body, and its length; 0 when it is not all here. */
static size_t packet_body(const uint8_t *at, size_t len, size_t *body_len)
{
    size_t header = 1, value = 0;

    for (int shift = 0; header < len; shift += 7) {
        uint8_t byte = at[header++];
        value |= (size_t)(byte & 127) << shift;
        if (!(byte & 128)) {
            *body_len = value;
            return len - header >= value ? header : 0;
        }
    }
    return 0;
}

static void drop(struct floor *floor, int fd)
{
    struct conn *conn = &floor->conns[fd];
    bool dirty = conn->dirty;

    close(fd);
    free(conn->out.data);
    free(conn->kept.data);
    free(conn->receivers);
    *conn = (struct conn){.dirty = dirty}; /* it stays on the list */
}

/* Walks over whole packets; what is PUBLISH goes on as one piece. Gives what was consumed. */
static size_t take(struct floor *floor, int fd, const uint8_t *in, size_t len)
{
    struct conn *conn = &floor->conns[fd];
    size_t consumed = 0, published = 0, body_len = 0, header;

    while (len - consumed >= 2 &&
           (header = packet_body(in + consumed, len - consumed, &body_len)) > 0) {
        const uint8_t *body = in + consumed + header;
        int type = in[consumed] >> 4;
        consumed += header + body_len;
        if (type == PUBLISH) {
            if (conn->receivers == NULL)
                find_receivers(floor, conn, body + 2, (size_t)body[0] << 8 | body[1]);
            published = consumed;
        } else if (type == CONNECT) {
            take_connect(floor, fd, body);
        } else if (type == SUBSCRIBE) {
            take_subscribe(floor, fd, body);
        } else if (type == DISCONNECT) {
            drop(floor, fd);
            return len;
        }
    }
    for (int i = 0; published > 0 && i < conn->receiver_count; i++)
        put(floor, conn->receivers[i], in, published);
    return consumed;
}

static void readable(struct floor *floor, int fd)
{
    struct conn *conn = &floor->conns[fd];
    size_t kept = conn->kept.len;

    if (kept > READ_SIZE) {
        drop(floor, fd);
        return;
    }
    if (kept > 0)
        memcpy(floor->read, conn->kept.data, kept);
    ssize_t n = recv(fd, floor->read + kept, READ_SIZE, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(floor, fd);
        return;
    }
    size_t len = kept + (size_t)n;
    size_t consumed = take(floor, fd, floor->read, len);
    conn->kept.len = 0;
    if (consumed < len)
        append(&conn->kept, floor->read + consumed, len - consumed);
}

static void accept_all(struct floor *floor)
{
    int fd;

    while ((fd = accept4(floor->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(floor, fd, EPOLL_CTL_ADD, false);
}

static void run(struct floor *floor)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(floor->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == floor->listener) {
                accept_all(floor);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                flush(floor, fd);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                readable(floor, fd);
        }
        for (int i = 0; i < floor->dirty_count; i++) {
            struct conn *conn = &floor->conns[floor->dirty[i]];
            conn->dirty = false;
            if (conn->out.len > 0 && !conn->waits_writable)
                flush(floor, floor->dirty[i]);
        }
        floor->dirty_count = 0;
    }
}

static void start(struct floor *floor, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct rlimit files = {0};
    int one = 1;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    floor->conns_max = (int)files.rlim_cur;
    floor->conns = checked(calloc((size_t)floor->conns_max, sizeof(struct conn)));
    floor->dirty = checked(calloc((size_t)floor->conns_max, sizeof(int)));
    floor->epoll = epoll_create1(EPOLL_CLOEXEC);
    floor->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (floor->epoll < 0 || floor->listener < 0)
        die("socket");
    setsockopt(floor->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(floor->listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* inherited */
    if (bind(floor->listener, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(floor->listener, BACKLOG) != 0)
        die("bind");
    watch(floor, floor->listener, EPOLL_CTL_ADD, false);
}

int main(int argc, char **argv)
{
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

    if (port < 1 || port > UINT16_MAX) {
        fputs("usage: skein_floor PORT\n", stderr);
        return 64;
    }
    struct floor *floor = checked(calloc(1, sizeof(*floor)));
    start(floor, (uint16_t)port);
    run(floor);
}
