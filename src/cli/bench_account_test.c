/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/bench_account.h"

static void flow_in_order_needs_no_memory(void **state)
{
    struct flow flow = {0};

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(flow_add(&flow, i), FLOW_NEW);
    assert_null(flow.bits);
    assert_int_equal(flow.whole, 1000);
}

static void flow_knows_a_duplicate_before_and_behind_a_hole(void **state)
{
    struct flow flow = {0};

    (void)state;
    assert_int_equal(flow_add(&flow, 0), FLOW_NEW);
    assert_int_equal(flow_add(&flow, 0), FLOW_DUPLICATE);
    assert_int_equal(flow_add(&flow, 5), FLOW_NEW);
    assert_int_equal(flow_add(&flow, 5), FLOW_DUPLICATE);
    assert_int_equal(flow_add(&flow, 0), FLOW_DUPLICATE);
    flow_deinit(&flow);
}

static void flow_calls_what_fills_a_hole_late(void **state)
{
    struct flow flow = {0};

    (void)state;
    assert_int_equal(flow_add(&flow, 2), FLOW_NEW);
    assert_int_equal(flow_add(&flow, 0), FLOW_LATE);
    assert_int_equal(flow.whole, 1);
    assert_int_equal(flow_add(&flow, 3), FLOW_NEW);
    assert_int_equal(flow_add(&flow, 1), FLOW_LATE);
    assert_int_equal(flow.whole, 4);
    assert_null(flow.bits);
    assert_int_equal(flow_add(&flow, 4), FLOW_NEW);
    assert_int_equal(flow_add(&flow, 1), FLOW_DUPLICATE);
}

static void flow_keeps_count_over_a_wide_hole(void **state)
{
    struct flow flow = {0};

    (void)state;
    assert_int_equal(flow_add(&flow, 100000), FLOW_NEW);
    for (uint64_t i = 0; i < 100000; i++)
        assert_int_equal(flow_add(&flow, i), FLOW_LATE);
    assert_int_equal(flow.whole, 100001);
    assert_null(flow.bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flow_in_order_needs_no_memory),
        cmocka_unit_test(flow_knows_a_duplicate_before_and_behind_a_hole),
        cmocka_unit_test(flow_calls_what_fills_a_hole_late),
        cmocka_unit_test(flow_keeps_count_over_a_wide_hole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
