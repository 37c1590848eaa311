/* SPDX-License-Identifier: Apache-2.0 */
/* Shared subscriptions whose members are on several workers. */
#include "delivery/delivery_fixture.h"

enum { DURABLE_S = 100 };

/* A member of "group" on "a". */
static struct client *member_of(struct fixture *f, uint32_t worker, uint32_t expiry_s)
{
    struct client *client = client_of(f, worker, expiry_s);
    join(client, "a", "group");
    return client;
}

static void disconnect(struct client *client)
{
    struct session *session = client->session;
    if (session->expiry_s > 0) {
        session_detach(session, SESSION_WILL_KEEP);
        delivery_session_changed(hub_of(session), session);
    } else {
        session_end(session);
    }
}

static void share_gives_each_message_to_one_member_wherever_it_is(void **state)
{
    struct fixture *f = *state;
    struct client *members[] = {member_of(f, 0, 0), member_of(f, 1, 0), member_of(f, 1, 0)};
    for (int i = 0; i < 30; i++)
        assert_true(publish(f, 0, "a", "x", 1).matched);
    settle(f);
    for (int i = 0; i < 3; i++)
        assert_int_equal(members[i]->count, 10);
}

static void share_of_another_name_gets_a_copy_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct client *one = member_of(f, 0, 0), *other = client_of(f, 1, 0);
    join(other, "a", "other");
    publish(f, 0, "a", "x", 1);
    settle(f);
    assert_got(one, "x");
    assert_got(other, "x");
}

static void share_member_that_subscribes_itself_too_gets_both(void **state)
{
    struct fixture *f = *state;
    struct client *client = member_of(f, 0, 0);
    subscribe(client, "a", 0);
    publish(f, 0, "a", "x", 1);
    assert_int_equal(client->count, 2);
}

static void share_counts_the_load_of_a_member_of_another_worker(void **state)
{
    struct fixture *f = *state;
    struct client *client = member_of(f, 1, 0);
    publish(f, 0, "a", "x", 1);
    settle(f);
    assert_int_equal(client->session->subscriptions->member.load, 1);
    session_puback(client->session, 1);
    assert_int_equal(client->session->subscriptions->member.load, 0);
}

static void share_waits_for_the_store_of_the_member(void **state)
{
    struct fixture *f = *state;
    make_late(f, 1);
    member_of(f, 1, DURABLE_S);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    settle(f);
    assert_int_equal(f->published_count, 0);
    answer_all(f, 1, RC_OK);
    settle(f);
    assert_int_equal(f->published_count, 1);
}

/* ---- members that go away while a message is on its way ------------------------------------- */

static void share_chooses_again_when_the_session_ended_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 1, 0);
    publish(f, 0, "a", "x", 1);
    struct client *left = member_of(f, 0, 0);
    session_end(gone->session);
    settle(f);
    assert_got(gone, "");
    assert_got(left, "x");
}

static void share_chooses_again_when_the_member_left_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 1, 0);
    publish(f, 0, "a", "x", 1);
    struct client *left = member_of(f, 1, 0);
    delivery_unsubscribe(hub_of(gone->session), gone->session, bytes_of_str("a"),
                         bytes_of_str("group"));
    settle(f);
    assert_got(gone, "");
    assert_got(left, "x");
}

static void share_chooses_again_when_the_member_went_offline_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 1, DURABLE_S);
    publish(f, 0, "a", "x", 1);
    struct client *left = member_of(f, 0, 0);
    disconnect(gone);
    settle(f);
    assert_got(left, "x");
    publish(f, 0, "a", "y", 1); /* to the one that is online */
    disconnect(left);
    settle(f); /* nobody is: it waits with a session that is kept */
    session_attach(gone->session, &gone->sink, DURABLE_S, 10);
    gone->count = 0;
    session_resume(gone->session);
    settle(f);
    assert_got(gone, "x y"); /* the first was not acknowledged */
}

