/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH from a client: aliases, limits, flow control, QoS 2 repeats, what is refused and how. */
#include "conn/conn_fixture.h"

/* ---- topic aliases -------------------------------------------------------------------------- */

static void publish_with_alias(struct client *client, const char *topic, uint16_t alias,
                               const char *payload)
{
    struct publication p = {.topic = bytes_of_str(topic), .payload = bytes_of_str(payload)};
    struct publish_form form = {.version = MQTT_V5, .topic_alias = alias};
    form.topic_left_out = *topic == '\0';
    send_publication(client, &p, &form);
}

static void alias_stands_for_the_topic_it_was_last_given(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 1, MQTT_V311);
    subscribe(watcher, "#", 0);
    struct client *client = connected(f, 0, MQTT_V5);
    static const struct {
        const char *given, *topic;
        uint16_t alias;
    } steps[] = {{"a/b", "a/b", 1}, {"", "a/b", 1},  {"c", "c", 2}, {"a/b", "a/b", 1},
                 {"", "c", 2},      {"dd", "dd", 1}, {"", "dd", 1}, {"", "c", 2}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        publish_with_alias(client, steps[i].given, steps[i].alias, "x");
        struct publish got = expect_publish(watcher, "x");
        assert_true(bytes_equal(got.topic, bytes_of_str(steps[i].topic)));
    }
}

static void alias_is_1_to_our_maximum(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.topic_alias_max = 2;
    struct client *client = connected(f, 0, MQTT_V5);
    publish_with_alias(client, "t", 2, "fits");
    expect_silence(client);
    publish_with_alias(client, "t", 3, "does not");
    expect_fault(client, MQTT_TOPIC_ALIAS_INVALID);
    client = connected(f, 0, MQTT_V5);
    SEND(client, "\x30\7\0\1t\3\x23\0\0");
    expect_fault(client, MQTT_TOPIC_ALIAS_INVALID);
}

static void alias_that_was_never_given_is_a_fault(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V5);
    publish_with_alias(client, "", 1, "of what?");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

/* ---- what ends the connection --------------------------------------------------------------- */

static struct client *publisher_of(struct fixture *f, struct publication *p, const char *topic)
{
    *p = (struct publication){.topic = bytes_of_str(topic), .payload = bytes_of_str("x")};
    return connected(f, 0, MQTT_V5);
}

static void publish_as(struct client *client, const struct publication *p, uint8_t qos, bool retain)
{
    struct publish_form form = {
        .version = client->version, .qos = qos, .retain = retain, .packet_id = 1};
    send_publication(client, p, &form);
}

static void malformed_publish_is_a_fault(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x36\6\0\1t\0\1\0"); /* QoS 3 */
    expect_fault(client, MQTT_MALFORMED_PACKET);
    assert_int_equal(metric(f, METRIC_PUBLISH_RECEIVED), 0);
    assert_int_equal(metric(f, METRIC_MALFORMED_PACKETS), 1);
}

static void qos_above_the_maximum_is_a_fault(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    f->config.mqtt.qos_max = 1;
    struct client *client = publisher_of(f, &p, "t");
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    publish_as(client, &p, 2, false);
    expect_fault(client, MQTT_QOS_NOT_SUPPORTED);
}

static void retain_that_is_not_available_is_a_fault(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    f->config.mqtt.retain_available = false;
    struct client *client = publisher_of(f, &p, "t");
    publish_as(client, &p, 0, false);
    expect_silence(client);
    publish_as(client, &p, 0, true);
    expect_fault(client, MQTT_RETAIN_NOT_SUPPORTED);
}

static void subscription_identifier_from_a_client_is_a_fault(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V5);
    SEND(client, "\x30\6\0\1t\2\x0b\1");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

static void user_properties_are_counted(void **state)
{
    struct fixture *f = *state;
    f->config.limits.user_properties = 1;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x30\x0b\0\1t\7\x26\0\1a\0\1b");
    /* many bytes of another property, and one user property */
    SEND(client, "\x30\x17\0\1t\x13\x03\0\x09text/html\x26\0\1a\0\1b");
    expect_silence(client);
    SEND(client, "\x30\x12\0\1t\x0e\x26\0\1a\0\1b\x26\0\1a\0\1b");
    expect_fault(client, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_USER_PROPERTIES), 1);
}

