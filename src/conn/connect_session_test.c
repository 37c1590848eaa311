/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT: to which session, what becomes of the one before it, and of its will. */
#include "conn/conn_fixture.h"

/* ---- sessions ------------------------------------------------------------------------------ */

static void session_is_present_when_it_stayed(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected_durable(f, 0, MQTT_V5);
    subscribe(first, "t", 1);
    struct client *again = reconnected(first);
    assert_true(expect_connack(again, 0).session_present);
    send_publish(again, 1, 1, "still subscribed");
    expect_publish(again, "still subscribed");
}

static void session_is_not_present_when_it_ended_with_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected(f, 0, MQTT_V5);
    subscribe(first, "t", 1);
    struct client *again = reconnected(first);
    assert_false(expect_connack(again, 0).session_present);
    send_publish(again, 1, 1, "nobody");
    expect_ack(again, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
}

static void session_ends_at_a_clean_start(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected_durable(f, 0, MQTT_V5);
    subscribe(first, "t", 1);
    client_close(first);
    struct client *again = dial(f, 0, MQTT_V5);
    strcpy(again->id, first->id);
    struct connect connect = connect_durable(again);
    send_connect(again, &connect);
    assert_false(expect_connack(again, 0).session_present);
    send_publish(again, 1, 1, "nobody");
    expect_ack(again, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(f->shared.sessions, 1);
}

/* As one that a new home has just read from its store. */
static void session_that_has_expired_is_not_present_before_its_timer_has_fired(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected_durable(f, 0, MQTT_V5);
    subscribe(first, "t", 1);
    struct session *session = session_of(first);
    client_close(first);
    settle(f);
    session->end_at_ms = 1;
    struct client *again = reconnected(first);
    assert_false(expect_connack(again, 0).session_present);
    assert_int_equal(metric(f, METRIC_SESSIONS_EXPIRED), 1);
    assert_int_equal(f->shared.sessions, 1);
}

static void session_of_a_3_1_client_is_kept_and_not_spoken_of(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected_durable(f, 0, MQTT_V31);
    subscribe(first, "t", 1);
    struct client *again = reconnected(first);
    assert_false(expect_connack(again, 0).session_present);
    send_publish(again, 1, 1, "kept");
    expect_publish(again, "kept");
}

static uint32_t expiry_of(struct fixture *f, const struct connect *connect)
{
    struct client *client = dial(f, 0, connect->version);
    struct connect named = *connect;
    named.client_id = bytes_of_str(client->id);
    connected_with(client, &named);
    return session_of(client)->expiry_s;
}

static void session_expiry_is_what_the_version_says(void **state)
{
    struct fixture *f = *state;
    struct connect connect = {.version = MQTT_V311, .clean_start = true};
    assert_int_equal(expiry_of(f, &connect), 0);
    connect.clean_start = false;
    assert_int_equal(expiry_of(f, &connect), SESSION_NEVER_EXPIRES);
    connect.version = MQTT_V5;
    assert_int_equal(expiry_of(f, &connect), 0);
    property_set(&connect.properties, PROPERTY_SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_s = 77;
    assert_int_equal(expiry_of(f, &connect), 77);
}

static void session_expiry_above_the_maximum_is_lowered_and_told(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.session_expiry_max_s = 100;
    struct connect old = {.version = MQTT_V311};
    assert_int_equal(expiry_of(f, &old), 100);
    for (uint32_t asked = 99; asked <= 101; asked++) {
        struct client *client = dial(f, 0, MQTT_V5);
        struct connect connect = connect_durable(client);
        connect.properties.session_expiry_s = asked;
        send_connect(client, &connect);
        struct properties said = expect_connack(client, 0).properties;
        assert_int_equal(property_present(&said, PROPERTY_SESSION_EXPIRY_INTERVAL), asked > 100);
        if (asked > 100)
            assert_int_equal(said.session_expiry_s, 100);
        assert_int_equal(session_of(client)->expiry_s, asked > 100 ? 100 : asked);
    }
}

/* ---- taking over --------------------------------------------------------------------------- */

static void second_connection_takes_the_session_over(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected_durable(f, 0, MQTT_V5);
    struct client *second = dial(f, 0, MQTT_V5);
    strcpy(second->id, first->id);
    struct connect connect = connect_durable(second);
    connect.clean_start = false;
    send_connect(second, &connect);
    assert_true(expect_connack(second, 0).session_present);
    expect_fault(first, MQTT_SESSION_TAKEN_OVER);
    assert_int_equal(metric(f, METRIC_TAKEOVERS), 1);
    assert_int_equal(metric(f, METRIC_CONNECTIONS_CURRENT), 1);
    send_publish(second, 1, 1, "goes on");
    expect_ack(second, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
}

static void taken_over_session_without_expiry_is_a_new_one(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected(f, 0, MQTT_V311);
    subscribe(first, "t", 0);
    struct client *second = dial(f, 0, MQTT_V311);
    strcpy(second->id, first->id);
    struct connect connect = connect_durable(second);
    send_connect(second, &connect);
    assert_false(expect_connack(second, 0).session_present);
    expect_end(first);
    send_publish(second, 0, 0, "to nobody");
    expect_silence(second);
}

static struct client *take_over_with_will(struct fixture *f, uint32_t delay_s, bool clean_start)
{
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "will", 0);
    struct client *first = dial(f, 0, MQTT_V5);
    struct connect connect = connect_durable(first);
    connect.has_will = true;
    connect.will_topic = bytes_of_str("will");
    connect.will_payload = bytes_of_str("gone");
    property_set(&connect.will_properties, PROPERTY_WILL_DELAY_INTERVAL);
    connect.will_properties.will_delay_s = delay_s;
    connected_with(first, &connect);
    struct client *second = dial(f, 0, MQTT_V5);
    strcpy(second->id, first->id);
    connect = connect_durable(second);
    connect.clean_start = clean_start;
    connected_with(second, &connect);
    return watcher;
}

static void will_of_a_taken_over_connection_is_published(void **state)
{
    expect_publish(take_over_with_will(*state, 0, false), "gone");
}

static void delayed_will_of_a_taken_over_connection_is_dropped(void **state)
{
    expect_silence(take_over_with_will(*state, 60, false));
}

static void delayed_will_of_a_session_that_is_replaced_is_published(void **state)
{
    expect_publish(take_over_with_will(*state, 60, true), "gone");
}

static void delayed_will_that_waits_is_dropped_when_the_client_comes_back(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "will", 0);
    struct client *first = dial(f, 0, MQTT_V5);
    struct connect connect = connect_durable(first);
    connect.has_will = true;
    connect.will_topic = bytes_of_str("will");
    property_set(&connect.will_properties, PROPERTY_WILL_DELAY_INTERVAL);
    connect.will_properties.will_delay_s = 60;
    connected_with(first, &connect);
    struct client *again = reconnected(first);
    assert_true(expect_connack(again, 0).session_present);
    expect_silence(watcher);
}

/* ---- wills --------------------------------------------------------------------------------- */

static void will_carries_what_connect_said_of_it(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    send_subscribe(watcher, 1, "will",
                   (struct subscription_options){.qos = 2, .retain_as_published = true});
    expect_suback(watcher, 1, 2);
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(client, "will");
    connect.will_qos = 1;
    connect.will_retain = true;
    property_set(&connect.will_properties, PROPERTY_MESSAGE_EXPIRY_INTERVAL);
    connect.will_properties.message_expiry_s = 500;
    property_set(&connect.will_properties, PROPERTY_CONTENT_TYPE);
    connect.will_properties.content_type = bytes_of_str("text");
    connected_with(client, &connect);
    client_close(client);
    struct publish publish = expect_publish(watcher, "gone");
    assert_int_equal(publish.qos, 1);
    assert_true(publish.retain);
    assert_true(publish.has_expiry);
    assert_int_equal(publish.expiry_s, 500);
    assert_int_equal(properties_count(publish.properties, PROPERTY_CONTENT_TYPE), 1);
    assert_int_equal(f->retained.count, 1);
}

static void will_without_expiry_gets_none(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "will", 1);
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(client, "will");
    connected_with(client, &connect);
    client_close(client);
    struct publish publish = expect_publish(watcher, "gone");
    assert_false(publish.has_expiry);
    assert_int_equal(publish.qos, 0);
}