static void share_chooses_again_with_the_whole_message(void **state)
{
    static const size_t sizes[] = {10, ITEM_INLINE_MAX + 1, DELIVERY_MESSAGE_MIN};
    struct fixture *f = *state;
    uint8_t *payload = mem_new(DELIVERY_MESSAGE_MIN);
    struct client *left = member_of(f, 0, 0);
    delivery_unsubscribe(hub_of(left->session), left->session, bytes_of_str("a"),
                         bytes_of_str("group"));
    for (uint32_t i = 0; i < 3; i++) {
        struct client *gone = member_of(f, 1, 0);
        publish_as(f, 0,
                   &(struct publication){.topic = bytes_of_str("a"),
                                         .payload = bytes_of(payload, sizes[i]),
                                         .qos = 1});
        join(left, "a", "group");
        session_end(gone->session);
        settle(f);
        assert_int_equal(left->count, i + 1);
        assert_int_equal(left->got[i].payload_len, sizes[i]);
        delivery_unsubscribe(hub_of(left->session), left->session, bytes_of_str("a"),
                             bytes_of_str("group"));
    }
    mem_free(payload);
}

static void share_without_members_left_gives_the_message_to_nobody(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 1, 0);
    publish(f, 0, "a", "x", 1);
    session_end(gone->session);
    settle(f); /* it comes to an end */
    assert_int_equal(f->workers[0].hub.backlog, 0);
    assert_int_equal(f->workers[1].hub.backlog, 0);
}

static void share_that_chooses_again_answers_the_publisher(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 1, DURABLE_S);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    struct client *left = member_of(f, 0, 0);
    session_end(gone->session);
    settle(f);
    assert_got(left, "x");
    assert_int_equal(f->published_count, 1);
}

/*
 * Given a message on its way to a durable member which ends before it is there, while what its
 * worker has to do first is not done: the member that gets it instead is on either worker.
 */
static struct client *goes_elsewhere(struct fixture *f, uint32_t gone_at, uint32_t left_at)
{
    struct client *gone = member_of(f, gone_at, DURABLE_S);
    struct route nobody[DELIVERY_INLINE_MAX + 1] = {0};
    struct publication p = {.topic = bytes_of_str("b"), .payload = bytes_of_str("")};
    struct delivery delivery = {.publication = &p};
    struct addressees to = {.routes = nobody, .count = DELIVERY_INLINE_MAX + 1};
    assert_true(deliveries_add(&f->workers[gone_at].hub, gone_at, &delivery, NULL,
                               (struct asker){gone_at, NULL}, &to));
    struct publish_ticket *ticket = publish(f, 0, "a", "x", 1).ticket;
    assert_non_null(ticket);
    struct client *left = member_of(f, left_at, DURABLE_S);
    session_end(gone->session);
    return left;
}

static void share_that_chooses_again_waits_for_the_store_of_the_new_member(void **state)
{
    struct fixture *f = *state;
    for (uint32_t n = 0; n < WORKERS * WORKERS * 2; n++) {
        uint32_t left_at = n / WORKERS % WORKERS;
        enum rc rc = n < WORKERS * WORKERS ? RC_OK : RC_IO;
        f->published_count = 0;
        struct client *left = goes_elsewhere(f, n % WORKERS, left_at);
        make_late(f, left_at);
        settle(f);
        assert_got(left, "x");
        assert_int_equal(f->published_count, 0);
        answer_all(f, left_at, rc);
        settle(f);
        assert_int_equal(f->published_count, 1);
        assert_int_equal(f->published[0].rc, rc);
        session_end(left->session);
        settle(f);
    }
}

static void share_that_chooses_again_for_a_member_that_is_not_durable_answers(void **state)
{
    struct fixture *f = *state;
    make_late(f, 0);
    make_late(f, 1);
    struct client *gone = member_of(f, 1, DURABLE_S);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    struct client *left = member_of(f, 0, 0);
    session_end(gone->session);
    settle(f);
    assert_got(left, "x");
    assert_int_equal(f->published_count, 1);
    assert_int_equal(f->published[0].rc, RC_OK);
}

