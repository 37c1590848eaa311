/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "session/session_fixture.h"

/* ---- at once -------------------------------------------------------------------------------- */

static void deliver_to_a_client_that_is_there_sends_at_once(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 0);
    assert_int_equal(deliver(session, "zero", 0), DELIVERED);
    assert_int_equal(deliver(session, "one", 1), DELIVERED);
    assert_int_equal(deliver(session, "two", 2), DELIVERED);
    assert_sent(f, "zero one two");
    for (uint8_t qos = 0; qos < 3; qos++) {
        assert_int_equal(f->client.packets[qos].qos, qos);
        assert_int_equal(f->client.packets[qos].packet_id, qos);
        assert_false(f->client.packets[qos].dup);
    }
}

static void deliver_of_qos0_makes_no_message(void **state)
{
    struct session *session = connected(*state, 0);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("zero")};
    struct delivery delivery = {.publication = &p};
    session_deliver(session, &delivery, &(struct deliver_as){.qos = 0});
    assert_null(delivery.message);
}

static void deliver_makes_one_message_for_all_who_keep_it(void **state)
{
    struct fixture *f = *state;
    struct session *a = session_of(f, "a"), *b = session_of(f, "b");
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("one")};
    struct delivery delivery = {.publication = &p};
    session_deliver(a, &delivery, &(struct deliver_as){.qos = 1});
    session_deliver(b, &delivery, &(struct deliver_as){.qos = 1});
    assert_int_equal(delivery.message->references, 3);
    message_drop(delivery.message);
}

static void deliver_carries_retain_and_all_subscription_identifiers(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    uint32_t identifiers[] = {7, 268435455, 9};
    struct deliver_as as = {
        .qos = 1, .retain = true, .identifiers = identifiers, .identifier_count = 3};
    deliver_as(session, "one", &as);
    as.identifier_count = 1;
    deliver_as(session, "two", &as);
    reconnect(f, session, 10); /* what was kept for the resend has them too */
    assert_sent(f, "one two");
    assert_int_equal(f->client.packets[0].identifier_count, 3);
    assert_memory_equal(f->client.packets[0].identifiers, identifiers, sizeof(identifiers));
    assert_int_equal(f->client.packets[1].identifier_count, 1);
    assert_int_equal(f->client.packets[1].identifiers[0], 7);
    assert_true(f->client.packets[0].retain);
}

/* ---- the client is away --------------------------------------------------------------------- */

static void deliver_to_a_client_that_is_away_waits_for_it_in_order(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(deliver(session, "a", 1), DELIVERED);
    assert_int_equal(deliver(session, "b", 2), DELIVERED);
    assert_int_equal(deliver(session, "c", 1), DELIVERED);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 3);
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "a b c");
    assert_int_equal(f->client.packets[1].qos, 2);
    assert_false(f->client.packets[0].dup);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(metric(f, METRIC_QUEUED_BYTES), 0);
}

static void deliver_of_qos0_to_a_client_that_is_away_is_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(deliver(session, "a", 0), NOT_DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QOS0_OFFLINE), 1);
}

static void deliver_of_qos0_to_a_client_that_is_away_waits_when_configured(void **state)
{
    struct fixture *f = *state;
    f->table.limits.queue_qos0_offline = true;
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(deliver(session, "a", 0), DELIVERED);
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "a");
    assert_int_equal(f->client.packets[0].packet_id, 0);
}

/* ---- the window ----------------------------------------------------------------------------- */

static void window_sends_no_more_than_the_receive_maximum(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 2;
    deliver_letters(session, "abcd", 1);
    assert_sent(f, "a b");
    session_puback(session, 1);
    assert_sent(f, "a b c");
    session_puback(session, 3);
    assert_sent(f, "a b c d");
}

static void window_sends_no_more_than_our_own_limit(void **state)
{
    struct fixture *f = *state;
    f->table.limits.inflight_max = 1;
    struct session *session = connected(f, 10);
    deliver(session, "a", 1);
    deliver(session, "b", 1);
    assert_sent(f, "a");
}