/* A length that no address space has stands for memory that is gone. */
static void will_without_memory_for_it_is_none(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct conn *conn = CONTAINER_OF(f->workers[0].conns.connections.next, struct conn, link);
    struct connect connect = connect_with_will(client, "will");
    connect.will_properties.user = bytes_of("", SIZE_MAX / 4);
    conn->version = MQTT_V5;
    conn_accept_connect(conn, &connect);
    expect_connack(client, 0);
    assert_null(session_of(client)->will);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(session_is_present_when_it_stayed),
        RULE(session_is_not_present_when_it_ended_with_the_connection),
        RULE(session_ends_at_a_clean_start),
        RULE(session_that_has_expired_is_not_present_before_its_timer_has_fired),
        RULE(session_of_a_3_1_client_is_kept_and_not_spoken_of),
        RULE(session_expiry_is_what_the_version_says),
        RULE(session_expiry_above_the_maximum_is_lowered_and_told),
        RULE(second_connection_takes_the_session_over),
        RULE(taken_over_session_without_expiry_is_a_new_one),
        RULE(will_of_a_taken_over_connection_is_published),
        RULE(delayed_will_of_a_taken_over_connection_is_dropped),
        RULE(delayed_will_of_a_session_that_is_replaced_is_published),
        RULE(delayed_will_that_waits_is_dropped_when_the_client_comes_back),
        RULE(will_carries_what_connect_said_of_it),
        RULE(will_without_expiry_gets_none),
        RULE(will_without_memory_for_it_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

const char *__asan_default_options(void);
const char *__tsan_default_options(void);

/* Sanitizers end the program when malloc() fails, unless told that a test wants to see it fail. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}
