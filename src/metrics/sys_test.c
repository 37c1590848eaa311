/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEN_MAX = 512, MINUTE_MS = 60000 };

/* A tree, metrics of one shard, and what the last update emitted. */
struct fixture {
    struct sys_tree *tree;
    struct metrics metrics;
    struct metrics_shard *shard;
    uint64_t now_ms;
    uint32_t count;
    char topics[SEEN_MAX][96], texts[SEEN_MAX][SYS_TEXT_MAX];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->tree = sys_tree_new();
    metrics_init(&f->metrics, 1);
    f->shard = metrics_shard_get(&f->metrics, 0);
    f->now_ms = 12345;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sys_tree_free(f->tree);
    metrics_deinit(&f->metrics);
    free(f);
    return 0;
}

static void note(void *arg, const char *topic, const char *text)
{
    struct fixture *f = arg;

    assert_true(f->count < SEEN_MAX);
    snprintf(f->topics[f->count], sizeof(f->topics[0]), "%s", topic);
    snprintf(f->texts[f->count++], sizeof(f->texts[0]), "%s", text);
}

static void update(struct fixture *f, uint64_t passed_ms)
{
    f->count = 0;
    f->now_ms += passed_ms;
    struct sys_facts facts = {.version = "1.2.3", .uptime_s = (f->now_ms - 12345) / 1000};
    sys_tree_update(f->tree, &f->metrics, &facts, f->now_ms, note, f);
}

/* What the last update emitted for the topic; NULL: nothing. */
static const char *emitted(const struct fixture *f, const char *topic)
{
    const char *text = NULL;

    for (uint32_t i = 0; i < f->count; i++) {
        if (strcmp(f->topics[i], topic) == 0) {
            assert_null(text);
            text = f->texts[i];
        }
    }
    return text;
}

static void first_update_emits_every_topic_once(void **state)
{
    struct fixture *f = *state;

    update(f, 0);

    assert_string_equal(emitted(f, "$SYS/broker/version"), "skein version 1.2.3");
    assert_string_equal(emitted(f, "$SYS/broker/uptime"), "0 seconds");
    assert_string_equal(emitted(f, "$SYS/broker/clients/connected"), "0");
    assert_string_equal(emitted(f, "$SYS/broker/retained messages/count"), "0");
    assert_string_equal(emitted(f, "$SYS/broker/load/messages/received/1min"), "0.00");
    assert_string_equal(emitted(f, "$SYS/skein/takeovers"), "0");
    assert_string_equal(emitted(f, "$SYS/skein/loop_turn/p99"), "0");
    for (uint32_t i = 0; i < f->count; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(f->topics[i], f->topics[j]);
}

static void later_update_emits_only_what_changed(void **state)
{
    struct fixture *f = *state;

    update(f, 0);
    update(f, 0);
    assert_int_equal(f->count, 0);
    metric_inc(f->shard, METRIC_TAKEOVERS);
    update(f, 0);

    assert_int_equal(f->count, 1);
    assert_string_equal(emitted(f, "$SYS/skein/takeovers"), "1");
}

static void clients_are_told_by_all_their_names(void **state)
{
    struct fixture *f = *state;

    metric_add(f->shard, METRIC_CONNECTIONS_CURRENT, 3);
    metric_add(f->shard, METRIC_SESSIONS_CURRENT, 5);
    update(f, 0);
    assert_string_equal(emitted(f, "$SYS/broker/clients/total"), "5");
    assert_string_equal(emitted(f, "$SYS/broker/clients/connected"), "3");
    assert_string_equal(emitted(f, "$SYS/broker/clients/disconnected"), "2");
    metric_sub(f->shard, METRIC_CONNECTIONS_CURRENT, 2);
    update(f, 0);

    assert_string_equal(emitted(f, "$SYS/broker/clients/connected"), "1");
    assert_null(emitted(f, "$SYS/broker/clients/maximum")); /* stays 3 */
}

static void dropped_messages_are_the_sum_over_all_reasons(void **state)
{
    struct fixture *f = *state;
    uint64_t reasons = 0;
    char expected[SYS_TEXT_MAX];

    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        if (strncmp(metric_info_get((enum metric)i)->name, "publish_dropped_", 16) == 0) {
            metric_inc(f->shard, (enum metric)i);
            reasons++;
        }
    }
    update(f, 0);
    snprintf(expected, sizeof(expected), "%llu", (unsigned long long)reasons);

    assert_true(reasons >= 8);
    assert_string_equal(emitted(f, "$SYS/broker/publish/messages/dropped"), expected);
}

static void load_nears_the_rate_as_minutes_pass(void **state)
{
    struct fixture *f = *state;
    double one, fifteen;

    update(f, 0);
    for (int second = 0; second < 60; second++) {
        metric_add(f->shard, METRIC_PUBLISH_RECEIVED, 10);
        update(f, 1000);
    }
    /* 600 a minute for one minute: 1 - 1/e of it in one window, 1 - e^(-1/15) in the other. */
    one = strtod(emitted(f, "$SYS/broker/load/publish/received/1min"), NULL);
    fifteen = strtod(emitted(f, "$SYS/broker/load/publish/received/15min"), NULL);

    assert_true(one > 379.2 && one < 379.4);
    assert_true(fifteen > 38.6 && fifteen < 38.8);
}

static void load_falls_to_nothing_when_nothing_happens(void **state)
{
    struct fixture *f = *state;

    update(f, 0);
    metric_add(f->shard, METRIC_BYTES_SENT, 1000000);
    update(f, 1000);
    update(f, 120 * (uint64_t)MINUTE_MS);

    assert_string_equal(emitted(f, "$SYS/broker/load/bytes/sent/1min"), "0.00");
}

static void count_topic(void *arg, const char *topic, const char *help)
{
    (void)topic;
    assert_true(help[strlen(help) - 1] == '.');
    ++*(uint32_t *)arg;
}

static void every_broker_topic_is_in_the_reference(void **state)
{
    struct fixture *f = *state;
    uint32_t documented = 0, published = 0;

    sys_topics_each(count_topic, &documented);
    update(f, 0);
    for (uint32_t i = 0; i < f->count; i++) {
        size_t len = strlen(f->topics[i]);
        bool counted_before = strcmp(f->topics[i] + len - 4, "5min") == 0;
        published += strncmp(f->topics[i], "$SYS/broker/", 12) == 0 && !counted_before;
    }

    assert_int_equal(published, documented);
}

#define RULE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(first_update_emits_every_topic_once),
        RULE(later_update_emits_only_what_changed),
        RULE(clients_are_told_by_all_their_names),
        RULE(dropped_messages_are_the_sum_over_all_reasons),
        RULE(load_nears_the_rate_as_minutes_pass),
        RULE(load_falls_to_nothing_when_nothing_happens),
        RULE(every_broker_topic_is_in_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
