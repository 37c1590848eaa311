/* SPDX-License-Identifier: Apache-2.0 */
#include "session/stored_fixture.h"

/* ---- what is written ------------------------------------------------------------------------ */

static void session_without_expiry_writes_nothing(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, 0);
    session_set_will(session, will_of("w"), 0);
    session_received_add(session, 1, DURABILITY_FSYNC);
    deliver(session, "a", 1);
    deliver(session, "b", 2);
    assert_false(session_stored(session));
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    assert_sent(&s->f, "a b"); /* and waits for nothing */
}

static void session_with_expiry_writes_each_change(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    assert_int_equal(stored_keys(s, STORE_STATE), 1);
    session_set_will(session, will_of("w"), 0);
    assert_int_equal(stored_keys(s, STORE_STATE), 2);
    session_received_add(session, 1, DURABILITY_FSYNC);
    session_received_add(session, 2, DURABILITY_FSYNC);
    assert_int_equal(stored_keys(s, STORE_STATE), 4);
    session_received_remove(session, 1);
    assert_int_equal(stored_keys(s, STORE_STATE), 3);
    session_set_will(session, NULL, 0);
    assert_int_equal(stored_keys(s, STORE_STATE), 2);
    deliver(session, "a", 1);
    deliver(session, "b", 0);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 1);
    session_puback(session, 1);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
}

static void message_acknowledged_before_its_commit_is_never_written(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    settle(s);
    store_end_figures(s->d.end);
    deliver(session, "a", 1);
    session_puback(session, 1);
    settle(s);
    assert_int_equal(store_end_figures(s->d.end).records, 0);
}

static void session_that_becomes_durable_writes_all_that_it_has(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, 0);
    s->f.table.limits.inflight_max = 2;
    session->receive_maximum = 2;
    session_received_add(session, 5, DURABILITY_FSYNC);
    deliver_letters(session, "abc", 1); /* one of them waits */
    session->sink = NULL;               /* it is taken over */
    attach(&s->f, session, LONG_S);
    assert_int_equal(stored_keys(s, STORE_STATE), 2);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 3);
    crash_and_load(s);
    session = found(s, "client");
    assert_true(session_received_has(session, 5));
    come(s, session);
    settle(s);
    assert_sent(&s->f, "a b c");
}

static void session_end_deletes_all_records(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_set_will(session, will_of("w"), 100);
    session_received_add(session, 1, DURABILITY_FSYNC);
    s->f.client.hold_at = 3;
    deliver_numbers(session, 1, 1000, 1);
    deliver_numbers(session, 1001, 1010, 2);
    settle(s);
    session_end(session);
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_BYTES), 0);
    assert_int_equal(metric(&s->f, METRIC_INFLIGHT_MESSAGES), 0);
}

static void session_end_in_the_middle_of_a_read_deletes_all_records(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1, 1000, 1);
    settle(s);
    come(s, session); /* it asks for the first of them */
    session_end(session);
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
}

static void session_that_expires_deletes_all_records(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1, 50, 1);
    settle(s);
    pass(&s->f, 11000);
    assert_int_equal(s->f.ended, 1);
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
}

static void stored_sessions_above_a_lowered_limit_all_come_back_and_no_new_one(void **state)
{
    struct stored *s = *state;
    struct session *session;
    attach(&s->f, session_of(&s->f, "a"), LONG_S);
    attach(&s->f, session_of(&s->f, "b"), LONG_S);
    stored_crash(s);
    stored_open(s);
    s->f.table.limits.sessions_max = 1;
    stored_restore(s, 0);
    found(s, "a");
    session_end(found(s, "b"));
    assert_int_equal(session_new(&s->f.table, bytes_of_str("c"), &session), RC_FULL);
    session_end(found(s, "a"));
    assert_int_equal(session_new(&s->f.table, bytes_of_str("c"), &session), RC_OK);
}

/* ---- restored ------------------------------------------------------------------------------- */

