/* SPDX-License-Identifier: Apache-2.0 */
/* Packets out: PUBLISH on each of its ways, topic aliases that we make, the client's limits. */
#include "conn/conn_fixture.h"

static struct publication publication_of(const char *topic, const char *payload)
{
    return (struct publication){.topic = bytes_of_str(topic), .payload = bytes_of_str(payload)};
}

static void publish_to(struct client *client, const char *topic, const char *payload, uint8_t qos)
{
    struct publication p = publication_of(topic, payload);
    struct publish_form form = {.version = client->version, .qos = qos, .packet_id = 1};
    send_publication(client, &p, &form);
}

/* ---- topic aliases -------------------------------------------------------------------------- */

static struct client *client_with_aliases(struct fixture *f, uint16_t max)
{
    f->config.mqtt.topic_alias_out_max = 100;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_TOPIC_ALIAS_MAXIMUM);
    connect.properties.topic_alias_maximum = max;
    connected_with(client, &connect);
    subscribe(client, "#", 0);
    return client;
}

/* The next message has this alias (0: none) and its topic, or an empty one. */
static void expect_alias(struct client *client, uint16_t alias, const char *topic)
{
    struct publish got = expect_publish(client, "x");
    assert_int_equal(got.has_topic_alias, alias > 0);
    if (alias > 0)
        assert_int_equal(got.topic_alias, alias);
    assert_int_equal(got.topic.len, strlen(topic));
    if (got.topic.len > 0)
        assert_memory_equal(got.topic.data, topic, got.topic.len);
}

static void topic_gets_an_alias_while_there_are_some(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_aliases(f, 2);
    struct client *publisher = connected(f, 0, MQTT_V311);
    static const struct {
        const char *topic, *sent;
        uint16_t alias;
    } steps[] = {{"first", "first", 1}, {"first", "", 1},      {"second", "second", 2},
                 {"second", "", 2},     {"third", "third", 0}, {"third", "third", 0},
                 {"first", "", 1}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        publish_to(publisher, steps[i].topic, "x", 0);
        expect_alias(client, steps[i].alias, steps[i].sent);
    }
}

static void topic_that_is_shorter_than_its_alias_gets_none(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_aliases(f, 2);
    struct client *publisher = connected(f, 0, MQTT_V311);
    publish_to(publisher, "abc", "x", 0);
    expect_alias(client, 0, "abc");
    publish_to(publisher, "abcd", "x", 0);
    expect_alias(client, 1, "abcd");
}

static void client_that_takes_no_aliases_gets_none(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.topic_alias_out_max = 100;
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "#", 1);
    publish_to(client, "topic", "x", 1);
    expect_alias(client, 0, "topic");
    assert_null(conn_of(client)->extra);
}

/* An alias that was not sent is not known to the client, and free for the next topic. */
static void alias_of_a_packet_that_was_too_large_is_not_used(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_aliases(f, 2);
    struct client *publisher = connected(f, 0, MQTT_V311);
    publish_to(publisher, "first", "x", 0);
    expect_alias(client, 1, "first");
    conn_of(client)->packet_max_out = 20;
    publish_to(publisher, "first", "this is more than it takes", 0);
    publish_to(publisher, "second", "this is more than it takes", 0);
    publish_to(publisher, "a", "this is more than it takes", 0); /* no alias at all */
    expect_silence(client);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE), 3);
    publish_to(publisher, "second", "x", 0);
    expect_alias(client, 2, "second");
    publish_to(publisher, "first", "x", 0);
    expect_alias(client, 1, "");
}

static void use_aliases(struct client *publisher)
{
    struct client *client = client_with_aliases(publisher->f, 10);
    for (char topic[] = "topic0"; topic[5] <= '9'; topic[5]++) {
        publish_to(publisher, topic, "x", 0);
        expect_publish(client, "x");
    }
    client_close(client);
    free(client->in);
    publisher->f->client_count--; /* its place is used again */
}

static void aliases_are_freed_with_the_connection(void **state)
{
    assert_frees(connected(*state, 0, MQTT_V311), use_aliases);
}

/* ---- one packet for many -------------------------------------------------------------------- */

