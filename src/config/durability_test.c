/* SPDX-License-Identifier: Apache-2.0 */
/* Durability of listeners and of topics. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct config config;

static void read_good(const char *yaml)
{
    struct config_error error = {.text = ""};
    bool good = config_read_text(&config, yaml, strlen(yaml), "skein.yaml", &error);
    assert_string_equal(error.text, "");
    assert_true(good);
}

static void expect_error(const char *yaml, const char *text)
{
    struct config_error error = {.text = ""};
    assert_false(config_read_text(&config, yaml, strlen(yaml), "skein.yaml", &error));
    assert_string_equal(error.text, text);
}

static void listener_without_a_durability_has_the_global_one(void **state)
{
    (void)state;
    read_good("durability: interval\n"
              "listeners:\n"
              "  - address: 127.0.0.1:1\n"
              "  - {address: 127.0.0.1:2, durability: memory}\n"
              "  - {address: 127.0.0.1:3, durability: fsync}\n");
    assert_int_equal(config_listener_durability(&config, 0), DURABILITY_INTERVAL);
    assert_int_equal(config_listener_durability(&config, 1), DURABILITY_MEMORY);
    assert_int_equal(config_listener_durability(&config, 2), DURABILITY_FSYNC);
}

static void topics_keep_their_order(void **state)
{
    (void)state;
    read_good("durability_topics:\n"
              "  - {filter: a/+, durability: memory}\n"
              "  - filter: \"#\"\n"
              "    durability: interval\n");
    assert_int_equal(config.durability_topic_count, 2);
    assert_string_equal(config.durability_topics[0].filter, "a/+");
    assert_int_equal(config.durability_topics[0].durability, DURABILITY_MEMORY);
    assert_string_equal(config.durability_topics[1].filter, "#");
    assert_int_equal(config.durability_topics[1].durability, DURABILITY_INTERVAL);
}

static void list_of_topics_may_be_empty_and_replaces_the_one_before(void **state)
{
    struct config_error error;
    (void)state;
    read_good("durability_topics: [{filter: a, durability: memory}]\n");
    assert_true(config_set(&config, "durability_topics=[]", &error));
    assert_int_equal(config.durability_topic_count, 0);
}

static void strictest_is_found_wherever_it_stands(void **state)
{
    (void)state;
    read_good("durability: memory\n");
    assert_int_equal(config_strictest_durability(&config), DURABILITY_MEMORY);
    read_good("durability: memory\ndurability_topics: [{filter: a, durability: interval}]\n");
    assert_int_equal(config_strictest_durability(&config), DURABILITY_INTERVAL);
    read_good("durability: memory\n"
              "listeners: [{address: 127.0.0.1:1}, {address: 127.0.0.1:2, durability: fsync}]\n"
              "durability_topics: [{filter: a, durability: interval}]\n");
    assert_int_equal(config_strictest_durability(&config), DURABILITY_FSYNC);
    read_good("durability: interval\n"
              "listeners: [{address: 127.0.0.1:1, durability: memory}]\n");
    assert_int_equal(config_strictest_durability(&config), DURABILITY_INTERVAL);
}

static void each_durability_has_a_name_and_a_promise(void **state)
{
    (void)state;
    assert_string_equal(config_durability_name(DURABILITY_FSYNC), "fsync");
    assert_string_equal(config_durability_name(DURABILITY_INTERVAL), "interval");
    assert_string_equal(config_durability_name(DURABILITY_MEMORY), "memory");
    assert_string_equal(config_durability_promise(DURABILITY_FSYNC),
                        "what was acknowledged survives a loss of power");
}

static void listener_with_an_unknown_durability_is_refused(void **state)
{
    (void)state;
    expect_error("listeners:\n  - address: 127.0.0.1:1\n    durability: disk\n",
                 "skein.yaml:3: listeners[0].durability: expected one of memory, interval, fsync, "
                 "got 'disk'");
}

static void topics_that_are_no_list_are_refused(void **state)
{
    (void)state;
    expect_error("durability_topics: a/#\n",
                 "skein.yaml:1: durability_topics: expected a list of {filter: TOPIC_FILTER, "
                 "durability: memory, interval or fsync}, got 'a/#'");
    expect_error("durability_topics: [a]\n",
                 "skein.yaml:1: durability_topics[0]: expected {filter: TOPIC_FILTER, durability: "
                 "memory, interval or fsync}, got 'a'");
}

static void topic_without_a_filter_or_a_durability_is_refused(void **state)
{
    (void)state;
    expect_error("durability_topics:\n  - filter: a\n",
                 "skein.yaml:2: durability_topics[0]: durability is missing: expected {filter: "
                 "TOPIC_FILTER, durability: memory, interval or fsync}");
    expect_error("durability_topics:\n  - {filter: a, durability: fsync}\n  - durability: fsync\n",
                 "skein.yaml:3: durability_topics[1]: filter is missing: expected {filter: "
                 "TOPIC_FILTER, durability: memory, interval or fsync}");
}

static void topic_with_what_is_no_filter_is_refused(void **state)
{
    static const char *const wrong[] = {"a#", "a+/b", "\"\"", "$share/g/a", "[a]", "~"};
    static const char *const shown[] = {"'a#'",         "'a+/b'", "''",
                                        "'$share/g/a'", "a list", "nothing"};
    (void)state;
    for (int i = 0; i < 6; i++) {
        char yaml[128], text[256];
        snprintf(yaml, sizeof(yaml), "durability_topics:\n  - filter: %s\n", wrong[i]);
        snprintf(
            text, sizeof(text),
            "skein.yaml:2: durability_topics[0].filter: expected a topic filter of at most 255 "
            "bytes, such as \"sensors/#\", got %s",
            shown[i]);
        expect_error(yaml, text);
    }
}

static void filter_has_a_longest(void **state)
{
    char yaml[512];
    (void)state;
    for (int len = 255; len <= 256; len++) {
        snprintf(yaml, sizeof(yaml), "durability_topics: [{filter: %0*d, durability: fsync}]\n",
                 len, 0);
        struct config_error error;
        assert_int_equal(config_read_text(&config, yaml, strlen(yaml), "skein.yaml", &error),
                         len == 255);
    }
}

static void topics_have_a_most(void **state)
{
    char yaml[8192] = "durability_topics:\n";
    (void)state;
    for (int i = 0; i < CONFIG_DURABILITY_TOPICS_MAX; i++)
        strcat(yaml, " - {filter: a, durability: fsync}\n");
    read_good(yaml);
    assert_int_equal(config.durability_topic_count, CONFIG_DURABILITY_TOPICS_MAX);
    strcat(yaml, " - {filter: a, durability: fsync}\n");
    expect_error(yaml, "skein.yaml:66: durability_topics: expected at most 64 entries");
}

static void keys_of_a_topic_are_known_and_given_once(void **state)
{
    (void)state;
    expect_error("durability_topics:\n  - durabilty: fsync\n",
                 "skein.yaml:2: durability_topics[0]: unknown key 'durabilty'; did you mean "
                 "durability?");
    expect_error("durability_topics:\n  - qos: 1\n",
                 "skein.yaml:2: durability_topics[0]: unknown key 'qos'; expected filter or "
                 "durability");
    expect_error("durability_topics:\n  - filter: a\n    filter: b\n",
                 "skein.yaml:3: durability_topics[0].filter: given twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_without_a_durability_has_the_global_one),
        cmocka_unit_test(topics_keep_their_order),
        cmocka_unit_test(list_of_topics_may_be_empty_and_replaces_the_one_before),
        cmocka_unit_test(strictest_is_found_wherever_it_stands),
        cmocka_unit_test(each_durability_has_a_name_and_a_promise),
        cmocka_unit_test(listener_with_an_unknown_durability_is_refused),
        cmocka_unit_test(topics_that_are_no_list_are_refused),
        cmocka_unit_test(topic_without_a_filter_or_a_durability_is_refused),
        cmocka_unit_test(topic_with_what_is_no_filter_is_refused),
        cmocka_unit_test(filter_has_a_longest),
        cmocka_unit_test(topics_have_a_most),
        cmocka_unit_test(keys_of_a_topic_are_known_and_given_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