static void session_is_there_after_a_restart(void **state)
{
    struct stored *s = *state;
    struct session *session = session_of(&s->f, "one");
    attach(&s->f, session, 77);
    session_received_add(session, 7, DURABILITY_FSYNC);
    session_received_add(session, 65535, DURABILITY_FSYNC);
    uint64_t number = session->number;
    session_detach(session, SESSION_WILL_KEEP);
    crash_and_load(s);
    assert_int_equal(s->f.table.slot_count, 1);
    session = found(s, "one");
    assert_int_equal(session->number, number);
    assert_int_equal(session->expiry_s, 77);
    assert_int_equal(session->received_count, 2);
    assert_true(session_received_has(session, 7));
    assert_true(session_received_has(session, 65535));
    assert_ptr_equal(session->store, &s->f.stores[session->hash % STORES]);
    assert_int_equal(metric(&s->f, METRIC_SESSIONS_CURRENT), 1);
}

static void session_numbers_are_never_used_again(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    uint64_t first = session->number;
    session_end(session);
    crash_and_load(s);
    assert_true(connected(&s->f, LONG_S)->number > first);
}

static void session_expiry_goes_on_while_the_broker_is_away(void **state)
{
    struct stored *s = *state;
    session_detach(connected(&s->f, 100), SESSION_WILL_KEEP);
    stored_crash(s);
    stored_load(s, 60000);
    pass(&s->f, 39000);
    assert_int_equal(s->f.ended, 0);
    pass(&s->f, 2000);
    assert_int_equal(s->f.ended, 1);
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
}

static void session_whose_expiry_has_passed_ends_at_once(void **state)
{
    struct stored *s = *state;
    session_detach(connected(&s->f, 100), SESSION_WILL_KEEP);
    stored_crash(s);
    stored_load(s, 200000);
    pass(&s->f, 2 * TICK_MS);
    assert_int_equal(s->f.ended, 1);
}

static void session_whose_expiry_has_passed_ends_before_its_timer_when_its_client_comes(
    void **state)
{
    struct stored *s = *state;
    struct session *session = session_of(&s->f, "one");
    attach(&s->f, session, 100);
    session_detach(session, SESSION_WILL_KEEP);
    stored_crash(s);
    stored_load(s, 200000);
    assert_true(session_end_if_expired(found(s, "one")));
    assert_int_equal(s->f.ended, 1);
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
    session = session_of(&s->f, "one");
    attach(&s->f, session, 100);
    assert_false(session_end_if_expired(session));
    session_detach(session, SESSION_WILL_KEEP);
    assert_false(session_end_if_expired(session));
}

static void session_of_a_broker_that_crashed_has_been_away_since_then(void **state)
{
    struct stored *s = *state;
    connected(&s->f, 100);
    crash_and_load(s);
    pass(&s->f, 99000);
    assert_int_equal(s->f.ended, 0);
    pass(&s->f, 2000);
    assert_int_equal(s->f.ended, 1);
}

/* Else each start would give it its whole interval again. */
static void session_of_a_broker_that_crashed_twice_has_been_away_since_the_first(void **state)
{
    struct stored *s = *state;
    connected(&s->f, 100);
    crash_and_load(s);
    stored_crash(s);
    stored_load(s, 60000);
    pass(&s->f, 41000);
    assert_int_equal(s->f.ended, 1);
}

static void will_is_published_after_a_crash(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_set_will(session, will_of("gone"), 5);
    crash_and_load(s);
    pass(&s->f, 4000);
    assert_int_equal(s->f.will_count, 0);
    pass(&s->f, 2000);
    assert_int_equal(s->f.will_count, 1);
    assert_string_equal(s->f.wills[0], "gone");
    crash_and_load(s);
    pass(&s->f, 10000);
    assert_int_equal(s->f.will_count, 1); /* once */
}

static void will_delay_goes_on_while_the_broker_is_away(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_set_will(session, will_of("gone"), 100);
    session_detach(session, SESSION_WILL_KEEP);
    stored_crash(s);
    stored_load(s, 95000);
    pass(&s->f, 4000);
    assert_int_equal(s->f.will_count, 0);
    pass(&s->f, 2000);
    assert_int_equal(s->f.will_count, 1);
}

static void will_that_was_published_or_discarded_does_not_come_back(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_set_will(session, will_of("published"), 0);
    session_detach(session, SESSION_WILL_KEEP);
    attach(&s->f, session, LONG_S);
    session_set_will(session, will_of("discarded"), 0);
    session_detach(session, SESSION_WILL_DISCARD);
    assert_int_equal(s->f.will_count, 1);
    crash_and_load(s);
    pass(&s->f, 10000);
    assert_int_equal(s->f.will_count, 1);
}

