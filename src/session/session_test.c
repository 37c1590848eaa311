/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_fixture.h"

#include <stdio.h>

/* ---- the table ------------------------------------------------------------------------------ */

static void session_is_found_by_its_client_id(void **state)
{
    struct fixture *f = *state;
    char client_id[24];
    for (int i = 0; i < 1000; i++) {
        snprintf(client_id, sizeof(client_id), "client-%d", i);
        session_of(f, client_id);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(client_id, sizeof(client_id), "client-%d", i);
        struct session *session = session_find(&f->table, bytes_of_str(client_id));
        assert_true(bytes_equal(session_client_id(session), bytes_of_str(client_id)));
    }
    assert_null(session_find(&f->table, bytes_of_str("client-")));
    assert_null(session_find(&f->table, bytes_of_str("client-1000")));
}

static void session_is_found_by_its_reference(void **state)
{
    struct fixture *f = *state;
    struct session *a = session_of(f, "a"), *b = session_of(f, "b");
    assert_ptr_equal(session_of_ref(&f->table, a->ref), a);
    assert_ptr_equal(session_of_ref(&f->table, b->ref), b);
    assert_null(session_of_ref(&f->table, 0));
    assert_null(session_of_ref(&f->table, UINT64_MAX));
}

static void session_reference_of_an_ended_session_finds_nobody(void **state)
{
    struct fixture *f = *state;
    struct session *session = session_of(f, "a");
    uint64_t ref = session->ref;
    session_end(session);
    assert_null(session_of_ref(&f->table, ref));
    assert_null(session_find(&f->table, bytes_of_str("a")));
    struct session *next = session_of(f, "a"); /* takes the same slot */
    assert_int_equal((uint32_t)next->ref, (uint32_t)ref);
    assert_null(session_of_ref(&f->table, ref));
    assert_ptr_equal(session_of_ref(&f->table, next->ref), next);
}

static void session_reference_is_never_0_however_often_a_slot_is_used(void **state)
{
    struct fixture *f = *state;
    table_set_up(f, &f->table, 0);
    session_end(session_of(f, "a"));
    f->table.slots[0].generation = (1 << 20) - 1; /* the last one */
    struct session *session = session_of(f, "b");
    assert_int_not_equal(session->ref, 0);
    assert_ptr_equal(session_of_ref(&f->table, session->ref), session);
}

static void session_references_of_two_workers_differ(void **state)
{
    struct fixture *f = *state;
    struct session_table other;
    struct session *here = session_of(f, "a"), *there;
    table_set_up(f, &other, 4);
    assert_int_equal(session_new(&other, bytes_of_str("a"), &there), RC_OK);
    assert_int_not_equal(here->ref, there->ref);
    assert_null(session_of_ref(&f->table, there->ref));
    session_table_deinit(&other);
}

static void session_writes_to_the_store_of_its_shard(void **state)
{
    struct fixture *f = *state;
    struct session *session = session_of(f, "a");
    uint32_t shard = client_id_hash(bytes_of_str("a")) % STORES;
    assert_ptr_equal(session->store, &f->stores[shard]);
}

static void session_new_at_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct session *session;
    f->table.limits.sessions_max = 2;
    session_of(f, "a");
    struct session *b = session_of(f, "b");
    assert_int_equal(session_new(&f->table, bytes_of_str("c"), &session), RC_FULL);
    assert_null(session_find(&f->table, bytes_of_str("c")));
    session_end(b);
    assert_int_equal(session_new(&f->table, bytes_of_str("c"), &session), RC_OK);
}

static void session_limit_is_of_all_workers_together(void **state)
{
    struct fixture *f = *state;
    struct session_table other;
    struct session *session;
    table_set_up(f, &other, 4);
    f->table.limits.sessions_max = other.limits.sessions_max = 1;
    session_of(f, "a");
    assert_int_equal(session_new(&other, bytes_of_str("b"), &session), RC_FULL);
    session_table_deinit(&other);
}

static void sessions_are_counted(void **state)
{
    struct fixture *f = *state;
    struct session *a = session_of(f, "a");
    session_of(f, "b");
    assert_int_equal(metric(f, METRIC_SESSIONS_CURRENT), 2);
    session_end(a);
    assert_int_equal(metric(f, METRIC_SESSIONS_CURRENT), 1);
}

/* ---- connect, disconnect, expiry ------------------------------------------------------------ */

