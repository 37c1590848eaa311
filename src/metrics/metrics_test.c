/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct metrics metrics;

static int two_shards(void **state)
{
    (void)state;
    metrics_init(&metrics, 2);
    return 0;
}

static int no_shards(void **state)
{
    (void)state;
    metrics_deinit(&metrics);
    return 0;
}

static void counter_is_the_sum_of_all_shards(void **state)
{
    (void)state;
    metric_add(metrics_shard_get(&metrics, 0), METRIC_PUBLISH_RECEIVED, 5);
    metric_inc(metrics_shard_get(&metrics, 1), METRIC_PUBLISH_RECEIVED);

    assert_int_equal(metrics_read(&metrics, METRIC_PUBLISH_RECEIVED), 6);
    assert_int_equal(metrics_read(&metrics, METRIC_PUBLISH_SENT), 0);
}

static void gauge_may_rise_in_one_shard_and_fall_in_another(void **state)
{
    (void)state;
    metric_add(metrics_shard_get(&metrics, 0), METRIC_CONNECTIONS_CURRENT, 3);
    metric_dec(metrics_shard_get(&metrics, 1), METRIC_CONNECTIONS_CURRENT);
    metric_sub(metrics_shard_get(&metrics, 1), METRIC_CONNECTIONS_CURRENT, 1);

    assert_int_equal(metrics_read(&metrics, METRIC_CONNECTIONS_CURRENT), 1);
}

static void gauge_read_in_the_middle_of_a_move_is_never_negative(void **state)
{
    (void)state;
    metric_dec(metrics_shard_get(&metrics, 1), METRIC_CONNECTIONS_CURRENT);

    assert_int_equal(metrics_read(&metrics, METRIC_CONNECTIONS_CURRENT), 0);
}

static void snapshot_holds_every_metric(void **state)
{
    struct metrics_snapshot snapshot;
    (void)state;

    for (uint32_t i = 0; i < METRIC_COUNT; i++)
        metric_add(metrics_shard_get(&metrics, i % 2), (enum metric)i, i + 1);
    metrics_read_all(&metrics, &snapshot);

    for (uint32_t i = 0; i < METRIC_COUNT; i++)
        assert_int_equal(snapshot.values[i], i + 1);
}

static void every_metric_has_its_own_name_a_unit_and_a_sentence(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *info = metric_info_get((enum metric)i);
        size_t len = strlen(info->help);
        assert_true(strspn(info->name, "abcdefghijklmnopqrstuvwxyz0123456789_") ==
                    strlen(info->name));
        assert_true(info->unit[0] != '\0');
        assert_true(len > 10 && info->help[len - 1] == '.');
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(info->name, metric_info_get((enum metric)j)->name);
    }
}

static void distribution_adds_up_the_shards(void **state)
{
    struct histogram_sum sum;
    (void)state;

    metric_record(metrics_shard_get(&metrics, 0), HISTOGRAM_TURN_NS, 10);
    metric_record(metrics_shard_get(&metrics, 1), HISTOGRAM_TURN_NS, 20);
    metrics_read_histogram(&metrics, HISTOGRAM_TURN_NS, &sum);

    assert_int_equal(sum.count, 2);
    assert_int_equal(sum.sum, 30);
    assert_int_equal(sum.max, 20);
}

#define RULE(function) cmocka_unit_test_setup_teardown(function, two_shards, no_shards)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(counter_is_the_sum_of_all_shards),
        RULE(gauge_may_rise_in_one_shard_and_fall_in_another),
        RULE(gauge_read_in_the_middle_of_a_move_is_never_negative),
        RULE(snapshot_holds_every_metric),
        RULE(every_metric_has_its_own_name_a_unit_and_a_sentence),
        RULE(distribution_adds_up_the_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
