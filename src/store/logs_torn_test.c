/* SPDX-License-Identifier: Apache-2.0 */
#include "store/logs.h"
#include "store/store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

enum { VALUE = 600 };

struct log {
    char dir[DIR_ROOM];
    struct engine *engine;
};

static int set_up(void **state)
{
    char error[ENGINE_ERROR_MAX];
    struct log *log = calloc(1, sizeof(*log));
    assert_non_null(log);
    folder_new(log->dir);
    assert_int_equal(engine_open(log->dir, ENGINE_CREATE, ENGINE_SMALL, &log->engine, error),
                     RC_OK);
    *state = log;
    return 0;
}

static int tear_down(void **state)
{
    struct log *log = *state;
    engine_close(log->engine);
    folder_remove(log->dir);
    free(log);
    return 0;
}

/* A record whose value is filled with `letter`, and that says how far everything was synced. */
static void append(struct log *log, char letter, uint64_t synced)
{
    char value[VALUE + 1], error[ENGINE_ERROR_MAX];
    uint8_t bytes[BATCH_HEADER + BATCH_MARK + 2 * VALUE];
    struct batch batch;
    memset(value, letter, VALUE);
    value[VALUE] = '\0';
    batch_init(&batch);
    add_put(&batch, STORE_STATE, (char[]){letter, '\0'}, value);
    batch_header(bytes, 1);
    batch_mark(bytes + BATCH_HEADER, synced);
    const uint8_t *end = batch_serialise(&batch, bytes + BATCH_HEADER + BATCH_MARK);
    batch_deinit(&batch);
    assert_int_equal(
        engine_write(log->engine, bytes_of(bytes, (size_t)(end - bytes)), ENGINE_BUFFERED, error),
        RC_OK);
}

/* Zeros where the value of that letter stands in the log. */
static void damage(const struct log *log, char letter)
{
    char path[DIR_ROOM + 300], run[32];
    char file[64 * 1024];
    DIR *folder = opendir(log->dir);
    assert_non_null(folder);
    memset(run, letter, sizeof(run));
    for (const struct dirent *each; (each = readdir(folder)) != NULL;) {
        size_t len = strlen(each->d_name);
        if (len < 4 || strcmp(each->d_name + len - 4, ".log") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", log->dir, each->d_name);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        ssize_t size = pread(fd, file, sizeof(file), 0);
        char *at = size > 0 ? memmem(file, (size_t)size, run, sizeof(run)) : NULL;
        if (at != NULL)
            assert_int_equal(pwrite(fd, (char[64]){0}, 64, at - file), 64);
        close(fd);
    }
    closedir(folder);
}

static enum rc check(const struct log *log, struct logs_report *report)
{
    char error[ENGINE_ERROR_MAX];
    return logs_check(log->dir, report, error);
}

static void hole_in_what_was_not_synced_is_a_torn_end(void **state)
{
    struct log *log = *state;
    struct logs_report report;
    append(log, 'a', 0);
    append(log, 'b', 1);
    append(log, 'c', 1);
    assert_int_equal(check(log, &report), RC_OK);
    assert_string_equal(report.torn, "");
    damage(log, 'b');
    assert_int_equal(check(log, &report), RC_OK);
    assert_string_not_equal(report.torn, "");
    assert_int_equal(report.records, 1);
}

static void hole_in_what_was_synced_is_damage(void **state)
{
    struct log *log = *state;
    struct logs_report report;
    append(log, 'a', 0);
    append(log, 'b', 1);
    append(log, 'c', 1);
    append(log, 'd', 2); /* a and b were on disk by then */
    damage(log, 'b');
    assert_int_equal(check(log, &report), RC_INVALID);
}

static void hole_before_a_record_without_a_mark_is_damage(void **state)
{
    struct log *log = *state;
    struct logs_report report;
    append(log, 'a', 0);
    append(log, 'b', 1);
    put(log->engine, STORE_STATE, "c", "without");
    damage(log, 'b');
    assert_int_equal(check(log, &report), RC_INVALID);
}

static void mark_counts_as_nothing(void **state)
{
    struct log *log = *state;
    append(log, 'a', 0);
    append(log, 'b', 1);
    assert_int_equal(engine_sequence(log->engine), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hole_in_what_was_not_synced_is_a_torn_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hole_in_what_was_synced_is_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hole_before_a_record_without_a_mark_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mark_counts_as_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
