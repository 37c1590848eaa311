/* SPDX-License-Identifier: Apache-2.0 */
#include "config/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void distance_counts_each_kind_of_mistake_once(void **state)
{
    (void)state;
    assert_int_equal(edit_distance("port", "port"), 0);
    assert_int_equal(edit_distance("prt", "port"), 1);   /* one left out */
    assert_int_equal(edit_distance("poort", "port"), 1); /* one too many */
    assert_int_equal(edit_distance("bort", "port"), 1);  /* another one */
    assert_int_equal(edit_distance("oprt", "port"), 1);  /* two swapped */
    assert_int_equal(edit_distance("PORT", "port"), 0);  /* case */
    assert_int_equal(edit_distance("", "port"), 4);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
}

static void distance_of_a_word_that_is_too_long_is_infinite(void **state)
{
    char word[NEAREST_WORD_MAX + 2];
    (void)state;

    memset(word, 'a', sizeof(word));
    word[NEAREST_WORD_MAX] = '\0';
    assert_int_equal(edit_distance(word, word), 0);
    word[NEAREST_WORD_MAX] = 'a';
    word[NEAREST_WORD_MAX + 1] = '\0';
    assert_true(edit_distance(word, "a") == UINT32_MAX);
}

static const char *nearest_of_three(const char *word)
{
    struct nearest nearest = nearest_begin(word);

    nearest_offer(&nearest, "connections", "connections");
    nearest_offer(&nearest, "sessions", "sessions");
    nearest_offer(&nearest, "qos", "qos");
    return nearest_get(&nearest);
}

static void nearest_is_the_candidate_with_the_fewest_mistakes(void **state)
{
    (void)state;
    assert_string_equal(nearest_of_three("conections"), "connections");
    assert_string_equal(nearest_of_three("sesions"), "sessions");
    assert_string_equal(nearest_of_three("qso"), "qos");
}

static void nearest_is_nothing_when_too_much_differs(void **state)
{
    (void)state;
    assert_null(nearest_of_three("port"));
    assert_null(nearest_of_three("abc"));
    assert_null(nearest_of_three(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_counts_each_kind_of_mistake_once),
        cmocka_unit_test(distance_of_a_word_that_is_too_long_is_infinite),
        cmocka_unit_test(nearest_is_the_candidate_with_the_fewest_mistakes),
        cmocka_unit_test(nearest_is_nothing_when_too_much_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
