/* SPDX-License-Identifier: Apache-2.0 */
/* Acknowledgements from a client: the second half of what it was sent. */
#include "conn/conn_fixture.h"

/* A client that takes one publication at a time, has got the first, "a", and is to get "b". */
static struct client *client_with_window_of_1(struct fixture *f, uint8_t qos, uint16_t *packet_id)
{
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_RECEIVE_MAXIMUM);
    connect.properties.receive_maximum = 1;
    connected_with(client, &connect);
    subscribe(client, "t", qos);
    struct client *publisher = connected(f, 0, MQTT_V5);
    send_publish(publisher, 2, 1, "a");
    send_publish(publisher, 2, 2, "b");
    *packet_id = expect_publish(client, "a").packet_id;
    expect_silence(client);
    return client;
}

static void puback_makes_room_for_the_next(void **state)
{
    uint16_t packet_id;
    struct client *client = client_with_window_of_1(*state, 1, &packet_id);
    send_ack(client, PACKET_PUBACK, (uint16_t)(packet_id + 1), 0); /* means nothing */
    expect_silence(client);
    send_ack(client, PACKET_PUBACK, packet_id, 0);
    expect_publish(client, "b");
}

static void pubrec_is_answered_and_pubcomp_makes_room_for_the_next(void **state)
{
    uint16_t packet_id;
    struct client *client = client_with_window_of_1(*state, 2, &packet_id);
    for (int i = 0; i < 2; i++) {
        send_ack(client, PACKET_PUBREC, packet_id, 0);
        expect_ack(client, PACKET_PUBREL, packet_id, 0);
    }
    expect_silence(client);
    send_ack(client, PACKET_PUBCOMP, packet_id, 0);
    expect_publish(client, "b");
}

static void pubrec_with_an_error_ends_the_exchange(void **state)
{
    uint16_t packet_id;
    struct client *client = client_with_window_of_1(*state, 2, &packet_id);
    send_ack(client, PACKET_PUBREC, packet_id, MQTT_UNSPECIFIED_ERROR);
    expect_publish(client, "b");
    expect_silence(client);
}

static void pubrec_of_nothing_is_answered_with_its_reason(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V5);
    send_ack(client, PACKET_PUBREC, 9, 0);
    expect_ack(client, PACKET_PUBREL, 9, MQTT_PACKET_IDENTIFIER_NOT_FOUND);
    send_ack(client, PACKET_PUBREC, 9, MQTT_UNSPECIFIED_ERROR);
    expect_silence(client);
}

static void pubrel_that_we_send_is_counted(void **state)
{
    struct fixture *f = *state;
    uint16_t packet_id;
    struct client *client = client_with_window_of_1(f, 2, &packet_id);
    uint64_t packets = metric(f, METRIC_PACKETS_SENT), bytes = metric(f, METRIC_BYTES_SENT);
    send_ack(client, PACKET_PUBREC, packet_id, 0);
    expect(client, PACKET_PUBREL);
    assert_int_equal(metric(f, METRIC_PACKETS_SENT) - packets, 1);
    assert_int_equal(metric(f, METRIC_BYTES_SENT) - bytes, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(puback_makes_room_for_the_next),
        RULE(pubrec_is_answered_and_pubcomp_makes_room_for_the_next),
        RULE(pubrec_with_an_error_ends_the_exchange),
        RULE(pubrec_of_nothing_is_answered_with_its_reason),
        RULE(pubrel_that_we_send_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
