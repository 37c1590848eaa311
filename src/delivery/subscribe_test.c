/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery_fixture.h"

enum { DURABLE_S = 100 };

static enum subscribe_result ask(struct client *client, const char *filter, const char *share,
                                 uint8_t qos)
{
    return delivery_subscribe(hub_of(client->session), client->session, bytes_of_str(filter),
                              bytes_of_str(share), &(struct subscription_options){.qos = qos});
}

static bool has(struct client *client, const char *filter, const char *share)
{
    return delivery_has_subscription(hub_of(client->session), client->session, bytes_of_str(filter),
                                     bytes_of_str(share));
}

static bool unsubscribe(struct client *client, const char *filter, const char *share)
{
    return delivery_unsubscribe(hub_of(client->session), client->session, bytes_of_str(filter),
                                bytes_of_str(share));
}

/* ---- subscriptions -------------------------------------------------------------------------- */

static void subscription_is_new_once_and_replaced_afterwards(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    assert_int_equal(ask(client, "a", "", 2), SUBSCRIBED_NEW);
    assert_int_equal(ask(client, "a", "", 0), SUBSCRIBED_AGAIN);
    assert_int_equal(client->session->subscription_count, 1);
    publish(f, 0, "a", "x", 2);
    assert_int_equal(client->count, 1);
    assert_int_equal(client->got[0].qos, 0);
}

static void subscriptions_of_two_sessions_to_one_filter_are_two(void **state)
{
    struct fixture *f = *state;
    struct client *one = client_of(f, 0, 0), *other = client_of(f, 0, 0);
    assert_int_equal(ask(one, "a", "", 0), SUBSCRIBED_NEW);
    assert_int_equal(ask(other, "a", "", 0), SUBSCRIBED_NEW);
    unsubscribe(one, "a", "");
    assert_true(has(other, "a", ""));
}

static void subscriptions_shared_and_not_are_two(void **state)
{
    struct client *client = client_of(*state, 0, 0);
    assert_int_equal(ask(client, "a", "", 0), SUBSCRIBED_NEW);
    assert_int_equal(ask(client, "a", "one", 0), SUBSCRIBED_NEW);
    assert_int_equal(ask(client, "a", "other", 0), SUBSCRIBED_NEW);
    assert_int_equal(ask(client, "a", "one", 0), SUBSCRIBED_AGAIN);
    assert_true(unsubscribe(client, "a", "one"));
    assert_false(has(client, "a", "one"));
    assert_true(has(client, "a", "other"));
    assert_true(has(client, "a", ""));
}

static void unsubscribe_ends_what_is_there_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    subscribe(client, "a", 0);
    assert_false(unsubscribe(client, "b", ""));
    assert_false(unsubscribe(client, "a", "group"));
    assert_false(unsubscribe(client, "+", ""));
    assert_true(unsubscribe(client, "a", ""));
    assert_false(unsubscribe(client, "a", ""));
    assert_false(publish(f, 0, "a", "x", 0).matched);
}

static void subscriptions_are_counted_by_kind(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    ask(client, "a", "", 0);
    ask(client, "a", "", 1);
    ask(client, "b", "", 0);
    ask(client, "a", "group", 0);
    assert_int_equal(metric(f, METRIC_SUBSCRIPTIONS_CURRENT), 2);
    assert_int_equal(metric(f, METRIC_SHARED_SUBSCRIPTIONS_CURRENT), 1);
    unsubscribe(client, "a", "group");
    unsubscribe(client, "b", "");
    assert_int_equal(metric(f, METRIC_SUBSCRIPTIONS_CURRENT), 1);
    assert_int_equal(metric(f, METRIC_SHARED_SUBSCRIPTIONS_CURRENT), 0);
}

static void session_that_becomes_durable_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    subscribe(client, "a", 1);
    assert_null(publish(f, 0, "a", "x", 1).ticket);
    client->session->expiry_s = DURABLE_S;
    delivery_session_changed(hub_of(client->session), client->session);
    assert_non_null(publish(f, 0, "a", "x", 1).ticket);
    client->session->expiry_s = 0;
    delivery_session_changed(hub_of(client->session), client->session);
    assert_null(publish(f, 0, "a", "x", 1).ticket);
    settle(f);
}

