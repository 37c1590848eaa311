/* SPDX-License-Identifier: Apache-2.0 */
/* When what is left of an engine is given up. */
#include "homes/remnant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void what_is_left_is_kept_when_each_server_has_a_copy_of_everything(void **state)
{
    (void)state;

    for (uint32_t nodes = 1; nodes <= 3; nodes++) {
        assert_false(remnant_is_possible(nodes));
        for (uint32_t unclean = 0; unclean < nodes; unclean++)
            assert_false(remnant_is_one(nodes, unclean));
    }
}

static void what_is_left_is_given_up_when_it_is_no_majority(void **state)
{
    static const struct {
        uint32_t nodes, unclean;
        bool one;
    } rows[] = {{4, 0, false}, {4, 1, false}, {4, 2, true},  {4, 3, true}, {5, 2, false},
                {5, 3, true},  {5, 4, true},  {7, 3, false}, {7, 4, true}};
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(remnant_is_one(rows[i].nodes, rows[i].unclean) == rows[i].one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_is_kept_when_each_server_has_a_copy_of_everything),
        cmocka_unit_test(what_is_left_is_given_up_when_it_is_no_majority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
