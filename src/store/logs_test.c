/* SPDX-License-Identifier: Apache-2.0 */
#include "store/logs.h"

#include "store/folder.h"
#include "store/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { RECORDS = 100, LOSSES_MAX = 8 };

static char dir[64], path[128], error[ENGINE_ERROR_MAX];

/* A store with RECORDS records in one log: `path`. */
static int set_up(void **state)
{
    struct writer writer;
    uint8_t value[100] = {0};
    struct bytes bytes = bytes_of(value, sizeof(value));
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/skein-logs-XXXXXX");
    if (mkdtemp(dir) == NULL || writer_open(&writer, dir, error) != RC_OK)
        return -1;
    for (uint64_t i = 0; i < RECORDS; i++) {
        struct store_key key = record_key_of(0, RECORD_WILL, i);
        if (writer_put(&writer, STORE_STATE, bytes_of(key.head, key.head_len), &bytes, 1, error) !=
                RC_OK ||
            writer_flush(&writer, error) != RC_OK)
            return -1;
    }
    writer_close(&writer);
    for (int number = 1; number < 100; number++) {
        snprintf(path, sizeof(path), "%s/%06d.log", dir, number);
        if (access(path, F_OK) == 0)
            return 0;
    }
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    return folder_remove(dir, error) == RC_OK ? 0 : -1;
}

static long log_size(void)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

static void flip(long at)
{
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
}

static void log_that_is_whole_is_good(void **state)
{
    struct logs_report report;
    (void)state;
    assert_int_equal(logs_check(dir, &report, error), RC_OK);
    assert_int_equal(report.records, RECORDS);
    assert_string_equal(report.torn, "");
    assert_int_equal(logs_bytes(dir), log_size());
}

static void folder_without_a_store_has_none(void **state)
{
    struct logs_report report;
    (void)state;
    assert_int_equal(logs_check("/tmp/skein-there-is-no-such-folder", &report, error),
                     RC_NOT_FOUND);
}

static void log_may_be_cut_anywhere(void **state)
{
    struct logs_report report;
    long size = log_size(), each = size / RECORDS;
    (void)state;
    for (long cut = 1; cut < 3 * each; cut++) {
        assert_int_equal(truncate(path, size - cut), 0);
        assert_int_equal(logs_check(dir, &report, error), RC_OK);
        assert_int_equal(report.records, (size - cut) / each);
        assert_int_equal(report.torn_bytes, (size - cut) % each);
    }
}

static void wrong_bit_with_records_behind_it_is_damage(void **state)
{
    struct logs_report report;
    long each = log_size() / RECORDS;
    (void)state;
    for (long at = 40 * each; at < 41 * each; at++) {
        flip(at);
        assert_int_equal(logs_check(dir, &report, error), RC_INVALID);
        assert_int_equal(report.fault, LOGS_RECORDS);
        flip(at);
    }
    assert_int_equal(logs_check(dir, &report, error), RC_OK);
}

static void wrong_bit_in_the_last_record_is_a_torn_end(void **state)
{
    struct logs_report report;
    (void)state;
    flip(log_size() - 1);
    assert_int_equal(logs_check(dir, &report, error), RC_OK);
    assert_int_equal(report.records, RECORDS - 1);
    assert_int_equal(report.torn_bytes, log_size() / RECORDS);
}

struct losses {
    struct logs_mending mending; /* first */
    struct logs_loss all[LOSSES_MAX];
    int count;
};

static void on_loss(struct logs_mending *mending, const struct logs_loss *loss)
{
    struct losses *losses = (struct losses *)mending;
    assert_true(losses->count < LOSSES_MAX);
    losses->all[losses->count++] = *loss;
}

static void mended_log_lacks_what_was_damaged(void **state)
{
    struct logs_report report;
    struct losses losses = {.mending.lost = on_loss};
    long each = log_size() / RECORDS;
    (void)state;
    flip(10 * each + 4);
    flip(50 * each);
    flip(51 * each + 30);
    assert_int_equal(logs_mend(dir, &losses.mending, error), RC_OK);
    assert_int_equal(losses.count, 2);
    assert_int_equal(losses.all[0].at, 10 * each);
    assert_int_equal(losses.all[0].changes, 1);
    assert_int_equal(losses.all[1].at, 50 * each);
    assert_int_equal(losses.all[1].changes, 2);
    assert_int_equal(log_size(), (RECORDS - 3) * each);
    assert_int_equal(logs_check(dir, &report, error), RC_INVALID); /* their numbers are missing */
}

/* ---- a manifest that was cut ---------------------------------------------------------------- */

static long cut_last_record(char manifest[128])
{
    long ends[2] = {0}, at = 0, size;
    uint8_t head[7];
    for (int number = 1; number < 100; number++) {
        snprintf(manifest, 128, "%s/MANIFEST-%06d", dir, number);
        if (access(manifest, F_OK) == 0)
            break;
    }
    FILE *file = fopen(manifest, "re");
    assert_non_null(file);
    while (fseek(file, at, SEEK_SET) == 0 && fread(head, sizeof(head), 1, file) == 1) {
        ends[0] = ends[1];
        at += (long)sizeof(head) + (head[4] | head[5] << 8);
        ends[1] = at;
    }
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    fclose(file);
    assert_int_equal(size, ends[1]);
    assert_true(ends[0] > 0);
    assert_int_equal(truncate(manifest, ends[0]), 0);
    return ends[0];
}

static void manifest_that_has_lost_whole_records_since_an_orderly_end_is_damaged(void **state)
{
    struct logs_report report;
    char manifest[128], expected[64];
    (void)state;
    logs_note_end(dir);
    assert_int_equal(logs_check(dir, &report, error), RC_OK);
    snprintf(expected, sizeof(expected), "damaged behind byte %ld", cut_last_record(manifest));
    assert_int_equal(logs_check(dir, &report, error), RC_INVALID);
    assert_int_equal(report.fault, LOGS_MANIFEST);
    assert_non_null(strstr(error, expected));
}

static void note_of_another_manifest_tells_nothing(void **state)
{
    struct logs_report report;
    char note[128];
    (void)state;
    snprintf(note, sizeof(note), "%s/MANIFEST_END", dir);
    FILE *file = fopen(note, "we");
    assert_non_null(file);
    fprintf(file, "MANIFEST-999999 100000000\n");
    fclose(file);
    assert_int_equal(logs_check(dir, &report, error), RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log_that_is_whole_is_good, set_up, tear_down),
        cmocka_unit_test(folder_without_a_store_has_none),
        cmocka_unit_test_setup_teardown(log_may_be_cut_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_bit_with_records_behind_it_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(wrong_bit_in_the_last_record_is_a_torn_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            manifest_that_has_lost_whole_records_since_an_orderly_end_is_damaged, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(note_of_another_manifest_tells_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mended_log_lacks_what_was_damaged, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