/* ---- the end of a session ------------------------------------------------------------------- */

static void session_with_few_subscriptions_is_gone_at_once(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    subscribe(client, "a/b/c", 0);
    join(client, "a/#", "group");
    session_end(client->session);
    assert_int_equal(f->router.node_count, 0);
    assert_int_equal(metric(f, METRIC_SUBSCRIPTIONS_CURRENT), 0);
    assert_int_equal(metric(f, METRIC_SHARED_SUBSCRIPTIONS_CURRENT), 0);
}

enum { VERY_MANY = 10000 };

static void subscribe_very_often(struct client *client)
{
    char filter[TEXT_ROOM];
    for (int i = 0; i < VERY_MANY; i++) {
        snprintf(filter, sizeof(filter), "many/%d/%d", i % 100, i);
        subscribe(client, filter, 0);
    }
}

static void session_with_very_many_subscriptions_goes_in_steps(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    subscribe_very_often(client);
    session_end(client->session);
    uint64_t left = metric(f, METRIC_SUBSCRIPTIONS_CURRENT);
    assert_in_range(left, VERY_MANY - 1000, VERY_MANY - 1);
    struct job_queue *jobs = &f->workers[0].jobs;
    for (int steps = 0; !list_empty(&jobs->jobs); steps++) {
        struct job *job = CONTAINER_OF(list_take_first(&jobs->jobs), struct job, link);
        if (!job->step(job))
            list_add_last(&jobs->jobs, &job->link);
        uint64_t now_left = metric(f, METRIC_SUBSCRIPTIONS_CURRENT);
        assert_true(left - now_left <= 1000);
        left = now_left;
    }
    assert_int_equal(left, 0);
    assert_int_equal(f->router.node_count, 0);
}

static void session_that_goes_in_steps_gets_nothing_any_more(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    subscribe_very_often(client);
    session_end(client->session);
    for (int i = 0; i < VERY_MANY; i += 100) {
        char topic[TEXT_ROOM];
        snprintf(topic, sizeof(topic), "many/%d/%d", i % 100, i);
        publish(f, i % 2, topic, "x", 0);
    }
    settle(f);
    assert_int_equal(client->count, 0);
}

static void session_that_goes_in_steps_makes_way_for_a_new_one_of_its_client(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    subscribe_very_often(client);
    session_end(client->session);
    client->session = session_of(f, 0, "client1");
    session_attach(client->session, &client->sink, 0, 10);
    assert_int_equal(ask(client, "many/0/0", "", 0), SUBSCRIBED_NEW);
    settle(f);
    assert_int_equal(metric(f, METRIC_SUBSCRIPTIONS_CURRENT), 1);
    publish(f, 0, "many/0/0", "x", 0);
    assert_got(client, "x");
}

static struct message *message_of(const char *topic, const char *payload, uint8_t qos)
{
    struct publication p = {.topic = bytes_of_str(topic),
                            .payload = bytes_of_str(payload),
                            .qos = qos,
                            .retain = true,
                            .received_ms = NOW_MS};
    struct message *message = message_new(&p);
    assert_non_null(message);
    return message;
}

static void will_is_published_to_all_workers(void **state)
{
    struct fixture *f = *state;
    struct client *here = client_of(f, 0, 0), *there = client_of(f, 1, 0);
    struct client *client = client_of(f, 0, 0);
    subscribe(here, "will", 1);
    subscribe(there, "will", 1);
    struct message *will = message_of("will", "gone", 1);
    will->publication.retain = false;
    session_set_will(client->session, will, 0);
    session_detach(client->session, SESSION_WILL_KEEP);
    settle(f);
    assert_got(here, "gone");
    assert_got(there, "gone");
    assert_int_equal(atomic_load(&f->retained.count), 0);
}

static void will_that_is_retained_is_retained(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    session_set_will(client->session, message_of("will", "gone", 1), 0);
    session_detach(client->session, SESSION_WILL_KEEP);
    assert_int_equal(atomic_load(&f->retained.count), 1);
}

/* ---- retained ------------------------------------------------------------------------------- */

