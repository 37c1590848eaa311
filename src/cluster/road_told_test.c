/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/road_told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t metric(const struct metrics_shard *shard, enum metric which)
{
    return atomic_load(&shard->values[which]);
}

static void roads_of_two_workers_to_a_node_are_told_as_one(void **state)
{
    struct road_told one = {0}, other = {0};
    struct road_counts sum = {0};
    static struct metrics_shard shard;
    (void)state;
    road_told_sent(&one, &shard, 100);
    road_told_window(&one, &shard, 100);
    road_told_sent(&other, &shard, 50);
    road_told_window(&other, &shard, 50);
    road_told_asked(&one, &shard, 2);
    road_told_asked(&other, &shard, 5);
    road_told_pause(&one, &shard);
    road_told_pause(&other, &shard);
    road_told_unanswered(&other, &shard, 3);
    road_told_add(&one, &sum);
    road_told_add(&other, &sum);
    assert_int_equal(sum.sent, 150);
    assert_int_equal(sum.under_way, 150);
    assert_int_equal(sum.asked, 7);
    assert_int_equal(sum.pauses, 2);
    assert_int_equal(sum.unanswered, 3);
}

static void what_is_under_way_and_asked_goes_down_again_and_the_rest_does_not(void **state)
{
    struct road_told told = {0};
    struct road_counts sum = {0};
    static struct metrics_shard shard;
    (void)state;
    road_told_sent(&told, &shard, 100);
    road_told_window(&told, &shard, 100);
    road_told_asked(&told, &shard, 4);
    road_told_window(&told, &shard, 30);
    road_told_asked(&told, &shard, 1);
    assert_int_equal(metric(&shard, METRIC_ROAD_UNDER_WAY), 30);
    assert_int_equal(metric(&shard, METRIC_ROAD_ASKED), 1);
    road_told_unanswered(&told, &shard, 1); /* the road ends */
    road_told_asked(&told, &shard, 0);
    road_told_window(&told, &shard, 0);
    road_told_add(&told, &sum);
    assert_int_equal(sum.sent, 100);
    assert_int_equal(sum.under_way + sum.asked, 0);
    assert_int_equal(sum.unanswered, 1);
    assert_int_equal(metric(&shard, METRIC_ROAD_BYTES_SENT), 100);
    assert_int_equal(metric(&shard, METRIC_ROAD_UNDER_WAY), 0);
    assert_int_equal(metric(&shard, METRIC_ROAD_ASKED), 0);
    assert_int_equal(metric(&shard, METRIC_ROAD_UNANSWERED), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roads_of_two_workers_to_a_node_are_told_as_one),
        cmocka_unit_test(what_is_under_way_and_asked_goes_down_again_and_the_rest_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
