/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void crc32c_gives_the_check_value_of_the_catalogue(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, bytes_of_str("123456789")), 0xE3069283);
}

static void crc32c_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct bytes whole = bytes_of_str("the quick brown fox jumps over the lazy dog");
    for (size_t cut = 0; cut <= whole.len; cut++) {
        uint32_t first = crc32c(0, bytes_of(whole.data, cut));
        assert_int_equal(crc32c(first, bytes_of(whole.data + cut, whole.len - cut)),
                         crc32c(0, whole));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_check_value_of_the_catalogue),
        cmocka_unit_test(crc32c_goes_on_where_it_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
