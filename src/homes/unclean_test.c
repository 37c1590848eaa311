/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of an engine's store whose machine went down, by what others say of theirs. */
#include "homes/unclean.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Of so many others, so many that are up, join, were kept, and went down; all that are there. */
#define OF(number, ...)                                                                            \
    {                                                                                              \
        .others = (number), .nodes = (number) + 1, .here = (number), .all_here = true, __VA_ARGS__ \
    }

static void fates_are(const struct unclean *rows, size_t count, enum unclean_fate fate)
{
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        if (unclean_judge(&rows[i], &why) != fate)
            fail_msg("row %zu: %d, not %d: %s", i, (int)unclean_judge(&rows[i], &why), (int)fate,
                     why);
        assert_true(why != NULL && why[0] != '\0');
    }
}

#define FATES_ARE(rows, fate) fates_are(rows, sizeof(rows) / sizeof((rows)[0]), fate)

static void store_of_one_that_is_alone_is_kept(void **state)
{
    static const struct unclean rows[] = {OF(0), OF(2, .lone = true, .up = 2)};
    (void)state;
    FATES_ARE(rows, UNCLEAN_IS_KEPT);
}

static void store_is_thrown_away_when_most_others_ran_on(void **state)
{
    static const struct unclean rows[] = {OF(2, .up = 2), OF(3, .up = 3),
                                          OF(4, .up = 3, .unclean = 1), OF(4, .up = 3, .joins = 1)};
    static const struct unclean empty[] = {OF(2, .up = 2, .fresh = true, .emptied = true),
                                           OF(2, .up = 1, .joins = 1, .fresh = true)};
    (void)state;
    FATES_ARE(rows, UNCLEAN_JOINS);
    FATES_ARE(empty, UNCLEAN_BEGINS);
}

/* Two machines go down one after the other, and the first has not been replaced when the second
 * comes back: were its store thrown away, too, no quorum of those that there were would be left. */
static void store_is_kept_while_another_joins(void **state)
{
    static const struct unclean rows[] = {OF(2, .up = 1, .joins = 1), OF(2, .joins = 2),
                                          OF(2, .joins = 1, .unclean = 1),
                                          OF(3, .up = 2, .joins = 1), OF(4, .up = 2, .joins = 1)};
    (void)state;
    FATES_ARE(rows, UNCLEAN_IS_KEPT);
}

static void store_is_kept_when_few_of_no_more_servers_than_copies_ran_on(void **state)
{
    static const struct unclean rows[] = {OF(1, .up = 1), OF(2, .up = 1, .unclean = 1),
                                          OF(2, .up = 1, .kept = 1), OF(2, .kept = 2),
                                          OF(2, .kept = 1, .unclean = 1)};
    static const struct unclean empty[] = {OF(2, .up = 1, .unclean = 1, .fresh = true)};
    (void)state;
    FATES_ARE(rows, UNCLEAN_IS_KEPT);
    FATES_ARE(empty, UNCLEAN_BEGINS);
}

static void all_start_anew_when_all_went_down(void **state)
{
    static const struct unclean rows[] = {OF(1, .unclean = 1), OF(2, .unclean = 2),
                                          OF(4, .unclean = 4), OF(4, .unclean = 3, .kept = 1)};
    static const struct unclean empty[] = {OF(2, .unclean = 2, .fresh = true, .emptied = true)};
    static const struct unclean removed[] = {
        {.others = 2, .nodes = 2, .here = 1, .all_here = true, .unclean = 1}};
    (void)state;
    FATES_ARE(rows, UNCLEAN_STARTS_ANEW);
    FATES_ARE(empty, UNCLEAN_BEGINS);
    FATES_ARE(removed, UNCLEAN_IS_KEPT);
}

static void all_start_anew_when_most_came_back_with_other_servers(void **state)
{
    static const struct unclean rows[] = {OF(2, .kept = 2, .replaced = 2),
                                          OF(4, .kept = 3, .replaced = 3, .up = 1)};
    (void)state;
    FATES_ARE(rows, UNCLEAN_STARTS_ANEW);
}

static void it_waits_for_who_can_still_say_something_else(void **state)
{
    static const struct unclean rows[] = {
        {.others = 2, .nodes = 3},
        {.others = 2, .nodes = 3, .here = 1, .up = 1},
        {.others = 2, .nodes = 3, .here = 1, .unclean = 1},
        {.others = 2, .nodes = 3, .here = 2, .unclean = 1},
        OF(2, .unclean = 1, .up = 0), /* the other has not said anything yet */
        OF(3, .unclean = 2, .up = 1), /* it has to give its engine up first */
        OF(3, .unclean = 2, .joins = 1),
    };
    (void)state;
    FATES_ARE(rows, UNCLEAN_WAITS);
}

/* A node knows of more than its own configuration names. */
static void more_others_than_are_configured_are_no_riddle(void **state)
{
    static const struct unclean rows[] = {
        {.others = 2, .nodes = 4, .here = 3, .all_here = true, .unclean = 3}};
    (void)state;
    FATES_ARE(rows, UNCLEAN_STARTS_ANEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_of_one_that_is_alone_is_kept),
        cmocka_unit_test(store_is_thrown_away_when_most_others_ran_on),
        cmocka_unit_test(store_is_kept_while_another_joins),
        cmocka_unit_test(store_is_kept_when_few_of_no_more_servers_than_copies_ran_on),
        cmocka_unit_test(all_start_anew_when_all_went_down),
        cmocka_unit_test(all_start_anew_when_most_came_back_with_other_servers),
        cmocka_unit_test(it_waits_for_who_can_still_say_something_else),
        cmocka_unit_test(more_others_than_are_configured_are_no_riddle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
