/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT: assigned client identifiers, on which worker, what CONNACK says, keep alive. */
#include "conn/conn_fixture.h"

/* ---- assigned client identifiers ----------------------------------------------------------- */

static void assigned_client_identifier_is_at_home_where_it_was_accepted(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 6; i++) {
        struct client *client = dial(f, i % 2, MQTT_V5);
        struct connect connect = connect_of(client);
        connect.client_id = bytes_of_str("");
        send_connect(client, &connect);
        struct connack connack = expect_connack(client, 0);
        struct bytes id = connack.properties.assigned_client_id;
        assert_true(property_present(&connack.properties, PROPERTY_ASSIGNED_CLIENT_IDENTIFIER));
        assert_int_equal(client_id_hash(id) % STORES % WORKERS, i % 2);
        assert_non_null(session_find(&f->workers[i % 2].sessions, id));
    }
    assert_int_equal(f->moves, 0);
    assert_int_equal(f->shared.sessions, 6);
}

static void assigned_client_identifier_is_nobodys_yet(void **state)
{
    struct fixture *f = *state;
    struct client *first = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(first);
    connect.client_id = bytes_of_str("");
    connected_with(first, &connect);
    f->shared.next_number = 0; /* as if a client had chosen that name itself */
    struct client *second = dial(f, 0, MQTT_V5);
    connected_with(second, &connect);
    expect_silence(first);
    assert_int_equal(f->shared.sessions, 2);
}

