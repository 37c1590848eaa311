/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that need memory when there is none. */
#include "conn/conn_fixture.h"

#include "base/fault.h"

/* The next allocation that may fail does, `skip` others excepted. */
static void no_memory_after(long skip)
{
    fault_fail("memory", skip, 1);
}

static void memory_again(void)
{
    fault_fail("memory", 0, 0);
}

static void session_without_memory_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    no_memory_after(0);
    send_connect(client, &connect);
    expect_refusal(client, MQTT_QUOTA_EXCEEDED);
    memory_again();
    assert_int_equal(f->shared.sessions, 0);
    connected(f, 0, MQTT_V5);
}

static void will_without_memory_is_counted_as_dropped(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "will", 0);
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(client, "will");
    no_memory_after(1); /* the session is there */
    send_connect(client, &connect);
    expect_connack(client, 0);
    memory_again();
    assert_null(session_of(client)->will);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_NO_MEMORY), 1);
    client_close(client);
    expect_silence(watcher);
}

static void topic_alias_without_memory_is_a_fault(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V5);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("x")};
    struct publish_form form = {.version = MQTT_V5, .topic_alias = 1};
    no_memory_after(0);
    send_publication(client, &p, &form);
    expect_fault(client, MQTT_QUOTA_EXCEEDED);
}

static void retained_message_without_memory_is_refused_and_can_be_sent_again(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("x")};
    struct publish_form form = {.version = MQTT_V5, .qos = 2, .packet_id = 1, .retain = true};
    no_memory_after(0);
    send_publication(client, &p, &form);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_QUOTA_EXCEEDED);
    memory_again();
    send_publication(client, &p, &form);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_SUCCESS);
    assert_int_equal(f->retained.count, 1);
}

/* More properties than fit beside the publication, and one that is not forwarded. */
static void publication_without_memory_is_refused_and_is_none_that_was_taken_in(void **state)
{
    enum { VALUE = 1500 };
    static uint8_t properties[VALUE + 3];
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = connected(f, 0, MQTT_V5);
    memcpy(properties, "\x09\x05\xdc", 3); /* correlation data of VALUE bytes */
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str("x"),
                            .properties = bytes_of(properties, sizeof(properties))};
    struct publish_form form = {.version = MQTT_V5, .qos = 2, .packet_id = 1, .topic_alias = 1};
    no_memory_after(2); /* the alias is kept, and the packet identifier */
    send_publication(client, &p, &form);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_QUOTA_EXCEEDED);
    memory_again();
    send_publication(client, &p, &form);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_SUCCESS);
    expect_publish(watcher, "x");
}

static void subscription_without_memory_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    no_memory_after(0);
    send_subscribe(client, 1, "a", (struct subscription_options){0});
    expect_suback(client, 1, MQTT_QUOTA_EXCEEDED);
    memory_again();
    subscribe(client, "a", 0);
}

static void publication_goes_out_with_its_topic_when_there_is_no_memory_for_an_alias(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.topic_alias_out_max = 10;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_TOPIC_ALIAS_MAXIMUM);
    connect.properties.topic_alias_maximum = 10;
    connected_with(client, &connect);
    subscribe(client, "room/lamp", 0);
    struct client *publisher = connected(f, 0, MQTT_V5);
    struct publication p = {.topic = bytes_of_str("room/lamp"), .payload = bytes_of_str("x")};
    no_memory_after(0);
    send_publication(publisher, &p, &(struct publish_form){.version = MQTT_V5});
    struct publish got = expect_publish(client, "x");
    memory_again();
    assert_false(got.has_topic_alias);
    assert_true(bytes_equal(got.topic, p.topic));
}

/* For each piece of memory that the packet needs. */
static void many_filters_without_memory_are_a_fault(void **state)
{
    enum { FILTERS = 200, PIECES = 4 };
    static struct subscribe_filter filters[FILTERS];
    uint8_t packet[FILTERS * 8 + 16];
    for (int i = 0; i < FILTERS; i++)
        filters[i] = (struct subscribe_filter){.filter = bytes_of_str("a")};
    for (long piece = 0; piece < PIECES; piece++) {
        struct client *client = connected(*state, 0, MQTT_V5);
        size_t size = subscribe_encode(1, MQTT_V5, NULL, filters, FILTERS, packet, sizeof(packet));
        assert_true(size <= sizeof(packet));
        no_memory_after(piece);
        send_raw(client, packet, size);
        expect_fault(client, MQTT_QUOTA_EXCEEDED);
        memory_again();
    }
}

static int with_memory(void **state)
{
    memory_again();
    return fixture_tear_down(state);
}

#define MEMORY_RULE(rule) cmocka_unit_test_setup_teardown(rule, fixture_set_up, with_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMORY_RULE(session_without_memory_is_refused),
        MEMORY_RULE(will_without_memory_is_counted_as_dropped),
        MEMORY_RULE(topic_alias_without_memory_is_a_fault),
        MEMORY_RULE(retained_message_without_memory_is_refused_and_can_be_sent_again),
        MEMORY_RULE(publication_without_memory_is_refused_and_is_none_that_was_taken_in),
        MEMORY_RULE(subscription_without_memory_is_refused),
        MEMORY_RULE(publication_goes_out_with_its_topic_when_there_is_no_memory_for_an_alias),
        MEMORY_RULE(many_filters_without_memory_are_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
