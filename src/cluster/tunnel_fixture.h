/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of tunnels share: one worker's tunnels on a loop that is turned by hand. The other
 * node is the other end of a socket pair, at which a test speaks in frames, true or false ones.
 */
#ifndef CLUSTER_TUNNEL_FIXTURE_H
#define CLUSTER_TUNNEL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/inside.h"
#include "cluster/registration.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIXTURE_DEADLINE_MS = 10 * 1000,
    QUIET_TURNS = 8,
    REMOTE = 7,
    HOME_WORKER = 3,
    WORKER = 1,
};

/* What has come at one end of a socket pair and was not looked at. */
struct far {
    int fd; /* non-blocking; -1: closed */
    uint8_t *in;
    size_t len, taken, room;
    bool ended;
};

struct fixture {
    struct cluster cluster; /* the tunnels' owner; only its options and places are looked at */
    struct cluster_options options;
    struct loop loop;
    struct mailbox mailbox;
    struct metrics metrics;
    struct delivery_hub hub; /* the same: its metrics */
    _Atomic uint32_t connections;
    struct tunnels *tunnels;
    struct far link; /* the other node */
    /* what the tunnels asked for */
    uint32_t dials, farewells, farewells_answered;
    /* at home: what is given to the next client */
    struct served *serves;
    uint32_t accepted, refused;
    struct cluster_client client; /* the last that was accepted, or not */
};

static inline struct fixture *fixture_of_cluster(void *owner)
{
    return CONTAINER_OF((struct cluster *)owner, struct fixture, cluster);
}

/* ---- the node that is tested --------------------------------------------------------------------
 */

static inline void on_dial(void *owner, uint32_t worker, uint32_t remote, uint32_t home_worker)
{
    assert_int_equal(worker, WORKER);
    assert_int_equal(remote, REMOTE);
    assert_int_equal(home_worker, HOME_WORKER);
    fixture_of_cluster(owner)->dials++;
}

static inline void on_told(void *owner)
{
    (void)owner;
}

static const struct tunnels_ops fixture_tunnels_ops = {.dial = on_dial, .told = on_told};

/* "A": something of its home's has come to the client before; "N". */
static inline size_t on_farewell(void *owner, const struct cluster_client *client, bool answered,
                                 uint8_t *out, size_t room)
{
    struct fixture *f = owner;
    (void)client;
    assert_true(room > 0);
    f->farewells++;
    f->farewells_answered += answered;
    *out = answered ? 'A' : 'N';
    return 1;
}

static inline bool on_turn(void *owner)
{
    struct fixture *f = owner;
    struct letter *letter = mailbox_take_all(&f->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct mail *mail = CONTAINER_OF(letter, struct mail, letter);
        mail->open(mail, &f->hub);
        letter = next;
    }
    return false;
}

static inline void on_wake(void *owner)
{
    loop_wake(&((struct fixture *)owner)->loop);
}

static const struct loop_ops fixture_loop_ops = {.turn = on_turn};

static inline struct fixture *fixture_new(const struct cluster_clients *clients)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->link.fd = -1;
    f->cluster.options = &f->options;
    metrics_init(&f->metrics, 1);
    f->hub.metrics = metrics_shard_get(&f->metrics, 0);
    loop_init(&f->loop, &fixture_loop_ops, f);
    mailbox_init(&f->mailbox, on_wake, f);
    f->tunnels = tunnels_new(WORKER, &fixture_tunnels_ops, &f->cluster);
    tunnels_join(f->tunnels, &(struct cluster_worker){.hub = &f->hub,
                                                      .loop = &f->loop,
                                                      .mailbox = &f->mailbox,
                                                      .clients = clients,
                                                      .clients_owner = f,
                                                      .connections = &f->connections});
    return f;
}

static inline void turn(struct fixture *f)
{
    loop_turn(&f->loop, LOOP_LOOK);
}

