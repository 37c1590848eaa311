/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends on one loop: real sockets, the whole way from a listening socket to frames on a link. */
#include "link/greeter.h"
#include "link/link.h"

#include "base/clock.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 10 * 1000, TEXT_ROOM = 64 };

struct node {
    struct greeter greeter;
    struct link_identity own;
    uint16_t port;
    uint32_t reached, met, failed;
    enum handshake_refusal refusal;
    char peer[LINK_NAME_MAX + 1];
    int fd; /* given, not closed yet; -1: none */
};

struct two {
    struct loop loop;
    struct node a, b;
    struct link link;
    char text[TEXT_ROOM]; /* of the frames that have come */
    bool refuse;          /* frames */
    uint32_t ended, closed;
};

static void reached(struct greeter *greeter, const struct greeter_call *call,
                    const struct link_peer *peer, int fd, struct bytes unread)
{
    struct node *node = greeter->owner;
    (void)call;
    assert_int_equal(unread.len, 0);
    node->reached++;
    node->fd = fd;
    snprintf(node->peer, sizeof(node->peer), "%s", peer->node);
}

static void failed(struct greeter *greeter, const struct greeter_call *call,
                   enum handshake_refusal refusal, const char *why)
{
    struct node *node = greeter->owner;
    assert_non_null(call);
    assert_non_null(why);
    node->failed++;
    node->refusal = refusal;
}

static void met(struct greeter *greeter, const struct link_peer *peer, int fd, struct bytes unread)
{
    struct node *node = greeter->owner;
    (void)unread;
    node->met++;
    node->fd = fd;
    snprintf(node->peer, sizeof(node->peer), "%s", peer->node);
}

static const struct greeter_ops ops = {.reached = reached, .failed = failed, .met = met};

static bool turn(void *owner)
{
    (void)owner;
    return false;
}

static void stopping(void *owner)
{
    struct two *t = owner;
    if (t->link.open)
        link_close(&t->link);
}

static const struct loop_ops loop_ops = {.turn = turn, .stopping = stopping};

static void start(struct two *t, struct node *node, const char *name, const char *secret,
                  uint64_t incarnation)
{
    struct listener_address address = {.host = "127.0.0.1"};
    int fd = listener_bind(&address, 16);
    assert_true(fd >= 0);
    node->fd = -1;
    node->port = address.port;
    node->own = (struct link_identity){.cluster = "plant",
                                       .node = name,
                                       .address = "127.0.0.1:1",
                                       .incarnation = incarnation,
                                       .workers = 1,
                                       .secret = bytes_of_str(secret)};
    assert_int_equal(greeter_start(&node->greeter, &t->loop, fd, &node->own, &ops, node), RC_OK);
}

static struct two *two_new(const char *secret_of_b)
{
    struct two *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    loop_init(&t->loop, &loop_ops, t);
    start(t, &t->a, "a", "s3cret", 1);
    start(t, &t->b, "b", secret_of_b, 2);
    return t;
}

static void two_free(struct two *t)
{
    greeter_stop(&t->a.greeter);
    greeter_stop(&t->b.greeter);
    while (!greeter_idle(&t->a.greeter) || !greeter_idle(&t->b.greeter))
        loop_turn(&t->loop, LOOP_LOOK);
    loop_stop(&t->loop);
    loop_run(&t->loop);
    loop_deinit(&t->loop);
    for (struct node *node = &t->a; node != NULL; node = node == &t->a ? &t->b : NULL)
        if (node->fd >= 0)
            close(node->fd);
    free(t);
}

#define TURN_UNTIL(t, condition)                                                                   \
    for (uint64_t end_ms_ = clock_ms() + DEADLINE_MS; !(condition);) {                             \
        assert_true(clock_ms() < end_ms_);                                                         \
        loop_turn(&(t)->loop, LOOP_LOOK);                                                          \
    }

static void dial(struct node *from, uint16_t port)
{
    struct greeter_call call = {
        .host = "127.0.0.1", .port = port, .purpose = LINK_CONTROL, .owner = from};
    greeter_dial(&from->greeter, &call);
}

static void nodes_meet_and_both_get_a_descriptor(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    dial(&t->a, t->b.port);
    TURN_UNTIL(t, t->a.reached == 1 && t->b.met == 1);
    assert_string_equal(t->a.peer, "b");
    assert_string_equal(t->b.peer, "a");
    two_free(t);
}

static void meeting_with_another_secret_fails_and_says_why(void **state)
{
    (void)state;
    struct two *t = two_new("secret");
    dial(&t->a, t->b.port);
    TURN_UNTIL(t, t->a.failed == 1);
    assert_int_equal(t->a.refusal, HANDSHAKE_WRONG_SECRET);
    assert_int_equal(t->b.met, 0);
    two_free(t);
}

static void address_where_nobody_listens_fails(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    greeter_stop(&t->b.greeter);
    dial(&t->a, t->b.port);
    TURN_UNTIL(t, t->a.failed == 1);
    assert_int_equal(t->a.refusal, HANDSHAKE_FINE);
    two_free(t);
}

