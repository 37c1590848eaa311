/* SPDX-License-Identifier: Apache-2.0 */
#include "session/inflight.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct inflight *inflight;
    struct message *message; /* what is kept everywhere; one reference is the test's */
};

static int set_up(void **state)
{
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("payload")};
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->inflight = inflight_new(1);
    f->message = message_new(&p);
    assert_non_null(f->message);
    *state = f;
    return 0;
}

/* Whatever a test did: who has ended holds no message any more. */
static int tear_down(void **state)
{
    struct fixture *f = *state;
    inflight_free(f->inflight);
    assert_int_equal(f->message->references, 1);
    message_drop(f->message);
    free(f);
    return 0;
}

static void start_at(struct fixture *f, uint16_t first_id)
{
    inflight_free(f->inflight);
    f->inflight = inflight_new(first_id);
}

static uint16_t push(struct fixture *f, uint8_t qos)
{
    struct kept kept = {.message = message_hold(f->message), .qos = qos};
    uint16_t packet_id = 0;
    assert_int_equal(inflight_push(f->inflight, &kept, &packet_id), RC_OK);
    return packet_id;
}

static void ack(struct fixture *f, uint16_t packet_id)
{
    struct kept *entry = inflight_find(f->inflight, packet_id, INFLIGHT_SENT_QOS1);
    assert_non_null(entry);
    inflight_finish(f->inflight, entry);
}

/* Sends so many, each acknowledged before the next. */
static uint16_t push_and_ack(struct fixture *f, uint32_t times)
{
    uint16_t packet_id = 0;
    for (uint32_t i = 0; i < times; i++) {
        packet_id = push(f, 1);
        ack(f, packet_id);
    }
    return packet_id;
}

static bool is_in_flight(struct fixture *f, uint16_t packet_id)
{
    return inflight_find(f->inflight, packet_id, INFLIGHT_SENT_QOS1) != NULL;
}

/* ---- packet identifiers --------------------------------------------------------------------- */

static void inflight_gives_packet_ids_in_sequence(void **state)
{
    for (uint16_t id = 1; id <= 100; id++)
        assert_int_equal(push(*state, 1), id);
}

static void inflight_begins_with_the_id_it_is_told(void **state)
{
    start_at(*state, 777);
    assert_int_equal(push(*state, 1), 777);
}

static void inflight_ids_start_again_at_1_after_65535(void **state)
{
    start_at(*state, 65534);
    assert_int_equal(push(*state, 1), 65534);
    assert_int_equal(push(*state, 1), 65535);
    assert_int_equal(push(*state, 1), 1);
    assert_true(is_in_flight(*state, 65535));
    assert_true(is_in_flight(*state, 1));
}

static void inflight_uses_every_id_but_0_in_a_round(void **state)
{
    static bool used[65536];
    for (uint32_t i = 0; i < 65535; i++) {
        uint16_t packet_id = push_and_ack(*state, 1);
        assert_false(used[packet_id]);
        used[packet_id] = true;
    }
    assert_false(used[0]);
    assert_int_equal(push(*state, 1), 1);
}

/* ---- finding and finishing ------------------------------------------------------------------ */

static void inflight_find_knows_the_state_of_an_exchange(void **state)
{
    struct fixture *f = *state;
    uint16_t one = push(f, 1), two = push(f, 2);
    assert_non_null(inflight_find(f->inflight, one, INFLIGHT_SENT_QOS1));
    assert_null(inflight_find(f->inflight, one, INFLIGHT_SENT_QOS2));
    assert_non_null(inflight_find(f->inflight, two, INFLIGHT_SENT_QOS2));
    assert_null(inflight_find(f->inflight, two, INFLIGHT_SENT_QOS1));
    assert_null(inflight_find(f->inflight, two, INFLIGHT_RELEASED));
}

static void inflight_find_of_an_id_that_is_not_in_use_is_null(void **state)
{
    struct fixture *f = *state;
    uint16_t packet_id = push(f, 1);
    assert_null(inflight_find(f->inflight, 0, INFLIGHT_SENT_QOS1));
    assert_null(inflight_find(f->inflight, packet_id + 1, INFLIGHT_SENT_QOS1));
    assert_null(inflight_find(f->inflight, 65535, INFLIGHT_SENT_QOS1));
    ack(f, packet_id);
    assert_null(inflight_find(f->inflight, packet_id, INFLIGHT_SENT_QOS1));
    assert_null(inflight_find(NULL, packet_id, INFLIGHT_SENT_QOS1));
}

static void inflight_acknowledged_out_of_order_leaves_holes_until_the_oldest_is(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        push(f, 1);
    ack(f, 3);
    ack(f, 2);
    ack(f, 5);
    assert_int_equal(f->inflight->unacknowledged, 2);
    assert_int_equal(inflight_size(f->inflight), 5);
    ack(f, 1);
    assert_int_equal(inflight_size(f->inflight), 2);
    ack(f, 4);
    assert_int_equal(inflight_size(f->inflight), 0);
}

