/* SPDX-License-Identifier: Apache-2.0 */
/* Who is not let in, and what he is told. */
#include "conn/conn_fixture.h"

#include <fcntl.h>

/* ---- refused ------------------------------------------------------------------------------- */

static void accept_while_draining_closes_at_once(void **state)
{
    struct fixture *f = *state;
    f->workers[0].conns.draining = true;
    struct client *client = dial(f, 0, MQTT_V5);
    expect_end(client);
    assert_int_equal(metric(f, METRIC_CONNECTIONS_OPENED), 0);
}

static void accept_of_what_is_no_socket_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    conn_accept(&f->workers[0].conns, fd, &(struct conn_origin){.transport = TRANSPORT_TCP}, NULL,
                NULL, 0);
    assert_true(list_empty(&f->workers[0].conns.connections));
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void accept_closes_what_is_above_the_limit_and_its_grace(void **state)
{
    struct fixture *f = *state;
    f->config.limits.connections = 10;
    f->shared.connections = 10 + CONNECTIONS_GRACE - 1;
    struct client *last = dial(f, 0, MQTT_V5);
    expect_silence(last);
    assert_int_equal(metric(f, METRIC_LIMIT_CONNECTIONS), 0);
    struct client *one_more = dial(f, 0, MQTT_V5);
    expect_end(one_more);
    assert_int_equal(metric(f, METRIC_LIMIT_CONNECTIONS), 1);
    f->shared.connections -= 10 + CONNECTIONS_GRACE - 1;
}

static void connect_above_the_limit_of_connections_is_refused(void **state)
{
    struct fixture *f = *state;
    f->config.limits.connections = 1;
    connected(f, 0, MQTT_V5);
    struct client *second = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(second);
    send_connect(second, &connect);
    expect_refusal(second, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_CONNECTIONS), 1);
    assert_int_equal(metric(f, METRIC_CONNECTS_REFUSED), 1);
}

static void connect_above_the_limit_of_sessions_is_refused(void **state)
{
    struct fixture *f = *state;
    f->workers[0].sessions.limits.sessions_max = 1;
    connected(f, 0, MQTT_V5);
    struct client *second = dial(f, 0, MQTT_V311);
    struct connect connect = connect_of(second);
    send_connect(second, &connect);
    expect_refusal(second, 3); /* server unavailable */
    assert_int_equal(metric(f, METRIC_LIMIT_SESSIONS), 1);
    assert_int_equal(metric(f, METRIC_CONNECTS_ACCEPTED), 1);
    second = dial(f, 0, MQTT_V5);
    connect = connect_of(second);
    send_connect(second, &connect);
    expect_refusal(second, MQTT_QUOTA_EXCEEDED);
}

static void connect_when_memory_is_full_is_refused(void **state)
{
    struct fixture *f = *state;
    f->shared.memory_full = true;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    expect_refusal(client, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(metric(f, METRIC_LIMIT_MEMORY), 1);
}

static void connect_during_shutdown_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    f->workers[0].conns.draining = true;
    send_connect(client, &connect);
    struct connack connack = expect_connack(client, MQTT_SERVER_UNAVAILABLE);
    assert_false(property_present(&connack.properties, PROPERTY_REASON_STRING));
    expect_end(client);
}

static void connect_is_let_in_until_the_time_has_come_to_send_clients_elsewhere(void **state)
{
    struct fixture *f = *state;
    f->shared.closed_ms = f->workers[0].loop.now_ms + 60000;
    struct client *early = connected(f, 0, MQTT_V5);
    f->shared.closed_ms = f->workers[0].loop.now_ms;
    struct client *late = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(late);
    send_connect(late, &connect);
    expect_connack(late, MQTT_SERVER_UNAVAILABLE);
    expect_end(late);
    expect_silence(early);
}

static void refused_5_0_client_is_told_why_in_words(void **state)
{
    struct fixture *f = *state;
    f->shared.memory_full = true;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    struct connack connack = expect_connack(client, MQTT_QUOTA_EXCEEDED);
    assert_true(property_present(&connack.properties, PROPERTY_REASON_STRING));
}

