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
    uint64_t next;           /* sequence number */
};

static int set_up(void **state)
{
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("payload")};
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->inflight = inflight_new();
    f->next = 1;
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

static void start_at(struct fixture *f, uint64_t sequence)
{
    f->next = sequence;
}

static uint16_t push(struct fixture *f, uint8_t qos)
{
    struct kept kept = {.message = message_hold(f->message), .qos = qos, .sequence = f->next++};
    assert_int_equal(inflight_push(f->inflight, &kept), RC_OK);
    return packet_id_of(kept.sequence);
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

static void inflight_packet_ids_come_in_sequence(void **state)
{
    for (uint16_t id = 1; id <= 100; id++)
        assert_int_equal(push(*state, 1), id);
}

static void inflight_begins_with_any_sequence_number(void **state)
{
    start_at(*state, 777 + 65535);
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
        struct kept *kept = inflight_at(f->inflight, n);
        assert_int_equal(kept->sequence, 7 + n);
        assert_ptr_equal(kept, inflight_find(f->inflight, (uint16_t)(7 + n), INFLIGHT_SENT_QOS1));
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

/* ---- the span ------------------------------------------------------------------------------- */

static enum rc try_push(struct fixture *f)
{
    struct kept kept = {.message = f->message, .qos = 1, .sequence = f->next};
    return inflight_push(f->inflight, &kept);
}

static void inflight_push_too_far_from_the_oldest_asks_to_wait(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX - 1);
    assert_false(inflight_has_room(f->inflight, f->next));
    assert_int_equal(try_push(f), RC_AGAIN);
    assert_int_equal(f->inflight->unacknowledged, 1);
    ack(f, 1);
    assert_true(inflight_has_room(f->inflight, f->next));
    assert_int_equal(push(f, 1), INFLIGHT_SPAN_MAX + 1);
}

static void inflight_span_counts_from_the_oldest_that_is_left(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push_and_ack(f, 9);
    push(f, 1); /* 11 */
    push_and_ack(f, INFLIGHT_SPAN_MAX - 11);
    assert_int_equal(try_push(f), RC_AGAIN);
    ack(f, 1);
    push_and_ack(f, 10); /* as many as were in front of 11 */
    assert_int_equal(try_push(f), RC_AGAIN);
}

static void inflight_never_spans_more_than_its_maximum(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push_and_ack(f, INFLIGHT_SPAN_MAX - 1);
    assert_int_equal(inflight_size(f->inflight), INFLIGHT_SPAN_MAX);
    assert_int_equal(f->inflight->room, INFLIGHT_SPAN_MAX);
}

static void inflight_ids_of_a_whole_span_differ(void **state)
{
    struct fixture *f = *state;
    static bool used[65536];
    start_at(f, 50000);
    for (uint32_t i = 0; i < INFLIGHT_SPAN_MAX; i++) {
        uint16_t packet_id = push(f, 1);
        assert_false(used[packet_id]);
        used[packet_id] = true;
    }
    for (uint32_t id = 0; id <= UINT16_MAX; id++)
        assert_int_equal(is_in_flight(f, (uint16_t)id), used[id]);
}

static void inflight_numbers_that_were_not_sent_are_holes(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    f->next += 20; /* expired or dropped before they were sent */
    uint16_t packet_id = push(f, 1);
    assert_int_equal(packet_id, 22);
    assert_int_equal(f->inflight->unacknowledged, 2);
    assert_int_equal(inflight_size(f->inflight), 22);
    for (uint16_t id = 2; id < 22; id++)
        assert_false(is_in_flight(f, id));
    ack(f, 1);
    assert_int_equal(inflight_size(f->inflight), 1);
    ack(f, 22);
    assert_int_equal(inflight_size(f->inflight), 0);
}

static void inflight_of_nothing_begins_anywhere(void **state)
{
    struct fixture *f = *state;
    push_and_ack(f, 3);
    f->next += 10 * INFLIGHT_SPAN_MAX;
    assert_true(inflight_has_room(f->inflight, f->next));
    uint64_t sequence = f->next;
    assert_int_equal(push(f, 1), packet_id_of(sequence));
    assert_int_equal(inflight_size(f->inflight), 1);
    assert_int_equal(f->inflight->first_sequence, sequence);
}

static void inflight_released_entry_comes_in_as_such(void **state)
{
    struct fixture *f = *state;
    struct kept kept = {.qos = 2, .state = INFLIGHT_RELEASED, .sequence = 7};
    assert_int_equal(inflight_push(f->inflight, &kept), RC_OK);
    assert_null(inflight_find(f->inflight, 7, INFLIGHT_SENT_QOS2));
    assert_non_null(inflight_find(f->inflight, 7, INFLIGHT_RELEASED));
}

static void packet_id_follows_from_the_sequence_number(void **state)
{
    (void)state;
    assert_int_equal(packet_id_of(1), 1);
    assert_int_equal(packet_id_of(65535), 65535);
    assert_int_equal(packet_id_of(65536), 1);
    assert_int_equal(packet_id_of(2 * 65535), 65535);
    assert_int_equal(packet_id_of(UINT64_MAX),
                     UINT64_MAX % 65535 == 0 ? 65535 : UINT64_MAX % 65535);
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
    uint32_t n = f->inflight->resend;
    while (inflight_at(f->inflight, n)->state == INFLIGHT_DONE)
        n++;
    return packet_id_of(f->inflight->first_sequence + n);
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

static void inflight_resend_goes_over_numbers_that_were_not_sent(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    f->next += 3;
    push(f, 1);
    inflight_rewind(f->inflight);
    f->inflight->resend = 1; /* the first has been sent again; the client acknowledges it */
    ack(f, 1);
    assert_int_equal(f->inflight->resend, 0);
    assert_int_equal(next_to_resend(f), 5);
}

static void inflight_pushed_while_resending_is_still_to_be_sent(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push(f, 1);
    inflight_rewind(f->inflight);
    f->inflight->resend = 1;
    push(f, 1);
    assert_int_equal(next_to_resend(f), 2);
    assert_int_equal(inflight_size(f->inflight), 3);
}

static void inflight_new_entries_are_seen_by_this_connection(void **state)
{
    struct fixture *f = *state;
    push(f, 1);
    push_and_ack(f, 3);
    assert_int_equal(f->inflight->resend, inflight_size(f->inflight));
    f->next += 5;
    push(f, 1);
    assert_int_equal(f->inflight->resend, inflight_size(f->inflight));
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(inflight_packet_ids_come_in_sequence),
        RULE(inflight_begins_with_any_sequence_number),
        RULE(inflight_ids_start_again_at_1_after_65535),
        RULE(inflight_uses_every_id_but_0_in_a_round),
        RULE(inflight_find_knows_the_state_of_an_exchange),
        RULE(inflight_find_of_an_id_that_is_not_in_use_is_null),
        RULE(inflight_acknowledged_out_of_order_leaves_holes_until_the_oldest_is),
        RULE(inflight_at_counts_from_the_oldest),
        RULE(inflight_holds_a_reference_until_the_exchange_ends),
        RULE(kept_drop_frees_identifiers_and_the_place_in_the_share),
        RULE(inflight_finds_exactly_what_was_not_acknowledged),
        RULE(inflight_push_too_far_from_the_oldest_asks_to_wait),
        RULE(inflight_span_counts_from_the_oldest_that_is_left),
        RULE(inflight_never_spans_more_than_its_maximum),
        RULE(inflight_ids_of_a_whole_span_differ),
        RULE(inflight_numbers_that_were_not_sent_are_holes),
        RULE(inflight_of_nothing_begins_anywhere),
        RULE(inflight_released_entry_comes_in_as_such),
        RULE(packet_id_follows_from_the_sequence_number),
        RULE(inflight_rewind_counts_nothing_and_resends_everything),
        RULE(inflight_finish_uncounts_only_what_this_connection_counted),
        RULE(inflight_resend_goes_on_at_the_same_entry_when_older_ones_end),
        RULE(inflight_resend_goes_over_numbers_that_were_not_sent),
        RULE(inflight_pushed_while_resending_is_still_to_be_sent),
        RULE(inflight_new_entries_are_seen_by_this_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
