/* SPDX-License-Identifier: Apache-2.0 */
/* DISCONNECT from a client: what it may say, and what becomes of the session and its will. */
#include "conn/conn_fixture.h"

/* A durable client with the will "gone" on the topic "will", and who watches it. */
static struct client *client_with_will(struct fixture *f, enum mqtt_version version,
                                       struct client **watcher)
{
    *watcher = connected(f, 0, MQTT_V5);
    subscribe(*watcher, "will", 0);
    struct client *client = dial(f, 0, version);
    struct connect connect = connect_durable(client);
    connect.has_will = true;
    connect.will_topic = bytes_of_str("will");
    connect.will_payload = bytes_of_str("gone");
    return connected_with(client, &connect);
}

static void disconnect_discards_the_will(void **state)
{
    struct fixture *f = *state;
    for (enum mqtt_version version = MQTT_V31; version <= MQTT_V5; version++) {
        struct client *watcher, *client = client_with_will(f, version, &watcher);
        SEND(client, "\xe0\0");
        expect_end(client);
        expect_silence(watcher);
        assert_non_null(session_of(client));
    }
}

static void disconnect_with_another_reason_publishes_the_will(void **state)
{
    struct fixture *f = *state;
    struct client *watcher, *client = client_with_will(f, MQTT_V5, &watcher);
    SEND(client, "\xe0\1\x04");
    expect_end(client);
    expect_publish(watcher, "gone");
}

static void connection_that_breaks_publishes_the_will(void **state)
{
    struct fixture *f = *state;
    struct client *watcher, *client = client_with_will(f, MQTT_V311, &watcher);
    client_close(client);
    expect_publish(watcher, "gone");
}

static void malformed_disconnect_publishes_the_will(void **state)
{
    struct fixture *f = *state;
    struct client *watcher, *client = client_with_will(f, MQTT_V311, &watcher);
    SEND(client, "\xe0\1\0");
    expect_end(client);
    expect_publish(watcher, "gone");
    client = client_with_will(f, MQTT_V5, &watcher);
    SEND(client, "\xe1\0");
    expect_fault(client, MQTT_MALFORMED_PACKET);
    expect_publish(watcher, "gone");
}

static void client_says_only_what_a_client_may(void **state)
{
    struct fixture *f = *state;
    static const uint8_t allowed[] = {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90,
                                      0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99};
    for (unsigned reason = 0; reason < 256; reason++) {
        bool may = memchr(allowed, (int)reason, sizeof(allowed)) != NULL;
        struct client *client = connected(f, 0, MQTT_V5);
        uint8_t packet[] = {0xe0, 1, (uint8_t)reason};
        send_raw(client, packet, sizeof(packet));
        if (may)
            expect_end(client);
        else
            expect_fault(client, MQTT_PROTOCOL_ERROR);
    }
}

static void disconnect_changes_the_session_expiry(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.session_expiry_max_s = 4000;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    SEND(client, "\xe0\7\0\5\x11\0\0\0\x20");
    expect_end(client);
    assert_int_equal(session_of(client)->expiry_s, 32);
    struct client *again = reconnected(client);
    expect_connack(again, 0);
    SEND(again, "\xe0\7\0\5\x11\0\0\x0f\xa1"); /* 4001 */
    expect_end(again);
    assert_int_equal(session_of(client)->expiry_s, 4000);
    again = reconnected(again);
    expect_connack(again, 0);
    SEND(again, "\xe0\0");
    expect_end(again);
    assert_int_equal(session_of(client)->expiry_s, 3600); /* as CONNECT said */
    again = reconnected(again);
    expect_connack(again, 0);
    SEND(again, "\xe0\7\0\5\x11\0\0\0\0");
    expect_end(again);
    assert_null(session_of(client));
}

static void session_that_was_to_end_is_not_kept_by_disconnect(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\xe0\7\0\5\x11\0\0\0\0"); /* 0 is no change */
    expect_end(client);
    client = connected(f, 0, MQTT_V5);
    SEND(client, "\xe0\7\0\5\x11\0\0\0\1");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
}

/* The client said goodbye: there is nothing to linger for. */
static void connection_is_gone_at_once_after_disconnect(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    SEND(client, "\xe0\0");
    settle(f);
    assert_true(list_empty(&f->workers[0].conns.connections));
}

static void answers_before_disconnect_still_go_out(void **state)
{
    struct client *client = connected(*state, 0, MQTT_V311);
    SEND(client, "\xc0\0\xe0\0");
    expect(client, PACKET_PINGRESP);
    expect_end(client);
}

/* The stream of a WebSocket has a close frame to send. */
static void websocket_says_goodbye(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V311);
    struct conn *conn = conn_of(client);
    conn->stream.transport = TRANSPORT_WEBSOCKET;
    SEND(client, "\xe0\0");
    settle(f);
    assert_int_equal(conn->stream.state, STREAM_LINGERING);
    expect_end(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(disconnect_discards_the_will),
        RULE(disconnect_with_another_reason_publishes_the_will),
        RULE(connection_that_breaks_publishes_the_will),
        RULE(malformed_disconnect_publishes_the_will),
        RULE(client_says_only_what_a_client_may),
        RULE(disconnect_changes_the_session_expiry),
        RULE(session_that_was_to_end_is_not_kept_by_disconnect),
        RULE(connection_is_gone_at_once_after_disconnect),
        RULE(answers_before_disconnect_still_go_out),
        RULE(websocket_says_goodbye),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
