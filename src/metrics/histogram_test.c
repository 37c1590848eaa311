/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void bucket_of_a_small_value_is_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 2 * HISTOGRAM_SUB; value++)
        assert_int_equal(histogram_bucket_top(histogram_bucket(value)), value);
}

static void bucket_top_is_at_most_a_thirty_second_above_the_value(void **state)
{
    (void)state;
    for (uint64_t value = 1; value < 1ULL << 41; value += 1 + value / 7) {
        uint64_t top = histogram_bucket_top(histogram_bucket(value));
        assert_true(top >= value);
        assert_true(top - value <= value / HISTOGRAM_SUB);
    }
}

static void buckets_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    for (uint32_t i = 0; i + 2 < HISTOGRAM_BUCKETS; i++)
        assert_int_equal(histogram_bucket(histogram_bucket_top(i) + 1), i + 1);
}

static void value_too_large_counts_in_the_last_bucket(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(1ULL << HISTOGRAM_TOP_BITS), HISTOGRAM_BUCKETS - 1);
    assert_true(histogram_bucket_top(HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
}

static void quantile_of_nothing_is_zero(void **state)
{
    static struct histogram_sum sum;
    (void)state;
    assert_int_equal(histogram_quantile(&sum, 0.5), 0);
}

static void quantile_is_near_the_truth_and_never_above_the_maximum(void **state)
{
    static struct histogram histogram;
    static struct histogram_sum sum;
    (void)state;

    for (uint64_t value = 1; value <= 100000; value++)
        histogram_record(&histogram, value);
    histogram_collect(&histogram, &sum);

    uint64_t median = histogram_quantile(&sum, 0.5), p99 = histogram_quantile(&sum, 0.99);
    assert_true(median >= 50000 && median <= 50000 + 50000 / 32);
    assert_true(p99 >= 99000 && p99 <= 100000);
    assert_int_equal(histogram_quantile(&sum, 1.0), 100000);
    assert_int_equal(histogram_quantile(&sum, 0.0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_of_a_small_value_is_exact),
        cmocka_unit_test(bucket_top_is_at_most_a_thirty_second_above_the_value),
        cmocka_unit_test(buckets_follow_each_other_without_a_gap),
        cmocka_unit_test(value_too_large_counts_in_the_last_bucket),
        cmocka_unit_test(quantile_of_nothing_is_zero),
        cmocka_unit_test(quantile_is_near_the_truth_and_never_above_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