static void topic_has_as_many_bytes_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    f->config.limits.topic_bytes = 4;
    struct client *client = publisher_of(f, &p, "four");
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    p.topic = bytes_of_str("fives");
    publish_as(client, &p, 1, false);
    expect_fault(client, MQTT_TOPIC_NAME_INVALID);
    assert_int_equal(metric(f, METRIC_LIMIT_TOPIC), 1);
}

static void topic_that_is_retained_has_as_many_levels_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    f->config.limits.filter_levels = 2;
    struct client *client = publisher_of(f, &p, "a/b");
    publish_as(client, &p, 0, true);
    p.topic = bytes_of_str("a/b/c");
    publish_as(client, &p, 0, false);
    expect_silence(client);
    publish_as(client, &p, 0, true);
    expect_fault(client, MQTT_TOPIC_NAME_INVALID);
    assert_int_equal(metric(f, METRIC_LIMIT_FILTER_LEVELS), 1);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void the_brokers_own_topics_are_refused(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "$SYS/#", 2);
    struct client *client = publisher_of(f, &p, "$SYS/x");
    publish_as(client, &p, 0, false);
    expect_silence(client);
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NOT_AUTHORIZED);
    publish_as(client, &p, 2, false);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_NOT_AUTHORIZED);
    p.topic = bytes_of_str("$OTHER/x");
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    expect_silence(watcher);
}

/* 3.x cannot be told: the exchange goes its way, and nothing is delivered. */
static void refused_3_x_publication_is_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "$SYS/#", 2);
    struct client *client = connected(f, 0, MQTT_V311);
    struct publication p = {.topic = bytes_of_str("$SYS/x")};
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, 0);
    publish_as(client, &p, 2, false);
    expect_ack(client, PACKET_PUBREC, 1, 0);
    assert_true(session_received_has(session_of(client), 1));
    send_ack(client, PACKET_PUBREL, 1, 0);
    expect_ack(client, PACKET_PUBCOMP, 1, 0);
    assert_false(session_received_has(session_of(client), 1));
    expect_silence(watcher);
}

static void payload_that_is_not_the_text_it_says_is_refused(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.check_payload_format = true;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x32\x09\0\1t\0\1\2\1\1\xff");
    expect_ack(client, PACKET_PUBACK, 1, MQTT_PAYLOAD_FORMAT_INVALID);
    SEND(client, "\x32\x09\0\1t\0\1\2\1\1a"); /* text */
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    SEND(client, "\x32\x09\0\1t\0\1\2\1\0\xff"); /* says that it is bytes */
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    SEND(client, "\x30\7\0\1t\2\1\1\xff"); /* QoS 0: there is no other answer */
    expect_fault(client, MQTT_PAYLOAD_FORMAT_INVALID);
}

static void payload_is_not_looked_at_unless_configured(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.check_payload_format = false;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x32\x09\0\1t\0\1\2\1\1\xff");
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
}

static void full_memory_refuses_what_would_be_kept(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    struct client *client = publisher_of(f, &p, "t");
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "#", 0);
    f->shared.memory_full = true;
    publish_as(client, &p, 0, false);
    expect_publish(watcher, "x");
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_QUOTA_EXCEEDED);
    publish_as(client, &p, 2, false);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_MEMORY), 2);
    publish_as(client, &p, 0, true); /* nobody waits for an answer */
    assert_int_equal(f->retained.count, 0);
    expect_silence(watcher);
    assert_int_equal(metric(f, METRIC_LIMIT_MEMORY), 3);
    p.payload.len = 0; /* takes a retained message away */
    publish_as(client, &p, 1, true);
    expect_ack(client, PACKET_PUBACK, 1, 0);
    assert_int_equal(metric(f, METRIC_LIMIT_MEMORY), 3);
}

