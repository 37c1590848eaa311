/* SPDX-License-Identifier: Apache-2.0 */
#include "link/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct end {
    struct link_identity own;
    struct handshake h;
    uint8_t nonce[LINK_NONCE];
};

struct meeting {
    struct end dialer, listener;
    struct handshake_output said[2]; /* what the dialer said last, and the listener */
};

static struct end an_end(const char *node, const char *secret, uint64_t incarnation)
{
    struct end end = {.own = {.cluster = "plant",
                              .node = node,
                              .address = "127.0.0.1:7883",
                              .incarnation = incarnation,
                              .workers = 1,
                              .secret = bytes_of_str(secret)}};
    memset(end.nonce, node[0], sizeof(end.nonce));
    return end;
}

static void hear(struct end *end, const struct handshake_output *said, struct handshake_output *out)
{
    struct link_frame frame;
    size_t size;
    assert_int_equal(
        link_frame_parse(bytes_of(said->data, said->len), LINK_GREETING_MAX, &frame, &size),
        LINK_PARSED);
    assert_int_equal(size, said->len);
    handshake_step(&end->h, &frame, end->nonce, out);
}

static void begin(struct meeting *m)
{
    handshake_dial(&m->dialer.h, &m->dialer.own, LINK_ROAD, 3, m->dialer.nonce, &m->said[0]);
    handshake_listen(&m->listener.h, &m->listener.own);
}

/* Until nobody has anything to say. */
static void go_on(struct meeting *m)
{
    while (m->said[0].len > 0) {
        hear(&m->listener, &m->said[0], &m->said[1]);
        m->said[0].len = 0;
        if (m->said[1].len > 0)
            hear(&m->dialer, &m->said[1], &m->said[0]);
    }
}

static struct meeting *meet(struct end dialer, struct end listener)
{
    static struct meeting m;
    m = (struct meeting){.dialer = dialer, .listener = listener};
    begin(&m);
    go_on(&m);
    return &m;
}

static void assert_refused(const struct meeting *m, enum handshake_refusal refusal)
{
    assert_int_equal(m->dialer.h.state, HANDSHAKE_FAILED);
    assert_int_equal(m->dialer.h.refusal, refusal);
    if (m->listener.h.state != HANDSHAKE_EXPECTS_PROOF) {
        assert_int_equal(m->listener.h.state, HANDSHAKE_FAILED);
        assert_int_equal(m->listener.h.refusal, refusal);
        assert_true(m->dialer.h.refused_by_peer != m->listener.h.refused_by_peer);
    }
}

static void nodes_with_one_secret_meet_and_know_each_other(void **state)
{
    (void)state;
    struct meeting *m = meet(an_end("a", "s3cret", 1), an_end("b", "s3cret", 2));
    assert_int_equal(m->dialer.h.state, HANDSHAKE_MET);
    assert_int_equal(m->listener.h.state, HANDSHAKE_MET);
    assert_string_equal(m->dialer.h.peer.node, "b");
    assert_string_equal(m->listener.h.peer.node, "a");
    assert_string_equal(m->listener.h.peer.address, "127.0.0.1:7883");
    assert_int_equal(m->listener.h.peer.incarnation, 1);
    assert_int_equal(m->listener.h.peer.purpose, LINK_ROAD);
    assert_int_equal(m->listener.h.peer.worker, 3);
    assert_int_equal(m->listener.h.peer.version, LINK_VERSION_MAX);
}

static void listener_with_another_secret_is_found_out_by_the_dialer(void **state)
{
    (void)state;
    assert_refused(meet(an_end("a", "s3cret", 1), an_end("b", "secret", 2)),
                   HANDSHAKE_WRONG_SECRET);
    assert_refused(meet(an_end("a", "s3cret", 1), an_end("b", "", 2)), HANDSHAKE_WRONG_SECRET);
}

static void dialer_that_does_not_know_the_secret_is_found_out_by_the_listener(void **state)
{
    (void)state;
    struct meeting m = {.dialer = an_end("a", "s3cret", 1), .listener = an_end("b", "s3cret", 2)};
    begin(&m);
    hear(&m.listener, &m.said[0], &m.said[1]);
    hear(&m.dialer, &m.said[1], &m.said[0]);
    m.said[0].data[LINK_HEADER] ^= 1; /* of its proof */
    go_on(&m);
    assert_int_equal(m.listener.h.state, HANDSHAKE_FAILED);
    assert_refused(&m, HANDSHAKE_WRONG_SECRET);
}

