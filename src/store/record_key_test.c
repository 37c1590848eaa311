/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static size_t whole_key(const struct store_key *key, uint8_t out[64])
{
    memcpy(out, key->head, key->head_len);
    if (key->tail.len > 0)
        memcpy(out + key->head_len, key->tail.data, key->tail.len);
    return key->head_len + key->tail.len;
}

static void key_says(struct store_key key, struct record_key wanted)
{
    uint8_t bytes[64];
    struct record_key parsed;
    size_t len = whole_key(&key, bytes);
    assert_true(record_key_parse(bytes_of(bytes, len), &parsed));
    assert_int_equal(parsed.shard, wanted.shard);
    assert_int_equal(parsed.kind, wanted.kind);
    assert_int_equal(parsed.number, wanted.number);
    assert_int_equal(parsed.sequence, wanted.sequence);
    assert_true(bytes_equal(parsed.text, wanted.text));
}

static void key_of_each_kind_is_read_as_it_was_made(void **state)
{
    (void)state;
    const uint64_t big = 0xF102030405060708;
    struct bytes text = bytes_of_str("$share/g/a/+"), none = bytes_of_str("");
    static const enum record_kind numbered[] = {RECORD_SESSION, RECORD_WILL, RECORD_OUTBOX,
                                                RECORD_SHARED};
    for (size_t i = 0; i < sizeof(numbered) / sizeof(numbered[0]); i++)
        key_says(record_key_of(258, numbered[i], big),
                 (struct record_key){258, numbered[i], big, 0, none});
    key_says(record_key(SHARD_META, RECORD_META),
             (struct record_key){SHARD_META, RECORD_META, 0, 0, none});
    key_says(record_key_queued(3, big, big + 1),
             (struct record_key){3, RECORD_QUEUED, big, big + 1, none});
    key_says(record_key_received(3, big, 65535),
             (struct record_key){3, RECORD_RECEIVED, big, 65535, none});
    key_says(record_key_high_water(3, 511),
             (struct record_key){3, RECORD_HIGH_WATER, 0, 511, none});
    key_says(record_key_subscription(3, big, text),
             (struct record_key){3, RECORD_SUBSCRIPTION, big, 0, text});
    key_says(record_key_testament(3, big, text),
             (struct record_key){3, RECORD_TESTAMENT, big, 0, text});
    key_says(record_key_retained(3, text), (struct record_key){3, RECORD_RETAINED, 0, 0, text});
    key_says(record_key_retained(3, bytes_of_str("12345678")), /* as long as a number */
             (struct record_key){3, RECORD_RETAINED, 0, 0, bytes_of_str("12345678")});
}

static int compare_keys(struct store_key a, struct store_key b)
{
    uint8_t left[64], right[64];
    size_t left_len = whole_key(&a, left), right_len = whole_key(&b, right);
    int order = memcmp(left, right, left_len < right_len ? left_len : right_len);
    return order != 0 ? order : (left_len > right_len) - (left_len < right_len);
}

static void keys_sort_as_their_numbers(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {
        0, 1, 2, 255, 256, 65535, 65536, 0xFFFFFFFF, 0x100000000, UINT64_MAX - 1, UINT64_MAX};
    enum { COUNT = sizeof(numbers) / sizeof(numbers[0]) };
    for (size_t i = 1; i < COUNT; i++) {
        uint64_t low = numbers[i - 1], high = numbers[i];
        assert_true(compare_keys(record_key_of(1, RECORD_SESSION, low),
                                 record_key_of(1, RECORD_SESSION, high)) < 0);
        assert_true(compare_keys(record_key_queued(1, 7, low), record_key_queued(1, 7, high)) < 0);
        assert_true(
            compare_keys(record_key_queued(1, low, UINT64_MAX), record_key_queued(1, high, 0)) < 0);
    }
    for (uint32_t shard = 0; shard < SHARD_META; shard++)
        assert_true(compare_keys(record_key_of(shard, RECORD_WILL, UINT64_MAX),
                                 record_key_of(shard + 1, RECORD_SESSION, 0)) < 0);
    for (uint16_t id = 0; id < UINT16_MAX; id++)
        assert_true(compare_keys(record_key_received(1, 7, id),
                                 record_key_received(1, 7, (uint16_t)(id + 1))) < 0);
}

static void key_end_is_behind_all_that_begin_with_the_key(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 7, 255, 0xFFFF, 0xFFFFFFFFFFFF, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct store_key all = record_key_of(5, RECORD_QUEUED, numbers[i]);
        struct store_key end = record_key_end(&all);
        assert_true(compare_keys(record_key_queued(5, numbers[i], UINT64_MAX), end) < 0);
        if (numbers[i] < UINT64_MAX)
            assert_true(compare_keys(end, record_key_queued(5, numbers[i] + 1, 0)) <= 0);
        else
            assert_true(compare_keys(end, record_key(5, RECORD_QUEUED + 1)) <= 0);
    }
}

static void key_that_is_none_is_refused(void **state)
{
    (void)state;
    struct record_key parsed;
    uint8_t key[64];
    struct store_key queued = record_key_queued(1, 2, 3);
    size_t len = whole_key(&queued, key);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(record_key_parse(bytes_of(key, cut), &parsed));
    assert_false(record_key_parse(bytes_of(key, len + 1), &parsed));
    assert_true(record_key_parse(bytes_of(key, len), &parsed));
    key[11] = 1; /* between the numbers */
    assert_false(record_key_parse(bytes_of(key, len), &parsed));
    struct store_key filter = record_key_subscription(1, 2, bytes_of_str(""));
    len = whole_key(&filter, key);
    assert_true(record_key_parse(bytes_of(key, len), &parsed));
    assert_false(record_key_parse(bytes_of(key, len - 1), &parsed));
    for (int kind = 0; kind < 256; kind++) {
        key[2] = (uint8_t)kind;
        if (record_key_parse(bytes_of(key, 3), &parsed))
            assert_true(kind == RECORD_META || kind == RECORD_RETAINED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_of_each_kind_is_read_as_it_was_made),
        cmocka_unit_test(keys_sort_as_their_numbers),
        cmocka_unit_test(key_end_is_behind_all_that_begin_with_the_key),
        cmocka_unit_test(key_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