static void window_is_used_by_qos2_until_pubcomp(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 1;
    deliver(session, "a", 2);
    deliver(session, "b", 2);
    assert_int_equal(session_pubrec(session, 1, false), RC_OK);
    assert_sent(f, "a");
    assert_int_equal(session_pubcomp(session, 1), RC_OK);
    assert_sent(f, "a b");
}

static void window_that_is_full_lets_qos0_pass(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 1;
    deliver(session, "a", 1);
    deliver(session, "b", 1);
    assert_int_equal(deliver(session, "zero", 0), DELIVERED);
    assert_sent(f, "a zero");
}

static void window_that_opens_lets_nothing_overtake_what_waits(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 1;
    deliver(session, "a", 1);
    deliver(session, "b", 2);
    session->receive_maximum = 10; /* open, but nobody has pumped yet */
    deliver(session, "c", 2);
    assert_sent(f, "a");
    session_pump(session);
    assert_sent(f, "a b c");
}

static void window_counts_what_is_in_flight(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "a", 1);
    deliver(session, "b", 2);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 2);
    session_puback(session, 1);
    session_pubrec(session, 2, false);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 1);
    session_pubcomp(session, 2);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 0);
}

/* ---- acknowledgements ----------------------------------------------------------------------- */

static void ack_of_an_id_that_is_not_in_flight_is_not_found(void **state)
{
    struct session *session = connected(*state, 10);
    assert_int_equal(session_puback(session, 1), RC_NOT_FOUND);
    assert_int_equal(session_pubrec(session, 1, false), RC_NOT_FOUND);
    assert_int_equal(session_pubcomp(session, 1), RC_NOT_FOUND);
    deliver(session, "a", 1);
    assert_int_equal(session_puback(session, 2), RC_NOT_FOUND);
    assert_int_equal(session_puback(session, 1), RC_OK);
    assert_int_equal(session_puback(session, 1), RC_NOT_FOUND);
}

static void ack_of_the_wrong_kind_is_not_found(void **state)
{
    struct session *session = connected(*state, 10);
    deliver(session, "a", 1);
    deliver(session, "b", 2);
    assert_int_equal(session_pubrec(session, 1, false), RC_NOT_FOUND);
    assert_int_equal(session_puback(session, 2), RC_NOT_FOUND);
    assert_int_equal(session_pubcomp(session, 2), RC_NOT_FOUND);
}

static void pubrec_that_comes_again_is_answered_again(void **state)
{
    struct session *session = connected(*state, 10);
    deliver(session, "a", 2);
    assert_int_equal(session_pubrec(session, 1, false), RC_OK);
    assert_int_equal(session_pubrec(session, 1, false), RC_OK);
    assert_int_equal(session_pubcomp(session, 1), RC_OK);
    assert_int_equal(session_pubrec(session, 1, false), RC_NOT_FOUND);
}

static void pubrec_that_refuses_ends_the_exchange(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 1;
    deliver(session, "a", 2);
    deliver(session, "b", 2);
    assert_int_equal(session_pubrec(session, 1, true), RC_OK);
    assert_int_equal(session_pubcomp(session, 1), RC_NOT_FOUND);
    assert_sent(f, "a b");
}

/* ---- output that is full -------------------------------------------------------------------- */

static void hold_keeps_messages_until_the_output_has_room(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->client.sink.hold = true;
    deliver(session, "a", 1);
    deliver(session, "b", 0);
    deliver(session, "c", 2);
    assert_sent(f, "");
    session_puback(session, 9);
    f->client.sink.hold = false;
    session_pump(session);
    assert_sent(f, "a b c");
}

static void hold_in_the_middle_of_a_pump_stops_it(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->client.sink.hold = true;
    deliver_letters(session, "abcd", 0);
    f->client.sink.hold = false;
    f->client.hold_at = 2;
    session_pump(session);
    assert_sent(f, "a b");
    f->client.sink.hold = false;
    session_pump(session);
    assert_sent(f, "a b c d");
}

static void hold_that_has_ended_lets_qos0_not_overtake_qos0(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->client.sink.hold = true;
    deliver(session, "a", 0);
    f->client.sink.hold = false;
    deliver(session, "b", 0);
    assert_sent(f, "");
    session_pump(session);
    assert_sent(f, "a b");
}

