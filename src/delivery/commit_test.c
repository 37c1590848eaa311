/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery_fixture.h"

enum { DURABLE_S = 100 };

/* A durable session of that worker whose shard is that store. */
static struct client *durable_at(struct fixture *f, uint32_t worker, uint32_t store)
{
    char client_id[24];
    struct client *client = &f->clients[f->client_count++];
    for (int i = 0;; i++) {
        snprintf(client_id, sizeof(client_id), "durable-%u-%u-%d", worker, f->client_count, i);
        if (client_id_hash(bytes_of_str(client_id)) % STORES == store)
            break;
    }
    client->sink.ops = &client_ops;
    client->session = session_of(f, worker, client_id);
    session_attach(client->session, &client->sink, DURABLE_S, UINT16_MAX);
    return client;
}

static struct client *subscribed_at(struct fixture *f, uint32_t worker, uint32_t store)
{
    struct client *client = durable_at(f, worker, store);
    subscribe(client, "a", 1);
    return client;
}

/* ---- who waits for nothing ------------------------------------------------------------------ */

static void publication_is_safe_at_once_when_nobody_is_durable(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    make_late(f, 1);
    subscribe(client_of(f, 0, 0), "a", 1);
    subscribe(client_of(f, 1, 0), "a", 2);
    assert_null(publish(f, 0, "a", "x", 2).ticket);
}

static void publication_of_qos0_waits_for_no_store(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    make_late(f, 1);
    subscribed_at(f, 0, 0);
    subscribed_at(f, 1, 0);
    assert_null(publish(f, 0, "a", "x", 0).ticket);
}

static void publication_to_qos0_subscriptions_waits_for_no_store(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    make_late(f, 1);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        subscribe(durable_at(f, worker, 0), "a", 0);
    assert_null(publish(f, 0, "a", "x", 2).ticket);
}

static void publication_is_safe_at_once_on_a_store_that_is(void **state)
{
    struct fixture *f = *state;
    subscribed_at(f, 0, 0);
    assert_null(publish(f, 0, "a", "x", 1).ticket);
}

/* ---- who waits ------------------------------------------------------------------------------ */

static void publication_waits_for_the_store_of_a_durable_session(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    struct client *client = subscribed_at(f, 0, 0);
    struct publish_ticket *ticket = publish(f, 0, "a", "x", 1).ticket;
    assert_non_null(ticket);
    uint64_t number = ticket->number;
    assert_got(client, "x"); /* QoS 1 may go out before */
    settle(f);
    assert_int_equal(f->published_count, 0);
    answer_all(f, 0, RC_OK);
    assert_int_equal(f->published_count, 1);
    assert_int_equal(f->published[0].number, number);
    assert_int_equal(f->published[0].rc, RC_OK);
}

static void publication_waits_for_another_worker_even_with_a_quick_store(void **state)
{
    struct fixture *f = *state;
    subscribed_at(f, 1, 0);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    turn(f, 0);
    turn(f, 1);
    assert_int_equal(f->published_count, 0);
    turn(f, 0); /* the answer's mail */
    assert_int_equal(f->published_count, 1);
    assert_int_equal(f->published[0].rc, RC_OK);
}

static void publication_waits_for_a_late_store_on_another_worker(void **state)
{
    struct fixture *f = *state;
    make_late(f, 1);
    subscribed_at(f, 1, 0);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    settle(f);
    assert_int_equal(f->published_count, 0);
    answer_all(f, 1, RC_OK);
    settle(f);
    assert_int_equal(f->published_count, 1);
}

/* Two shards on each of two workers, answered in every order, with every one of them failing or
 * none. */
enum { COMMITS = WORKERS * STORES, ORDERS = 24 };

static void order_of(uint32_t n, uint32_t order[COMMITS])
{
    uint32_t left[COMMITS] = {0, 1, 2, 3};
    for (uint32_t i = 0, count = COMMITS; count > 0; i++, count--) {
        uint32_t which = n % count;
        n /= count;
        order[i] = left[which];
        left[which] = left[count - 1];
    }
}

static void publication_waits_for_all_stores_in_whatever_order_they_answer(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < COMMITS; i++)
        subscribed_at(f, i / STORES, i % STORES);
    make_late(f, 0);
    make_late(f, 1);
    for (uint32_t n = 0; n < ORDERS * (COMMITS + 1); n++) {
        uint32_t order[COMMITS], fails = n / ORDERS; /* COMMITS: none */
        order_of(n % ORDERS, order);
        f->published_count = 0;
        assert_non_null(publish(f, 0, "a", "x", 1).ticket);
        settle(f);
        for (uint32_t i = 0; i < COMMITS; i++) {
            assert_int_equal(f->published_count, 0);
            answer(f, order[i] / STORES, order[i] % STORES, i == fails ? RC_IO : RC_OK);
            settle(f);
        }
        assert_int_equal(f->published_count, 1);
        assert_int_equal(f->published[0].rc, fails < COMMITS ? RC_IO : RC_OK);
    }
}