static void inflight_at_counts_from_the_oldest(void **state)
{
    struct fixture *f = *state;
    push_and_ack(f, 6);
    for (int i = 0; i < 20; i++) /* grows with its first entry in the middle of the ring */
        push(f, 1);
    for (uint32_t n = 0; n < 20; n++) {
        uint16_t packet_id;
        struct kept *kept = inflight_at(f->inflight, n, &packet_id);
        assert_int_equal(packet_id, 7 + n);
        assert_ptr_equal(kept, inflight_find(f->inflight, packet_id, INFLIGHT_SENT_QOS1));
    }
}

static void inflight_holds_a_reference_until_the_exchange_ends(void **state)
{
    struct fixture *f = *state;
    uint16_t packet_id = push(f, 1);
    assert_int_equal(f->message->references, 2);
    ack(f, packet_id);
    assert_int_equal(f->message->references, 1);
}

static void kept_drop_frees_identifiers_and_the_place_in_the_share(void **state)
{
    struct fixture *f = *state;
    struct share_member member = {.load = 3};
    struct kept kept = {.message = message_hold(f->message),
                        .identifiers = mem_new(3 * sizeof(uint32_t)),
                        .share = &member};
    kept_drop(&kept);
    assert_int_equal(f->message->references, 1);
    assert_int_equal(member.load, 2);
    assert_null(kept.identifiers);
}

/* Random acknowledgements against a model: an array by packet id. */
static void inflight_finds_exactly_what_was_not_acknowledged(void **state)
{
    enum { WINDOW = 300 };
    static bool model[65536];
    uint16_t open[WINDOW];
    uint32_t count = 0;
    struct fixture *f = *state;
    start_at(f, 65000);
    srand(7);
    for (int step = 0; step < 300000; step++) {
        bool fill = step / 5000 % 2 == 0;
        if (count < WINDOW && rand() % 10 < (fill ? 6 : 4)) {
            open[count] = push(f, 1);
            assert_false(model[open[count]]);
            model[open[count++]] = true;
        } else if (count > 0) {
            uint32_t which = (uint32_t)rand() % (rand() % 4 == 0 ? count : 1 + count / 8);
            ack(f, open[which]);
            model[open[which]] = false;
            for (count--; which < count; which++)
                open[which] = open[which + 1];
        }
        uint16_t any = (uint16_t)(rand() & 0xFFFF);
        assert_int_equal(is_in_flight(f, any), model[any]);
        assert_int_equal(f->inflight->unacknowledged, count);
    }
}

/* ---- stragglers ----------------------------------------------------------------------------- */

static void inflight_finds_one_that_was_left_far_behind(void **state)
{
    struct fixture *f = *state;
    uint16_t old = push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX + 10);
    assert_int_equal(f->inflight->straggler_count, 1);
    assert_true(is_in_flight(f, old));
    assert_int_equal(f->inflight->unacknowledged, 1);
    ack(f, old);
    assert_false(is_in_flight(f, old));
    assert_int_equal(inflight_size(f->inflight), 0);
}

static void inflight_never_spans_more_than_its_maximum(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push_and_ack(f, 100000);
    assert_true(f->inflight->room <= INFLIGHT_SPAN_MAX);
}

static void inflight_passes_over_the_id_of_a_straggler(void **state)
{
    struct fixture *f = *state;
    start_at(f, 5);
    uint16_t old = push(f, 1);
    uint16_t before = push_and_ack(f, 65534);
    assert_int_equal(before, 4);
    assert_int_equal(push(f, 1), 6);
    assert_true(is_in_flight(f, old));
}

static void inflight_id_of_a_straggler_is_free_again_after_its_end(void **state)
{
    struct fixture *f = *state;
    start_at(f, 5);
    push(f, 1);
    push_and_ack(f, 65534);
    ack(f, 5);
    assert_int_equal(push(f, 1), 5);
}

static void inflight_oldest_stragglers_come_first(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX + 10);
    uint16_t newest = push(f, 1), packet_id;
    assert_int_equal(f->inflight->straggler_count, 3);
    for (uint16_t n = 0; n < 3; n++) {
        inflight_at(f->inflight, n, &packet_id);
        assert_int_equal(packet_id, n + 1);
    }
    ack(f, 2);
    inflight_at(f->inflight, 1, &packet_id);
    assert_int_equal(packet_id, 3);
    inflight_at(f->inflight, inflight_size(f->inflight) - 1, &packet_id);
    assert_int_equal(packet_id, newest);
}

/* The place passed over is at the front of an empty ring: it must not become a straggler itself. */
static void inflight_place_passed_over_is_not_left_behind(void **state)
{
    struct fixture *f = *state;
    start_at(f, 5);
    push(f, 1);
    push_and_ack(f, 65534);
    for (int i = 0; i < INFLIGHT_SPAN_MAX + 10; i++)
        push(f, 1);
    ack(f, 5);
    for (int i = 0; i < INFLIGHT_SPAN_MAX + 10; i++)
        ack(f, (uint16_t)(6 + i));
    assert_int_equal(inflight_size(f->inflight), 0);
}

