/* SPDX-License-Identifier: Apache-2.0 */
/* The files that list nodes. */
#include "homes/known.h"

#include "homes/mark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_NAME "members"

static int make_folder(void **state)
{
    *state = strdup("/tmp/skein-known-XXXXXX");
    return mkdtemp(*state) == NULL;
}

static int remove_folder(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/" FILE_NAME, (char *)*state);
    unlink(path);
    rmdir(*state);
    free(*state);
    return 0;
}

static const struct homes_known nodes[] = {
    {"n0", "192.0.2.1:7883", "n0-0123456789abcdef", 0xfedcba9876543210},
    {"n1", "[2001:db8::1]:7883", "", 1},
    {"n2", "", "n2-00", 2},
};

static struct known_list list_of_all(void)
{
    struct known_list list = {.count = 0};

    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        known_add(&list, &nodes[i]);
    return list;
}

static void list_that_was_written_is_read(void **state)
{
    struct known_list list = list_of_all(), read;

    assert_int_equal(known_write(*state, FILE_NAME, &list), RC_OK);
    assert_int_equal(known_read(*state, FILE_NAME, &read), RC_OK);
    assert_int_equal(read.count, list.count);
    for (uint32_t i = 0; i < list.count; i++) {
        assert_string_equal(read.at[i].node, nodes[i].node);
        assert_string_equal(read.at[i].address, nodes[i].address);
        assert_string_equal(read.at[i].server, nodes[i].server);
        assert_true(read.at[i].instance == nodes[i].instance);
    }
    known_free(&read);
    known_free(&list);
}

static void list_without_a_file_is_empty(void **state)
{
    struct known_list read;

    assert_int_equal(mark_remove(*state, FILE_NAME), RC_OK);
    assert_int_equal(known_read(*state, FILE_NAME, &read), RC_OK);
    assert_int_equal(read.count, 0);
}

static void list_gives_what_can_be_read_and_says_that_it_is_not_all(void **state)
{
    static const char *const bad[] = {"", " -", " - -", " - - 12", " - - 000000000000000g"};
    char text[128];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct known_list read;
        snprintf(text, sizeof(text), "skein-nodes 1\nn0 - - 0000000000000001\nn1%s", bad[i]);
        assert_int_equal(mark_write_text(*state, FILE_NAME, text), RC_OK);
        assert_int_equal(known_read(*state, FILE_NAME, &read), RC_INVALID);
        assert_int_equal(read.count, 1);
        known_free(&read);
    }
}

static void node_is_found_by_name_and_instance_until_it_is_taken_out(void **state)
{
    struct known_list list = list_of_all();
    (void)state;

    assert_ptr_equal(known_node(&list, "n1"), known_instance(&list, 1));
    known_take_out(&list, known_node(&list, "n1"));
    assert_null(known_node(&list, "n1"));
    assert_null(known_instance(&list, 1));
    assert_string_equal(known_instance(&list, 2)->server, "n2-00");
    known_take_out(&list, known_node(&list, "n2"));
    known_take_out(&list, known_node(&list, "n0"));
    assert_int_equal(list.count, 0);
    known_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_that_was_written_is_read),
        cmocka_unit_test(list_without_a_file_is_empty),
        cmocka_unit_test(list_gives_what_can_be_read_and_says_that_it_is_not_all),
        cmocka_unit_test(node_is_found_by_name_and_instance_until_it_is_taken_out),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
