/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/node_fixture.h"

#include "base/fault.h"

static void retain(struct node *n, uint32_t worker, const char *topic, const char *payload)
{
    struct publication p = {.topic = bytes_of_str(topic),
                            .payload = bytes_of_str(payload),
                            .qos = 1,
                            .retain = true,
                            .received_ms = NOW_MS};
    struct message *message = message_new(&p);
    assert_non_null(message);
    assert_int_equal(delivery_retain(&n->f->workers[worker].hub, message), RC_OK);
    delivery_publish(&n->f->workers[worker].hub, &p, message, NULL);
    message_drop(message);
    node_settle(n);
}

static void assert_retained(struct node *n, const char *topic, const char *payload)
{
    struct message *message = retained_get(&n->f->retained, bytes_of_str(topic), NOW_MS);
    assert_int_equal(message != NULL, payload != NULL);
    if (message != NULL)
        assert_true(bytes_equal(message->publication.payload, bytes_of_str(payload)));
    message_drop(message);
}

/* ---- subscriptions -------------------------------------------------------------------------- */

static void subscriptions_are_there_after_a_restart(void **state)
{
    struct node *n = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *client = come(n, id_of(worker), LONG_S);
        subscribe_as(client, "a/+", "", 1);
        subscribe_as(client, "gone", "", 1);
        delivery_unsubscribe(hub_of(client->session), client->session, bytes_of_str("gone"),
                             bytes_of_str(""));
    }
    node_restart(n);
    assert_int_equal(n->counts.sessions, 2);
    assert_int_equal(n->counts.subscriptions, 2);
    assert_int_equal(metric(n->f, METRIC_SUBSCRIPTIONS_CURRENT), 2);
    publish(n->f, 0, "a/b", "x", 1);
    publish(n->f, 0, "gone", "y", 1);
    node_settle(n);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *client = come(n, id_of(worker), LONG_S);
        node_settle(n);
        assert_got(client, "x");
    }
}

static void subscription_keeps_its_options(void **state)
{
    struct node *n = *state;
    struct client *client = come(n, id_of(0), LONG_S);
    subscribe_with(client->session, "a", "",
                   &(struct subscription_options){.qos = 2,
                                                  .no_local = true,
                                                  .retain_as_published = true,
                                                  .retain_handling = RETAIN_DO_NOT_SEND,
                                                  .identifier = 4711});
    subscribe_as(client, "a", "", 0); /* replaced... */
    subscribe_with(
        client->session, "a", "",
        &(struct subscription_options){.qos = 2, .retain_as_published = true, .identifier = 4711});
    node_restart(n);
    assert_int_equal(n->counts.subscriptions, 1);
    client = come(n, id_of(0), LONG_S);
    publish_as(n->f, 0,
               &(struct publication){.topic = bytes_of_str("a"),
                                     .payload = bytes_of_str("x"),
                                     .qos = 2,
                                     .retain = true,
                                     .received_ms = NOW_MS});
    node_settle(n);
    assert_got(client, "x");
    assert_int_equal(client->got[0].qos, 2);
    assert_true(client->got[0].retain);
    assert_int_equal(client->got[0].identifier_count, 1);
    assert_int_equal(client->got[0].identifiers[0], 4711);
}

static void subscription_of_a_share_is_one_again(void **state)
{
    struct node *n = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        subscribe_as(come(n, id_of(worker), LONG_S), "a", "group", 1);
    node_restart(n);
    assert_int_equal(metric(n->f, METRIC_SHARED_SUBSCRIPTIONS_CURRENT), 2);
    struct client *clients[] = {come(n, id_of(0), LONG_S), come(n, id_of(1), LONG_S)};
    for (int i = 0; i < 10; i++)
        publish(n->f, 0, "a", "x", 1);
    node_settle(n);
    assert_int_equal(clients[0]->count + clients[1]->count, 10);
    assert_true(clients[0]->count > 0 && clients[1]->count > 0);
}

static void subscription_with_a_long_filter_comes_back(void **state)
{
    struct node *n = *state;
    char filter[3001];
    memset(filter, 'x', sizeof(filter) - 1);
    filter[sizeof(filter) - 1] = '\0';
    subscribe_as(come(n, id_of(0), LONG_S), filter, "", 1);
    node_restart(n);
    assert_int_equal(n->counts.subscriptions, 1);
    struct client *client = come(n, id_of(0), LONG_S);
    assert_true(delivery_has_subscription(hub_of(client->session), client->session,
                                          bytes_of_str(filter), bytes_of_str("")));
}

static void subscriptions_of_a_passing_session_are_not_written(void **state)
{
    struct node *n = *state;
    subscribe_as(come(n, id_of(0), 0), "a", "", 1);
    node_restart(n);
    assert_int_equal(n->counts.sessions, 0);
    assert_int_equal(n->counts.subscriptions, 0);
}