static void inflight_push_with_too_many_stragglers_asks_to_wait(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < STRAGGLERS_MAX + 1; i++)
        push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX - 1);
    assert_int_equal(f->inflight->straggler_count, STRAGGLERS_MAX);
    struct kept kept = {.message = f->message, .qos = 1};
    uint16_t packet_id;
    assert_int_equal(inflight_push(f->inflight, &kept, &packet_id), RC_AGAIN);
    ack(f, 100); /* any one of them makes room */
    push(f, 1);
}

/* ---- sending again -------------------------------------------------------------------------- */

static void inflight_rewind_counts_nothing_and_resends_everything(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 4; i++)
        push(f, 1);
    assert_int_equal(f->inflight->resend, 4);
    assert_int_equal(f->inflight->counted, 4);
    inflight_rewind(f->inflight);
    assert_int_equal(f->inflight->resend, 0);
    assert_int_equal(f->inflight->counted, 0);
    assert_int_equal(f->inflight->unacknowledged, 4);
}

static void inflight_finish_uncounts_only_what_this_connection_counted(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    inflight_rewind(f->inflight);
    inflight_finish(f->inflight, inflight_find(f->inflight, 1, INFLIGHT_SENT_QOS1));
    assert_int_equal(f->inflight->counted, 0);
    push(f, 1);
    ack(f, 2);
    assert_int_equal(f->inflight->counted, 0);
}

static uint16_t next_to_resend(struct fixture *f)
{
    uint16_t packet_id;
    inflight_at(f->inflight, f->inflight->resend, &packet_id);
    return packet_id;
}

static void inflight_resend_goes_on_at_the_same_entry_when_older_ones_end(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 6; i++)
        push(f, 1);
    inflight_rewind(f->inflight);
    f->inflight->resend = 3;
    assert_int_equal(next_to_resend(f), 4);
    ack(f, 2);
    assert_int_equal(next_to_resend(f), 4);
    ack(f, 1);
    assert_int_equal(next_to_resend(f), 4);
    ack(f, 6); /* not resent yet, and acknowledged nevertheless */
    assert_int_equal(next_to_resend(f), 4);
}

static void inflight_resend_begins_with_stragglers(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX);
    uint16_t newest = push(f, 1);
    inflight_rewind(f->inflight);
    assert_int_equal(next_to_resend(f), 1);
    f->inflight->resend = 2;
    ack(f, 1);
    assert_int_equal(f->inflight->resend, 1);
    ack(f, 2);
    assert_int_equal(f->inflight->resend, 0);
    uint16_t packet_id;
    inflight_at(f->inflight, inflight_size(f->inflight) - 1, &packet_id);
    assert_int_equal(packet_id, newest);
}

static void inflight_left_behind_while_resending_is_still_to_be_sent(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX - 2); /* the ring is as long as it may be */
    assert_int_equal(f->inflight->straggler_count, 0);
    inflight_rewind(f->inflight);
    push(f, 1);
    assert_int_equal(f->inflight->straggler_count, 1);
    assert_int_equal(next_to_resend(f), 1);
    f->inflight->resend = 2;
    push(f, 1);
    assert_int_equal(f->inflight->straggler_count, 2);
    assert_int_equal(next_to_resend(f), INFLIGHT_SPAN_MAX + 1); /* those before it have ended */
}

static void inflight_new_entries_are_seen_by_this_connection(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push_and_ack(f, 3);
    assert_int_equal(f->inflight->resend, inflight_size(f->inflight));
    push_and_ack(f, INFLIGHT_SPAN_MAX + 5);
    assert_int_equal(f->inflight->resend, inflight_size(f->inflight));
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(inflight_gives_packet_ids_in_sequence),
        RULE(inflight_begins_with_the_id_it_is_told),
        RULE(inflight_ids_start_again_at_1_after_65535),
        RULE(inflight_uses_every_id_but_0_in_a_round),
        RULE(inflight_find_knows_the_state_of_an_exchange),
        RULE(inflight_find_of_an_id_that_is_not_in_use_is_null),
        RULE(inflight_acknowledged_out_of_order_leaves_holes_until_the_oldest_is),
        RULE(inflight_at_counts_from_the_oldest),
        RULE(inflight_holds_a_reference_until_the_exchange_ends),
        RULE(kept_drop_frees_identifiers_and_the_place_in_the_share),
        RULE(inflight_finds_exactly_what_was_not_acknowledged),
        RULE(inflight_finds_one_that_was_left_far_behind),
        RULE(inflight_never_spans_more_than_its_maximum),
        RULE(inflight_passes_over_the_id_of_a_straggler),
        RULE(inflight_id_of_a_straggler_is_free_again_after_its_end),
        RULE(inflight_oldest_stragglers_come_first),
        RULE(inflight_place_passed_over_is_not_left_behind),
        RULE(inflight_push_with_too_many_stragglers_asks_to_wait),
        RULE(inflight_rewind_counts_nothing_and_resends_everything),
        RULE(inflight_finish_uncounts_only_what_this_connection_counted),
        RULE(inflight_resend_goes_on_at_the_same_entry_when_older_ones_end),
        RULE(inflight_resend_begins_with_stragglers),
        RULE(inflight_left_behind_while_resending_is_still_to_be_sent),
        RULE(inflight_new_entries_are_seen_by_this_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
