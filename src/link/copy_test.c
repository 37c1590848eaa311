/* SPDX-License-Identifier: Apache-2.0 */
#include "link/copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct copy_ask some_ask(void)
{
    return (struct copy_ask){.format = COPY_FORMAT,
                             .cluster = bytes_of_str("0123456789abcdef"),
                             .group = 15,
                             .groups = 16,
                             .shards = 64};
}

static void ask_is_read_as_it_was_written(void **state)
{
    struct copy_ask ask = some_ask(), read;
    uint8_t body[COPY_ASK_MAX];
    (void)state;
    assert_true(copy_ask_read(bytes_of(body, copy_ask_write(&ask, body)), &read));
    assert_int_equal(read.format, COPY_FORMAT);
    assert_true(bytes_equal(read.cluster, ask.cluster));
    assert_int_equal(read.group, 15);
    assert_int_equal(read.groups, 16);
    assert_int_equal(read.shards, 64);
}

static void ask_of_another_length_or_group_is_malformed(void **state)
{
    struct copy_ask ask = some_ask(), read;
    uint8_t body[COPY_ASK_MAX + 1] = {0};
    (void)state;
    size_t whole = copy_ask_write(&ask, body);
    for (size_t len = 0; len <= whole + 1; len++)
        if (len != whole)
            assert_false(copy_ask_read(bytes_of(body, len), &read));
    ask.group = 16;
    assert_false(copy_ask_read(bytes_of(body, copy_ask_write(&ask, body)), &read));
    ask = some_ask();
    ask.shards = 8;
    assert_false(copy_ask_read(bytes_of(body, copy_ask_write(&ask, body)), &read));
}

static void ask_of_another_format_is_told_by_its_first_byte(void **state)
{
    const uint8_t body[] = {COPY_FORMAT + 1};
    struct copy_ask read;
    (void)state;
    assert_true(copy_ask_read(bytes_of(body, sizeof(body)), &read));
    assert_int_equal(read.format, COPY_FORMAT + 1);
}

static void chunk_whose_bytes_have_changed_is_refused(void **state)
{
    uint8_t body[COPY_CHUNK_HEAD + 3];
    struct bytes records;
    uint32_t number;
    (void)state;
    memcpy(body + COPY_CHUNK_HEAD, "abc", 3);
    copy_chunk_write(7, bytes_of_str("abc"), body);
    assert_true(copy_chunk_read(bytes_of(body, sizeof(body)), &number, &records));
    assert_int_equal(number, 7);
    assert_true(bytes_equal(records, bytes_of_str("abc")));
    for (size_t len = 0; len < sizeof(body); len++)
        assert_false(copy_chunk_read(bytes_of(body, len), &number, &records));
    body[COPY_CHUNK_HEAD] ^= 0x10;
    assert_false(copy_chunk_read(bytes_of(body, sizeof(body)), &number, &records));
}

static void credit_and_end_are_read_as_they_were_written(void **state)
{
    uint8_t body[COPY_END_SIZE];
    uint32_t chunks;
    uint64_t bytes;
    (void)state;
    copy_credit_write(9, body);
    assert_true(copy_credit_read(bytes_of(body, COPY_CREDIT_SIZE), &chunks));
    assert_int_equal(chunks, 9);
    assert_false(copy_credit_read(bytes_of(body, COPY_CREDIT_SIZE - 1), &chunks));
    copy_end_write(11, UINT64_C(1) << 40, body);
    assert_true(copy_end_read(bytes_of(body, COPY_END_SIZE), &chunks, &bytes));
    assert_int_equal(chunks, 11);
    assert_int_equal(bytes, UINT64_C(1) << 40);
    assert_false(copy_end_read(bytes_of(body, COPY_END_SIZE - 1), &chunks, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ask_is_read_as_it_was_written),
        cmocka_unit_test(ask_of_another_length_or_group_is_malformed),
        cmocka_unit_test(ask_of_another_format_is_told_by_its_first_byte),
        cmocka_unit_test(chunk_whose_bytes_have_changed_is_refused),
        cmocka_unit_test(credit_and_end_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
