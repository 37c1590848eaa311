/* SPDX-License-Identifier: Apache-2.0 */
/* The file that says which cluster a data directory belongs to. */
#include "homes/mark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int make_folder(void **state)
{
    *state = strdup("/tmp/skein-mark-XXXXXX");
    return mkdtemp(*state) == NULL;
}

static int remove_folder(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/" MARK_FILE, (char *)*state);
    unlink(path);
    rmdir(*state);
    free(*state);
    return 0;
}

static void write_text(const char *folder, const char *text)
{
    assert_int_equal(mark_write_text(folder, MARK_FILE, text), RC_OK);
}

static void mark_that_was_written_is_read(void **state)
{
    struct mark mark = {.name = "plant", .founded = true, .instance = 0xfedcba9876543210}, read;

    mark_draw(mark.id);
    assert_true(mark_id_valid(mark.id));
    assert_int_equal(mark_write(*state, &mark), RC_OK);
    assert_int_equal(mark_read(*state, &read), RC_OK);
    assert_string_equal(read.name, "plant");
    assert_string_equal(read.id, mark.id);
    assert_true(read.founded && read.instance == mark.instance);
    mark.founded = false;
    assert_int_equal(mark_write(*state, &mark), RC_OK);
    assert_int_equal(mark_read(*state, &read), RC_OK);
    assert_false(read.founded || read.seeding);
    mark.seeding = true;
    assert_int_equal(mark_write(*state, &mark), RC_OK);
    assert_int_equal(mark_read(*state, &read), RC_OK);
    assert_true(read.seeding && !read.founded && !read.growing);
    mark.seeding = false;
    mark.founded = mark.growing = true;
    assert_int_equal(mark_write(*state, &mark), RC_OK);
    assert_int_equal(mark_read(*state, &read), RC_OK);
    assert_true(read.growing && read.founded && !read.seeding);
}

static void mark_that_is_not_there_is_told_from_one_that_is_not_known(void **state)
{
    struct mark read;

    assert_int_equal(mark_remove(*state, MARK_FILE), RC_OK);
    assert_int_equal(mark_read(*state, &read), RC_NOT_FOUND);
    write_text(*state, "something else");
    assert_int_equal(mark_read(*state, &read), RC_INVALID);
    assert_int_equal(mark_remove(*state, MARK_FILE), RC_OK);
    assert_int_equal(mark_read(*state, &read), RC_NOT_FOUND);
}

static void mark_of_another_number_of_groups_or_state_is_refused(void **state)
{
    struct mark read;
    const char *good = "skein-cluster 1\nname a\nid 0123456789abcdef\ngroups 16\nstate founded";

    write_text(*state, good);
    assert_int_equal(mark_read(*state, &read), RC_OK);
    assert_int_equal(read.instance, 0);
    write_text(*state, "skein-cluster 1\nname a\nid 0123456789abcdef\ngroups 32\nstate founded");
    assert_int_equal(mark_read(*state, &read), RC_INVALID);
    write_text(*state, "skein-cluster 1\nname a\nid 0123456789abcdef\ngroups 16\nstate found");
    assert_int_equal(mark_read(*state, &read), RC_INVALID);
    write_text(*state, "skein-cluster 1\nname a\nid 0123456789abcde\ngroups 16\nstate founded");
    assert_int_equal(mark_read(*state, &read), RC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mark_that_was_written_is_read),
        cmocka_unit_test(mark_that_is_not_there_is_told_from_one_that_is_not_known),
        cmocka_unit_test(mark_of_another_number_of_groups_or_state_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