static void session_end_deletes_few_subscriptions_and_many(void **state)
{
    static const int counts[] = {1, STORED_SUBSCRIPTIONS_ONE_BY_ONE,
                                 STORED_SUBSCRIPTIONS_ONE_BY_ONE + 1, 500};
    struct node *n = *state;
    char filter[TEXT_ROOM];
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct client *client = come(n, id_of(0), LONG_S);
        for (int k = 0; k < counts[i]; k++) {
            snprintf(filter, sizeof(filter), "filter/%d", k);
            subscribe_as(client, filter, k % 2 == 0 ? "" : "group", 1);
        }
        node_settle(n);
        session_end(client->session);
        node_settle(n);
        assert_int_equal(key_count(store_engine(n->store), STORE_STATE), 1); /* the format's */
    }
}

/* ---- messages ------------------------------------------------------------------------------- */

static void messages_of_absent_clients_are_there_after_a_restart(void **state)
{
    struct node *n = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *client = come(n, id_of(worker), LONG_S);
        subscribe_as(client, "a", "", 2);
        leave(client);
    }
    struct publish_outcome outcome = publish(n->f, 0, "a", "one", 1);
    assert_non_null(outcome.ticket);
    publish(n->f, 1, "a", "two", 1);
    node_settle(n);
    assert_int_equal(n->f->published_count, 2);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    node_restart(n);
    assert_int_equal(n->counts.messages, 4);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *client = come(n, id_of(worker), LONG_S);
        node_settle(n);
        assert_int_equal(client->count, 2);
        session_puback(client->session, 1);
        session_puback(client->session, 2);
    }
    node_settle(n);
    assert_int_equal(key_count(store_engine(n->store), STORE_QUEUE), 0);
}

static void publication_is_acknowledged_after_its_commit(void **state)
{
    struct node *n = *state;
    struct client *client = come(n, id_of(1), LONG_S);
    subscribe_as(client, "a", "", 1);
    node_settle(n);
    assert_non_null(publish(n->f, 0, "a", "x", 1).ticket);
    settle(n->f);
    assert_int_equal(n->f->published_count, 0); /* nothing was handed to the store */
    node_settle(n);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(key_count(store_engine(n->store), STORE_QUEUE), 1);
}

/* ---- retained ------------------------------------------------------------------------------- */

static void retained_messages_are_there_after_a_restart(void **state)
{
    struct node *n = *state;
    retain(n, 0, "a", "old");
    retain(n, 1, "a", "new");
    retain(n, 0, "b", "kept");
    retain(n, 0, "c", "cleared");
    retain(n, 1, "c", "");
    node_restart(n);
    assert_int_equal(n->counts.retained, 2);
    assert_retained(n, "a", "new");
    assert_retained(n, "b", "kept");
    assert_retained(n, "c", NULL);
}

static void retained_publication_is_acknowledged_after_its_commit(void **state)
{
    struct node *n = *state;
    struct publication p = {.topic = bytes_of_str("a"),
                            .payload = bytes_of_str("x"),
                            .qos = 1,
                            .retain = true,
                            .received_ms = NOW_MS};
    struct message *message = message_new(&p);
    assert_int_equal(delivery_retain(&n->f->workers[0].hub, message), RC_OK);
    struct publish_outcome outcome = delivery_publish(&n->f->workers[0].hub, &p, message, NULL);
    message_drop(message);
    assert_non_null(outcome.ticket);
    settle(n->f);
    assert_int_equal(n->f->published_count, 0);
    node_settle(n);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    assert_int_equal(key_count(store_engine(n->store), STORE_RETAINED), 1);
}

/* The will of a stored session goes by the outbox. */
static void retained_will_is_there_after_a_restart(void **state)
{
    struct node *n = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct publication p = {.topic = bytes_of_str(worker == 0 ? "a" : "b"),
                                .payload = bytes_of_str("gone"),
                                .qos = 1,
                                .retain = true,
                                .received_ms = NOW_MS};
        struct client *client = come(n, id_of(worker), LONG_S);
        session_set_will(client->session, message_new(&p), 0);
        leave(client);
    }
    node_settle(n);
    assert_retained(n, "a", "gone");
    node_restart(n);
    assert_retained(n, "a", "gone");
    assert_retained(n, "b", "gone");
}

/* ---- what does not fit together ------------------------------------------------------------- */

static void records_of_no_session_are_deleted(void **state)
{
    struct node *n = *state;
    struct bytes value = bytes_of_str("whatever");
    node_crash(n);
    struct store_key subscription = record_key_subscription(0, 99, bytes_of_str("a"));
    struct store_key received = record_key_received(1, 99, 7);
    struct store_key will = record_key_of(0, RECORD_WILL, 99);
    struct store_key queued = record_key_queued(1, 99, 1);
    struct store_key shared = record_key_of(0, RECORD_SHARED, 5);
    write_record(n, STORE_STATE, &subscription, value);
    write_record(n, STORE_STATE, &received, value);
    write_record(n, STORE_STATE, &will, value);
    write_record(n, STORE_QUEUE, &queued, value);
    write_record(n, STORE_QUEUE, &shared, value);
    node_start(n);
    assert_false(n->refused);
    node_settle(n);
    assert_int_equal(key_count(store_engine(n->store), STORE_STATE), 1);
    assert_int_equal(key_count(store_engine(n->store), STORE_QUEUE), 0);
}

