/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says of its groups while homes/ and the broker do not agree yet. */
#include "cluster/inside.h"
#include "homes/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ALL = (1 << CLUSTER_GROUPS) - 1, LAST = CLUSTER_GROUPS - 1 };

/* A node that is not started: homes/ says what a test makes it say. */
struct node {
    struct cluster cluster;
    struct roads *roads[1];
};

static void ignore_road(void *owner, uint32_t worker, uint32_t remote, uint32_t serial)
{
    (void)owner;
    (void)worker;
    (void)remote;
    (void)serial;
}

static const struct roads_ops roads_ops = {.opened = ignore_road, .lost = ignore_road};

/* By homes/ it is home of all groups. */
static int set_up(void **state)
{
    struct node *n = calloc(1, sizeof(*n));
    struct homes_options options = {.cluster = "c", .node = "a", .data_dir = "/nonexistent"};
    assert_non_null(n);
    n->cluster.homes = homes_new(&options);
    n->roads[0] = roads_new(0, &roads_ops, &n->cluster);
    n->cluster.roads = n->roads;
    for (uint32_t i = 0; i < CLUSTER_GROUPS; i++)
        n->cluster.homes->news.groups[i] = (struct homes_group_news){
            .part = HOMES_IS_HOME, .epoch = 100 + i, .sequence = 1000 + i};
    *state = n;
    return 0;
}

static int tear_down(void **state)
{
    struct node *n = *state;
    roads_free(n->roads[0]);
    homes_free(n->cluster.homes);
    free(n);
    return 0;
}

/* The broker serves these groups' sessions. */
static struct homes_news news_when_serving(struct node *n, uint32_t groups)
{
    struct homes_news news;
    atomic_store(&roads_remote(n->roads[0])->serving, groups);
    own_news(&n->cluster, &news);
    return news;
}

static void home_of_what_it_serves_is_what_a_node_says_to_be(void **state)
{
    struct homes_news news = news_when_serving(*state, ALL);
    for (uint32_t i = 0; i < CLUSTER_GROUPS; i++) {
        assert_int_equal(news.groups[i].part, HOMES_IS_HOME);
        assert_int_equal(news.groups[i].epoch, 100 + i);
    }
}

static void group_that_is_being_left_is_not_said_to_have_its_home_here(void **state)
{
    for (uint32_t left = 0; left < CLUSTER_GROUPS; left++) {
        struct homes_news news = news_when_serving(*state, ALL & ~(1U << left));
        for (uint32_t i = 0; i < CLUSTER_GROUPS; i++)
            assert_int_equal(news.groups[i].part, i == left ? HOMES_NO_PART : HOMES_IS_HOME);
    }
}

/* Others go on counting on how far it has got, and homes/ still knows what it is. */
static void only_the_part_in_a_group_that_is_being_left_is_said_otherwise(void **state)
{
    struct node *n = *state;
    struct homes_news news = news_when_serving(n, ALL & ~(1U << LAST)), known;
    assert_int_equal(news.groups[LAST].part, HOMES_NO_PART);
    assert_int_equal(news.groups[LAST].epoch, 100 + LAST);
    assert_int_equal(news.groups[LAST].sequence, 1000 + LAST);
    homes_news(n->cluster.homes, &known);
    assert_int_equal(known.groups[LAST].part, HOMES_IS_HOME);
}

static void who_is_no_home_says_its_part_though_it_serves_nothing(void **state)
{
    static const enum homes_part parts[] = {HOMES_NO_PART, HOMES_FOLLOWS, HOMES_LACKS,
                                            HOMES_COPIES};
    struct node *n = *state;
    for (uint32_t i = 0; i < 4; i++)
        n->cluster.homes->news.groups[i].part = (uint8_t)parts[i];
    struct homes_news news = news_when_serving(n, 0);
    for (uint32_t i = 0; i < CLUSTER_GROUPS; i++)
        assert_int_equal(news.groups[i].part, i < 4 ? parts[i] : HOMES_NO_PART);
}

/* It serves before homes/ says so: who would come here now would not be let in. */
static void serving_does_not_make_a_home(void **state)
{
    struct node *n = *state;
    n->cluster.homes->news.groups[3].part = HOMES_FOLLOWS;
    struct homes_news news = news_when_serving(n, ALL);
    assert_int_equal(news.groups[3].part, HOMES_FOLLOWS);
}

#define RULE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(home_of_what_it_serves_is_what_a_node_says_to_be),
        RULE(group_that_is_being_left_is_not_said_to_have_its_home_here),
        RULE(only_the_part_in_a_group_that_is_being_left_is_said_otherwise),
        RULE(who_is_no_home_says_its_part_though_it_serves_nothing),
        RULE(serving_does_not_make_a_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