/* Too many connections, no memory, the end: what has nothing to do with the client itself. */
static void client_that_is_not_wanted_now_is_sent_to_another_server(void **state)
{
    struct fixture *f = *state;
    strcpy(f->config.mqtt.server_reference, "b.example.com:1883");
    for (int why = 0; why < 5; why++) {
        struct client *client = dial(f, 0, MQTT_V5);
        struct connect connect = connect_of(client);
        f->config.limits.connections = why == 0 ? 0 : 1000;
        f->shared.memory_full = why == 1;
        f->workers[0].sessions.limits.sessions_max = why == 2 ? 0 : 1000;
        f->workers[0].conns.draining = why == 4;
        f->shared.closed_ms = why == 3 ? 1 : 0;
        send_connect(client, &connect);
        struct connack connack = expect_connack(client, MQTT_USE_ANOTHER_SERVER);
        assert_true(
            bytes_equal(connack.properties.server_reference, bytes_of_str("b.example.com:1883")));
        expect_end(client);
    }
}

static void client_that_breaks_a_limit_of_its_own_is_not_sent_elsewhere(void **state)
{
    struct fixture *f = *state;
    strcpy(f->config.mqtt.server_reference, "b.example.com:1883");
    f->config.limits.client_id_bytes = 1;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    struct connack connack = expect_connack(client, MQTT_CLIENT_IDENTIFIER_NOT_VALID);
    assert_false(property_present(&connack.properties, PROPERTY_SERVER_REFERENCE));
}

static void client_of_3_x_is_told_that_the_server_is_not_available(void **state)
{
    struct fixture *f = *state;
    strcpy(f->config.mqtt.server_reference, "b.example.com:1883");
    f->shared.memory_full = true;
    struct client *client = dial(f, 0, MQTT_V311);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    expect_connack(client, 3);
    expect_end(client);
}

static void client_that_cannot_take_the_reference_is_told_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    strcpy(f->config.mqtt.server_reference, "b.example.com:1883");
    f->shared.memory_full = true;
    for (uint32_t more = 9; more <= 10; more++) {
        struct client *client = dial(f, 0, MQTT_V5);
        struct connect connect = connect_of(client);
        property_set(&connect.properties, PROPERTY_MAXIMUM_PACKET_SIZE);
        connect.properties.maximum_packet_size = 18 + more;
        send_connect(client, &connect);
        expect_connack(client, more < 10 ? MQTT_QUOTA_EXCEEDED : MQTT_USE_ANOTHER_SERVER);
    }
}

static void refused_connack_is_not_larger_than_the_client_takes(void **state)
{
    struct fixture *f = *state;
    f->shared.memory_full = true;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_MAXIMUM_PACKET_SIZE);
    connect.properties.maximum_packet_size = 5; /* without the reason string */
    send_connect(client, &connect);
    struct connack connack = expect_connack(client, MQTT_QUOTA_EXCEEDED);
    assert_false(property_present(&connack.properties, PROPERTY_REASON_STRING));
    assert_int_equal(client->frame.size, 5);
}

/* What 3.x has no return code for is closed; 5.0 gets its reason. */
static void will_to_a_topic_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    for (enum mqtt_version version = MQTT_V31; version <= MQTT_V5; version++) {
        struct client *client = dial(f, 0, version);
        struct connect connect = connect_of(client);
        connect.has_will = true;
        connect.will_topic = bytes_of_str("a/+");
        send_connect(client, &connect);
        if (version == MQTT_V5)
            expect_refusal(client, MQTT_TOPIC_NAME_INVALID);
        else
            expect_end(client);
    }
}

static void will_topic_has_as_many_bytes_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    f->config.limits.topic_bytes = 4;
    struct client *fits = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(fits, "four");
    connected_with(fits, &connect);
    struct client *client = dial(f, 0, MQTT_V5);
    connect = connect_with_will(client, "fives");
    send_connect(client, &connect);
    expect_refusal(client, MQTT_TOPIC_NAME_INVALID);
    assert_int_equal(metric(f, METRIC_LIMIT_TOPIC), 1);
}

static void will_topic_has_as_many_levels_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    f->config.limits.filter_levels = 2;
    struct client *fits = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(fits, "a/b");
    connected_with(fits, &connect);
    struct client *client = dial(f, 0, MQTT_V5);
    connect = connect_with_will(client, "a/b/c");
    send_connect(client, &connect);
    expect_refusal(client, MQTT_TOPIC_NAME_INVALID);
    assert_int_equal(metric(f, METRIC_LIMIT_FILTER_LEVELS), 1);
}

static void will_to_the_brokers_own_topics_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(client, "$SYS/broker/load");
    send_connect(client, &connect);
    expect_refusal(client, MQTT_NOT_AUTHORIZED);
    struct client *old = dial(f, 0, MQTT_V311);
    connect = connect_with_will(old, "$SYS/broker/load");
    send_connect(old, &connect);
    expect_refusal(old, 5);
}

