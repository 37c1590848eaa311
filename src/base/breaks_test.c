/* SPDX-License-Identifier: Apache-2.0 */
#include "base/breaks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void nothing_is_broken_that_nobody_has_asked_for(void **state)
{
    (void)state;
    unsetenv("SKEIN_TEST_BREAK");
    assert_null(breaks_init());
    assert_false(broken(BREAK_NO_LEASE));
}

static void what_is_asked_for_is_broken_and_nothing_else(void **state)
{
    (void)state;
    setenv("SKEIN_TEST_BREAK", "no_fencing", 1);
    assert_string_equal(breaks_init(), "no_fencing");
    assert_true(broken(BREAK_NO_FENCING));
    assert_false(broken(BREAK_NO_LEASE));
    breaks_set(BREAK_NOTHING);
    assert_false(broken(BREAK_NO_FENCING));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_broken_that_nobody_has_asked_for),
        cmocka_unit_test(what_is_asked_for_is_broken_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
