/* SPDX-License-Identifier: Apache-2.0 */
/* Who should be home of what: shares, weights, and what moves when nodes come and go. */
#include "homes/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODES = 8, GROUPS = 10000 };

struct set {
    char names[NODES][8];
    struct place_member members[NODES];
    uint32_t count;
};

static struct set set_of(uint32_t count)
{
    static struct set set;
    set.count = count;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(set.names[i], sizeof(set.names[i]), "n%u", i);
        set.members[i] = (struct place_member){.node = set.names[i], .weight = 100};
    }
    return set;
}

/* The name of who should be home. */
static const char *first(const struct set *set, uint32_t group)
{
    uint32_t order[NODES];
    place_rank(group, set->members, set->count, order);
    return set->members[order[0]].node;
}

static uint32_t share(const struct set *set, const char *node)
{
    uint32_t count = 0;
    for (uint32_t group = 0; group < GROUPS; group++)
        count += strcmp(first(set, group), node) == 0;
    return count;
}

static void place_gives_equal_nodes_equal_shares(void **state)
{
    struct set set = set_of(5);
    (void)state;

    for (uint32_t i = 0; i < set.count; i++)
        assert_in_range(share(&set, set.members[i].node), GROUPS / 5 * 9 / 10,
                        GROUPS / 5 * 11 / 10);
}

static void place_gives_shares_in_proportion_to_the_weights(void **state)
{
    struct set set = set_of(3);
    (void)state;

    set.members[2].weight = 200;
    assert_in_range(share(&set, "n0"), GROUPS / 4 * 9 / 10, GROUPS / 4 * 11 / 10);
    assert_in_range(share(&set, "n2"), GROUPS / 2 * 9 / 10, GROUPS / 2 * 11 / 10);
}

static void place_moves_only_what_the_node_that_leaves_had(void **state)
{
    struct set all = set_of(4), without = all;
    (void)state;

    without.count = 3; /* n3 has left */
    for (uint32_t group = 0; group < GROUPS; group++)
        if (strcmp(first(&all, group), "n3") != 0)
            assert_string_equal(first(&without, group), first(&all, group));
}

static void place_gives_what_a_node_leaves_to_the_second_in_order(void **state)
{
    struct set all = set_of(4), without = all;
    uint32_t order[NODES];
    (void)state;

    without.count = 3;
    for (uint32_t group = 0; group < 100; group++) {
        place_rank(group, all.members, all.count, order);
        if (order[0] == 3)
            assert_string_equal(first(&without, group), all.members[order[1]].node);
    }
}

static void place_moves_no_more_than_its_share_to_a_node_with_more_weight(void **state)
{
    struct set before = set_of(4), after = before;
    (void)state;

    after.members[1].weight = 300;
    for (uint32_t group = 0; group < GROUPS; group++)
        if (strcmp(first(&after, group), "n1") != 0)
            assert_string_equal(first(&after, group), first(&before, group));
}

static void place_puts_standbys_behind_all_that_are_active(void **state)
{
    struct set set = set_of(4);
    uint32_t order[NODES];
    (void)state;

    set.members[0].standby = set.members[1].standby = true;
    set.members[0].weight = 1000;
    for (uint32_t group = 0; group < 100; group++) {
        place_rank(group, set.members, set.count, order);
        assert_true(order[0] >= 2 && order[1] >= 2);
    }
    set.members[2].standby = set.members[3].standby = true; /* nobody else is there */
    assert_true(share(&set, "n0") > GROUPS / 2);
}

static void place_puts_who_is_drained_behind_all_others(void **state)
{
    struct set set = set_of(3);
    uint32_t order[NODES];
    (void)state;

    set.members[0].drained = true;
    set.members[1].standby = true;
    for (uint32_t group = 0; group < 100; group++) {
        place_rank(group, set.members, set.count, order);
        assert_true(order[0] == 2 && order[1] == 1 && order[2] == 0);
    }
}

static void place_does_not_depend_on_the_order_of_the_members(void **state)
{
    struct set set = set_of(4), turned = set;
    (void)state;

    for (uint32_t i = 0; i < 4; i++)
        turned.members[i] = set.members[3 - i];
    for (uint32_t group = 0; group < 1000; group++)
        assert_string_equal(first(&turned, group), first(&set, group));
}

static void place_of_one_node_is_that_node(void **state)
{
    struct set set = set_of(1);
    (void)state;

    assert_int_equal(share(&set, "n0"), GROUPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(place_gives_equal_nodes_equal_shares),
        cmocka_unit_test(place_gives_shares_in_proportion_to_the_weights),
        cmocka_unit_test(place_moves_only_what_the_node_that_leaves_had),
        cmocka_unit_test(place_gives_what_a_node_leaves_to_the_second_in_order),
        cmocka_unit_test(place_moves_no_more_than_its_share_to_a_node_with_more_weight),
        cmocka_unit_test(place_puts_standbys_behind_all_that_are_active),
        cmocka_unit_test(place_puts_who_is_drained_behind_all_others),
        cmocka_unit_test(place_does_not_depend_on_the_order_of_the_members),
        cmocka_unit_test(place_of_one_node_is_that_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