static void publication_that_fails_twice_tells_the_first_failure(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    subscribed_at(f, 0, 0);
    subscribed_at(f, 0, 1);
    publish(f, 0, "a", "x", 1);
    answer(f, 0, 1, RC_FULL);
    answer(f, 0, 0, RC_IO);
    assert_int_equal(f->published[0].rc, RC_FULL);
}

static void publication_may_be_safe_here_before_the_mail_has_left(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    subscribed_at(f, 0, 0);
    subscribed_at(f, 1, 0);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    answer_all(f, 0, RC_OK);
    assert_int_equal(f->published_count, 0);
    settle(f);
    assert_int_equal(f->published_count, 1);
}

static void publications_are_told_apart(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    subscribe(durable_at(f, 0, 0), "quick", 1);
    subscribe(durable_at(f, 0, 1), "slow", 1);
    uint64_t slow = publish(f, 0, "slow", "x", 1).ticket->number;
    uint64_t quick = publish(f, 0, "quick", "x", 1).ticket->number;
    answer(f, 0, 0, RC_OK);
    answer(f, 0, 1, RC_IO);
    assert_int_equal(f->published[0].number, quick);
    assert_int_equal(f->published[0].rc, RC_OK);
    assert_int_equal(f->published[1].number, slow);
    assert_int_equal(f->published[1].rc, RC_IO);
}

static void publications_are_answered_however_many_there_are(void **state)
{
    enum { MANY = 3 * ANSWERS_MAX };
    struct fixture *f = *state;
    subscribed_at(f, 1, 0);
    for (int i = 0; i < MANY; i++)
        assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    settle(f);
    assert_int_equal(f->published_count, MANY);
    for (uint32_t i = 1; i < MANY; i++)
        assert_int_equal(f->published[i].number, f->published[i - 1].number + 1);
}

static void publications_of_both_workers_are_answered_to_each(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    make_late(f, 1);
    subscribed_at(f, 0, 0);
    subscribed_at(f, 1, 0);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    assert_non_null(publish(f, 1, "a", "y", 1).ticket);
    settle(f);
    answer_all(f, 0, RC_OK);
    answer_all(f, 1, RC_OK);
    settle(f);
    assert_int_equal(f->published_count, 2);
}

/* ---- sessions and messages that get lost on the way ----------------------------------------- */

static void publication_for_a_session_that_ended_meanwhile_is_answered(void **state)
{
    struct fixture *f = *state;
    make_late(f, 1);
    struct client *client = subscribed_at(f, 1, 0);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    session_end(client->session);
    settle(f);
    assert_int_equal(f->published_count, 1);
    assert_int_equal(f->published[0].rc, RC_OK);
}

static void publication_that_is_dropped_at_a_limit_is_answered(void **state)
{
    struct fixture *f = *state;
    struct client *client = subscribed_at(f, 1, 0);
    session_detach(client->session, SESSION_WILL_KEEP);
    f->workers[1].table.limits.queue_messages_max = 0;
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    settle(f);
    assert_int_equal(f->published_count, 1);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 1);
}

static void publication_without_memory_for_it_waits_for_nothing(void **state)
{
    struct fixture *f = *state;
    subscribed_at(f, 1, 0);
    struct publication p = {.topic = bytes_of_str("a"),
                            .payload = {.data = (const uint8_t *)"", .len = UINT32_MAX},
                            .qos = 1};
    assert_null(publish_as(f, 0, &p).ticket);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_NO_MEMORY), 1);
    settle(f);
    assert_int_equal(f->published_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(publication_is_safe_at_once_when_nobody_is_durable),
        RULE(publication_of_qos0_waits_for_no_store),
        RULE(publication_to_qos0_subscriptions_waits_for_no_store),
        RULE(publication_is_safe_at_once_on_a_store_that_is),
        RULE(publication_waits_for_the_store_of_a_durable_session),
        RULE(publication_waits_for_another_worker_even_with_a_quick_store),
        RULE(publication_waits_for_a_late_store_on_another_worker),
        RULE(publication_waits_for_all_stores_in_whatever_order_they_answer),
        RULE(publication_that_fails_twice_tells_the_first_failure),
        RULE(publication_may_be_safe_here_before_the_mail_has_left),
        RULE(publications_are_told_apart),
        RULE(publications_are_answered_however_many_there_are),
        RULE(publications_of_both_workers_are_answered_to_each),
        RULE(publication_for_a_session_that_ended_meanwhile_is_answered),
        RULE(publication_that_is_dropped_at_a_limit_is_answered),
        RULE(publication_without_memory_for_it_waits_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