static void session_without_expiry_ends_with_its_connection(void **state)
{
    struct fixture *f = *state;
    session_detach(connected(f, 0), SESSION_WILL_KEEP);
    assert_int_equal(f->ended, 1);
    assert_null(session_find(&f->table, bytes_of_str("client")));
}

static void session_ends_when_its_expiry_has_passed_and_not_before(void **state)
{
    struct fixture *f = *state;
    session_detach(connected(f, 10), SESSION_WILL_KEEP);
    pass(f, 9999);
    assert_int_equal(f->ended, 0);
    pass(f, 1 + TICK_MS);
    assert_int_equal(f->ended, 1);
    assert_int_equal(metric(f, METRIC_SESSIONS_EXPIRED), 1);
}

static void session_that_never_expires_stays(void **state)
{
    struct fixture *f = *state;
    session_detach(connected(f, SESSION_NEVER_EXPIRES), SESSION_WILL_KEEP);
    pass(f, (uint64_t)SESSION_NEVER_EXPIRES * 1000 + 60000);
    assert_int_equal(f->ended, 0);
    assert_int_equal(f->wake_at_ms, 0);
}

static void session_does_not_expire_while_connected(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    pass(f, 9000);
    attach(f, session, 10);
    pass(f, 60000);
    assert_int_equal(f->ended, 0);
}

static void session_expiry_starts_again_with_each_disconnect(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    pass(f, 9000);
    attach(f, session, 10);
    session_detach(session, SESSION_WILL_KEEP);
    pass(f, 9000);
    assert_int_equal(f->ended, 0);
}

static void session_that_waits_asks_to_be_woken_in_time(void **state)
{
    struct fixture *f = *state;
    session_detach(connected(f, 10), SESSION_WILL_KEEP);
    assert_int_equal(f->wake_at_ms, START_MS + 10000);
}

static void sessions_that_end_together_end_in_portions(void **state)
{
    struct fixture *f = *state;
    char client_id[24];
    for (int i = 0; i < 3000; i++) {
        snprintf(client_id, sizeof(client_id), "%d", i);
        struct session *session = session_of(f, client_id);
        attach(f, session, 1);
        session_detach(session, SESSION_WILL_KEEP);
    }
    assert_true(session_table_advance(&f->table, START_MS + 2000));
    assert_in_range(f->ended, 1, 1500);
    while (session_table_advance(&f->table, START_MS + 2000))
        ;
    assert_int_equal(f->ended, 3000);
}

static void session_end_of_a_connected_session_forgets_its_connection(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 100);
    deliver(session, "a", 1);
    session_end(session);
    assert_int_equal(f->ended, 1);
    pass(f, 200000); /* no timer of it is left */
    assert_int_equal(f->ended, 1);
}

static void session_receive_maximum_is_the_lower_of_both_sides(void **state)
{
    struct fixture *f = *state;
    struct session *session = session_of(f, "a");
    session_attach(session, &f->client.sink, 0, 7);
    assert_int_equal(session->receive_maximum, 7);
    struct session *other = session_of(f, "b");
    session_attach(other, &f->client.sink, 0, UINT16_MAX);
    assert_int_equal(other->receive_maximum, f->table.limits.inflight_max);
}

static void session_trim_gives_back_what_an_idle_session_does_not_need(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.inflight_max = 1;
    session->receive_maximum = 1;
    deliver(session, "a", 1);
    deliver(session, "b", 1);
    session_received_add(session, 1, DURABILITY_FSYNC);
    session_trim(session); /* all of it is in use */
    assert_non_null(session->inflight);
    assert_non_null(session->queue);
    assert_non_null(session->received);
    session_puback(session, 1);
    session_puback(session, 2);
    session_received_remove(session, 1);
    session_trim(session);
    assert_null(session->inflight);
    assert_null(session->queue);
    assert_null(session->received);
}

static void session_packet_ids_go_on_after_a_trim(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "a", 1);
    deliver(session, "b", 1);
    session_puback(session, 1);
    session_puback(session, 2);
    session_trim(session);
    deliver(session, "c", 1);
    assert_int_equal(f->client.packets[2].packet_id, 3);
}

/* ---- wills ---------------------------------------------------------------------------------- */