static void receivers_that_need_nothing_of_their_own_get_the_same(void **state)
{
    struct fixture *f = *state;
    enum { RECEIVERS = 3 };
    struct client *clients[RECEIVERS][2];
    for (int i = 0; i < RECEIVERS; i++)
        for (int v5 = 0; v5 < 2; v5++) {
            clients[i][v5] = connected(f, 0, v5 ? MQTT_V5 : MQTT_V311);
            subscribe(clients[i][v5], "t", 0);
        }
    struct client *publisher = connected(f, 0, MQTT_V311);
    publish_to(publisher, "t", "from 3.x", 0);
    publish_to(publisher, "t", "acknowledged", 1);
    publish_to(publisher, "t", "", 1);
    struct client *modern = connected(f, 0, MQTT_V5);
    publish_to(modern, "t", "from 5.0", 0);
    for (int i = 0; i < RECEIVERS; i++)
        for (int v5 = 0; v5 < 2; v5++) {
            expect_publish(clients[i][v5], "from 3.x");
            expect_publish(clients[i][v5], "acknowledged");
            expect_publish(clients[i][v5], "");
            expect_publish(clients[i][v5], "from 5.0");
            expect_silence(clients[i][v5]);
        }
}

/* Each has something that the others must not get. */
static void receivers_with_something_of_their_own_get_that(void **state)
{
    struct fixture *f = *state;
    struct client *plain = connected(f, 0, MQTT_V5), *second = connected(f, 0, MQTT_V5);
    struct client *identified = connected(f, 0, MQTT_V5), *qos1 = connected(f, 0, MQTT_V5);
    subscribe(plain, "topic", 0);
    SEND(identified, "\x82\x0d\0\1\2\x0b\x2a\0\5topic\0");
    expect_suback(identified, 1, 0);
    struct client *aliased = client_with_aliases(f, 2);
    subscribe(qos1, "topic", 1);
    subscribe(second, "topic", 0);
    struct client *publisher = connected(f, 0, MQTT_V5);
    for (int i = 0; i < 2; i++) {
        publish_to(publisher, "topic", "x", 1);
        struct publish got = expect_publish(plain, "x");
        assert_int_equal(got.subscription_identifiers, 0);
        assert_int_equal(got.qos, 0);
        got = expect_publish(second, "x");
        assert_int_equal(got.qos, 0);
        assert_false(got.has_topic_alias);
        assert_int_equal(expect_publish(identified, "x").subscription_identifiers, 1);
        assert_int_equal(expect_publish(qos1, "x").qos, 1);
        expect_alias(aliased, 1, i == 0 ? "topic" : "");
    }
}

static void shared_packet_is_for_those_who_can_take_it(void **state)
{
    struct fixture *f = *state;
    struct client *fits = connected(f, 0, MQTT_V5), *does_not = connected(f, 0, MQTT_V5);
    struct client *third = connected(f, 0, MQTT_V5);
    subscribe(fits, "t", 0);
    subscribe(does_not, "t", 0);
    subscribe(third, "t", 0);
    struct client *publisher = connected(f, 0, MQTT_V311);
    conn_of(fits)->packet_max_out = 16; /* 2 + 3 + 1 + 10 */
    conn_of(does_not)->packet_max_out = 15;
    publish_to(publisher, "t", "ten bytes!", 0);
    expect_publish(fits, "ten bytes!");
    expect_publish(third, "ten bytes!");
    expect_silence(does_not);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE), 1);
}

static void own_packet_is_for_those_who_can_take_it(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "t", 1);
    struct client *publisher = connected(f, 0, MQTT_V311);
    conn_of(client)->packet_max_out = 18; /* 2 + 3 + 2 + 1 + 10 */
    publish_to(publisher, "t", "ten bytes!", 1);
    expect_publish(client, "ten bytes!");
    conn_of(client)->packet_max_out = 17;
    publish_to(publisher, "t", "ten bytes!", 1);
    expect_silence(client);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE), 1);
}

static void acknowledgement_that_the_client_cannot_take_is_not_sent(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    conn_of(client)->packet_max_out = 4; /* five with a reason */
    send_publish(client, 1, 1, "x");
    expect_silence(client);
    subscribe(connected(f, 0, MQTT_V5), "t", 0);
    send_publish(client, 1, 1, "x");
    expect_ack(client, PACKET_PUBACK, 1, 0);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static void assert_arrives(struct client *publisher, struct client *client, size_t payload,
                           size_t properties)
{
    static uint8_t bytes[80 * 1024], block[80 * 1024];
    size_t at = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + payload);
    while (at < properties) { /* user properties with long values */
        size_t value = properties - at > 60000 ? 60000 : properties - at;
        memcpy(block + at, "\x26\0\1n", 4);
        block[at + 4] = (uint8_t)(value >> 8);
        block[at + 5] = (uint8_t)value;
        memset(block + at + 6, 'v', value);
        at += 6 + value;
    }
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of(bytes, payload),
                            .properties = bytes_of(block, at)};
    struct publish_form form = {.version = MQTT_V5, .qos = 1, .packet_id = 1};
    struct publish got;
    send_publication(publisher, &p, &form);
    expect_ack(publisher, PACKET_PUBACK, 1, 0);
    const struct frame *frame = expect(client, PACKET_PUBLISH);
    assert_int_equal(publish_decode(frame, MQTT_V5, &got), MQTT_SUCCESS);
    assert_int_equal(got.payload.len, payload);
    assert_memory_equal(got.payload.data, bytes, payload);
    assert_int_equal(got.properties.len, at);
    if (at > 0)
        assert_memory_equal(got.properties.data, block, at);
}

