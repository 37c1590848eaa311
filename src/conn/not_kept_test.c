/* SPDX-License-Identifier: Apache-2.0 */
/* Publications that no session had room for, or that the store does not keep. */
#include "conn/conn_fixture.h"

/* A session of that worker whose client is away. */
static void absent_session(struct fixture *f, uint32_t worker)
{
    struct client *keeper = connected_durable(f, worker, MQTT_V5);
    subscribe(keeper, "t", 2);
    client_close(keeper);
    settle(f);
}

/* The same, and its queue takes nothing. */
static void full_session(struct fixture *f, uint32_t worker)
{
    absent_session(f, worker);
    f->workers[worker].sessions.limits.queue_messages_max = 0;
}

static void refused_5_0_is_told(void **state)
{
    struct fixture *f = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        full_session(f, worker);
        struct client *client = connected(f, 0, MQTT_V5);
        send_publish(client, 1, 7, "x");
        expect_ack(client, PACKET_PUBACK, 7, MQTT_QUOTA_EXCEEDED);
        send_publish(client, 2, 8, "x");
        expect_ack(client, PACKET_PUBREC, 8, MQTT_QUOTA_EXCEEDED);
        assert_false(
            session_received_has(session_of(client), 8)); /* a new try, if it comes again */
    }
}

static void refused_3_1_1_is_acknowledged_since_it_cannot_be_told(void **state)
{
    struct fixture *f = *state;
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        full_session(f, worker);
        struct client *client = connected(f, 0, MQTT_V311);
        send_publish(client, 1, 7, "x");
        expect_ack(client, PACKET_PUBACK, 7, 0);
        send_publish(client, 2, 8, "x");
        expect_ack(client, PACKET_PUBREC, 8, 0);
        assert_true(session_received_has(session_of(client), 8));
    }
    assert_int_equal(metric(f, METRIC_STORE_ERRORS), 0);
}

/* The publisher's own worker knows at once that its session refuses; the other's answer counts. */
static void one_session_that_takes_it_is_enough_wherever_it_lives(void **state)
{
    struct fixture *f = *state;
    full_session(f, 0);
    absent_session(f, 1);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct client *client = connected(f, worker, MQTT_V5);
        send_publish(client, 1, 7, "x");
        expect_ack(client, PACKET_PUBACK, 7, MQTT_SUCCESS);
        send_publish(client, 2, 8, "x");
        expect_ack(client, PACKET_PUBREC, 8, MQTT_SUCCESS);
        assert_true(session_received_has(session_of(client), 8));
    }
}

/* ---- a store that says no at once ----------------------------------------------------------- */

static enum rc refusal; /* what it says */

static enum rc refusing_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    (void)shard;
    (void)waiter;
    return refusal;
}

static const struct store_ops refusing_ops = {.wait = refusing_wait};

static void make_refusing(struct fixture *f, enum rc rc)
{
    refusal = rc;
    for (uint32_t i = 0; i < WORKERS; i++)
        for (uint32_t n = 0; n < STORES; n++)
            f->workers[i].stores[n].ops = &refusing_ops;
}

/* The subscriber's shard refuses. */
static struct client *pair_with_store_that_refuses(struct fixture *f, enum mqtt_version version,
                                                   enum rc rc)
{
    absent_session(f, 0);
    struct client *client = connected(f, 0, version);
    make_refusing(f, rc);
    return client;
}

static void publication_that_the_store_refuses_is_refused_with_its_reason(void **state)
{
    static const struct {
        enum rc rc;
        enum mqtt_reason reason;
    } cases[] = {{RC_FULL, MQTT_QUOTA_EXCEEDED}, {RC_IO, MQTT_IMPLEMENTATION_SPECIFIC_ERROR}};
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        struct client *client = pair_with_store_that_refuses(f, MQTT_V5, cases[i].rc);
        send_publish(client, 1, 7, "x");
        expect_ack(client, PACKET_PUBACK, 7, cases[i].reason);
        send_publish(client, 2, 8, "x");
        expect_ack(client, PACKET_PUBREC, 8, cases[i].reason);
        assert_false(session_received_has(session_of(client), 8));
        make_early(f);
    }
}

static void publication_that_the_store_refuses_is_not_acknowledged_in_3_1_1(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        struct client *client =
            pair_with_store_that_refuses(f, MQTT_V311, i == 0 ? RC_FULL : RC_IO);
        send_publish(client, 1, 7, "x");
        send_publish(client, 2, 8, "x");
        expect_silence(client);
        assert_false(session_received_has(session_of(client), 8));
        make_early(f);
    }
}

/* Nobody subscribes: what the store has to keep is that the publisher's session has seen it. */
static void change_of_a_session_that_the_store_refuses_is_not_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    make_refusing(f, RC_FULL);
    send_publish(client, 2, 7, "x");
    expect_ack(client, PACKET_PUBREC, 7, MQTT_QUOTA_EXCEEDED);
    assert_false(session_received_has(session_of(client), 7));
    make_early(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(refused_5_0_is_told),
        RULE(refused_3_1_1_is_acknowledged_since_it_cannot_be_told),
        RULE(one_session_that_takes_it_is_enough_wherever_it_lives),
        RULE(publication_that_the_store_refuses_is_refused_with_its_reason),
        RULE(publication_that_the_store_refuses_is_not_acknowledged_in_3_1_1),
        RULE(change_of_a_session_that_the_store_refuses_is_not_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
