/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a worker as a group: who yields, and the end of all. */
#include "conn/conn_fixture.h"

/* ---- yielding ------------------------------------------------------------------------------- */

/* So much was done in this turn that nobody's next packet should be looked at in it. */
static void exhaust(struct fixture *f)
{
    f->workers[0].hub.work = WORK_PER_TURN + 1;
}

static void connection_yields_when_the_turn_has_done_enough(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    f->workers[0].hub.work = WORK_PER_TURN;
    SEND(client, "\xc0\0\xc0\0");
    loop_turn(&f->workers[0].loop, LOOP_LOOK);
    assert_false(f->workers[0].loop.more);
    expect(client, PACKET_PINGRESP);
    expect(client, PACKET_PINGRESP);
    exhaust(f);
    SEND(client, "\xc0\0\xc0\0");
    loop_turn(&f->workers[0].loop, LOOP_LOOK);
    assert_int_equal(conn_of(client)->stream.out_bytes, 2); /* one answer */
    assert_true(f->workers[0].loop.more);                   /* no sleep before the next turn */
    expect(client, PACKET_PINGRESP);
    expect(client, PACKET_PINGRESP);
    assert_int_equal(conn_of(client)->busy, 0);
}

static void many_connections_may_yield_in_one_turn(void **state)
{
    enum { MANY = 150 };
    struct fixture *f = *state;
    struct client *clients[MANY];
    for (int i = 0; i < MANY; i++)
        clients[i] = connected(f, 0, MQTT_V5);
    for (int i = 0; i < MANY; i++)
        SEND(clients[i], "\xc0\0\xc0\0");
    exhaust(f);
    loop_turn(&f->workers[0].loop, LOOP_LOOK);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(conn_of(clients[i])->stream.out_bytes, 2);
    for (int i = 0; i < MANY; i++) {
        expect(clients[i], PACKET_PINGRESP);
        expect(clients[i], PACKET_PINGRESP);
    }
}

/* It yielded, and something ended it before its turn came again. */
static void connection_that_yielded_may_be_gone(void **state)
{
    struct fixture *f = *state;
    struct client *kept = connected_durable(f, 0, MQTT_V5), *gone = connected(f, 0, MQTT_V5);
    for (int i = 0; i < 2; i++) {
        struct client *client = i == 0 ? kept : gone;
        struct conn *conn = conn_of(client);
        conn_yield(conn);
        conn_close(conn, MQTT_ADMINISTRATIVE_ACTION);
        expect_fault(client, MQTT_ADMINISTRATIVE_ACTION);
    }
    assert_non_null(session_of(kept));
    assert_null(session_of(gone));
}

/* ---- the end -------------------------------------------------------------------------------- */

static void drain_tells_so_many_clients_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct client *clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = connected(f, 0, MQTT_V5);
    struct conn_worker *worker = &f->workers[0].conns;
    assert_false(conn_worker_drain(worker, 2));
    expect_fault(clients[0], MQTT_SERVER_SHUTTING_DOWN);
    expect_fault(clients[1], MQTT_SERVER_SHUTTING_DOWN);
    expect_silence(clients[2]);
    assert_true(conn_worker_drain(worker, 1));
    assert_true(conn_worker_drain(worker, 0)); /* it is told, and still there */
    expect_fault(clients[2], MQTT_SERVER_SHUTTING_DOWN);
    assert_true(worker->draining);
}

static void drain_sends_clients_to_another_server_that_is_configured(void **state)
{
    struct fixture *f = *state;
    strcpy(f->config.mqtt.server_reference, "b.example.com:1883");
    struct client *client = connected(f, 0, MQTT_V5);
    struct client *old = connected(f, 0, MQTT_V311);
    assert_true(conn_worker_drain(&f->workers[0].conns, 2));
    struct disconnect said;
    assert_int_equal(disconnect_decode(expect(client, PACKET_DISCONNECT), MQTT_V5, &said), 0);
    assert_int_equal(said.reason, MQTT_USE_ANOTHER_SERVER);
    assert_true(bytes_equal(said.properties.server_reference, bytes_of_str("b.example.com:1883")));
    expect_end(client);
    expect_end(old);
}

static void drain_closes_3_x_without_a_word(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V311);
    struct client *silent = dial(f, 0, MQTT_V5);
    assert_true(conn_worker_drain(&f->workers[0].conns, 2));
    expect_end(client);
    expect_end(silent);
}

/* ---- thinning out --------------------------------------------------------------------------- */

static void thinning_out_sends_so_many_away_whose_sessions_end_with_that(void **state)
{
    struct fixture *f = *state;
    struct conn_worker *worker = &f->workers[0].conns;
    struct client *stored = connected_durable(f, 0, MQTT_V5);
    struct client *first = connected(f, 0, MQTT_V5), *second = connected(f, 0, MQTT_V5);
    struct client *silent = dial(f, 0, MQTT_V5);
    f->shared.closed_ms = 1;
    assert_int_equal(conn_worker_thin_out(worker, 1), 1);
    expect_fault(first, MQTT_SERVER_SHUTTING_DOWN);
    expect_silence(second);
    assert_int_equal(conn_worker_thin_out(worker, 9), 1);
    expect_fault(second, MQTT_SERVER_SHUTTING_DOWN);
    assert_int_equal(conn_worker_thin_out(worker, 9), 0);
    expect_silence(stored);
    expect_silence(silent); /* it has yet to say who it is */
}

static void thinning_out_sends_clients_to_another_server_that_is_configured(void **state)
{
    struct fixture *f = *state;
    strcpy(f->config.mqtt.server_reference, "b.example.com:1883");
    struct client *client = connected(f, 0, MQTT_V5);
    assert_int_equal(conn_worker_thin_out(&f->workers[0].conns, 1), 1);
    struct disconnect said;
    assert_int_equal(disconnect_decode(expect(client, PACKET_DISCONNECT), MQTT_V5, &said), 0);
    assert_int_equal(said.reason, MQTT_USE_ANOTHER_SERVER);
    expect_end(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(connection_yields_when_the_turn_has_done_enough),
        RULE(many_connections_may_yield_in_one_turn),
        RULE(connection_that_yielded_may_be_gone),
        RULE(drain_tells_so_many_clients_at_a_time),
        RULE(drain_sends_clients_to_another_server_that_is_configured),
        RULE(drain_closes_3_x_without_a_word),
        RULE(thinning_out_sends_so_many_away_whose_sessions_end_with_that),
        RULE(thinning_out_sends_clients_to_another_server_that_is_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
