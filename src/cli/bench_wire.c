/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the generator: dialling, reading, writing, the step. Packets are in bench_packets.c.
 */
#include "cli/bench_wire.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "cli/bench_packets.h"
#include "client/ws.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    EVENTS_PER_STEP = 512,
    OUT_ROOM_MIN = 128,
    CONNS_PER_ADDRESS = 8000,
    ADDRESSES = 250,
    RUN_SLICE_NS = 50 * 1000 * 1000,
};

static const uint32_t FIRST_SOURCE = 0x7f000002; /* 127.0.0.2 */

/* ---- Buffers ----------------------------------------------------------------------------------
 */

uint8_t *wire_reserve(struct wire_buffer *buffer, size_t size)
{
    if (buffer->sent > 0 && (buffer->sent == buffer->len || buffer->len + size > buffer->room)) {
        memmove(buffer->data, buffer->data + buffer->sent, buffer->len - buffer->sent);
        buffer->len -= buffer->sent;
        buffer->sent = 0;
    }
    if (buffer->len + size > buffer->room) {
        size_t room = buffer->room < OUT_ROOM_MIN ? OUT_ROOM_MIN : buffer->room;
        while (room < buffer->len + size)
            room *= 2;
        buffer->data = mem_resize(buffer->data, room);
        buffer->room = room;
    }
    return buffer->data + buffer->len;
}

static void buffer_free(struct wire_buffer *buffer)
{
    mem_free(buffer->data);
    *buffer = (struct wire_buffer){0};
}

/* Keeps what is left of the input until more comes. */
static void input_keep(struct wire_conn *conn, const uint8_t *data, size_t len)
{
    conn->in.len = conn->in.sent = 0;
    if (len == 0) {
        if (conn->in.data != NULL)
            buffer_free(&conn->in);
        return;
    }
    memcpy(wire_reserve(&conn->in, len), data, len);
    conn->in.len = len;
}

/* ---- The life of a connection -----------------------------------------------------------------
 */

static struct addrinfo *find_peer(const char *host, uint16_t number)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];

    snprintf(port, sizeof(port), "%u", number);
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0)
        bench_fail(EX_NOHOST, "%s: %s", host, gai_strerror(error));
    return found;
}

void wire_init(struct wire *wire, const struct bench_settings *settings, const struct wire_ops *ops,
               void *owner)
{
    *wire = (struct wire){.settings = settings, .ops = ops, .owner = owner};
    wire->peer = wire->subscribers_peer = find_peer(settings->host, settings->port);
    if (settings->subscribers_host[0] != '\0')
        wire->subscribers_peer = find_peer(settings->subscribers_host, settings->subscribers_port);
    wire->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (wire->epoll < 0)
        bench_fail(EX_OSERR, "epoll_create1: %s", strerror(errno));
    wire->read_room = WIRE_READ_SIZE;
    wire->read_buffer = mem_new(wire->read_room);
}

void wire_deinit(struct wire *wire)
{
    close(wire->epoll);
    if (wire->subscribers_peer != wire->peer)
        freeaddrinfo(wire->subscribers_peer);
    freeaddrinfo(wire->peer);
    mem_free(wire->read_buffer);
    mem_free(wire->dirty);
}

struct wire_conn *wire_group_new(uint32_t count, bool publishers)
{
    struct wire_conn *group = mem_new(sizeof(*group) * (count > 0 ? count : 1));

    for (uint32_t i = 0; i < count; i++) {
        group[i].fd = -1;
        group[i].is_publisher = publishers;
        group[i].index = group[i].address = i;
    }
    return group;
}

void wire_group_free(struct wire *wire, struct wire_conn *group, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        wire_close(wire, &group[i]);
        mem_free(group[i].ids);
        mem_free(group[i].header);
    }
    mem_free(group);
}

static void watch(struct wire *wire, struct wire_conn *conn, int operation, bool writable)
{
    struct epoll_event event = {
        .events = EPOLLIN | (writable ? EPOLLOUT : 0),
        .data.ptr = conn,
    };
    conn->waits_writable = writable;
    if (epoll_ctl(wire->epoll, operation, conn->fd, &event) != 0)
        bench_fail(EX_OSERR, "epoll_ctl: %s", strerror(errno));
}

static void bind_spread(struct wire *wire, const struct wire_conn *conn)
{
    const struct addrinfo *peer = wire->peer;
    const struct sockaddr_in *to = (const struct sockaddr_in *)peer->ai_addr;
    struct sockaddr_in from = {.sin_family = AF_INET};
    int one = 1;

    if (peer->ai_family != AF_INET || ntohl(to->sin_addr.s_addr) >> 24 != 127)
        return;
    from.sin_addr.s_addr = htonl(FIRST_SOURCE + conn->address / CONNS_PER_ADDRESS % ADDRESSES);
    setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(conn->fd, (const struct sockaddr *)&from, sizeof(from)) != 0)
        bench_fail(EX_OSERR, "cannot bind a source address: %s", strerror(errno));
}

