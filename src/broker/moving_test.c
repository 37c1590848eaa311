/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/moving.h"

enum { STEPS = 10000 };

static void clients_take_their_share_of_the_rate_on_average(void **state)
{
    uint64_t random = 42, sum = 0;
    (void)state;

    for (int i = 0; i < STEPS; i++)
        sum += moving_time_ms(10, 500, 2, &random);
    assert_in_range(sum / STEPS, 38, 42); /* 250 a second on each worker */
}

static void clients_do_not_go_at_equal_intervals(void **state)
{
    uint64_t random = 42, least = UINT64_MAX, most = 0;
    (void)state;

    for (int i = 0; i < STEPS; i++) {
        uint64_t ms = moving_time_ms(100, 1000, 1, &random);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_in_range(least, 50, 55);
    assert_in_range(most, 145, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_take_their_share_of_the_rate_on_average),
        cmocka_unit_test(clients_do_not_go_at_equal_intervals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
