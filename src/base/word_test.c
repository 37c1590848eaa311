/* SPDX-License-Identifier: Apache-2.0 */
#include "base/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Every value at every place, in memory of exactly the text's size. */
static void word_of_short_has_every_byte_and_no_other(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 7; len++) {
        uint8_t *text = malloc(len);
        for (size_t at = 0; at < len; at++) {
            memset(text, 'a', len);
            text[at] = 0;
            assert_true(word_zeroes(word_of_short(text, len)) != 0);
            text[at] = 0x80;
            assert_true(word_not_ascii(word_of_short(text, len)) != 0);
            text[at] = 'a';
            assert_int_equal(word_of_short(text, len), WORD_OF_BYTES('a'));
        }
        free(text);
    }
}

static void word_tests_see_each_of_the_eight_bytes(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 8; at++) {
        for (uint64_t value = 0; value < 256; value++) {
            uint64_t shift = 8 * at;
            uint64_t word = (WORD_OF_BYTES(1) & ~((uint64_t)0xFF << shift)) | value << shift;
            assert_int_equal(word_zeroes(word) != 0, value == 0);
            assert_int_equal(word_not_ascii(word) != 0, value >= 0x80);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(word_of_short_has_every_byte_and_no_other),
        cmocka_unit_test(word_tests_see_each_of_the_eight_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
