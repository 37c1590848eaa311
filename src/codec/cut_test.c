/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/cut.h"
#include "codec/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* A packet with a body of `len` bytes; gives its size. */
static size_t packet(uint8_t *out, uint32_t len)
{
    *out = PACKET_PUBLISH << 4;
    uint8_t *body = varint_write(out + 1, len);
    memset(body, 0xff, len);
    return (size_t)(body - out) + len;
}

static const uint32_t lengths[] = {0, 1, 2, 127, 128, 129, 0, 16383, 16384, 70000};
enum { LENGTHS = sizeof(lengths) / sizeof(lengths[0]), ROOM = 128 * 1024 };

static void packets_that_come_at_once_are_cut_apart(void **state)
{
    (void)state;
    uint8_t *in = malloc(ROOM);
    assert_non_null(in);
    struct packet_cut cut = {0};
    size_t len = 0, at = 0;
    for (size_t i = 0; i < LENGTHS; i++)
        len += packet(in + len, lengths[i]);
    for (size_t i = 0; i < LENGTHS; i++) {
        assert_true(packet_cut_between(&cut));
        size_t size = packet_cut_next(&cut, bytes_of(in + at, len - at));
        assert_int_equal(size, 1 + varint_size(lengths[i]) + lengths[i]);
        at += size;
    }
    assert_int_equal(at, len);
    assert_true(packet_cut_between(&cut));
    free(in);
}

static void a_packet_that_comes_byte_by_byte_ends_with_its_last(void **state)
{
    (void)state;
    uint8_t *in = malloc(ROOM);
    assert_non_null(in);
    for (size_t i = 0; i < LENGTHS; i++) {
        struct packet_cut cut = {0};
        size_t len = packet(in, lengths[i]);
        for (size_t at = 0; at < len; at++) {
            assert_int_equal(packet_cut_next(&cut, bytes_of(in + at, 1)), 1);
            assert_int_equal(packet_cut_between(&cut), at + 1 == len);
        }
    }
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_that_come_at_once_are_cut_apart),
        cmocka_unit_test(a_packet_that_comes_byte_by_byte_ends_with_its_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