static void records_that_cannot_be_read_are_counted_and_the_rest_is_served(void **state)
{
    struct node *n = *state;
    struct bytes value = bytes_of_str("?");
    struct client *client = come(n, id_of(0), LONG_S);
    subscribe_as(client, "a", "", 1);
    leave(client);
    uint64_t number = client->session->number;
    publish(n->f, 0, "a", "x", 1);
    node_crash(n);
    struct store_key session = record_key_of(1, RECORD_SESSION, 98);
    struct store_key subscription = record_key_subscription(0, number, bytes_of_str("b"));
    struct store_key invalid = record_key_subscription(0, number, bytes_of_str("a/#/b"));
    struct store_key will = record_key_of(0, RECORD_WILL, number);
    struct store_key queued = record_key_queued(0, number, 500);
    struct store_key retained = record_key_retained(1, bytes_of_str("r"));
    struct store_key mark = record_key_high_water(0, 1);
    struct store_key key = {.head = {0, 0, RECORD_RECEIVED, 1}, .head_len = 4};
    write_record(n, STORE_STATE, &session, value);
    write_record(n, STORE_STATE, &subscription, value);
    write_record(n, STORE_STATE, &invalid, value);
    write_record(n, STORE_STATE, &will, value);
    write_record(n, STORE_STATE, &mark, value);
    write_record(n, STORE_STATE, &key, value);
    write_record(n, STORE_QUEUE, &queued, value);
    write_record(n, STORE_RETAINED, &retained, value);
    node_start(n);
    assert_false(n->refused);
    assert_int_equal(n->counts.damaged, 8);
    assert_int_equal(n->counts.sessions, 1);
    client = come(n, id_of(0), LONG_S);
    publish(n->f, 0, "a", "y", 1);
    node_settle(n);
    assert_got(client, "x y");
}

static void will_without_memory_at_start_up_is_counted(void **state)
{
    struct node *n = *state;
    struct publication p = {.topic = bytes_of_str("w"), .payload = bytes_of_str("gone")};
    struct client *client = come(n, id_of(0), LONG_S);
    session_set_will(client->session, message_new(&p), 100);
    node_crash(n);
    node_open(n);
    fault_fail("memory", 1, 1); /* the session itself is the first */
    node_load(n);
    fault_fail("memory", 0, 0);
    assert_int_equal(n->counts.sessions, 1);
    assert_int_equal(metric(n->f, METRIC_PUBLISH_DROPPED_NO_MEMORY), 1);
    client = come(n, id_of(0), LONG_S);
    assert_null(client->session->will);
}

static void retained_message_that_has_expired_is_deleted(void **state)
{
    struct node *n = *state;
    struct publication p = {.topic = bytes_of_str("old"),
                            .payload = bytes_of_str("x"),
                            .received_ms = 1,
                            .has_expiry = true,
                            .expiry_s = 10};
    struct record_clock clock = {.now_ms = 20000, .wall_ms = clock_wall_ms()};
    struct record_value value;
    uint8_t bytes[128];
    size_t len = 0;
    node_crash(n);
    message_record_encode(&p, &clock, &value);
    for (uint32_t i = 0; i < value.count; i++) {
        if (value.parts[i].len > 0)
            memcpy(bytes + len, value.parts[i].data, value.parts[i].len);
        len += value.parts[i].len;
    }
    struct store_key key = record_key_retained(0, bytes_of_str("old"));
    write_record(n, STORE_RETAINED, &key, bytes_of(bytes, len));
    node_start(n);
    node_settle(n);
    assert_int_equal(n->counts.retained, 0);
    assert_int_equal(key_count(store_engine(n->store), STORE_RETAINED), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(subscriptions_are_there_after_a_restart),
        RULE(subscription_keeps_its_options),
        RULE(subscription_of_a_share_is_one_again),
        RULE(subscription_with_a_long_filter_comes_back),
        RULE(subscriptions_of_a_passing_session_are_not_written),
        RULE(session_end_deletes_few_subscriptions_and_many),
        RULE(messages_of_absent_clients_are_there_after_a_restart),
        RULE(publication_is_acknowledged_after_its_commit),
        RULE(retained_messages_are_there_after_a_restart),
        RULE(retained_publication_is_acknowledged_after_its_commit),
        RULE(records_of_no_session_are_deleted),
        RULE(records_that_cannot_be_read_are_counted_and_the_rest_is_served),
        RULE(retained_will_is_there_after_a_restart),
        RULE(will_without_memory_at_start_up_is_counted),
        RULE(retained_message_that_has_expired_is_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