static void hold_while_resending_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_letters(session, "abcd", 1);
    f->client.hold_at = 2;
    reconnect(f, session, 10);
    assert_sent(f, "a b");
    f->client.hold_at = 0;
    f->client.sink.hold = false;
    session_pump(session);
    assert_sent(f, "a b c d");
}

/* ---- sending again -------------------------------------------------------------------------- */

static void resume_sends_again_in_order_with_dup_and_the_same_ids(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "a", 1);
    deliver(session, "b", 2);
    deliver(session, "c", 1);
    deliver(session, "d", 1);
    session_puback(session, 3);
    reconnect(f, session, 10);
    assert_sent(f, "a b d");
    static const uint16_t ids[] = {1, 2, 4};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->client.packets[i].packet_id, ids[i]);
        assert_int_equal(f->client.packets[i].identifier_count, 0);
        assert_true(f->client.packets[i].dup);
    }
}

static void resume_keeps_within_the_new_receive_maximum(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_letters(session, "abcd", 1);
    reconnect(f, session, 2);
    assert_sent(f, "a b");
    session_puback(session, 2);
    assert_sent(f, "a b c");
    session_puback(session, 1);
    assert_sent(f, "a b c d");
}

static void resume_sends_what_waits_behind_what_was_in_flight(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "a", 1);
    session_detach(session, SESSION_WILL_KEEP);
    deliver(session, "b", 1);
    attach(f, session, 10);
    deliver(session, "c", 1); /* before CONNACK has gone out: it may not overtake the others */
    session_resume(session);
    assert_sent(f, "a b c");
    assert_true(f->client.packets[0].dup);
    assert_false(f->client.packets[1].dup);
}

static void resume_that_is_not_through_lets_nothing_new_overtake(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_letters(session, "abc", 1);
    reconnect(f, session, 1);
    deliver(session, "d", 1);
    assert_sent(f, "a");
    for (uint16_t id = 1; id <= 3; id++)
        session_puback(session, id);
    assert_sent(f, "a b c d");
}

static void resume_sends_pubrel_for_what_was_received(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "a", 2);
    deliver(session, "b", 2);
    session_pubrec(session, 1, false);
    reconnect(f, session, 10);
    assert_true(f->client.packets[0].pubrel);
    assert_int_equal(f->client.packets[0].packet_id, 1);
    assert_sent(f, "b");
    assert_int_equal(session_pubcomp(session, 1), RC_OK);
}

static void resume_takes_acknowledgements_of_what_it_has_not_sent_again(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_letters(session, "abc", 1);
    reconnect(f, session, 1);
    session_puback(session, 2);
    session_puback(session, 1);
    assert_sent(f, "a c");
    session_puback(session, 3);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 0);
    deliver(session, "d", 1);
    assert_sent(f, "a c d");
}

static void resume_may_break_off_again_and_again(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_letters(session, "abc", 1);
    for (int i = 0; i < 5; i++)
        reconnect(f, session, 2);
    assert_sent(f, "a b");
    for (uint16_t id = 1; id <= 3; id++)
        assert_int_equal(session_puback(session, id), RC_OK);
    assert_sent(f, "a b c");
    assert_int_equal(session->inflight->counted, 0);
}

/* ---- messages of shared subscriptions ------------------------------------------------------- */

static void deliver_shared(struct session *session, struct share_member *member,
                           const char *payload, uint8_t qos)
{
    deliver_as(session, payload, &(struct deliver_as){.qos = qos, .share = member});
}

static void share_counts_what_a_member_has_not_finished(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 2;
    deliver_shared(session, &f->member, "a", 1);
    deliver_shared(session, &f->member, "b", 2);
    deliver_shared(session, &f->member, "c", 1);
    assert_int_equal(f->member.load, 3);
    session_puback(session, 1);
    assert_int_equal(f->member.load, 2);
    session_pubrec(session, 2, false);
    session_pubcomp(session, 2);
    session_puback(session, 3);
    assert_int_equal(f->member.load, 0);
}

static void share_gets_back_what_a_member_did_not_acknowledge(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 2;
    deliver_shared(session, &f->member, "a", 1);
    deliver(session, "own", 1);
    deliver_shared(session, &f->member, "b", 1);
    deliver_shared(session, &f->member, "c", 2); /* queued */
    session_puback(session, 1);
    f->adopt = PACKETS_MAX;
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->orphan_count, 2);
    assert_string_equal(f->orphans[0], "b");
    assert_string_equal(f->orphans[1], "c");
    assert_int_equal(f->member.load, 0);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 1);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "own");
}