static void share_that_chooses_again_slows_the_publisher_when_the_new_member_lags(void **state)
{
    struct fixture *f = *state;
    struct session *publisher = client_of(f, 0, 0)->session;
    struct client *gone = member_of(f, 1, 0);
    publish_as(f, 0,
               &(struct publication){.topic = bytes_of_str("a"),
                                     .payload = bytes_of_str("x"),
                                     .publisher = publisher->ref});
    f->workers[1].table.limits.queue_messages_max = 1;
    struct client *left = member_of(f, 1, 0);
    left->sink.hold = true;
    session_end(gone->session);
    settle(f);
    assert_int_equal(f->slowed_count, 1);
    assert_int_equal(f->slowed[0], publisher->ref);
}

/* Its subscriptions are removed in slices, and each may be chosen until then. */
static void share_gives_nothing_to_a_session_that_is_being_removed(void **state)
{
    enum { MANY = 1000 };
    struct fixture *f = *state;
    struct client *gone = member_of(f, 0, 0);
    for (int i = 0; i < MANY; i++) {
        char filter[16];
        snprintf(filter, sizeof(filter), "f/%d", i);
        subscribe(gone, filter, 0);
    }
    struct client *away = member_of(f, 0, DURABLE_S);
    disconnect(away);
    session_end(gone->session);
    for (int i = 0; i < 4; i++)
        publish(f, 0, "a", "x", 1);
    settle(f);
    session_attach(away->session, &away->sink, DURABLE_S, 10);
    session_resume(away->session);
    assert_got(away, "x x x x");
}

static void share_chooses_again_in_the_share_it_was_meant_for(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 1, 0), *other = client_of(f, 1, 0);
    join(other, "a", "other");
    publish(f, 0, "a", "x", 1);
    struct client *left = member_of(f, 1, 0);
    session_end(gone->session);
    settle(f);
    assert_got(left, "x");
    assert_got(other, "x"); /* its own copy only */
}

/*
 * The member that was chosen is gone, and an ordinary subscription of the same session lies where
 * it was in memory: nothing of it may be taken for a member's.
 */
static void share_does_not_take_an_ordinary_subscription_for_a_member(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    subscribe(client, "b", 1);
    struct subscription *s = client->session->subscriptions;
    struct route route = {.session = client->session->ref, .qos = 1};
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 1};
    struct delivery delivery = {.publication = &p};
    struct addressees to = {.routes = &route, .count = 1, .member = s};
    assert_true(deliveries_add(&f->workers[0].hub, 1, &delivery, NULL, (struct asker){0}, &to));
    settle(f);
    assert_int_equal(s->member.load, 0);
    assert_got(client, "");
}

/* ---- members that go away with messages ----------------------------------------------------- */

static void share_passes_on_what_a_member_did_not_acknowledge(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 0, 0);
    publish(f, 0, "a", "x", 1);
    publish(f, 0, "a", "y", 1);
    session_puback(gone->session, 1);
    struct client *left = member_of(f, 1, 0);
    session_detach(gone->session, SESSION_WILL_KEEP);
    settle(f);
    assert_got(left, "y");
}

static void share_passes_on_what_waits_in_the_queue_of_a_member(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 0, DURABLE_S);
    gone->sink.hold = true;
    publish(f, 0, "a", "x", 1);
    publish(f, 0, "a", "y", 1);
    struct client *left = member_of(f, 1, 0);
    disconnect(gone);
    settle(f);
    assert_got(left, "x y");
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
}

static void share_whose_members_are_all_away_leaves_messages_where_they_are(void **state)
{
    struct fixture *f = *state;
    struct client *one = member_of(f, 0, DURABLE_S), *other = member_of(f, 1, DURABLE_S);
    for (int i = 0; i < 4; i++)
        publish(f, 0, "a", "x", 1);
    settle(f);
    disconnect(one); /* all of its own go over */
    settle(f);
    assert_int_equal(other->count, 4);
    disconnect(other);
    settle(f);
    assert_null(one->session->queue);
    session_attach(other->session, &other->sink, DURABLE_S, 10);
    other->count = 0;
    session_resume(other->session);
    assert_got(other, "x x x x");
}