/* A session of 100 s whose client has left a will. */
static struct session *with_will(struct fixture *f, uint32_t delay_s)
{
    struct session *session = connected(f, 100);
    session_set_will(session, will_of("gone"), delay_s);
    return session;
}

static void will_without_delay_is_published_when_the_connection_breaks(void **state)
{
    struct fixture *f = *state;
    session_detach(with_will(f, 0), SESSION_WILL_KEEP);
    assert_int_equal(f->will_count, 1);
    assert_string_equal(f->wills[0], "gone");
    assert_int_equal(metric(f, METRIC_WILLS_PUBLISHED), 1);
}

static void will_is_discarded_by_a_normal_disconnect(void **state)
{
    struct fixture *f = *state;
    session_detach(with_will(f, 5), SESSION_WILL_DISCARD);
    pass(f, 200000);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->will_count, 0);
}

static void will_with_delay_is_published_after_it_and_not_before(void **state)
{
    struct fixture *f = *state;
    session_detach(with_will(f, 5), SESSION_WILL_KEEP);
    pass(f, 4999);
    assert_int_equal(f->will_count, 0);
    pass(f, 1 + TICK_MS);
    assert_int_equal(f->will_count, 1);
    assert_int_equal(f->ended, 0);
}

static void will_with_delay_asks_to_be_woken_for_it_and_then_for_the_end(void **state)
{
    struct fixture *f = *state;
    session_detach(with_will(f, 5), SESSION_WILL_KEEP);
    assert_int_equal(f->wake_at_ms, START_MS + 5000);
    pass(f, 5000 + TICK_MS);
    assert_int_equal(f->wake_at_ms, START_MS + 100000);
}

static void will_is_published_once(void **state)
{
    struct fixture *f = *state;
    session_detach(with_will(f, 5), SESSION_WILL_KEEP);
    pass(f, 5000 + TICK_MS);
    pass(f, 100000);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->will_count, 1);
}

static void will_delay_is_cut_short_by_the_end_of_the_session(void **state)
{
    struct fixture *f = *state;
    session_detach(with_will(f, 1000), SESSION_WILL_KEEP);
    pass(f, 99000);
    assert_int_equal(f->will_count, 0);
    pass(f, 1000 + TICK_MS);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->will_count, 1);
}

static void will_delay_means_nothing_to_a_session_without_expiry(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 0);
    session_set_will(session, will_of("gone"), 1000);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->will_count, 1);
}

static void will_with_delay_of_a_session_that_never_expires_is_published(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, SESSION_NEVER_EXPIRES);
    session_set_will(session, will_of("gone"), 5);
    session_detach(session, SESSION_WILL_KEEP);
    pass(f, 5000 + TICK_MS);
    assert_int_equal(f->will_count, 1);
    assert_int_equal(f->ended, 0);
}

static void will_that_waits_is_dropped_when_the_client_is_back(void **state)
{
    struct fixture *f = *state;
    struct session *session = with_will(f, 5);
    session_detach(session, SESSION_WILL_KEEP);
    attach(f, session, 100);
    pass(f, 10000);
    session_detach(session, SESSION_WILL_KEEP);
    pass(f, 10000);
    assert_int_equal(f->will_count, 0);
}

static void will_is_replaced_by_a_later_one(void **state)
{
    struct fixture *f = *state;
    struct session *session = with_will(f, 0);
    session_set_will(session, will_of("other"), 0);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->will_count, 1);
    assert_string_equal(f->wills[0], "other");
}

static void will_is_published_when_the_session_is_ended(void **state)
{
    struct fixture *f = *state;
    session_end(with_will(f, 50));
    assert_int_equal(f->will_count, 1);
}

static void will_now_leaves_none_for_later(void **state)
{
    struct fixture *f = *state;
    struct session *session = with_will(f, 0);
    session_will_now(session);
    session_will_now(session);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(f->will_count, 1);
}

/* ---- inbound QoS 2 -------------------------------------------------------------------------- */

static void received_id_is_known_until_it_is_released(void **state)
{
    struct session *session = connected(*state, 10);
    assert_false(session_received_has(session, 5));
    assert_int_equal(session_received_add(session, 5, DURABILITY_FSYNC), RC_OK);
    assert_true(session_received_has(session, 5));
    assert_true(session_received_remove(session, 5));
    assert_false(session_received_has(session, 5));
    assert_false(session_received_remove(session, 5));
}

