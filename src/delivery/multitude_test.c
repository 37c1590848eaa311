/* SPDX-License-Identifier: Apache-2.0 */
/* So many subscribers of one filter that they are found in steps. */
#include "delivery/delivery_fixture.h"

enum { MULTITUDE = 12 * ROUTE_WALK_MIN }; /* more than a turn has time for */

/* Subscriptions to "all" of sessions that have just ended, on both workers, and those of a client
 * on each, at the beginning and at the end. */
struct multitude {
    struct subscription *gone[MULTITUDE];
    struct client *clients[4];
};

static struct multitude *multitude_of(struct fixture *f, uint32_t expiry_s)
{
    struct multitude *m = calloc(1, sizeof(*m));
    const struct subscription_options options = {.qos = 1};
    assert_non_null(m);
    for (uint32_t i = 0; i < 4; i++)
        m->clients[i] = client_of(f, i % 2, expiry_s);
    subscribe(m->clients[0], "all", 1);
    subscribe(m->clients[1], "all", 1);
    for (uint64_t i = 0; i < MULTITUDE; i++) {
        session_ref ref = i % 2 << SESSION_REF_WORKER_SHIFT | (1000 + i);
        m->gone[i] = router_subscribe(&f->router, &(struct subscriber_is){.session = ref},
                                      bytes_of_str("all"), bytes_of_str(""), &options);
        assert_non_null(m->gone[i]);
    }
    subscribe(m->clients[2], "all", 1);
    subscribe(m->clients[3], "all", 1);
    return m;
}

static void multitude_ends(struct fixture *f, struct multitude *m)
{
    for (uint32_t i = 0; i < MULTITUDE; i++)
        router_unsubscribe(&f->router, m->gone[i]);
    free(m);
}

/* The first turn posts what was published, the next begins to look for who gets it. */
static void begin_walk(struct fixture *f)
{
    turn(f, 0);
    turn(f, 0);
    assert_true(f->workers[0].hub.walking);
}

static void assert_all_got(const struct multitude *m, const char *payloads)
{
    for (uint32_t i = 0; i < 4; i++)
        assert_got(m->clients[i], payloads);
}

static void multitude_is_found_in_steps_and_each_gets_one_copy(void **state)
{
    struct fixture *f = *state;
    struct multitude *m = multitude_of(f, 0);
    assert_true(publish(f, 0, "all", "hello", 0).matched);
    struct deliveries *batch = f->workers[0].peers[0].batch;
    assert_non_null(batch);
    assert_int_equal(deliveries_item(batch)->count, 0); /* nobody has been looked for */
    settle(f);
    assert_all_got(m, "hello");
    multitude_ends(f, m);
}

static void publisher_for_a_multitude_waits_until_it_is_found(void **state)
{
    struct fixture *f = *state;
    struct multitude *m = multitude_of(f, 0);
    session_ref publisher = m->clients[0]->session->ref;
    struct publish_outcome outcome = publish(f, 0, "all", "hello", 0);
    assert_true(outcome.backlog);
    assert_int_equal(outcome.behind, 0);
    assert_true(delivery_ask(&f->workers[0].hub, 0, publisher, 7));
    turn(f, 0);
    f->workers[0].hub.peers[1].sent = BACKLOG_HIGH + 1; /* as if much had gone to the other one */
    while (f->workers[0].hub.walking || deliveries_pending(&f->workers[0].hub))
        turn(f, 0);
    settle(f);
    assert_int_equal(f->caught_up, 7);
    assert_all_got(m, "hello");
    multitude_ends(f, m);
}

static void question_is_passed_on_to_a_worker_that_a_walk_has_left_behind(void **state)
{
    struct fixture *f = *state;
    struct delivery_hub *hub = &f->workers[0].hub;
    session_ref publisher = client_of(f, 0, 0)->session->ref;
    atomic_store(&f->workers[1].hub.backlog, BACKLOG_HIGH + 1);
    assert_true(delivery_ask(hub, 0, publisher, 7));
    turn(f, 0);
    turn(f, 0);
    assert_int_equal(f->caught_up, 0);
    atomic_store(&f->workers[1].hub.backlog, 0);
    turn(f, 1);
    turn(f, 0);
    assert_int_equal(f->caught_up, 7);
}

static void walk_that_has_begun_is_finished_before_the_thread_is_no_reader_any_more(void **state)
{
    struct fixture *f = *state;
    struct multitude *m = multitude_of(f, 0);
    publish(f, 0, "all", "hello", 0);
    begin_walk(f);
    delivery_finish_walk(&f->workers[0].hub);
    assert_false(f->workers[0].hub.walking);
    multitude_ends(f, m);
    rcu_sleep();
    rcu_drain(); /* what was walked over is freed */
    rcu_wake();
    settle(f);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(f->clients[i].count, 1);
}

static void multitude_that_changes_while_it_is_found_loses_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct multitude *m = multitude_of(f, 0);
    publish(f, 0, "all", "hello", 0);
    begin_walk(f);
    for (uint32_t i = 0; i < MULTITUDE; i += 2) { /* pieces are replaced by smaller ones */
        router_unsubscribe(&f->router, m->gone[i]);
        m->gone[i] = NULL;
    }
    settle(f);
    assert_all_got(m, "hello");
    for (uint32_t i = 0; i < MULTITUDE; i += 2)
        m->gone[i] = router_subscribe(&f->router, &(struct subscriber_is){.session = 1000 + i},
                                      bytes_of_str("all"), bytes_of_str(""),
                                      &(struct subscription_options){0});
    multitude_ends(f, m);
}

static void multitude_that_has_gone_before_it_was_looked_for_gets_nothing(void **state)
{
    struct fixture *f = *state;
    struct multitude *m = multitude_of(f, 0);
    publish(f, 0, "all", "hello", 0);
    multitude_ends(f, m);
    settle(f);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(f->clients[i].count, 1); /* who is left is found at once */
}

static void publication_for_a_multitude_is_acknowledged_when_all_have_it(void **state)
{
    struct fixture *f = *state;
    struct multitude *m = multitude_of(f, 100);
    make_late(f, 0);
    make_late(f, 1);
    assert_non_null(publish(f, 0, "all", "hello", 1).ticket);
    settle(f);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        assert_int_equal(f->published_count, 0);
        answer(f, worker, 0, RC_OK);
        answer(f, worker, 1, RC_OK);
        settle(f);
    }
    assert_int_equal(f->published_count, 1);
    assert_int_equal(f->published[0].rc, RC_OK);
    assert_all_got(m, "hello");
    multitude_ends(f, m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(multitude_is_found_in_steps_and_each_gets_one_copy),
        RULE(publisher_for_a_multitude_waits_until_it_is_found),
        RULE(question_is_passed_on_to_a_worker_that_a_walk_has_left_behind),
        RULE(walk_that_has_begun_is_finished_before_the_thread_is_no_reader_any_more),
        RULE(multitude_that_changes_while_it_is_found_loses_nobody_else),
        RULE(multitude_that_has_gone_before_it_was_looked_for_gets_nothing),
        RULE(publication_for_a_multitude_is_acknowledged_when_all_have_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
