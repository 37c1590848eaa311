/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static int sum_in_order(struct list *head)
{
    int digits = 0;
    LIST_FOR_EACH (node, head)
        digits = digits * 10 + CONTAINER_OF(node, struct item, link)->value;
    return digits;
}

static void list_keeps_the_order_in_which_nodes_were_added(void **state)
{
    struct list head;
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    (void)state;
    list_init(&head);
    list_add_last(&head, &items[1].link);
    list_add_last(&head, &items[2].link);
    list_add_first(&head, &items[0].link);
    assert_int_equal(sum_in_order(&head), 123);
}

static void list_remove_leaves_a_node_that_may_be_removed_again(void **state)
{
    struct list head;
    struct item item = {.value = 1};
    (void)state;
    list_init(&head);
    list_add_last(&head, &item.link);
    assert_true(list_linked(&item.link));
    list_remove(&item.link);
    list_remove(&item.link);
    assert_false(list_linked(&item.link));
    assert_true(list_empty(&head));
}

static void list_take_first_gives_null_at_the_end(void **state)
{
    struct list head;
    struct item item = {.value = 1};
    (void)state;
    list_init(&head);
    list_add_last(&head, &item.link);
    assert_ptr_equal(list_take_first(&head), &item.link);
    assert_null(list_take_first(&head));
}

static void list_move_all_appends_and_empties_the_source(void **state)
{
    struct list from, to;
    struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    (void)state;
    list_init(&from);
    list_init(&to);
    list_add_last(&to, &items[0].link);
    for (int i = 1; i < 4; i++)
        list_add_last(&from, &items[i].link);
    list_move_all(&to, &from);
    assert_int_equal(sum_in_order(&to), 1234);
    assert_true(list_empty(&from));
    list_move_all(&to, &from);
    assert_int_equal(sum_in_order(&to), 1234);
}

static void list_for_each_safe_lets_the_body_remove_its_node(void **state)
{
    struct list head;
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    (void)state;
    list_init(&head);
    for (int i = 0; i < 3; i++)
        list_add_last(&head, &items[i].link);
    LIST_FOR_EACH_SAFE (node, &head)
        if (CONTAINER_OF(node, struct item, link)->value != 2)
            list_remove(node);
    assert_int_equal(sum_in_order(&head), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_keeps_the_order_in_which_nodes_were_added),
        cmocka_unit_test(list_remove_leaves_a_node_that_may_be_removed_again),
        cmocka_unit_test(list_take_first_gives_null_at_the_end),
        cmocka_unit_test(list_move_all_appends_and_empties_the_source),
        cmocka_unit_test(list_for_each_safe_lets_the_body_remove_its_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
