/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/window.h"

static void window_that_is_full_gives_no_id(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, 2);
    assert_int_equal(window_take(&window, 1), 1);
    assert_int_equal(window_take(&window, 2), 2);
    assert_int_equal(window_take(&window, 1), 0);
    window_finish(&window, 1);
    assert_int_equal(window_take(&window, 1), 1);
    window_deinit(&window);
}

static void window_waits_for_the_oldest(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, 2);
    window_take(&window, 1);
    window_take(&window, 1);
    window_finish(&window, 2);
    assert_int_equal(window.pending, 1);
    assert_int_equal(window_take(&window, 1), 0);
    window_finish(&window, 1);
    assert_int_equal(window_take(&window, 1), 1);
    window_deinit(&window);
}

static void window_walk_gives_the_unfinished_in_order(void **state)
{
    struct window window;
    uint16_t at = 0;

    (void)state;
    window_init(&window, 4);
    for (int i = 0; i < 4; i++)
        window_take(&window, 2);
    window_finish(&window, 1);
    window_take(&window, 1); /* id 1 again, now the newest */
    window_release(&window, 3);
    window_finish(&window, 2);
    assert_int_equal(window_next(&window, &at), 3);
    assert_int_equal(window_state(&window, 3), WINDOW_RELEASED);
    assert_int_equal(window_next(&window, &at), 4);
    assert_int_equal(window_next(&window, &at), 1);
    assert_int_equal(window_state(&window, 1), WINDOW_SENT_QOS_1);
    assert_int_equal(window_next(&window, &at), 0);
    window_deinit(&window);
}

static void window_knows_no_id_outside(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, 2);
    assert_int_equal(window_state(&window, 0), WINDOW_FREE);
    assert_int_equal(window_state(&window, 3), WINDOW_FREE);
    window_deinit(&window);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_that_is_full_gives_no_id),
        cmocka_unit_test(window_waits_for_the_oldest),
        cmocka_unit_test(window_walk_gives_the_unfinished_in_order),
        cmocka_unit_test(window_knows_no_id_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
