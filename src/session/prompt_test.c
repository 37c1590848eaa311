/* SPDX-License-Identifier: Apache-2.0 */
/* Whose records are held back: of those who acknowledged in time lately. */
#include "session/stored_fixture.h"

enum { LATE_MS = 2 * STORE_HOLD_MAX_MS + 1 };

/* Delivers one message; whether its record may be held back. */
static bool is_prompt(struct session *session, uint8_t qos)
{
    struct publication p = {.topic = bytes_of_str("t"), .qos = qos, .received_ms = START_MS};
    struct delivery delivery = {.publication = &p, .prompt = {.batch = 1, .at = 1}};
    assert_int_equal(session_deliver(session, &delivery, &(struct deliver_as){.qos = qos}),
                     DELIVERED);
    message_drop(delivery.message);
    return delivery.prompt.batch != 0;
}

/* Acknowledges the n-th QoS 1 message, when its record is written and old. */
static void acknowledge_late(struct stored *s, struct session *session, uint16_t n)
{
    settle(s);
    poll(NULL, 0, LATE_MS);
    assert_int_equal(session_puback(session, n), RC_OK);
}

static void new_subscriber_is_given_credit(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    assert_true(is_prompt(session, 1));
    assert_int_equal(session_puback(session, 1), RC_OK);
    assert_true(is_prompt(session, 1));
}

static void subscriber_that_acknowledges_late_loses_it_and_gets_it_back(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    assert_true(is_prompt(session, 1));
    acknowledge_late(s, session, 1);
    assert_false(is_prompt(session, 1));
    acknowledge_late(s, session, 2);
    assert_false(is_prompt(session, 1));
    assert_int_equal(session_puback(session, 3), RC_OK);
    assert_false(is_prompt(session, 1)); /* once is not enough */
    assert_int_equal(session_puback(session, 4), RC_OK);
    assert_true(is_prompt(session, 1));
}

static void message_that_waits_is_not_held_back(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session->receive_maximum = 1;
    assert_true(is_prompt(session, 1));
    assert_false(is_prompt(session, 1)); /* the window is full */
    session->receive_maximum = 10;
    session_pump(session);
    s->f.client.sink.hold = true;
    assert_false(is_prompt(session, 1));
    session_detach(session, SESSION_WILL_DISCARD);
    assert_false(is_prompt(session, 1)); /* the client is away */
}

static void message_of_qos_2_is_not_held_back_and_says_nothing_of_qos_1(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    assert_false(is_prompt(session, 2));
    settle(s);
    poll(NULL, 0, LATE_MS);
    assert_int_equal(session_pubrec(session, 1, false), RC_OK);
    assert_int_equal(session_pubcomp(session, 1), RC_OK);
    assert_true(is_prompt(session, 1));
}

static void message_that_the_client_cannot_take_is_not_held_back(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str("too large"),
                            .qos = 1,
                            .received_ms = START_MS};
    struct delivery delivery = {.publication = &p};
    s->f.client.payload_max = 1;
    assert_int_equal(session_deliver(session, &delivery, &(struct deliver_as){.qos = 1}),
                     NOT_DELIVERED);
    assert_int_equal(delivery.prompt.batch, 0);
    message_drop(delivery.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED_RULE(new_subscriber_is_given_credit),
        STORED_RULE(subscriber_that_acknowledges_late_loses_it_and_gets_it_back),
        STORED_RULE(message_that_waits_is_not_held_back),
        STORED_RULE(message_of_qos_2_is_not_held_back_and_says_nothing_of_qos_1),
        STORED_RULE(message_that_the_client_cannot_take_is_not_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