static void share_passes_messages_of_a_session_that_ends_even_to_one_that_is_away(void **state)
{
    struct fixture *f = *state;
    struct client *gone = member_of(f, 0, DURABLE_S);
    publish(f, 0, "a", "x", 1);
    struct client *away = member_of(f, 1, DURABLE_S);
    session_detach(away->session, SESSION_WILL_KEEP);
    delivery_session_changed(hub_of(away->session), away->session);
    session_end(gone->session);
    settle(f);
    session_attach(away->session, &away->sink, DURABLE_S, 10);
    session_resume(away->session);
    assert_got(away, "x");
}

static void share_prefers_members_whose_client_is_there(void **state)
{
    struct fixture *f = *state;
    struct client *away = member_of(f, 0, DURABLE_S), *there = member_of(f, 1, DURABLE_S);
    disconnect(away);
    for (int i = 0; i < 4; i++)
        publish(f, 0, "a", "x", 1);
    settle(f);
    assert_int_equal(there->count, 4);
    session_attach(away->session, &away->sink, DURABLE_S, 10);
    delivery_session_changed(hub_of(away->session), away->session);
    for (int i = 0; i < 4; i++)
        publish(f, 0, "a", "x", 1);
    settle(f);
    assert_int_equal(away->count, 2);
}

static void share_that_was_left_keeps_what_its_member_has(void **state)
{
    struct fixture *f = *state;
    struct client *client = member_of(f, 0, DURABLE_S), *other = member_of(f, 0, 0);
    for (int i = 0; i < 2; i++)
        publish(f, 0, "a", "x", 1);
    delivery_unsubscribe(hub_of(client->session), client->session, bytes_of_str("a"),
                         bytes_of_str("group"));
    rcu_sleep();
    rcu_drain(); /* the membership is freed */
    rcu_wake();
    disconnect(client);
    settle(f);
    assert_int_equal(other->count, 1);
    session_attach(client->session, &client->sink, DURABLE_S, 10);
    session_resume(client->session);
    assert_int_equal(session_puback(client->session, 1), RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(share_gives_each_message_to_one_member_wherever_it_is),
        RULE(share_of_another_name_gets_a_copy_of_its_own),
        RULE(share_member_that_subscribes_itself_too_gets_both),
        RULE(share_counts_the_load_of_a_member_of_another_worker),
        RULE(share_waits_for_the_store_of_the_member),
        RULE(share_chooses_again_when_the_session_ended_on_the_way),
        RULE(share_chooses_again_when_the_member_left_on_the_way),
        RULE(share_chooses_again_when_the_member_went_offline_on_the_way),
        RULE(share_chooses_again_with_the_whole_message),
        RULE(share_without_members_left_gives_the_message_to_nobody),
        RULE(share_that_chooses_again_answers_the_publisher),
        RULE(share_that_chooses_again_waits_for_the_store_of_the_new_member),
        RULE(share_that_chooses_again_for_a_member_that_is_not_durable_answers),
        RULE(share_that_chooses_again_slows_the_publisher_when_the_new_member_lags),
        RULE(share_gives_nothing_to_a_session_that_is_being_removed),
        RULE(share_chooses_again_in_the_share_it_was_meant_for),
        RULE(share_does_not_take_an_ordinary_subscription_for_a_member),
        RULE(share_passes_on_what_a_member_did_not_acknowledge),
        RULE(share_passes_on_what_waits_in_the_queue_of_a_member),
        RULE(share_whose_members_are_all_away_leaves_messages_where_they_are),
        RULE(share_passes_messages_of_a_session_that_ends_even_to_one_that_is_away),
        RULE(share_prefers_members_whose_client_is_there),
        RULE(share_that_was_left_keeps_what_its_member_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