static void share_does_not_get_back_qos2_that_was_sent(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_shared(session, &f->member, "a", 2);
    deliver_shared(session, &f->member, "b", 2);
    session_pubrec(session, 2, false);
    f->adopt = PACKETS_MAX;
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->orphan_count, 0);
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "a");
    assert_int_equal(f->member.load, 2);
}

static void share_without_another_member_leaves_messages_where_they_are(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 2;
    deliver_shared(session, &f->member, "a", 1);
    deliver_shared(session, &f->member, "b", 1);
    deliver_shared(session, &f->member, "c", 1);
    deliver_shared(session, &f->member, "d", 1);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->orphan_count, 4);
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "a b c d");
    assert_int_equal(f->member.load, 4);
}

static void share_gets_back_what_waits_when_a_session_ends(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver_shared(session, &f->member, "a", 1);
    session_detach(session, SESSION_WILL_KEEP); /* nobody takes it */
    deliver_shared(session, &f->member, "b", 1);
    f->orphan_count = 0;
    f->adopt = PACKETS_MAX;
    session_end(session);
    assert_int_equal(f->orphan_count, 2);
    assert_int_equal(f->member.load, 0);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_SESSION_GONE), 0);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 0);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
}

static void share_that_was_left_is_not_touched_again(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    struct share_member *member = mem_new(sizeof(*member));
    session->receive_maximum = 1;
    deliver_shared(session, member, "a", 1);
    deliver_shared(session, member, "b", 1);
    session_forget_share(session, member);
    mem_free(member);
    f->adopt = PACKETS_MAX;
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->orphan_count, 0);
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(deliver_to_a_client_that_is_there_sends_at_once),
        RULE(deliver_of_qos0_makes_no_message),
        RULE(deliver_makes_one_message_for_all_who_keep_it),
        RULE(deliver_carries_retain_and_all_subscription_identifiers),
        RULE(deliver_to_a_client_that_is_away_waits_for_it_in_order),
        RULE(deliver_of_qos0_to_a_client_that_is_away_is_dropped_and_counted),
        RULE(deliver_of_qos0_to_a_client_that_is_away_waits_when_configured),
        RULE(window_sends_no_more_than_the_receive_maximum),
        RULE(window_sends_no_more_than_our_own_limit),
        RULE(window_is_used_by_qos2_until_pubcomp),
        RULE(window_that_is_full_lets_qos0_pass),
        RULE(window_that_opens_lets_nothing_overtake_what_waits),
        RULE(window_counts_what_is_in_flight),
        RULE(ack_of_an_id_that_is_not_in_flight_is_not_found),
        RULE(ack_of_the_wrong_kind_is_not_found),
        RULE(pubrec_that_comes_again_is_answered_again),
        RULE(pubrec_that_refuses_ends_the_exchange),
        RULE(hold_keeps_messages_until_the_output_has_room),
        RULE(hold_in_the_middle_of_a_pump_stops_it),
        RULE(hold_that_has_ended_lets_qos0_not_overtake_qos0),
        RULE(hold_while_resending_goes_on_where_it_was),
        RULE(resume_sends_again_in_order_with_dup_and_the_same_ids),
        RULE(resume_keeps_within_the_new_receive_maximum),
        RULE(resume_sends_what_waits_behind_what_was_in_flight),
        RULE(resume_that_is_not_through_lets_nothing_new_overtake),
        RULE(resume_sends_pubrel_for_what_was_received),
        RULE(resume_takes_acknowledgements_of_what_it_has_not_sent_again),
        RULE(resume_may_break_off_again_and_again),
        RULE(share_counts_what_a_member_has_not_finished),
        RULE(share_gets_back_what_a_member_did_not_acknowledge),
        RULE(share_does_not_get_back_qos2_that_was_sent),
        RULE(share_without_another_member_leaves_messages_where_they_are),
        RULE(share_gets_back_what_waits_when_a_session_ends),
        RULE(share_that_was_left_is_not_touched_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