static enum rc retain(struct fixture *f, const char *topic, const char *payload, uint8_t qos)
{
    struct message *message = message_of(topic, payload, qos);
    enum rc rc = delivery_retain(&f->workers[0].hub, message);
    message_drop(message);
    return rc;
}

static void retain_many(struct fixture *f, uint32_t count, uint8_t qos)
{
    char topic[TEXT_ROOM];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "many/%u", i);
        assert_int_equal(retain(f, topic, "x", qos), RC_OK);
    }
}

static void send_retained(struct client *client, const char *filter, uint8_t qos)
{
    delivery_send_retained(hub_of(client->session), client->session, bytes_of_str(filter),
                           &(struct subscription_options){.qos = qos, .identifier = 5});
}

static void retained_with_an_empty_payload_is_cleared(void **state)
{
    struct fixture *f = *state;
    retain(f, "a", "x", 0);
    assert_int_equal(retain(f, "a", "", 0), RC_OK);
    assert_int_equal(atomic_load(&f->retained.count), 0);
}

static void retained_at_the_limit_is_refused_and_counted(void **state)
{
    struct fixture *f = *state;
    f->retained.count_max = 1;
    retain(f, "a", "x", 0);
    assert_int_equal(retain(f, "b", "x", 0), RC_FULL);
    assert_int_equal(metric(f, METRIC_LIMIT_RETAINED), 1);
    assert_int_equal(metric(f, METRIC_RETAINED_REFUSED), 1);
}

static void retained_is_sent_with_retain_at_the_lower_qos_with_the_identifier(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 1, 0);
    retain(f, "a", "one", 1);
    retain(f, "b", "two", 2);
    send_retained(client, "a", 2);
    send_retained(client, "b", 1);
    assert_got(client, "one two");
    for (int i = 0; i < 2; i++) {
        assert_true(client->got[i].retain);
        assert_int_equal(client->got[i].qos, 1);
        assert_int_equal(client->got[i].identifier_count, 1);
        assert_int_equal(client->got[i].identifiers[0], 5);
    }
}

static void retained_is_sent_without_an_identifier_when_there_is_none(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    retain(f, "a", "one", 0);
    delivery_send_retained(&f->workers[0].hub, client->session, bytes_of_str("a"),
                           &(struct subscription_options){.qos = 0});
    assert_int_equal(client->got[0].identifier_count, 0);
}

static void retained_counts_as_work_of_the_turn(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    retain_many(f, 10, 0);
    f->workers[0].hub.work = 0;
    send_retained(client, "#", 0);
    settle(f);
    assert_int_equal(f->workers[0].hub.work, 10);
}

static void retained_is_sent_for_all_topics_that_match(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    retain(f, "a/b", "x", 0);
    retain(f, "a/c/d", "x", 0);
    retain(f, "a", "x", 0);
    retain(f, "$a", "x", 0);
    send_retained(client, "a/#", 0);
    settle(f);
    assert_int_equal(client->count, 3);
    send_retained(client, "+", 0);
    settle(f);
    assert_int_equal(client->count, 4);
    send_retained(client, "none/+", 0);
    settle(f);
    assert_int_equal(client->count, 4);
}

static void retained_that_are_many_all_come(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    retain_many(f, 3000, 0);
    send_retained(client, "#", 0);
    assert_true(client->count < 3000);
    settle(f);
    assert_int_equal(client->count, 3000);
}

static void retained_waits_for_a_client_whose_output_is_full(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    retain_many(f, 1000, 0);
    client->hold_at = 100;
    send_retained(client, "#", 0);
    settle(f);
    assert_int_equal(client->count, 100);
    assert_false(list_empty(&f->workers[0].hub.parked));
    client->hold_at = 500;
    client->sink.hold = false;
    session_pump(client->session);
    settle(f);
    assert_int_equal(client->count, 500);
    client->sink.hold = false;
    session_pump(client->session);
    settle(f);
    assert_int_equal(client->count, 1000);
    assert_true(list_empty(&f->workers[0].hub.parked));
}

/* Sends `count` of QoS 1 to a client that acknowledges each after the next turn. */
static uint32_t acknowledge_all(struct fixture *f, struct client *client, uint32_t count)
{
    uint16_t next = 1;
    for (uint32_t turns = 0; turns < 2 * count; turns++) {
        settle(f);
        if (session_puback(client->session, next) == RC_OK)
            next++;
    }
    return client->count;
}

