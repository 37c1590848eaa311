/* SPDX-License-Identifier: Apache-2.0 */
/* Queues while the disk takes nothing, and when it works again. */
#include "session/stored_fixture.h"

/* The disk takes nothing from now on, and the store has found out: message `number` did not get
 * there. */
static void disk_fails_at(struct stored *s, struct session *session, int number, uint8_t qos)
{
    limit_files(1);
    deliver_numbers(session, number, number, qos);
    durable_turn_until(&s->d, false);
    settle(s);
}

/* Nothing else happens to the session meanwhile. */
static void disk_works_again(struct stored *s)
{
    limit_files(RLIM_INFINITY);
    durable_turn_until(&s->d, true);
    settle(s);
}

static void outbox_deliver(struct session *session, const char *payload)
{
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str(payload),
                            .qos = 2,
                            .received_ms = session->table->now_ms};
    struct delivery delivery = {.publication = &p, .outbox = {.number = 1}};
    assert_int_equal(session_deliver(session, &delivery, &(struct deliver_as){.qos = 2}),
                     DELIVERED);
    message_drop(delivery.message);
}

static void qos2_message_whose_commit_failed_goes_out_when_the_store_works_again(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    disk_fails_at(s, session, 1, 2);
    assert_int_equal(s->f.client.count, 0);
    disk_works_again(s);
    take_numbers(s, session, 1, 1);
}

/* It comes while there is trouble already: waiting is refused at once. */
static void qos2_message_that_comes_during_trouble_goes_out_when_the_store_works_again(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    disk_fails_at(s, session, 1, 1);
    s->f.client.count = 0;
    outbox_deliver(session, "2");
    settle(s);
    assert_int_equal(s->f.client.count, 0);
    disk_works_again(s);
    take_numbers(s, session, 2, 2);
}

static void tail_read_during_trouble_comes_whole_when_the_store_works_again(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1, 10, 1);
    settle(s);
    disk_fails_at(s, session, 11, 1); /* on its way to the disk, not there yet */
    come(s, session);
    take_numbers(s, session, 1, 10); /* what the disk has is read all the same */
    assert_int_equal(queue_size(session->queue), 1);
    disk_works_again(s);
    take_numbers(s, session, 11, 11);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 0);
}

static void client_that_comes_twice_during_trouble_gets_what_the_disk_has_twice(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1, 3, 1);
    settle(s);
    disk_fails_at(s, session, 4, 1);
    for (int visit = 0; visit < 2; visit++) {
        come(s, session);
        settle(s);
        assert_sent(&s->f, "1 2 3");
        session_detach(session, SESSION_WILL_KEEP);
    }
    come(s, session);
    disk_works_again(s);
    take_numbers(s, session, 1, 4);
}

static void session_that_ends_while_it_waits_for_the_store_is_forgotten_there(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    disk_fails_at(s, session, 1, 2);
    session_end(session);
    disk_works_again(s);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
}

static int files_have_room(void **state)
{
    limit_files(RLIM_INFINITY);
    return stored_tear_down(state);
}

#define TROUBLE_RULE(rule) cmocka_unit_test_setup_teardown(rule, stored_set_up, files_have_room)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TROUBLE_RULE(qos2_message_whose_commit_failed_goes_out_when_the_store_works_again),
        TROUBLE_RULE(qos2_message_that_comes_during_trouble_goes_out_when_the_store_works_again),
        TROUBLE_RULE(tail_read_during_trouble_comes_whole_when_the_store_works_again),
        TROUBLE_RULE(client_that_comes_twice_during_trouble_gets_what_the_disk_has_twice),
        TROUBLE_RULE(session_that_ends_while_it_waits_for_the_store_is_forgotten_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