static void will_of_a_qos_that_is_not_available_is_refused(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.qos_max = 1;
    struct client *fits = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(fits, "a");
    connect.will_qos = 1;
    connected_with(fits, &connect);
    struct client *client = dial(f, 0, MQTT_V5);
    connect = connect_with_will(client, "a");
    connect.will_qos = 2;
    send_connect(client, &connect);
    expect_refusal(client, MQTT_QOS_NOT_SUPPORTED);
}

static void retained_will_is_refused_when_nothing_is_retained(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.retain_available = false;
    struct client *fits = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(fits, "a");
    connected_with(fits, &connect);
    struct client *client = dial(f, 0, MQTT_V5);
    connect = connect_with_will(client, "a");
    connect.will_retain = true;
    send_connect(client, &connect);
    expect_refusal(client, MQTT_RETAIN_NOT_SUPPORTED);
}

static void will_payload_is_checked_when_it_says_that_it_is_text(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.check_payload_format = true;
    for (int format = 0; format < 2; format++) {
        struct client *client = dial(f, 0, MQTT_V5);
        struct connect connect = connect_with_will(client, "a");
        connect.will_payload = bytes_of_str("\xff");
        property_set(&connect.will_properties, PROPERTY_PAYLOAD_FORMAT_INDICATOR);
        connect.will_properties.payload_format = (uint8_t)format;
        send_connect(client, &connect);
        if (format == 0)
            expect_connack(client, 0);
        else
            expect_refusal(client, MQTT_PAYLOAD_FORMAT_INVALID);
    }
    struct client *text = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(text, "a");
    property_set(&connect.will_properties, PROPERTY_PAYLOAD_FORMAT_INDICATOR);
    connect.will_properties.payload_format = 1;
    connected_with(text, &connect);
}

static void will_payload_is_not_looked_at_unless_configured(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.check_payload_format = false;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_with_will(client, "a");
    connect.will_payload = bytes_of_str("\xff");
    property_set(&connect.will_properties, PROPERTY_PAYLOAD_FORMAT_INDICATOR);
    connect.will_properties.payload_format = 1;
    connected_with(client, &connect);
}

static void user_properties_are_counted_in_connect_and_will(void **state)
{
    struct fixture *f = *state;
    f->config.limits.user_properties = 2;
    const char three[] = "\x26\0\1a\0\1b\x26\0\1a\0\1b\x26\0\1a\0\1b";
    const size_t size = (sizeof(three) - 1) / 3;
    for (size_t count = 2; count <= 3; count++) {
        for (int of_will = 0; of_will < 2; of_will++) {
            struct client *client = dial(f, 0, MQTT_V5);
            struct connect connect = connect_with_will(client, "a");
            struct properties *p = of_will ? &connect.will_properties : &connect.properties;
            property_set(p, PROPERTY_USER_PROPERTY);
            p->user = bytes_of(three, count * size);
            send_connect(client, &connect);
            if (count == 2)
                expect_connack(client, 0);
            else
                expect_refusal(client, MQTT_QUOTA_EXCEEDED);
        }
    }
    assert_int_equal(metric(f, METRIC_LIMIT_USER_PROPERTIES), 2);
}

static void client_identifier_has_as_many_bytes_as_the_limit_allows(void **state)
{
    struct fixture *f = *state;
    struct client *fits = dial(f, 0, MQTT_V5);
    f->config.limits.client_id_bytes = (uint16_t)strlen(fits->id);
    struct connect connect = connect_of(fits);
    connected_with(fits, &connect);
    struct client *client = dial(f, 0, MQTT_V5);
    f->config.limits.client_id_bytes = (uint16_t)(strlen(client->id) - 1);
    connect = connect_of(client);
    send_connect(client, &connect);
    expect_refusal(client, MQTT_CLIENT_IDENTIFIER_NOT_VALID);
    assert_int_equal(metric(f, METRIC_LIMIT_CLIENT_ID), 1);
}

static void empty_client_identifier_is_for_versions_that_know_it(void **state)
{
    struct fixture *f = *state;
    for (enum mqtt_version version = MQTT_V31; version <= MQTT_V5; version++) {
        for (int clean = 0; clean < 2; clean++) {
            struct client *client = dial(f, 0, version);
            struct connect connect = connect_of(client);
            connect.client_id = bytes_of_str("");
            connect.clean_start = clean;
            send_connect(client, &connect);
            if (version == MQTT_V5 || (version == MQTT_V311 && clean))
                expect_connack(client, 0);
            else
                expect_refusal(client, 2);
        }
    }
}