static void given_client_identifier_is_not_told_back(void **state)
{
    struct client *client = dial(*state, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    struct connack connack = expect_connack(client, 0);
    assert_false(property_present(&connack.properties, PROPERTY_ASSIGNED_CLIENT_IDENTIFIER));
}

/* ---- the home worker ----------------------------------------------------------------------- */

static void connection_moves_to_its_home_with_what_it_had_sent(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    name_of_worker(client, 1);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    send_publish(client, 1, 7, "in the same breath");
    expect_connack(client, 0);
    expect_ack(client, PACKET_PUBACK, 7, MQTT_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(f->moves, 1);
    assert_non_null(session_find(&f->workers[1].sessions, bytes_of_str(client->id)));
    assert_true(list_empty(&f->workers[0].conns.connections));
    assert_int_equal(f->shared.connections, 1);
    /* CONNECT is counted where it was answered */
    assert_int_equal(metric(f, METRIC_PACKETS_RECEIVED), 2);
    assert_int_equal(metric(f, METRIC_CONNECTS_ACCEPTED), 1);
}

static const struct conn_origin behind_balancer = {.transport = TRANSPORT_TCP,
                                                   .proxy_header = true};

static void connection_that_moves_keeps_the_address_that_a_balancer_told(void **state)
{
    static const char header[] = "PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883\r\n";
    struct fixture *f = *state;
    struct client *client = dial_as(f, 0, MQTT_V5, &behind_balancer);
    name_of_worker(client, 1);
    struct connect connect = connect_of(client);
    send_raw(client, header, sizeof(header) - 1);
    connected_with(client, &connect);
    assert_int_equal(f->moves, 1);
    struct conn_facts facts;
    conn_tell(conn_of_session(session_of(client)), &facts);
    assert_string_equal(facts.address, "192.0.2.1:54321");
}

static void connection_without_the_header_of_its_balancer_is_closed_and_counted(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial_as(f, 0, MQTT_V5, &behind_balancer);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    expect_end(client);
    assert_int_equal(metric(f, METRIC_PROXY_HEADERS_REFUSED), 1);
    assert_int_equal(metric(f, METRIC_CONNECTS_REFUSED), 0);
    assert_int_equal(f->shared.connections, 0);
}

/* Output that its client does not read cannot move with it. */
static void connection_that_cannot_move_is_closed(void **state)
{
    struct fixture *f = *state;
    static uint8_t much[1024 * 1024];
    struct client *client = dial(f, 0, MQTT_V5);
    name_of_worker(client, 1);
    struct conn *conn = CONTAINER_OF(f->workers[0].conns.connections.next, struct conn, link);
    assert_int_equal(stream_write(&conn->stream, bytes_of(much, sizeof(much))), RC_OK);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    settle(f);
    assert_int_equal(f->moves, 0);
    assert_int_equal(f->shared.connections, 0);
    assert_true(list_empty(&f->workers[0].conns.connections));
}

/* A daemon may have no standard input. */
static void descriptor_0_moves_like_any_other(void **state)
{
    struct fixture *f = *state;
    int standard_input = dup(0);
    close(0);
    struct client *client = dial(f, 0, MQTT_V5); /* the broker's end is 0 */
    name_of_worker(client, 1);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    expect_connack(client, 0);
    assert_int_equal(conn_of(client)->stream.fd, 0);
    client_close(client);
    if (standard_input >= 0) {
        dup2(standard_input, 0);
        close(standard_input);
    }
}

static void refused_connection_does_not_move(void **state)
{
    struct fixture *f = *state;
    f->shared.memory_full = true;
    struct client *client = dial(f, 0, MQTT_V5);
    name_of_worker(client, 1);
    struct connect connect = connect_of(client);
    send_connect(client, &connect);
    expect_refusal(client, MQTT_QUOTA_EXCEEDED);
    assert_int_equal(f->moves, 0);
}

/* ---- CONNACK ------------------------------------------------------------------------------- */

static struct properties connack_of(struct fixture *f, void (*ask)(struct connect *connect))
{
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    if (ask != NULL)
        ask(&connect);
    send_connect(client, &connect);
    return expect_connack(client, 0).properties;
}

static void connack_says_nothing_of_what_is_as_the_standard_has_it(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 65535;
    f->config.mqtt.topic_alias_max = 0;
    struct properties said = connack_of(f, NULL);
    assert_int_equal(said.present, (uint64_t)1 << PROPERTY_MAXIMUM_PACKET_SIZE);
    assert_int_equal(said.maximum_packet_size, f->config.limits.packet_bytes);
}

static void connack_says_what_is_less(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 10;
    f->config.mqtt.topic_alias_max = 1;
    f->config.mqtt.qos_max = 1;
    f->config.mqtt.retain_available = false;
    f->config.mqtt.wildcard_available = false;
    f->config.mqtt.subscription_identifier_available = false;
    f->config.mqtt.shared_available = false;
    struct properties said = connack_of(f, NULL);
    assert_int_equal(said.receive_maximum, 10);
    assert_int_equal(said.topic_alias_maximum, 1);
    assert_int_equal(said.maximum_qos, 1);
    assert_true(property_present(&said, PROPERTY_RETAIN_AVAILABLE));
    assert_int_equal(said.retain_available, 0);
    assert_true(property_present(&said, PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE));
    assert_int_equal(said.wildcard_available, 0);
    assert_true(property_present(&said, PROPERTY_SUBSCRIPTION_IDENTIFIER_AVAILABLE));
    assert_int_equal(said.subscription_identifier_available, 0);
    assert_true(property_present(&said, PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE));
    assert_int_equal(said.shared_available, 0);
}

static void ask_response_information(struct connect *connect)
{
    property_set(&connect->properties, PROPERTY_REQUEST_RESPONSE_INFORMATION);
    connect->properties.request_response_information = 1;
}

static void ask_no_response_information(struct connect *connect)
{
    property_set(&connect->properties, PROPERTY_REQUEST_RESPONSE_INFORMATION);
    connect->properties.request_response_information = 0;
}

static void connack_has_response_information_when_asked_for(void **state)
{
    struct fixture *f = *state;
    struct properties said = connack_of(f, ask_response_information);
    assert_false(property_present(&said, PROPERTY_RESPONSE_INFORMATION));
    strcpy(f->config.mqtt.response_information, "answers/");
    said = connack_of(f, NULL);
    assert_false(property_present(&said, PROPERTY_RESPONSE_INFORMATION));
    said = connack_of(f, ask_no_response_information);
    assert_false(property_present(&said, PROPERTY_RESPONSE_INFORMATION));
    said = connack_of(f, ask_response_information);
    assert_true(property_present(&said, PROPERTY_RESPONSE_INFORMATION));
    assert_true(bytes_equal(said.response_information, bytes_of_str("answers/")));
}

static void client_that_cannot_take_a_connack_is_closed(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_MAXIMUM_PACKET_SIZE);
    connect.properties.maximum_packet_size = 7;
    send_connect(client, &connect);
    expect_end(client);
    assert_int_equal(f->shared.sessions, 0);
}

/* CONNACK is exactly as large as the client takes. */
static void connack_of_the_largest_size_that_the_client_takes_is_sent(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    size_t size = client->frame.size;
    for (size_t max = size - 1; max <= size; max++) {
        struct client *next = dial(f, 0, MQTT_V5);
        struct connect connect = connect_of(next);
        property_set(&connect.properties, PROPERTY_MAXIMUM_PACKET_SIZE);
        connect.properties.maximum_packet_size = (uint32_t)max;
        send_connect(next, &connect);
        if (max < size)
            expect_end(next);
        else
            expect_connack(next, 0);
    }
}

/* ---- keep alive ---------------------------------------------------------------------------- */

static uint32_t keep_alive_of(struct fixture *f, enum mqtt_version version, uint16_t asked,
                              struct properties *said)
{
    struct client *client = dial(f, 0, version);
    struct connect connect = connect_of(client);
    connect.keep_alive_s = asked;
    send_connect(client, &connect);
    *said = expect_connack(client, 0).properties;
    assert_int_equal(timer_running(&conn_of(client)->timer.timer),
                     conn_keep_alive_ms(conn_of(client)) > 0);
    return conn_keep_alive_ms(conn_of(client));
}

static void keep_alive_above_the_maximum_is_lowered_and_told(void **state)
{
    struct fixture *f = *state;
    struct properties said;
    f->config.mqtt.keep_alive_max_s = 60;
    assert_int_equal(keep_alive_of(f, MQTT_V5, 60, &said), 90000);
    assert_false(property_present(&said, PROPERTY_SERVER_KEEP_ALIVE));
    assert_int_equal(keep_alive_of(f, MQTT_V5, 61, &said), 90000);
    assert_int_equal(said.server_keep_alive_s, 60);
    assert_int_equal(keep_alive_of(f, MQTT_V5, 0, &said), 90000);
    assert_true(property_present(&said, PROPERTY_SERVER_KEEP_ALIVE));
    assert_int_equal(keep_alive_of(f, MQTT_V311, 61, &said), 91500); /* cannot be told */
    assert_int_equal(keep_alive_of(f, MQTT_V311, 0, &said), 0);
    f->config.mqtt.keep_alive_max_s = 0;
    assert_int_equal(keep_alive_of(f, MQTT_V5, 61, &said), 91500);
    assert_false(property_present(&said, PROPERTY_SERVER_KEEP_ALIVE));
}

/* ---- the client's limits ------------------------------------------------------------------- */

static void client_says_how_much_it_takes(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.topic_alias_out_max = 8;
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    property_set(&connect.properties, PROPERTY_RECEIVE_MAXIMUM);
    connect.properties.receive_maximum = 3;
    property_set(&connect.properties, PROPERTY_TOPIC_ALIAS_MAXIMUM);
    connect.properties.topic_alias_maximum = 9;
    connected_with(client, &connect);
    assert_int_equal(session_of(client)->receive_maximum, 3);
    assert_int_equal(conn_of(client)->alias_out_max, 8);
    client = dial(f, 0, MQTT_V5);
    connect.client_id = bytes_of_str(client->id);
    connect.properties.topic_alias_maximum = 7;
    connected_with(client, &connect);
    assert_int_equal(conn_of(client)->alias_out_max, 7);
}

static void client_says_whether_it_wants_problem_information(void **state)
{
    struct fixture *f = *state;
    for (uint8_t wanted = 0; wanted < 2; wanted++) {
        struct client *client = dial(f, 0, MQTT_V5);
        struct connect connect = connect_of(client);
        property_set(&connect.properties, PROPERTY_REQUEST_PROBLEM_INFORMATION);
        connect.properties.request_problem_information = wanted;
        connected_with(client, &connect);
        assert_int_equal(conn_of(client)->problem_information, wanted);
    }
}

static void client_that_says_nothing_takes_everything(void **state)
{
    struct fixture *f = *state;
    f->workers[0].sessions.limits.inflight_max = 65535;
    struct client *client = connected(f, 0, MQTT_V5);
    assert_int_equal(session_of(client)->receive_maximum, 65535);
    assert_int_equal(conn_of(client)->alias_out_max, 0);
    assert_int_equal(conn_of(client)->packet_max_out, VARINT_MAX + FRAME_HEADER_MAX);
    assert_true(conn_of(client)->problem_information);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(assigned_client_identifier_is_at_home_where_it_was_accepted),
        RULE(assigned_client_identifier_is_nobodys_yet),
        RULE(given_client_identifier_is_not_told_back),
        RULE(connection_moves_to_its_home_with_what_it_had_sent),
        RULE(connection_that_cannot_move_is_closed),
        RULE(connection_that_moves_keeps_the_address_that_a_balancer_told),
        RULE(connection_without_the_header_of_its_balancer_is_closed_and_counted),
        RULE(descriptor_0_moves_like_any_other),
        RULE(refused_connection_does_not_move),
        RULE(connack_says_nothing_of_what_is_as_the_standard_has_it),
        RULE(connack_says_what_is_less),
        RULE(connack_has_response_information_when_asked_for),
        RULE(client_that_cannot_take_a_connack_is_closed),
        RULE(connack_of_the_largest_size_that_the_client_takes_is_sent),
        RULE(keep_alive_above_the_maximum_is_lowered_and_told),
        RULE(client_says_how_much_it_takes),
        RULE(client_says_whether_it_wants_problem_information),
        RULE(client_that_says_nothing_takes_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