void wire_open(struct wire *wire, struct wire_conn *conn, enum wire_spread spread)
{
    const struct addrinfo *peer = conn->is_publisher ? wire->peer : wire->subscribers_peer;
    int one = 1;

    CHECK(conn->state == WIRE_CLOSED);
    conn->fd = socket(peer->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        bench_fail(EX_OSERR, "socket: %s; see ulimit -n", strerror(errno));
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (spread == WIRE_SPREAD)
        bind_spread(wire, conn);
    if (wire->settings->websocket_path != NULL)
        conn->websocket = ws_new();
    conn->state = WIRE_DIALLING;
    conn->receive_maximum = UINT16_MAX;
    conn->inflight = 0;
    conn->opened_ns = clock_ns();
    watch(wire, conn, EPOLL_CTL_ADD, true);
    if (connect(conn->fd, peer->ai_addr, peer->ai_addrlen) != 0 && errno != EINPROGRESS)
        wire_lose(wire, conn);
}

void wire_close(struct wire *wire, struct wire_conn *conn)
{
    if (conn->state == WIRE_CLOSED)
        return;
    if (conn->state == WIRE_UP)
        wire->counters.up--;
    conn->state = WIRE_CLOSED;
    close(conn->fd);
    conn->fd = -1;
    buffer_free(&conn->in);
    buffer_free(&conn->out);
    buffer_free(&conn->framed);
    ws_free(conn->websocket);
    conn->websocket = NULL;
    if (conn->ids != NULL)
        memset(conn->ids, 0, WIRE_PACKET_IDS);
}

void wire_lose(struct wire *wire, struct wire_conn *conn)
{
    if (conn->state == WIRE_CLOSED)
        return;
    if (conn->state == WIRE_UP)
        wire->counters.lost++;
    else
        wire->counters.failed++;
    wire_close(wire, conn);
    if (wire->ops->lost != NULL)
        wire->ops->lost(conn, wire->owner);
}

void wire_goodbye(struct wire *wire, struct wire_conn *conn)
{
    if (conn->state == WIRE_UP) {
        packets_put_disconnect(conn);
        wire_flush(wire, conn);
    }
    wire_close(wire, conn);
}

/* ---- Output -----------------------------------------------------------------------------------
 */

static void send_all(struct wire *wire, struct wire_conn *conn)
{
    struct wire_buffer *out = conn->websocket != NULL ? &conn->framed : &conn->out;

    while (out->sent < out->len) {
        ssize_t n = send(conn->fd, out->data + out->sent, out->len - out->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (!conn->waits_writable)
                watch(wire, conn, EPOLL_CTL_MOD, true);
            return;
        }
        if (n < 0) {
            wire_lose(wire, conn);
            return;
        }
        out->sent += (size_t)n;
    }
    out->len = out->sent = 0;
    if (conn->waits_writable)
        watch(wire, conn, EPOLL_CTL_MOD, false);
}

static void put_framed(void *owner, const uint8_t *data, size_t len)
{
    struct wire_buffer *framed = owner;

    memcpy(wire_reserve(framed, len), data, len);
    framed->len += len;
}

void wire_flush(struct wire *wire, struct wire_conn *conn)
{
    if (conn->state < WIRE_GREETING || conn->waits_writable)
        return;
    if (conn->websocket != NULL && conn->out.len > 0) {
        ws_write(conn->websocket, bytes_of(conn->out.data, conn->out.len), put_framed,
                 &conn->framed);
        conn->out.len = 0;
    }
    send_all(wire, conn);
}

void wire_mark_more(struct wire *wire, struct wire_conn *conn)
{
    if (wire->dirty_count == wire->dirty_room) {
        wire->dirty_room = wire->dirty_room > 0 ? 2 * wire->dirty_room : 256;
        wire->dirty = mem_resize(wire->dirty, wire->dirty_room * sizeof(struct wire_conn *));
    }
    conn->dirty = true;
    wire->dirty[wire->dirty_count++] = conn;
}

/* ---- Input ------------------------------------------------------------------------------------
 */

static void greet(struct wire *wire, struct wire_conn *conn)
{
    conn->state = WIRE_GREETING;
    packets_put_connect(wire, conn);
    wire_flush(wire, conn);
}

/* TCP is there. */
static void dialled(struct wire *wire, struct wire_conn *conn)
{
    char request[1024];

    watch(wire, conn, EPOLL_CTL_MOD, false);
    if (conn->websocket == NULL) {
        greet(wire, conn);
        return;
    }
    size_t len = ws_request(conn->websocket, wire->settings->host, wire->settings->port,
                            wire->settings->websocket_path, request, sizeof(request));
    conn->state = WIRE_UPGRADING;
    if (send(conn->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
        wire_lose(wire, conn);
}

/* Takes the HTTP answer off the front of the input. Gives what was consumed. */
static size_t upgrade(struct wire *wire, struct wire_conn *conn, struct bytes in)
{
    size_t consumed = 0;

    switch (ws_answer(conn->websocket, in, &consumed)) {
    case RC_AGAIN:
        return 0;
    case RC_OK:
        if (consumed == in.len) { /* the broker has nothing to say before CONNECT */
            greet(wire, conn);
            return consumed;
        }
        break;
    default:
        break;
    }
    wire_lose(wire, conn);
    return 0;
}

static void put_unframed(void *owner, const uint8_t *data, size_t len)
{
    struct wire_conn *conn = owner;

    memcpy(wire_reserve(&conn->in, len), data, len);
    conn->in.len += len;
}

/* WebSocket: conn->in collects MQTT bytes, from which whole packets are taken. */
static void framed_input(struct wire *wire, struct wire_conn *conn, struct bytes in)
{
    enum rc rc = ws_read(conn->websocket, in, put_unframed, conn, put_framed, &conn->framed);
    struct bytes packets = bytes_of(conn->in.data, conn->in.len);
    size_t consumed = packets_take(wire, conn, packets);
    if (conn->state == WIRE_CLOSED)
        return;
    if (consumed > 0)
        memmove(conn->in.data, conn->in.data + consumed, packets.len - consumed);
    conn->in.len -= consumed;
    if (rc != RC_OK)
        wire_lose(wire, conn);
}

/* What is kept goes to the front of the shared buffer; gives its length. */
static size_t input_restore(struct wire *wire, struct wire_conn *conn)
{
    size_t kept = conn->in.len;

    if (kept + WIRE_READ_SIZE > wire->read_room) {
        wire->read_room = 2 * kept + WIRE_READ_SIZE;
        wire->read_buffer = mem_resize(wire->read_buffer, wire->read_room);
    }
    if (kept > 0)
        memcpy(wire->read_buffer, conn->in.data, kept);
    return kept;
}

static void readable(struct wire *wire, struct wire_conn *conn)
{
    bool framed = conn->websocket != NULL && conn->state >= WIRE_GREETING;
    size_t kept = framed ? 0 : input_restore(wire, conn);
    ssize_t n = recv(conn->fd, wire->read_buffer + kept, wire->read_room - kept, 0);

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            wire_lose(wire, conn);
        return;
    }
    wire->now_ns = clock_ns();
    struct bytes in = bytes_of(wire->read_buffer, kept + (size_t)n);
    if (framed) {
        framed_input(wire, conn, in);
    } else {
        size_t consumed =
            conn->state == WIRE_UPGRADING ? upgrade(wire, conn, in) : packets_take(wire, conn, in);
        if (conn->state == WIRE_CLOSED)
            return;
        input_keep(conn, in.data + consumed, in.len - consumed);
    }
    if (conn->state != WIRE_CLOSED && conn->out.len + conn->framed.len > 0 && !conn->dirty)
        wire_flush(wire, conn);
}

/* ---- The step ---------------------------------------------------------------------------------
 */

static void handle(struct wire *wire, struct wire_conn *conn, uint32_t events)
{
    if (conn->state == WIRE_CLOSED)
        return;
    if (conn->state == WIRE_DIALLING) {
        int error = 0;
        socklen_t len = sizeof(error);
        getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0)
            wire_lose(wire, conn);
        else if (events & EPOLLOUT)
            dialled(wire, conn);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        readable(wire, conn);
    if (conn->state != WIRE_CLOSED && (events & EPOLLOUT)) {
        send_all(wire, conn);
        if (conn->state == WIRE_UP && conn->is_publisher)
            wire_mark(wire, conn);
    }
}

/* refill() may mark again: that is for the next step. */
static void refill(struct wire *wire)
{
    size_t count = wire->dirty_count;

    for (size_t i = 0; i < count; i++) {
        struct wire_conn *conn = wire->dirty[i];
        conn->dirty = false;
        if (conn->state != WIRE_UP)
            continue;
        if (!conn->waits_writable && wire->ops->refill != NULL)
            wire->ops->refill(conn, wire->owner);
        wire_flush(wire, conn);
    }
    wire->dirty_count -= count;
    memmove(wire->dirty, wire->dirty + count, wire->dirty_count * sizeof(struct wire_conn *));
}

void wire_step(struct wire *wire, uint64_t timeout_ns)
{
    struct epoll_event events[EVENTS_PER_STEP];
    struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ns / 1000000000),
        .tv_nsec = (long)(timeout_ns % 1000000000),
    };

    if (wire->settings->spin)
        timeout = (struct timespec){0};
    int count = epoll_pwait2(wire->epoll, events, EVENTS_PER_STEP, &timeout, NULL);
    if (count < 0 && errno == ENOSYS) /* under valgrind; an open loop then sends up to 1 ms late */
        count = epoll_wait(wire->epoll, events, EVENTS_PER_STEP, timeout.tv_nsec > 0 ? 1 : 0);
    for (int i = 0; i < count; i++)
        handle(wire, events[i].data.ptr, events[i].events);
    if (wire->dirty_count > 0)
        refill(wire);
}

void wire_run_for(struct wire *wire, double seconds)
{
    uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);
    uint64_t now;

    while (!bench_interrupted && (now = clock_ns()) < end)
        wire_step(wire, end - now < RUN_SLICE_NS ? end - now : RUN_SLICE_NS);
}