static void full_memory_leaves_3_x_without_an_answer(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V311);
    f->shared.memory_full = true;
    send_publish(client, 1, 1, "x");
    send_publish(client, 2, 2, "x");
    expect_silence(client);
    assert_false(session_received_has(session_of(client), 2));
}

/* ---- flow control --------------------------------------------------------------------------- */

static void receive_maximum_counts_what_is_not_finished(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 2;
    struct client *client = connected(f, 0, MQTT_V5);
    for (uint16_t id = 1; id <= 3; id++) { /* QoS 1 is over with its PUBACK */
        send_publish(client, 1, id, "x");
        expect_ack(client, PACKET_PUBACK, id, MQTT_NO_MATCHING_SUBSCRIBERS);
    }
    for (uint16_t id = 1; id <= 3; id++) { /* QoS 2 with its PUBCOMP */
        send_publish(client, 2, id, "x");
        expect_ack(client, PACKET_PUBREC, id, MQTT_NO_MATCHING_SUBSCRIBERS);
        send_ack(client, PACKET_PUBREL, id, 0);
        expect_ack(client, PACKET_PUBCOMP, id, 0);
    }
    send_publish(client, 2, 1, "x");
    expect_ack(client, PACKET_PUBREC, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    send_publish(client, 2, 2, "x");
    expect_ack(client, PACKET_PUBREC, 2, MQTT_NO_MATCHING_SUBSCRIBERS);
    send_publish(client, 0, 0, "does not count");
    expect_silence(client);
    send_publish(client, 2, 3, "one too many");
    expect_fault(client, MQTT_RECEIVE_MAXIMUM_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_RECEIVE_MAXIMUM), 1);
}

static void receive_maximum_is_given_back_by_a_refused_pubrec(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 1;
    struct publication p;
    struct client *client = publisher_of(f, &p, "$SYS/x");
    for (int i = 0; i < 3; i++) {
        publish_as(client, &p, 2, false);
        expect_ack(client, PACKET_PUBREC, 1, MQTT_NOT_AUTHORIZED);
    }
}

static void receive_maximum_counts_a_repeat_once(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 2;
    struct client *client = connected(f, 0, MQTT_V5);
    for (int i = 0; i < 4; i++) {
        send_publish(client, 2, 1, "x");
        expect_ack(client, PACKET_PUBREC, 1, i == 0 ? MQTT_NO_MATCHING_SUBSCRIBERS : MQTT_SUCCESS);
    }
    send_publish(client, 2, 2, "x");
    expect_ack(client, PACKET_PUBREC, 2, MQTT_NO_MATCHING_SUBSCRIBERS);
    send_publish(client, 2, 3, "x");
    expect_fault(client, MQTT_RECEIVE_MAXIMUM_EXCEEDED);
}

static void receive_maximum_is_not_known_to_3_x(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 1;
    struct client *client = connected(f, 0, MQTT_V311);
    for (uint16_t id = 1; id <= 3; id++) {
        send_publish(client, 2, id, "x");
        expect_ack(client, PACKET_PUBREC, id, 0);
    }
}

/* ---- QoS 2 ---------------------------------------------------------------------------------- */

static void repeat_of_qos_2_is_answered_and_not_delivered(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = connected(f, 0, MQTT_V311);
    send_publish(client, 2, 9, "once");
    send_publish(client, 2, 9, "again");
    expect_ack(client, PACKET_PUBREC, 9, 0);
    expect_ack(client, PACKET_PUBREC, 9, 0);
    expect_publish(watcher, "once");
    expect_silence(watcher);
    send_ack(client, PACKET_PUBREL, 9, 0);
    expect_ack(client, PACKET_PUBCOMP, 9, 0);
    send_publish(client, 2, 9, "another");
    expect_publish(watcher, "another");
}

/* What was answered already is not refused when it comes again. */
static void repeat_of_qos_2_is_not_refused_for_want_of_memory(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    send_publish(client, 2, 9, "once");
    expect_ack(client, PACKET_PUBREC, 9, MQTT_NO_MATCHING_SUBSCRIBERS);
    f->shared.memory_full = true;
    send_publish(client, 2, 9, "again");
    expect_ack(client, PACKET_PUBREC, 9, 0);
}