static void proof_of_one_meeting_is_worth_nothing_in_another(void **state)
{
    (void)state;
    struct meeting m = {.dialer = an_end("a", "s3cret", 1), .listener = an_end("b", "s3cret", 2)};
    begin(&m);
    hear(&m.listener, &m.said[0], &m.said[1]);
    hear(&m.dialer, &m.said[1], &m.said[0]);
    struct handshake_output proof = m.said[0];

    begin(&m);
    struct handshake_output hello = m.said[0];
    m.listener.nonce[0] ^= 1; /* the listener chooses another */
    hear(&m.listener, &hello, &m.said[1]);
    hear(&m.listener, &proof, &m.said[1]);
    assert_int_equal(m.listener.h.state, HANDSHAKE_FAILED);
    assert_int_equal(m.listener.h.refusal, HANDSHAKE_WRONG_SECRET);
}

static void node_of_another_cluster_is_refused(void **state)
{
    (void)state;
    struct end other = an_end("b", "s3cret", 2);
    other.own.cluster = "office";
    assert_refused(meet(an_end("a", "s3cret", 1), other), HANDSHAKE_OTHER_CLUSTER);
}

static void node_that_reaches_itself_is_told(void **state)
{
    (void)state;
    assert_refused(meet(an_end("a", "s3cret", 1), an_end("a", "s3cret", 1)), HANDSHAKE_SELF);
}

static void nodes_of_two_versions_speak_the_older_one(void **state)
{
    (void)state;
    for (int older = 0; older < 2; older++) {
        struct end ends[] = {an_end("a", "s", 1), an_end("b", "s", 2)};
        ends[older].own.version_max = LINK_VERSION_MAX - 1;
        struct meeting *m = meet(ends[0], ends[1]);
        assert_int_equal(m->dialer.h.state, HANDSHAKE_MET);
        assert_int_equal(m->dialer.h.peer.version, LINK_VERSION_MAX - 1);
        assert_int_equal(m->listener.h.peer.version, LINK_VERSION_MAX - 1);
    }
}

static void hello_of_a_version_too_new_is_refused(void **state)
{
    (void)state;
    struct meeting m = {.dialer = an_end("a", "s", 1), .listener = an_end("b", "s", 2)};
    begin(&m);
    m.said[0].data[LINK_HEADER + 11 + 1] = LINK_VERSION_MAX + 1; /* its lowest... */
    m.said[0].data[LINK_HEADER + 11 + 3] = LINK_VERSION_MAX + 1; /* ... and highest */
    go_on(&m);
    assert_refused(&m, HANDSHAKE_NO_COMMON_VERSION);
}

static void every_byte_of_a_hello_that_is_missing_is_noticed(void **state)
{
    (void)state;
    struct meeting m = {.dialer = an_end("a", "s", 1), .listener = an_end("b", "s", 2)};
    begin(&m);
    size_t whole = m.said[0].len - LINK_HEADER;
    for (size_t len = 0; len < whole; len++) {
        struct link_frame hello = {LINK_HELLO, 0, bytes_of(m.said[0].data + LINK_HEADER, len)};
        handshake_listen(&m.listener.h, &m.listener.own);
        handshake_step(&m.listener.h, &hello, m.listener.nonce, &m.said[1]);
        assert_int_equal(m.listener.h.state, HANDSHAKE_FAILED);
        assert_int_equal(m.listener.h.refusal, HANDSHAKE_MALFORMED);
    }
}

static void what_comes_out_of_turn_is_refused(void **state)
{
    (void)state;
    static const uint8_t kinds[] = {0, LINK_ANSWER, LINK_PROOF, LINK_WELCOME, LINK_PUBLISH, 255};
    struct meeting m = {.listener = an_end("b", "s", 2)};
    for (size_t i = 0; i < sizeof(kinds); i++) {
        struct link_frame frame = {kinds[i], 0, bytes_of(NULL, 0)};
        handshake_listen(&m.listener.h, &m.listener.own);
        assert_int_equal(handshake_step(&m.listener.h, &frame, m.listener.nonce, &m.said[1]),
                         HANDSHAKE_FAILED);
        assert_int_equal(m.listener.h.refusal, HANDSHAKE_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_with_one_secret_meet_and_know_each_other),
        cmocka_unit_test(listener_with_another_secret_is_found_out_by_the_dialer),
        cmocka_unit_test(dialer_that_does_not_know_the_secret_is_found_out_by_the_listener),
        cmocka_unit_test(proof_of_one_meeting_is_worth_nothing_in_another),
        cmocka_unit_test(node_of_another_cluster_is_refused),
        cmocka_unit_test(node_that_reaches_itself_is_told),
        cmocka_unit_test(nodes_of_two_versions_speak_the_older_one),
        cmocka_unit_test(hello_of_a_version_too_new_is_refused),
        cmocka_unit_test(every_byte_of_a_hello_that_is_missing_is_noticed),
        cmocka_unit_test(what_comes_out_of_turn_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