static void retained_waits_for_a_client_that_acknowledges_slowly(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    client->session->receive_maximum = 1;
    retain_many(f, 1000, 1);
    send_retained(client, "#", 1);
    settle(f);
    assert_true(client->session->queue->count < 500); /* the rest stays where it is */
    assert_int_equal(acknowledge_all(f, client, 1000), 1000);
}

static void retained_is_not_lost_to_a_small_queue(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    f->workers[0].table.limits.queue_messages_max = 100;
    client->session->receive_maximum = 1;
    retain_many(f, 1000, 1);
    send_retained(client, "#", 1);
    assert_int_equal(acknowledge_all(f, client, 1000), 1000);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 0);
}

static void retained_stops_when_the_session_ends(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    retain_many(f, 1000, 0);
    client->hold_at = 100;
    send_retained(client, "#", 0);
    settle(f);
    session_end(client->session);
    settle(f);
    assert_true(list_empty(&f->workers[0].hub.parked));
    assert_true(list_empty(&f->workers[0].jobs.jobs));
}

static void retained_stops_when_the_client_goes_away(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, DURABLE_S);
    retain_many(f, 1000, 0);
    send_retained(client, "#", 0);
    session_detach(client->session, SESSION_WILL_KEEP);
    settle(f);
    assert_in_range(client->count, 0, 999);
    assert_true(list_empty(&f->workers[0].jobs.jobs));
}

static void retained_that_has_expired_is_not_sent(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    struct message *message = message_of("a/b", "old", 0);
    message->publication.has_expiry = true;
    message->publication.expiry_s = 1;
    delivery_retain(&f->workers[0].hub, message);
    message_drop(message);
    f->workers[0].table.now_ms += 1000;
    send_retained(client, "#", 0);
    send_retained(client, "a/b", 0);
    settle(f);
    assert_got(client, "");
}

static void retained_that_expires_while_it_waits_is_not_sent(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_of(f, 0, 0);
    struct message *message = message_of("a/b", "old", 0);
    message->publication.has_expiry = true;
    message->publication.expiry_s = 10;
    delivery_retain(&f->workers[0].hub, message);
    message_drop(message);
    client->sink.hold = true;
    send_retained(client, "#", 0);
    f->workers[0].table.now_ms += 10 * 1000;
    client->sink.hold = false;
    settle(f);
    assert_got(client, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(subscription_is_new_once_and_replaced_afterwards),
        RULE(subscriptions_of_two_sessions_to_one_filter_are_two),
        RULE(subscriptions_shared_and_not_are_two),
        RULE(unsubscribe_ends_what_is_there_and_nothing_else),
        RULE(subscriptions_are_counted_by_kind),
        RULE(session_that_becomes_durable_is_waited_for),
        RULE(session_with_few_subscriptions_is_gone_at_once),
        RULE(session_with_very_many_subscriptions_goes_in_steps),
        RULE(session_that_goes_in_steps_gets_nothing_any_more),
        RULE(session_that_goes_in_steps_makes_way_for_a_new_one_of_its_client),
        RULE(will_is_published_to_all_workers),
        RULE(will_that_is_retained_is_retained),
        RULE(retained_with_an_empty_payload_is_cleared),
        RULE(retained_at_the_limit_is_refused_and_counted),
        RULE(retained_is_sent_with_retain_at_the_lower_qos_with_the_identifier),
        RULE(retained_is_sent_without_an_identifier_when_there_is_none),
        RULE(retained_counts_as_work_of_the_turn),
        RULE(retained_is_sent_for_all_topics_that_match),
        RULE(retained_that_are_many_all_come),
        RULE(retained_waits_for_a_client_whose_output_is_full),
        RULE(retained_waits_for_a_client_that_acknowledges_slowly),
        RULE(retained_is_not_lost_to_a_small_queue),
        RULE(retained_stops_when_the_session_ends),
        RULE(retained_stops_when_the_client_goes_away),
        RULE(retained_that_has_expired_is_not_sent),
        RULE(retained_that_expires_while_it_waits_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
