/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/frame.h"

#include "codec/codec_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum frame_result parse(const char *text, size_t size_max, struct frame *frame)
{
    return frame_parse(packet_of(text), size_max, frame);
}

static void frame_has_type_flags_and_body(void **state)
{
    struct frame frame;
    (void)state;
    assert_int_equal(parse("3D 03 AABBCC FF", 100, &frame), FRAME_OK);
    assert_int_equal(frame.type, PACKET_PUBLISH);
    assert_int_equal(frame.flags, 13);
    assert_int_equal(frame.size, 5);
    assert_bytes(frame.body, "AABBCC");
}

static void frame_of_the_forbidden_type_has_type_0(void **state)
{
    struct frame frame;
    (void)state;
    assert_int_equal(parse("00 00", 100, &frame), FRAME_OK);
    assert_int_equal(frame.type, 0);
}

static void frame_without_its_whole_header_asks_for_more_of_unknown_size(void **state)
{
    static const char *const starts[] = {"", "30", "30 80", "30 FFFF", "30 FFFFFF"};
    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        struct frame frame;
        assert_int_equal(parse(starts[i], SIZE_MAX, &frame), FRAME_MORE);
        assert_int_equal(frame.size, 0);
    }
}

static void frame_without_its_whole_body_says_how_large_it_is(void **state)
{
    struct frame frame;
    (void)state;
    assert_int_equal(parse("30 03 AABB", SIZE_MAX, &frame), FRAME_MORE);
    assert_int_equal(frame.size, 5);
    assert_int_equal(parse("30 FFFFFF7F", SIZE_MAX, &frame), FRAME_MORE);
    assert_int_equal(frame.size, 268435460);
}

static void frame_larger_than_allowed_is_refused_before_it_is_all_here(void **state)
{
    struct frame frame;
    (void)state;
    assert_int_equal(parse("30 03", 5, &frame), FRAME_MORE);
    assert_int_equal(parse("30 03", 4, &frame), FRAME_TOO_LARGE);
    assert_int_equal(parse("30 FFFFFF7F", 1000, &frame), FRAME_TOO_LARGE);
}

static void frame_length_of_more_than_four_bytes_is_malformed(void **state)
{
    struct frame frame;
    (void)state;
    assert_int_equal(parse("30 FFFFFFFF", SIZE_MAX, &frame), FRAME_MALFORMED);
    assert_int_equal(parse("30 80808080 01", SIZE_MAX, &frame), FRAME_MALFORMED);
}

static void frame_length_not_in_its_shortest_form_is_malformed(void **state)
{
    struct frame frame;
    (void)state;
    assert_int_equal(parse("30 8000", SIZE_MAX, &frame), FRAME_MALFORMED);
    assert_int_equal(parse("30 838000 AABBCC", SIZE_MAX, &frame), FRAME_MALFORMED);
    assert_int_equal(parse("30 FFFFFF00", SIZE_MAX, &frame), FRAME_MALFORMED);
}

static void varint_has_the_sizes_of_table_1_1(void **state)
{
    static const struct {
        uint32_t value;
        const char *wire;
    } cases[] = {
        {0, "00"},         {127, "7F"},         {128, "8001"},         {16383, "FF7F"},
        {16384, "808001"}, {2097151, "FFFF7F"}, {2097152, "80808001"}, {268435455, "FFFFFF7F"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint8_t out[4];
        size_t size = (size_t)(varint_write(out, cases[i].value) - out);
        assert_bytes(bytes_of(out, size), cases[i].wire);
        assert_int_equal(varint_size(cases[i].value), size);
    }
}

static void frame_reads_every_length_that_varint_writes(void **state)
{
    (void)state;
    for (uint32_t value = 0; value < VARINT_MAX; value += value / 7 + 1) {
        uint8_t packet[FRAME_HEADER_MAX] = {0x30};
        size_t header = (size_t)(varint_write(packet + 1, value) - packet);
        struct frame frame;
        enum frame_result expected = value == 0 ? FRAME_OK : FRAME_MORE;
        assert_int_equal(frame_parse(bytes_of(packet, header), SIZE_MAX, &frame), expected);
        assert_int_equal(frame.size, header + value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_has_type_flags_and_body),
        cmocka_unit_test(frame_of_the_forbidden_type_has_type_0),
        cmocka_unit_test(frame_without_its_whole_header_asks_for_more_of_unknown_size),
        cmocka_unit_test(frame_without_its_whole_body_says_how_large_it_is),
        cmocka_unit_test(frame_larger_than_allowed_is_refused_before_it_is_all_here),
        cmocka_unit_test(frame_length_of_more_than_four_bytes_is_malformed),
        cmocka_unit_test(frame_length_not_in_its_shortest_form_is_malformed),
        cmocka_unit_test(varint_has_the_sizes_of_table_1_1),
        cmocka_unit_test(frame_reads_every_length_that_varint_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
