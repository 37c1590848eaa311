/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends of a tunnel share: ids, and how much may be under way. */
#include "cluster/tunnel_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int things[3];

/* ---- ids ----------------------------------------------------------------------------------------
 */

static void id_that_was_given_back_is_given_out_again(void **state)
{
    struct tunnel_slots slots = {0};
    uint32_t ids[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(slots_take(&slots, &things[i], &ids[i]));
        assert_int_equal(ids[i], i);
    }
    slots_release(&slots, 1);
    assert_null(slots_get(&slots, 1));
    assert_true(slots_take(&slots, &things[0], &ids[1]));
    assert_int_equal(ids[1], 1);
    assert_ptr_equal(slots_get(&slots, 1), &things[0]);
    assert_ptr_equal(slots_get(&slots, 2), &things[2]);
    assert_null(slots_get(&slots, 3));
    slots_free(&slots);
}

static void ids_end_at_the_limit_and_one_given_back_makes_room(void **state)
{
    struct tunnel_slots slots = {0};
    uint32_t id;
    (void)state;
    for (uint32_t i = 0; i < TUNNELS_MAX; i++)
        assert_true(slots_take(&slots, things, &id));
    assert_int_equal(id, TUNNELS_MAX - 1);
    assert_false(slots_take(&slots, things, &id));
    slots_release(&slots, 77);
    assert_true(slots_take(&slots, things, &id));
    assert_int_equal(id, 77);
    assert_false(slots_take(&slots, things, &id));
    slots_free(&slots);
}

static void id_that_the_other_side_chooses_is_free_and_below_the_limit(void **state)
{
    struct tunnel_slots slots = {0};
    (void)state;
    assert_false(slots_put(&slots, things, TUNNELS_MAX));
    assert_false(slots_put(&slots, things, UINT32_MAX));
    assert_true(slots_put(&slots, &things[1], TUNNELS_MAX - 1));
    assert_true(slots_put(&slots, &things[2], 5));
    assert_false(slots_put(&slots, things, 5));
    assert_ptr_equal(slots_get(&slots, 5), &things[2]);
    assert_ptr_equal(slots_get(&slots, TUNNELS_MAX - 1), &things[1]);
    assert_null(slots_get(&slots, 6));
    assert_null(slots_get(&slots, TUNNELS_MAX));
    slots_release(&slots, 5);
    assert_true(slots_put(&slots, things, 5));
    slots_free(&slots);
}

/* ---- what is under way --------------------------------------------------------------------------
 */

static void a_window_may_come_and_not_one_byte_more(void **state)
{
    struct tunnel_flow flow = {0};
    (void)state;
    assert_true(flow_take(&flow, TUNNEL_WINDOW - 1));
    assert_true(flow_take(&flow, 1));
    assert_false(flow_take(&flow, 1));
    flow = (struct tunnel_flow){.received = 1000, .credited = 999};
    assert_true(flow_take(&flow, TUNNEL_WINDOW - 1));
    assert_false(flow_take(&flow, 1));
}

static void credit_goes_up_and_to_what_was_sent_at_most(void **state)
{
    struct tunnel_flow flow = {.sent = TUNNEL_WINDOW};
    (void)state;
    assert_int_equal(flow_room(&flow), 0);
    assert_true(flow_credit(&flow, 10));
    assert_int_equal(flow_room(&flow), 10);
    assert_true(flow_credit(&flow, 10));
    assert_false(flow_credit(&flow, 9));
    assert_false(flow_credit(&flow, TUNNEL_WINDOW + 1));
    assert_int_equal(flow_room(&flow), 10);
    assert_true(flow_credit(&flow, TUNNEL_WINDOW));
    assert_int_equal(flow_room(&flow), TUNNEL_WINDOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_that_was_given_back_is_given_out_again),
        cmocka_unit_test(ids_end_at_the_limit_and_one_given_back_makes_room),
        cmocka_unit_test(id_that_the_other_side_chooses_is_free_and_below_the_limit),
        cmocka_unit_test(a_window_may_come_and_not_one_byte_more),
        cmocka_unit_test(credit_goes_up_and_to_what_was_sent_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
