/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Checks the text alone, behind and before ASCII of every length up to two words, each in memory of
 * exactly its size. */
static void assert_everywhere(bool expected, const char *text, size_t len)
{
    for (size_t before = 0; before <= 17; before++) {
        for (size_t after = 0; after <= 9; after++) {
            size_t size = before + len + after;
            uint8_t *copy = malloc(size == 0 ? 1 : size);
            memset(copy, 'a', size);
            memcpy(copy + before, text, len);
            assert_int_equal(utf8_valid_mqtt(bytes_of(copy, size)), expected);
            assert_int_equal(utf8_valid(bytes_of(copy, size)), expected);
            free(copy);
        }
    }
}

#define GOOD(text) assert_everywhere(true, text, sizeof(text) - 1)
#define BAD(text) assert_everywhere(false, text, sizeof(text) - 1)

static void utf8_accepts_the_ends_of_every_range(void **state)
{
    (void)state;
    GOOD("");
    GOOD("\x01");
    GOOD("\x7F");
    GOOD("\xC2\x80");         /* U+0080 */
    GOOD("\xDF\xBF");         /* U+07FF */
    GOOD("\xE0\xA0\x80");     /* U+0800 */
    GOOD("\xED\x9F\xBF");     /* U+D7FF */
    GOOD("\xEE\x80\x80");     /* U+E000 */
    GOOD("\xEF\xBF\xBF");     /* U+FFFF, a non-character */
    GOOD("\xEF\xBB\xBF");     /* U+FEFF [MQTT-1.5.4-3] */
    GOOD("\xF0\x90\x80\x80"); /* U+10000 */
    GOOD("\xF4\x8F\xBF\xBF"); /* U+10FFFF */
}

static void utf8_rejects_overlong_forms(void **state)
{
    (void)state;
    BAD("\xC0\x80");
    BAD("\xC0\xAF");
    BAD("\xC1\xBF");
    BAD("\xE0\x80\x80");
    BAD("\xE0\x9F\xBF");
    BAD("\xF0\x80\x80\x80");
    BAD("\xF0\x8F\xBF\xBF");
}

static void utf8_rejects_surrogates(void **state)
{
    (void)state;
    BAD("\xED\xA0\x80"); /* U+D800 */
    BAD("\xED\xAF\xBF");
    BAD("\xED\xB0\x80");
    BAD("\xED\xBF\xBF"); /* U+DFFF */
    BAD("\xED\xA0\x80\xED\xB0\x80");
}

static void utf8_rejects_what_is_above_10ffff(void **state)
{
    (void)state;
    BAD("\xF4\x90\x80\x80");
    BAD("\xF5\x80\x80\x80");
    BAD("\xF7\xBF\xBF\xBF");
    BAD("\xF8\x88\x80\x80\x80");
    BAD("\xFE");
    BAD("\xFF");
}

static void utf8_rejects_stray_and_missing_continuation_bytes(void **state)
{
    (void)state;
    BAD("\x80");
    BAD("\xBF");
    BAD("\xC2");
    BAD("\xC2\x7F");
    BAD("\xC2\xC0");
    BAD("\xE1\x80");
    BAD("\xE1\x80\x7F");
    BAD("\xE1\x7F\x80");
    BAD("\xF1\x80\x80");
    BAD("\xF1\x80\x80\xC0");
    BAD("\xC2\x80\x80");
}

static void utf8_zero_is_well_formed_but_not_for_mqtt(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 20; len++) {
        for (size_t at = 0; at < len; at++) {
            uint8_t text[20];
            memset(text, 'a', sizeof(text));
            text[at] = 0;
            assert_false(utf8_valid_mqtt(bytes_of(text, len)));
            assert_true(utf8_valid(bytes_of(text, len)));
        }
    }
}

/* Every first and second byte with two continuation bytes behind them, against section 3 of RFC
 * 3629. */
static void utf8_agrees_with_the_code_points_of_all_first_two_bytes(void **state)
{
    (void)state;
    for (unsigned first = 0xC0; first < 0x100; first++) {
        for (unsigned second = 0; second < 0x100; second++) {
            const uint8_t text[] = {(uint8_t)first, (uint8_t)second, 0x80, 0x80};
            size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
            uint32_t point = size == 2   ? (first & 0x1F) << 6 | (second & 0x3F)
                             : size == 3 ? (first & 0x0F) << 12 | (second & 0x3F) << 6
                                         : (first & 0x07) << 18 | (second & 0x3F) << 12;
            uint32_t least = size == 2 ? 0x80 : size == 3 ? 0x800 : 0x10000;
            bool good = (second & 0xC0) == 0x80 && first < 0xF8 && point >= least &&
                        point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
            assert_int_equal(utf8_valid(bytes_of(text, size)), good);
            assert_int_equal(utf8_character_size(bytes_of(text, 4)), good ? size : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_accepts_the_ends_of_every_range),
        cmocka_unit_test(utf8_rejects_overlong_forms),
        cmocka_unit_test(utf8_rejects_surrogates),
        cmocka_unit_test(utf8_rejects_what_is_above_10ffff),
        cmocka_unit_test(utf8_rejects_stray_and_missing_continuation_bytes),
        cmocka_unit_test(utf8_zero_is_well_formed_but_not_for_mqtt),
        cmocka_unit_test(utf8_agrees_with_the_code_points_of_all_first_two_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