/* Around each size at which the way changes, to receivers of QoS 0 and 1. */
static void message_of_every_size_arrives(void **state)
{
    static const size_t payloads[] = {0,
                                      1,
                                      8 * 1024 - 1,
                                      8 * 1024,
                                      8 * 1024 + 1,
                                      16 * 1024 - 5,
                                      16 * 1024,
                                      16 * 1024 + 1,
                                      32 * 1024 - 9,
                                      32 * 1024,
                                      70 * 1024};
    static const size_t blocks[] = {0, 24 * 1024, 33 * 1024, 64 * 1024};
    struct fixture *f = *state;
    struct client *publisher = connected(f, 0, MQTT_V5);
    for (uint8_t qos = 0; qos <= 1; qos++) {
        struct client *client = connected(f, 0, MQTT_V5);
        subscribe(client, "t", qos);
        for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++)
            for (size_t n = 0; n < sizeof(blocks) / sizeof(*blocks); n++)
                assert_arrives(publisher, client, payloads[i], blocks[n]);
        client_close(client);
    }
}

/* Two receivers: the second gets what was made for the first, if it was. */
static void message_of_every_size_arrives_twice(void **state)
{
    enum { HEADER = 2 + 1 + 1 };
    static uint8_t bytes[40 * 1024];
    struct fixture *f = *state;
    struct client *publisher = connected(f, 0, MQTT_V311);
    struct client *clients[2] = {connected(f, 0, MQTT_V5), connected(f, 0, MQTT_V5)};
    subscribe(clients[0], "t", 0);
    subscribe(clients[1], "t", 0);
    static const size_t payloads[] = {100, DELIVERY_SCRATCH - 8, DELIVERY_SCRATCH - 7,
                                      DELIVERY_SCRATCH - 6, 32 * 1024};
    for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++) {
        struct publication p = {.topic = bytes_of_str("t"),
                                .payload = bytes_of(bytes, payloads[i])};
        send_publication(publisher, &p, &(struct publish_form){.version = MQTT_V311});
        for (int n = 0; n < 2; n++) {
            struct publish got;
            const struct frame *frame = expect(clients[n], PACKET_PUBLISH);
            assert_int_equal(publish_decode(frame, MQTT_V5, &got), MQTT_SUCCESS);
            assert_int_equal(got.payload.len, payloads[i]);
        }
    }
}

/* A big payload is written from where it lies. */
static void big_payload_is_not_copied(void **state)
{
    static uint8_t bytes[STREAM_REFERENCE_MIN];
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    for (size_t size = STREAM_REFERENCE_MIN - 1; size <= STREAM_REFERENCE_MIN; size++) {
        struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of(bytes, size)};
        struct message *message = message_new(&p);
        struct outgoing outgoing = {.publication = &message->publication, .message = message};
        struct conn *conn = conn_of(client);
        assert_int_equal(conn->sink.ops->publish(&conn->sink, &outgoing), SEND_OK);
        bool referenced = conn->stream.out_last->message == message;
        assert_int_equal(referenced, size == STREAM_REFERENCE_MIN);
        message_drop(message);
        expect(client, PACKET_PUBLISH);
        /* a view has nothing that would outlive the call */
        outgoing.publication = &p;
        outgoing.message = NULL;
        assert_int_equal(conn->sink.ops->publish(&conn->sink, &outgoing), SEND_OK);
        assert_null(conn->stream.out_last->message);
        expect(client, PACKET_PUBLISH);
    }
}

/* ---- output is full ------------------------------------------------------------------------- */

static void full_output_holds_messages_back(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "t", 1);
    struct client *publisher = connected(f, 0, MQTT_V5);
    static uint8_t payload[60000];
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of(payload, 60000)};
    struct publish_form form = {.version = MQTT_V5, .qos = 1, .packet_id = 1};
    uint32_t sent = 0;
    for (; !conn_of(client)->sink.hold; sent++) {
        send_publication(publisher, &p, &form);
        settle(f);
    }
    assert_true(conn_of(client)->stream.out_bytes > STREAM_OUT_HIGH);
    for (int i = 0; i < 3; i++, sent++) {
        send_publication(publisher, &p, &form);
        settle(f);
    }
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 3);
    uint32_t got = 0;
    TURN_UNTIL(f, (got += next_packet(client) != NULL) == sent);
}