/* ---- messages in flight --------------------------------------------------------------------- */

static void message_in_flight_comes_again_under_its_id_with_dup(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver_letters(session, "abcd", 1);
    session_puback(session, 1);
    session_puback(session, 3);
    crash_and_load(s);
    come(s, found(s, "client"));
    settle(s);
    assert_sent(&s->f, "b d");
    assert_int_equal(s->f.client.packets[0].packet_id, 2);
    assert_int_equal(s->f.client.packets[1].packet_id, 4);
    assert_true(s->f.client.packets[0].dup);
    assert_true(s->f.client.packets[1].dup);
}

static void message_that_was_never_sent_comes_without_dup(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver(session, "sent", 1);
    session_detach(session, SESSION_WILL_KEEP);
    deliver(session, "queued", 1);
    crash_and_load(s);
    come(s, found(s, "client"));
    settle(s);
    assert_sent(&s->f, "sent queued");
    assert_true(s->f.client.packets[0].dup);
    assert_false(s->f.client.packets[1].dup);
}

/* The broker that crashed could not note down what it had sent: nothing, here. */
static void message_queued_after_a_crash_comes_without_dup(void **state)
{
    struct stored *s = *state;
    connected(&s->f, LONG_S);
    crash_and_load(s);
    deliver(found(s, "client"), "a", 1);
    come(s, found(s, "client"));
    settle(s);
    assert_sent(&s->f, "a");
    assert_false(s->f.client.packets[0].dup);
}

static void messages_beyond_a_window_come_without_dup_after_a_crash(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    s->f.table.limits.inflight_max = 10;
    session->receive_maximum = 10;
    deliver_numbers(session, 1, 30, 1); /* 20 of them wait */
    assert_int_equal(s->f.client.count, 10);
    stored_crash(s);
    s->window = 10;
    stored_load(s, 0);
    s->f.table.limits.inflight_max = 100;
    come(s, found(s, "client"));
    settle(s);
    assert_int_equal(s->f.client.count, 30);
    for (int i = 0; i < 30; i++)
        assert_int_equal(s->f.client.packets[i].dup, i < 10);
}

static void qos2_goes_out_after_its_commit_only(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    assert_int_equal(deliver(session, "a", 2), DELIVERED);
    assert_int_equal(s->f.client.count, 0);
    assert_int_equal(deliver(session, "b", 1), DELIVERED);
    assert_int_equal(s->f.client.count, 0); /* it stays behind */
    settle(s);
    assert_sent(&s->f, "a b");
    assert_int_equal(stored_keys(s, STORE_QUEUE), 2);
}

static void qos1_goes_out_at_once(void **state)
{
    struct stored *s = *state;
    deliver(connected(&s->f, LONG_S), "a", 1);
    assert_sent(&s->f, "a");
}

static void stored_qos2_message_of_a_share_waits_for_its_member(void **state)
{
    struct stored *s = *state;
    struct fixture *f = &s->f;
    struct session *session = connected(f, LONG_S);
    deliver_as(session, "sent", &(struct deliver_as){.qos = 1, .share = &f->member});
    deliver_as(session, "waits", &(struct deliver_as){.qos = 2, .share = &f->member});
    f->adopt = PACKETS_MAX;
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->orphan_count, 1);
    assert_string_equal(f->orphans[0], "sent");
}

static void released_message_survives_as_such(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver(session, "a", 2);
    deliver(session, "b", 2);
    settle(s);
    assert_int_equal(session_pubrec(session, 1, false), RC_OK);
    crash_and_load(s);
    session = found(s, "client");
    come(s, session);
    settle(s);
    assert_int_equal(s->f.client.count, 2);
    assert_true(s->f.client.packets[0].pubrel);
    assert_int_equal(s->f.client.packets[0].packet_id, 1);
    assert_sent(&s->f, "b");
    assert_int_equal(s->f.client.packets[1].packet_id, 2);
    assert_int_equal(session_pubrec(session, 1, false), RC_OK); /* a repeat */
    assert_int_equal(session_pubcomp(session, 1), RC_OK);
    assert_int_equal(session_pubcomp(session, 1), RC_NOT_FOUND);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 1);
}