static void node_that_dials_itself_is_told(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    dial(&t->a, t->a.port);
    TURN_UNTIL(t, t->a.failed == 1);
    assert_int_equal(t->a.refusal, HANDSHAKE_SELF);
    two_free(t);
}

/* A client that speaks something else, or nothing at all, to the nodes' port. */
static void stranger_is_cut_off(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    int stranger = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(t->b.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(stranger, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(stranger, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    char byte[64];
    ssize_t got = -1;
    TURN_UNTIL(t, (got = recv(stranger, byte, sizeof(byte), MSG_DONTWAIT)) >= 0);
    close(stranger);
    assert_int_equal(t->b.met, 0);
    two_free(t);
}

/* ---- the link ------------------------------------------------------------------------------- */

static struct two *two_of(struct link *link)
{
    return CONTAINER_OF(link, struct two, link);
}

static bool frame(struct link *link, const struct link_frame *frame)
{
    struct two *t = two_of(link);
    snprintf(t->text + strlen(t->text), TEXT_ROOM - strlen(t->text), "%d:%.*s ", frame->kind,
             (int)frame->body.len, (const char *)frame->body.data);
    return !t->refuse;
}

static void ended(struct link *link)
{
    two_of(link)->ended++;
}

static void closed(struct link *link)
{
    two_of(link)->closed++;
}

static const struct link_ops link_ops = {.frame = frame, .ended = ended, .closed = closed};

static void open_link(struct two *t, int fds[2], struct bytes unread)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(link_open(&t->link, &t->loop, &link_ops, fds[0], unread), RC_OK);
}

static void frames_come_whole_however_they_are_cut(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    int fds[2];
    uint8_t raw[LINK_HEADER + 3];
    open_link(t, fds, bytes_of(NULL, 0));
    link_header_write(raw, LINK_HEARTBEAT, 0, 3);
    memcpy(raw + LINK_HEADER, "abc", 3);
    for (size_t i = 0; i < sizeof(raw); i++) {
        assert_int_equal(write(fds[1], raw + i, 1), 1);
        loop_turn(&t->loop, LOOP_LOOK);
    }
    TURN_UNTIL(t, t->text[0] != '\0');
    assert_string_equal(t->text, "32:abc ");
    close(fds[1]);
    TURN_UNTIL(t, t->closed == 1);
    assert_int_equal(t->ended, 1);
    two_free(t);
}

static void what_came_before_the_link_was_opened_is_not_lost(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    int fds[2];
    uint8_t raw[LINK_HEADER];
    link_header_write(raw, LINK_HEARTBEAT, 0, 0);
    open_link(t, fds, bytes_of(raw, sizeof(raw)));
    TURN_UNTIL(t, t->text[0] != '\0');
    close(fds[1]);
    TURN_UNTIL(t, t->closed == 1);
    two_free(t);
}

static void frame_that_makes_no_sense_ends_the_link(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    int fds[2];
    uint8_t raw[LINK_HEADER];
    link_header_write(raw, LINK_HEARTBEAT, 0, LINK_BODY_MAX + 1);
    open_link(t, fds, bytes_of(raw, sizeof(raw)));
    TURN_UNTIL(t, t->closed == 1);
    close(fds[1]);
    t->closed = t->ended = 0;
    t->refuse = true;
    link_header_write(raw, LINK_HEARTBEAT, 0, 0);
    open_link(t, fds, bytes_of(raw, sizeof(raw)));
    TURN_UNTIL(t, t->closed == 1);
    assert_int_equal(t->ended, 1);
    close(fds[1]);
    two_free(t);
}

/* A process that ends closes its sockets; who has given the link up resets it, and lives on. */
static void link_that_is_reset_has_not_ended_the_process_behind_it(void **state)
{
    (void)state;
    struct two *t = two_new("s3cret");
    int fds[2];
    open_link(t, fds, bytes_of(NULL, 0));
    close(fds[1]);
    TURN_UNTIL(t, t->closed == 1);
    assert_true(t->link.finished);
    t->closed = t->ended = 0;
    open_link(t, fds, bytes_of(NULL, 0));
    assert_true(link_send(&t->link, LINK_HEARTBEAT, 0, bytes_of(NULL, 0)));
    struct pollfd unread = {.fd = fds[1], .events = POLLIN};
    TURN_UNTIL(t, poll(&unread, 1, 0) == 1);
    close(fds[1]);
    TURN_UNTIL(t, t->closed == 1);
    assert_false(t->link.finished);
    two_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_meet_and_both_get_a_descriptor),
        cmocka_unit_test(meeting_with_another_secret_fails_and_says_why),
        cmocka_unit_test(address_where_nobody_listens_fails),
        cmocka_unit_test(node_that_dials_itself_is_told),
        cmocka_unit_test(stranger_is_cut_off),
        cmocka_unit_test(frames_come_whole_however_they_are_cut),
        cmocka_unit_test(what_came_before_the_link_was_opened_is_not_lost),
        cmocka_unit_test(frame_that_makes_no_sense_ends_the_link),
        cmocka_unit_test(link_that_is_reset_has_not_ended_the_process_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