static void received_id_that_comes_again_is_a_repeat(void **state)
{
    struct session *session = connected(*state, 10);
    assert_int_equal(session_received_add(session, 5, DURABILITY_FSYNC), RC_OK);
    assert_int_equal(session_received_add(session, 5, DURABILITY_FSYNC), RC_EXISTS);
    session_received_remove(session, 5);
    assert_int_equal(session_received_add(session, 5, DURABILITY_FSYNC), RC_OK);
}

static void received_ids_may_be_released_in_any_order(void **state)
{
    struct session *session = connected(*state, 10);
    for (uint16_t id = 1; id <= 100; id++)
        session_received_add(session, id, DURABILITY_FSYNC);
    for (uint16_t i = 0; i < 100; i++) {
        uint16_t id = (uint16_t)(i * 37 % 100 + 1);
        assert_true(session_received_remove(session, id));
        assert_false(session_received_has(session, id));
        assert_int_equal(session->received_count, 99 - i);
    }
}

static void received_ids_can_all_be_in_use(void **state)
{
    struct session *session = connected(*state, 10);
    session->received =
        malloc(UINT16_MAX * sizeof(*session->received)); /* adding each takes too long */
    session->received_room = UINT16_MAX;
    for (uint16_t i = 0; i < UINT16_MAX - 1; i++)
        session->received[i] = (struct received){.packet_id = (uint16_t)(i + 1)};
    session->received_count = UINT16_MAX - 1;
    assert_int_equal(session_received_add(session, UINT16_MAX, DURABILITY_FSYNC), RC_OK);
    assert_int_equal(session_received_add(session, UINT16_MAX, DURABILITY_FSYNC), RC_EXISTS);
    assert_true(session_received_remove(session, 1));
    assert_int_equal(session_received_add(session, 1, DURABILITY_FSYNC), RC_OK);
}

static void received_ids_outlive_the_connection(void **state)
{
    struct session *session = connected(*state, 10);
    session_received_add(session, 5, DURABILITY_FSYNC);
    reconnect(*state, session, 10);
    assert_int_equal(session_received_add(session, 5, DURABILITY_FSYNC), RC_EXISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(session_is_found_by_its_client_id),
        RULE(session_is_found_by_its_reference),
        RULE(session_reference_of_an_ended_session_finds_nobody),
        RULE(session_reference_is_never_0_however_often_a_slot_is_used),
        RULE(session_references_of_two_workers_differ),
        RULE(session_writes_to_the_store_of_its_shard),
        RULE(session_new_at_the_limit_is_refused),
        RULE(session_limit_is_of_all_workers_together),
        RULE(sessions_are_counted),
        RULE(session_without_expiry_ends_with_its_connection),
        RULE(session_ends_when_its_expiry_has_passed_and_not_before),
        RULE(session_that_never_expires_stays),
        RULE(session_does_not_expire_while_connected),
        RULE(session_expiry_starts_again_with_each_disconnect),
        RULE(session_that_waits_asks_to_be_woken_in_time),
        RULE(sessions_that_end_together_end_in_portions),
        RULE(session_end_of_a_connected_session_forgets_its_connection),
        RULE(session_receive_maximum_is_the_lower_of_both_sides),
        RULE(session_trim_gives_back_what_an_idle_session_does_not_need),
        RULE(session_packet_ids_go_on_after_a_trim),
        RULE(will_without_delay_is_published_when_the_connection_breaks),
        RULE(will_is_discarded_by_a_normal_disconnect),
        RULE(will_with_delay_is_published_after_it_and_not_before),
        RULE(will_with_delay_asks_to_be_woken_for_it_and_then_for_the_end),
        RULE(will_is_published_once),
        RULE(will_delay_is_cut_short_by_the_end_of_the_session),
        RULE(will_delay_means_nothing_to_a_session_without_expiry),
        RULE(will_with_delay_of_a_session_that_never_expires_is_published),
        RULE(will_that_waits_is_dropped_when_the_client_is_back),
        RULE(will_is_replaced_by_a_later_one),
        RULE(will_is_published_when_the_session_is_ended),
        RULE(will_now_leaves_none_for_later),
        RULE(received_id_is_known_until_it_is_released),
        RULE(received_id_that_comes_again_is_a_repeat),
        RULE(received_ids_may_be_released_in_any_order),
        RULE(received_ids_can_all_be_in_use),
        RULE(received_ids_outlive_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
