/* SPDX-License-Identifier: Apache-2.0 */
#include "model/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct bytes text(const char *s)
{
    return bytes_of_str(s);
}

static void topic_name_is_not_empty_and_has_no_wildcards(void **state)
{
    (void)state;
    assert_false(topic_name_valid(text("")));
    assert_false(topic_name_valid(text("a/+/b")));
    assert_false(topic_name_valid(text("a/#")));
    assert_false(topic_name_valid(bytes_of("a\0b", 3)));
    assert_true(topic_name_valid(text("/")));
    assert_true(topic_name_valid(text("a b//c")));
    assert_true(topic_name_valid(text("Gr\xC3\xBC\xC3\x9F"
                                      "e/$x")));
}

/* Every byte value at every place of names of every length, in memory of exactly that size. */
static void topic_name_quick_test_agrees_with_the_rules(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 25; len++) {
        uint8_t *name = malloc(len);
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(name, 'a' + (int)(at % 5), len);
                name[at] = (uint8_t)c;
                bool valid = c != 0 && c != '+' && c != '#';
                assert_int_equal(topic_name_valid(bytes_of(name, len)), valid);
                assert_int_equal(topic_name_is_plain(bytes_of(name, len)), valid && c < 0x80);
            }
        }
        free(name);
    }
    assert_false(topic_name_is_plain(bytes_of("", 0)));
    assert_false(topic_name_is_plain(bytes_of(NULL, 0)));
}

static void topic_filter_has_wildcards_only_as_whole_levels(void **state)
{
    static const char *const good[] = {"#",  "+",       "/",    "a",     "a/#",   "+/#",
                                       "/+", "+/+/a/#", "a//#", "a/+/b", "$SYS/#"};
    static const char *const bad[] = {"",   "a#",     "#/a", "a/#/b", "a+",
                                      "+a", "a/b+/c", "##",  "++",    "a/#b"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(topic_filter_valid(text(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(topic_filter_valid(text(bad[i])));
    assert_false(topic_filter_valid(bytes_of("a\0/b", 4)));
}

static void topic_filter_has_wildcard_finds_either(void **state)
{
    (void)state;
    assert_true(topic_filter_has_wildcard(text("a/+/b")));
    assert_true(topic_filter_has_wildcard(text("a/#")));
    assert_false(topic_filter_has_wildcard(text("a/b")));
}

static void topic_levels_are_separated_by_slashes(void **state)
{
    struct topic_cursor cursor = topic_cursor_of(text("a//bc/"));
    struct bytes level;
    (void)state;
    assert_int_equal(topic_levels(text("a//bc/")), 4);
    assert_int_equal(topic_levels(text("/")), 2);
    assert_int_equal(topic_levels(text("a")), 1);
    assert_true(topic_next_level(&cursor, &level) && bytes_equal(level, text("a")));
    assert_true(topic_next_level(&cursor, &level) && bytes_equal(level, text("")));
    assert_true(topic_next_level(&cursor, &level) && bytes_equal(level, text("bc")));
    assert_true(topic_next_level(&cursor, &level) && bytes_equal(level, text("")));
    assert_false(topic_next_level(&cursor, &level));
}

struct match {
    const char *filter, *name;
    bool matches;
};

static void topic_matches_as_section_4_7_says(void **state)
{
    static const struct match cases[] = {
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/#", "sport", true},
        {"sport/#", "sports", false},
        {"#", "a/b/c", true},
        {"#", "/", true},
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+", "/finance", false},
        {"+", "finance", true},
        {"a/b", "a/b", true},
        {"a/b", "a/b/", false},
        {"a/b/", "a/b", false},
        {"A", "a", false},
        {"a//b", "a//b", true},
        {"a/+/b", "a//b", true},
        {"+/b/#", "a/b", true},
        {"#", "$SYS/uptime", false},
        {"+/uptime", "$SYS/uptime", false},
        {"$SYS/#", "$SYS/uptime", true},
        {"$SYS/+", "$SYS/uptime", true},
        {"+/$SYS", "a/$SYS", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bool matches = topic_matches(text(cases[i].filter), text(cases[i].name));
        if (matches != cases[i].matches)
            fail_msg("'%s' against '%s'", cases[i].filter, cases[i].name);
    }
}

static void topic_share_parse_splits_name_and_filter(void **state)
{
    struct bytes name, inner;
    (void)state;
    assert_int_equal(topic_share_parse(text("$share/group/a/+/b"), &name, &inner), SHARE_OK);
    assert_true(bytes_equal(name, text("group")));
    assert_true(bytes_equal(inner, text("a/+/b")));
    assert_int_equal(topic_share_parse(text("$share/g//"), &name, &inner), SHARE_OK);
    assert_true(bytes_equal(inner, text("/")));
}

static void topic_share_parse_leaves_ordinary_filters_alone(void **state)
{
    struct bytes name, inner;
    (void)state;
    assert_int_equal(topic_share_parse(text("a/b"), &name, &inner), SHARE_NONE);
    assert_int_equal(topic_share_parse(text("$share"), &name, &inner), SHARE_NONE);
    assert_int_equal(topic_share_parse(text("$shared/a/b"), &name, &inner), SHARE_NONE);
    assert_int_equal(topic_share_parse(text("$SHARE/a/b"), &name, &inner), SHARE_NONE);
}

static void topic_share_parse_refuses_bad_share_names(void **state)
{
    struct bytes name, inner;
    (void)state;
    assert_int_equal(topic_share_parse(text("$share/"), &name, &inner), SHARE_INVALID);
    assert_int_equal(topic_share_parse(text("$share/group"), &name, &inner), SHARE_INVALID);
    assert_int_equal(topic_share_parse(text("$share/group/"), &name, &inner), SHARE_INVALID);
    assert_int_equal(topic_share_parse(text("$share//a"), &name, &inner), SHARE_INVALID);
    assert_int_equal(topic_share_parse(text("$share/g+/a"), &name, &inner), SHARE_INVALID);
    assert_int_equal(topic_share_parse(text("$share/#/a"), &name, &inner), SHARE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_name_is_not_empty_and_has_no_wildcards),
        cmocka_unit_test(topic_name_quick_test_agrees_with_the_rules),
        cmocka_unit_test(topic_filter_has_wildcards_only_as_whole_levels),
        cmocka_unit_test(topic_filter_has_wildcard_finds_either),
        cmocka_unit_test(topic_levels_are_separated_by_slashes),
        cmocka_unit_test(topic_matches_as_section_4_7_says),
        cmocka_unit_test(topic_share_parse_splits_name_and_filter),
        cmocka_unit_test(topic_share_parse_leaves_ordinary_filters_alone),
        cmocka_unit_test(topic_share_parse_refuses_bad_share_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