static void released_message_survives_two_absences_without_a_crash(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver(session, "a", 2);
    settle(s);
    session_pubrec(session, 1, false);
    for (int i = 0; i < 2; i++) {
        session_detach(session, SESSION_WILL_KEEP);
        come(s, session);
        settle(s);
        assert_int_equal(s->f.client.count, 1);
        assert_true(s->f.client.packets[0].pubrel);
    }
    session_pubcomp(session, 1);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
}

static void packet_ids_go_on_after_a_restart(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver_letters(session, "abc", 1);
    session_puback(session, 2);
    crash_and_load(s);
    session = found(s, "client");
    come(s, session);
    settle(s);
    deliver(session, "d", 1);
    settle(s);
    assert_sent(&s->f, "a c d");
    assert_int_equal(s->f.client.packets[2].packet_id, 4);
}

static void message_keeps_all_that_it_is_sent_with(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    uint32_t three[] = {7, 300, 70000}, one[] = {9};
    session_detach(session, SESSION_WILL_KEEP);
    deliver_as(session, "a",
               &(struct deliver_as){
                   .qos = 1, .retain = true, .identifiers = three, .identifier_count = 3});
    deliver_as(session, "b",
               &(struct deliver_as){.qos = 2, .identifiers = one, .identifier_count = 1});
    crash_and_load(s);
    come(s, found(s, "client"));
    settle(s);
    const struct packet *a = &s->f.client.packets[0], *b = &s->f.client.packets[1];
    assert_sent(&s->f, "a b");
    assert_true(a->retain);
    assert_int_equal(a->identifier_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(a->identifiers[i], three[i]);
    assert_false(b->retain);
    assert_int_equal(b->qos, 2);
    assert_int_equal(b->identifier_count, 1);
    assert_int_equal(b->identifiers[0], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED_RULE(stored_sessions_above_a_lowered_limit_all_come_back_and_no_new_one),
        STORED_RULE(session_without_expiry_writes_nothing),
        STORED_RULE(session_with_expiry_writes_each_change),
        STORED_RULE(message_acknowledged_before_its_commit_is_never_written),
        STORED_RULE(session_that_becomes_durable_writes_all_that_it_has),
        STORED_RULE(session_end_deletes_all_records),
        STORED_RULE(session_end_in_the_middle_of_a_read_deletes_all_records),
        STORED_RULE(session_that_expires_deletes_all_records),
        STORED_RULE(session_is_there_after_a_restart),
        STORED_RULE(session_numbers_are_never_used_again),
        STORED_RULE(session_expiry_goes_on_while_the_broker_is_away),
        STORED_RULE(session_whose_expiry_has_passed_ends_at_once),
        STORED_RULE(session_whose_expiry_has_passed_ends_before_its_timer_when_its_client_comes),
        STORED_RULE(session_of_a_broker_that_crashed_has_been_away_since_then),
        STORED_RULE(session_of_a_broker_that_crashed_twice_has_been_away_since_the_first),
        STORED_RULE(will_is_published_after_a_crash),
        STORED_RULE(will_delay_goes_on_while_the_broker_is_away),
        STORED_RULE(will_that_was_published_or_discarded_does_not_come_back),
        STORED_RULE(message_in_flight_comes_again_under_its_id_with_dup),
        STORED_RULE(message_that_was_never_sent_comes_without_dup),
        STORED_RULE(message_queued_after_a_crash_comes_without_dup),
        STORED_RULE(messages_beyond_a_window_come_without_dup_after_a_crash),
        STORED_RULE(qos2_goes_out_after_its_commit_only),
        STORED_RULE(qos1_goes_out_at_once),
        STORED_RULE(stored_qos2_message_of_a_share_waits_for_its_member),
        STORED_RULE(released_message_survives_as_such),
        STORED_RULE(released_message_survives_two_absences_without_a_crash),
        STORED_RULE(packet_ids_go_on_after_a_restart),
        STORED_RULE(message_keeps_all_that_it_is_sent_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