/* As if so much waited already that the broker takes no more of it. */
static struct conn *conn_with_full_output(struct client *client)
{
    settle(client->f);
    struct conn *conn = conn_of(client);
    conn->stream.out_bytes = STREAM_OUT_MAX;
    return conn;
}

static void ping(struct conn *conn)
{
    conn_send_pingresp(conn);
}

static void pubrel(struct conn *conn)
{
    conn->sink.ops->pubrel(&conn->sink, 1);
}

static void pubrec(struct conn *conn)
{
    struct frame frame = {.type = PACKET_PUBREC, .body = bytes_of("\0\1", 2), .size = 4};
    conn_handle_ack(conn, &frame);
}

static void puback(struct conn *conn)
{
    conn_owe_ack(conn, PACKET_PUBACK, 1, MQTT_SUCCESS, NULL, OWED_NO_CHANGES);
}

static void auth(struct conn *conn)
{
    conn_send_auth(conn, &(struct auth){0});
}

static void shared(struct conn *conn)
{
    struct publication p = publication_of("t", "x");
    struct wire_cache wire = {.packet[1] = bytes_of("\x30\5\0\1t\0x", 7)};
    struct outgoing outgoing = {.publication = &p, .wire = &wire};
    assert_int_equal(conn->sink.ops->publish(&conn->sink, &outgoing), SEND_FAILED);
}

static void own(struct conn *conn)
{
    struct publication p = publication_of("t", "x");
    struct outgoing outgoing = {.publication = &p, .qos = 1, .packet_id = 1};
    assert_int_equal(conn->sink.ops->publish(&conn->sink, &outgoing), SEND_FAILED);
}

/* A packet is missing, so nothing more may come. */
static void nothing_is_sent_beyond_the_largest_output(void **state)
{
    struct fixture *f = *state;
    static void (*const ways[])(struct conn * conn) = {ping, pubrel, pubrec, puback,
                                                       auth, shared, own};
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct client *client = connected(f, 0, MQTT_V5);
        struct conn *conn = conn_with_full_output(client);
        uint64_t sent = metric(f, METRIC_PACKETS_SENT);
        ways[i](conn);
        conn->stream.out_bytes = 0;
        assert_int_equal(metric(f, METRIC_PACKETS_SENT), sent);
        expect_end(client);
    }
}

/* ---- versions ------------------------------------------------------------------------------- */

static void message_expiry_counts_down(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5), *old = connected(f, 0, MQTT_V311);
    subscribe(client, "t", 1);
    subscribe(old, "t", 1);
    SEND(client, "\x30\x0a\0\1t\5\2\0\0\0\x0ax");
    struct publish got = expect_publish(client, "x");
    assert_true(got.has_expiry);
    assert_int_equal(got.expiry_s, 10);
    expect_publish(old, "x");
}

static void identifiers_are_for_5_0_only(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V311);
    struct publication p = publication_of("t", "x");
    const uint32_t identifier = 7;
    struct outgoing outgoing = {.publication = &p,
                                .qos = 1,
                                .packet_id = 1,
                                .identifiers = &identifier,
                                .identifier_count = 1};
    struct conn *conn = conn_of(client);
    assert_int_equal(conn->sink.ops->publish(&conn->sink, &outgoing), SEND_OK);
    const struct frame *frame = expect(client, PACKET_PUBLISH);
    assert_int_equal(frame->size, 2 + 3 + 2 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(topic_gets_an_alias_while_there_are_some),
        RULE(topic_that_is_shorter_than_its_alias_gets_none),
        RULE(client_that_takes_no_aliases_gets_none),
        RULE(alias_of_a_packet_that_was_too_large_is_not_used),
        RULE(aliases_are_freed_with_the_connection),
        RULE(receivers_that_need_nothing_of_their_own_get_the_same),
        RULE(receivers_with_something_of_their_own_get_that),
        RULE(shared_packet_is_for_those_who_can_take_it),
        RULE(own_packet_is_for_those_who_can_take_it),
        RULE(acknowledgement_that_the_client_cannot_take_is_not_sent),
        RULE(message_of_every_size_arrives),
        RULE(message_of_every_size_arrives_twice),
        RULE(big_payload_is_not_copied),
        RULE(full_output_holds_messages_back),
        RULE(nothing_is_sent_beyond_the_largest_output),
        RULE(message_expiry_counts_down),
        RULE(identifiers_are_for_5_0_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