static void pubrel_of_nothing_is_answered_with_its_reason(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V5);
    send_ack(client, PACKET_PUBREL, 5, 0);
    expect_ack(client, PACKET_PUBCOMP, 5, MQTT_PACKET_IDENTIFIER_NOT_FOUND);
    assert_int_equal(conn_of(client)->receive_open, 0);
}

/* An identifier is of one exchange at a time, but who mixes them up gets the answer of the type. */
static void qos_1_is_no_repeat_of_qos_2(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V311);
    send_publish(client, 2, 5, "x");
    expect_ack(client, PACKET_PUBREC, 5, 0);
    send_publish(client, 1, 5, "x");
    expect_ack(client, PACKET_PUBACK, 5, 0);
}

/* ---- what is delivered ---------------------------------------------------------------------- */

static void acknowledgement_says_when_nobody_subscribed(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    struct client *client = publisher_of(f, &p, "t");
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    publish_as(client, &p, 1, true); /* it is kept */
    expect_ack(client, PACKET_PUBACK, 1, 0);
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    publish_as(client, &p, 1, false);
    expect_ack(client, PACKET_PUBACK, 1, 0);
    publish_as(client, &p, 2, false);
    expect_ack(client, PACKET_PUBREC, 1, 0);
}

static void properties_are_forwarded_without_those_of_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x30\x11\0\1t\x0c\x26\0\1a\0\1b\2\0\0\1\0x"); /* user property, expiry */
    struct publish got = expect_publish(watcher, "x");
    assert_int_equal(got.expiry_s, 256);
    assert_int_equal(properties_count(got.properties, PROPERTY_USER_PROPERTY), 1);
    SEND(client, "\x30\x0f\0\1t\x0a\x23\0\1\x26\0\1a\0\1bx"); /* alias, user property */
    got = expect_publish(watcher, "x");
    assert_false(got.has_topic_alias);
    assert_int_equal(got.properties.len, 7);
}

/* More than fits the space beside the publication. */
static void long_properties_are_forwarded_too(void **state)
{
    enum { VALUE = 1500 };
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = connected(f, 0, MQTT_V5);
    static uint8_t properties[VALUE + 16];
    size_t len = 0;
    memcpy(properties, "\x09\x05\xdc", 3); /* correlation data of VALUE bytes */
    memset(properties + 3, 'v', VALUE);
    len = 3 + VALUE;
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str("x"),
                            .properties = bytes_of(properties, len)};
    struct publish_form form = {.version = MQTT_V5, .topic_alias = 1};
    send_publication(client, &p, &form);
    struct publish got = expect_publish(watcher, "x");
    assert_int_equal(got.properties.len, len);
    assert_memory_equal(got.properties.data, properties, len);
    assert_false(got.has_topic_alias);
}

/* What comes as it goes is passed on: the packet itself must be one of the receiver's version. */
static void packet_is_passed_on_to_receivers_of_every_version(void **state)
{
    struct fixture *f = *state;
    struct client *new = connected(f, 0, MQTT_V5), *old = connected(f, 0, MQTT_V311);
    subscribe(new, "t", 0);
    subscribe(old, "t", 0);
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\x30\x0c\0\1t\7\x26\0\1a\0\1bx");
    struct publish got = expect_publish(new, "x");
    assert_int_equal(properties_count(got.properties, PROPERTY_USER_PROPERTY), 1);
    expect_publish(old, "x");
    send_publish(old, 0, 0, "y");
    expect_publish(new, "y");
    expect_publish(old, "y");
}

static void retained_flag_is_not_passed_on(void **state)
{
    struct fixture *f = *state;
    struct publication p;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = publisher_of(f, &p, "t");
    publish_as(client, &p, 0, true);
    assert_false(expect_publish(watcher, "x").retain);
    assert_int_equal(f->retained.count, 1);
    p.payload.len = 0;
    publish_as(client, &p, 0, true);
    assert_false(expect_publish(watcher, "").retain);
    assert_int_equal(f->retained.count, 0);
}