static void empty_client_identifier_can_be_forbidden(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.allow_empty_client_id = false;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    connect.client_id = bytes_of_str("");
    send_connect(client, &connect);
    expect_refusal(client, MQTT_CLIENT_IDENTIFIER_NOT_VALID);
}

static void unknown_version_is_told_so_in_words_it_understands(void **state)
{
    struct fixture *f = *state;
    struct client *later = dial(f, 0, MQTT_V5);
    SEND(later, "\x10\x0f\0\4MQTT\x06\x02\0\0\0\0\2ab");
    expect_refusal(later, MQTT_UNSUPPORTED_PROTOCOL_VERSION);
    struct client *earlier = dial(f, 0, MQTT_V311);
    SEND(earlier, "\x10\x0e\0\4MQTT\x03\x02\0\0\0\2ab");
    expect_refusal(earlier, 1);
    struct client *nobody = dial(f, 0, MQTT_V311);
    SEND(nobody, "\x10\x0e\0\4HTTP\x04\x02\0\0\0\2ab");
    expect_end(nobody);
    assert_int_equal(metric(f, METRIC_MALFORMED_PACKETS), 0);
    assert_int_equal(metric(f, METRIC_CONNECTS_REFUSED), 3);
}

/* No CONNACK would be as small as that. */
static void maximum_packet_size_of_0_is_no_limit_for_the_answer(void **state)
{
    struct client *client = dial(*state, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_MAXIMUM_PACKET_SIZE);
    send_connect(client, &connect);
    expect_refusal(client, MQTT_PROTOCOL_ERROR);
}

static void malformed_connect_is_answered_in_5_0_only(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    SEND(client, "\x10\x0f\0\4MQTT\x05\x03\0\0\0\0\2ab"); /* a reserved flag */
    expect_refusal(client, MQTT_MALFORMED_PACKET);
    struct client *old = dial(f, 0, MQTT_V311);
    SEND(old, "\x10\x0e\0\4MQTT\x04\x03\0\0\0\2ab");
    expect_end(old);
    assert_int_equal(metric(f, METRIC_MALFORMED_PACKETS), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(accept_while_draining_closes_at_once),
        RULE(accept_of_what_is_no_socket_leaves_nothing),
        RULE(accept_closes_what_is_above_the_limit_and_its_grace),
        RULE(connect_above_the_limit_of_connections_is_refused),
        RULE(connect_above_the_limit_of_sessions_is_refused),
        RULE(connect_when_memory_is_full_is_refused),
        RULE(connect_during_shutdown_is_refused),
        RULE(connect_is_let_in_until_the_time_has_come_to_send_clients_elsewhere),
        RULE(refused_5_0_client_is_told_why_in_words),
        RULE(client_that_is_not_wanted_now_is_sent_to_another_server),
        RULE(client_that_breaks_a_limit_of_its_own_is_not_sent_elsewhere),
        RULE(client_of_3_x_is_told_that_the_server_is_not_available),
        RULE(client_that_cannot_take_the_reference_is_told_what_is_wrong),
        RULE(refused_connack_is_not_larger_than_the_client_takes),
        RULE(will_to_a_topic_that_is_none_is_refused),
        RULE(will_topic_has_as_many_bytes_as_the_limit_allows),
        RULE(will_topic_has_as_many_levels_as_the_limit_allows),
        RULE(will_to_the_brokers_own_topics_is_refused),
        RULE(will_of_a_qos_that_is_not_available_is_refused),
        RULE(retained_will_is_refused_when_nothing_is_retained),
        RULE(will_payload_is_checked_when_it_says_that_it_is_text),
        RULE(will_payload_is_not_looked_at_unless_configured),
        RULE(user_properties_are_counted_in_connect_and_will),
        RULE(client_identifier_has_as_many_bytes_as_the_limit_allows),
        RULE(empty_client_identifier_is_for_versions_that_know_it),
        RULE(empty_client_identifier_can_be_forbidden),
        RULE(unknown_version_is_told_so_in_words_it_understands),
        RULE(maximum_packet_size_of_0_is_no_limit_for_the_answer),
        RULE(malformed_connect_is_answered_in_5_0_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