/* Turns until the condition holds; the test fails when it does not in time. */
#define TURN_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        uint64_t deadline_ms_ = clock_ms() + FIXTURE_DEADLINE_MS;                                  \
        while (!(condition)) {                                                                     \
            turn(f);                                                                               \
            if (clock_ms() > deadline_ms_)                                                         \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static inline uint64_t metric(const struct fixture *f, enum metric which)
{
    return metrics_read(&f->metrics, which);
}

/* ---- the other end of a socket pair -------------------------------------------------------------
 */

static inline void pair_open(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static inline void far_close(struct far *far)
{
    if (far->fd >= 0)
        close(far->fd);
    far->fd = -1;
}

static inline void far_free(struct far *far)
{
    far_close(far);
    free(far->in);
    far->in = NULL;
}

/* Takes what is there. */
static inline void far_look(struct far *far)
{
    while (!far->ended) {
        if (far->room - far->len < 64 * 1024) {
            far->room = far->room == 0 ? 256 * 1024 : 2 * far->room;
            far->in = realloc(far->in, far->room);
            assert_non_null(far->in);
        }
        ssize_t got = recv(far->fd, far->in + far->len, far->room - far->len, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        far->ended = got <= 0;
        far->len += got > 0 ? (size_t)got : 0;
    }
}

static inline size_t far_left(struct far *far)
{
    far_look(far);
    return far->len - far->taken;
}

static inline void far_send(struct fixture *f, struct far *far, struct bytes bytes)
{
    for (size_t done = 0; done < bytes.len;) {
        ssize_t sent = send(far->fd, bytes.data + done, bytes.len - done, MSG_NOSIGNAL);
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            turn(f);
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
}

/* The link to its home that an edge has asked for is there. */
static inline void reach(struct fixture *f)
{
    int ends[2];
    pair_open(ends);
    far_free(&f->link);
    f->link = (struct far){.fd = ends[1]};
    tunnel_out_reached(f->tunnels, REMOTE, HOME_WORKER, ends[0], bytes_of(NULL, 0));
}

/* ---- frames -------------------------------------------------------------------------------------
 */

static inline void say(struct fixture *f, enum link_kind kind, uint8_t flags, struct bytes body)
{
    uint8_t header[LINK_HEADER];
    link_header_write(header, kind, flags, (uint32_t)body.len);
    far_send(f, &f->link, bytes_of(header, sizeof(header)));
    far_send(f, &f->link, body);
}

/* DATA of `len` bytes; pings: a client's bytes have to be whole packets. */
static inline void say_data(struct fixture *f, uint32_t id, size_t len)
{
    uint8_t *body = malloc(TUNNEL_ID_SIZE + len);
    assert_non_null(body);
    link_write_u32(body, id);
    for (size_t i = 0; i < len; i++)
        body[TUNNEL_ID_SIZE + i] = i % 2 == 0 ? 0xD0 : 0;
    say(f, LINK_TUNNEL_DATA, 0, bytes_of(body, TUNNEL_ID_SIZE + len));
    free(body);
}

static inline void say_text(struct fixture *f, uint32_t id, const char *text)
{
    uint8_t body[64];
    uint8_t *end = link_write_bytes(link_write_u32(body, id), bytes_of_str(text));
    say(f, LINK_TUNNEL_DATA, 0, bytes_of(body, (size_t)(end - body)));
}

static inline void say_credit(struct fixture *f, uint32_t id, uint64_t worked_off)
{
    uint8_t body[TUNNEL_CREDIT_SIZE];
    tunnel_credit_write(id, worked_off, body);
    say(f, LINK_TUNNEL_CREDIT, 0, bytes_of(body, sizeof(body)));
}

static inline void say_end_of(struct fixture *f, uint32_t id, enum tunnel_end why)
{
    uint8_t body[TUNNEL_ID_SIZE];
    link_write_u32(body, id);
    say(f, LINK_TUNNEL_END, (uint8_t)why, bytes_of(body, sizeof(body)));
}

/* The next frame that has come, if one has; borrowed until the next call. */
static inline bool peek_frame(struct fixture *f, struct link_frame *frame)
{
    struct far *far = &f->link;
    size_t size;
    far_look(far);
    enum link_parse parsed = link_frame_parse(bytes_of(far->in + far->taken, far->len - far->taken),
                                              1 << 20, frame, &size);
    assert_int_not_equal(parsed, LINK_TOO_LONG);
    if (parsed == LINK_PARSED)
        far->taken += size;
    return parsed == LINK_PARSED;
}

static inline struct link_frame hear(struct fixture *f, enum link_kind kind)
{
    struct link_frame frame;
    TURN_UNTIL(f, peek_frame(f, &frame));
    assert_int_equal(frame.kind, kind);
    return frame;
}

static inline void hear_end(struct fixture *f, uint32_t id, enum tunnel_end why)
{
    struct link_frame frame = hear(f, LINK_TUNNEL_END);
    enum tunnel_end said;
    uint32_t of;
    assert_true(tunnel_end_read(&frame, &of, &said));
    assert_int_equal(of, id);
    assert_int_equal(said, why);
}

/* Some turns go by, and nothing is said. */
static inline void hear_nothing(struct fixture *f)
{
    struct link_frame frame;
    for (int i = 0; i < QUIET_TURNS; i++)
        turn(f);
    assert_false(peek_frame(f, &frame));
    assert_false(f->link.ended);
}

/* How many bytes of that client come, until nothing more does. Each frame is as long as it may be.
 */
static inline size_t hear_data(struct fixture *f, uint32_t id)
{
    struct link_frame frame;
    struct bytes data;
    size_t all = 0;
    uint32_t of;
    for (int quiet = 0; quiet < QUIET_TURNS; quiet++) {
        turn(f);
        while (peek_frame(f, &frame)) {
            assert_int_equal(frame.kind, LINK_TUNNEL_DATA);
            assert_true(tunnel_data_read(frame.body, &of, &data)); /* at most TUNNEL_PIECE */
            assert_int_equal(of, id);
            all += data.len;
            quiet = 0;
        }
    }
    return all;
}

/* The other node has had enough: it says no more, and hangs up. */
static inline void hear_hang_up(struct fixture *f)
{
    TURN_UNTIL(f, (far_look(&f->link), f->link.ended));
}

/* ---- the end of a test --------------------------------------------------------------------------
 */

/* Everything ends, and nothing is left. */
static inline void fixture_free(struct fixture *f)
{
    tunnels_close(f->tunnels);
    TURN_UNTIL(f, f->loop.stream_count == 0);
    turn(f); /* the last mail */
    assert_int_equal(f->connections, 0);
    assert_int_equal(metric(f, METRIC_TUNNELS_EDGE), 0);
    assert_int_equal(metric(f, METRIC_TUNNELS_HOME), 0);
    assert_int_equal(f->loop.buffered_bytes, 0);
    tunnels_free(f->tunnels);
    loop_deinit(&f->loop);
    metrics_deinit(&f->metrics);
    far_free(&f->link);
    free(f);
}

#endif