static struct client *publisher_when_nothing_more_is_retained(struct fixture *f,
                                                              enum mqtt_version version)
{
    struct client *client = connected(f, 0, version);
    f->retained.count_max = 0;
    return client;
}

static void publication_that_cannot_be_retained_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = publisher_when_nothing_more_is_retained(f, MQTT_V5);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("x")};
    publish_as(client, &p, 1, true);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_QUOTA_EXCEEDED);
    publish_as(client, &p, 2, true);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_QUOTA_EXCEEDED);
    assert_false(session_received_has(session_of(client), 1));
    expect_silence(watcher);
    publish_as(client, &p, 0, true); /* nobody can be told: the subscribers get it at least */
    expect_publish(watcher, "x");
}

/* Larger than any message may be: as if there were no memory for it. */
static void publication_without_memory_to_retain_it_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    const char body[] = "\0\1t\0\1\0x";
    struct frame frame = {.type = PACKET_PUBLISH,
                          .flags = 3, /* QoS 1, RETAIN */
                          .body = bytes_of(body, (size_t)UINT32_MAX + 100),
                          .size = (size_t)UINT32_MAX + 100};
    conn_handle_publish(conn_of(client), &frame, (const uint8_t *)body);
    expect_ack(client, PACKET_PUBACK, 1, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(f->retained.count, 0);
}

static void publication_of_3_x_that_cannot_be_retained_is_delivered(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "t", 0);
    struct client *client = publisher_when_nothing_more_is_retained(f, MQTT_V311);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("x")};
    publish_as(client, &p, 1, true);
    expect_ack(client, PACKET_PUBACK, 1, 0);
    expect_publish(watcher, "x");
    publish_as(client, &p, 2, true);
    expect_ack(client, PACKET_PUBREC, 1, 0);
    assert_true(session_received_has(session_of(client), 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(alias_stands_for_the_topic_it_was_last_given),
        RULE(alias_is_1_to_our_maximum),
        RULE(alias_that_was_never_given_is_a_fault),
        RULE(malformed_publish_is_a_fault),
        RULE(qos_above_the_maximum_is_a_fault),
        RULE(retain_that_is_not_available_is_a_fault),
        RULE(subscription_identifier_from_a_client_is_a_fault),
        RULE(user_properties_are_counted),
        RULE(topic_has_as_many_bytes_as_the_limit_allows),
        RULE(topic_that_is_retained_has_as_many_levels_as_the_limit_allows),
        RULE(the_brokers_own_topics_are_refused),
        RULE(refused_3_x_publication_is_acknowledged),
        RULE(payload_that_is_not_the_text_it_says_is_refused),
        RULE(payload_is_not_looked_at_unless_configured),
        RULE(full_memory_refuses_what_would_be_kept),
        RULE(full_memory_leaves_3_x_without_an_answer),
        RULE(receive_maximum_counts_what_is_not_finished),
        RULE(receive_maximum_is_given_back_by_a_refused_pubrec),
        RULE(receive_maximum_counts_a_repeat_once),
        RULE(receive_maximum_is_not_known_to_3_x),
        RULE(repeat_of_qos_2_is_answered_and_not_delivered),
        RULE(repeat_of_qos_2_is_not_refused_for_want_of_memory),
        RULE(pubrel_of_nothing_is_answered_with_its_reason),
        RULE(qos_1_is_no_repeat_of_qos_2),
        RULE(acknowledgement_says_when_nobody_subscribed),
        RULE(properties_are_forwarded_without_those_of_the_connection),
        RULE(long_properties_are_forwarded_too),
        RULE(packet_is_passed_on_to_receivers_of_every_version),
        RULE(retained_flag_is_not_passed_on),
        RULE(publication_that_cannot_be_retained_is_refused),
        RULE(publication_without_memory_to_retain_it_is_refused),
        RULE(publication_of_3_x_that_cannot_be_retained_is_delivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
