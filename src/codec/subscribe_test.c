/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE, UNSUBSCRIBE, SUBACK and UNSUBACK. */
#include "codec/codec_test.h"
#include "codec/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum mqtt_reason decode(const char *text, enum mqtt_version version,
                               struct subscribe *subscribe)
{
    struct frame frame = frame_of(text);
    return subscribe_decode(&frame, version, subscribe);
}

static enum mqtt_reason decode_un(const char *text, enum mqtt_version version,
                                  struct unsubscribe *unsubscribe)
{
    struct frame frame = frame_of(text);
    return unsubscribe_decode(&frame, version, unsubscribe);
}

static enum mqtt_reason decode_suback(const char *text, enum mqtt_version version,
                                      struct suback *suback)
{
    struct frame frame = frame_of(text);
    return suback_decode(&frame, version, suback);
}

/* ---- SUBSCRIBE ---------------------------------------------------------------------------------
 */

static void subscribe_lists_filters_with_their_qos(void **state)
{
    struct subscribe s;
    struct subscribe_filter f;
    (void)state;
    assert_int_equal(decode("82 0D 000A 0003'a/b' 01 0002'c#' 02", MQTT_V311, &s), MQTT_SUCCESS);
    assert_int_equal(s.packet_id, 10);
    assert_int_equal(s.count, 2);
    struct bytes rest = s.filters;
    assert_true(subscribe_next(&rest, MQTT_V311, &f));
    assert_bytes(f.filter, "'a/b'");
    assert_int_equal(f.options.qos, 1);
    assert_true(subscribe_next(&rest, MQTT_V311, &f));
    assert_bytes(f.filter, "'c#'"); /* whether that is legal is for the connection to say */
    assert_int_equal(f.options.qos, 2);
    assert_false(subscribe_next(&rest, MQTT_V311, &f));
}

static void subscribe_of_version_5_has_options_and_an_identifier(void **state)
{
    struct subscribe s;
    struct subscribe_filter f;
    (void)state;
    assert_int_equal(decode("82 0E 0001 03 0BAC02 0001'a' 2D 0001'b' 12", MQTT_V5, &s),
                     MQTT_SUCCESS);
    assert_int_equal(s.properties.subscription_identifier, 300);
    struct bytes rest = s.filters;
    assert_true(subscribe_next(&rest, MQTT_V5, &f));
    assert_int_equal(f.options.qos, 1);
    assert_true(f.options.no_local && f.options.retain_as_published);
    assert_int_equal(f.options.retain_handling, RETAIN_DO_NOT_SEND);
    assert_int_equal(f.options.identifier, 0);
    assert_true(subscribe_next(&rest, MQTT_V5, &f));
    assert_int_equal(f.options.qos, 2);
    assert_false(f.options.no_local || f.options.retain_as_published);
    assert_int_equal(f.options.retain_handling, RETAIN_SEND_IF_NEW);
}

struct refused {
    const char *rule, *text;
    enum mqtt_version version;
    enum mqtt_reason reason;
};

/* clang-format off */
static const struct refused refused[] = {
    {"flags", "80 06 0001 0001'a' 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"DUP", "8A 06 0001 0001'a' 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"flags, 3.1", "83 06 0001 0001'a' 00", MQTT_V31, MQTT_MALFORMED_PACKET},
    {"no packet id", "82 01 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"packet id 0", "82 06 0000 0001'a' 00", MQTT_V311, MQTT_PROTOCOL_ERROR},
    {"packet id 0, 5.0", "82 07 0000 00 0001'a' 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"no filter", "82 02 0001", MQTT_V311, MQTT_PROTOCOL_ERROR},
    {"no filter, 5.0", "82 03 0001 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"no property length", "82 02 0001", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"no options", "82 05 0001 0001'a'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"filter cut", "82 05 0001 0002'a'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"second filter cut", "82 07 0001 0001'a' 00 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"filter with U+0000", "82 06 0001 0001 00 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"filter not UTF-8", "82 07 0001 00 0001 FF 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"QoS 3", "82 06 0001 0001'a' 03", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"upper bits", "82 06 0001 0001'a' 04", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"QoS 3, 5.0", "82 07 0001 00 0001'a' 03", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"retain handling 3", "82 07 0001 00 0001'a' 30", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"reserved bit 6", "82 07 0001 00 0001'a' 40", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"reserved bit 7", "82 07 0001 00 0001'a' 80", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"identifier 0", "82 09 0001 02 0B00 0001'a' 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"identifier twice", "82 0B 0001 04 0B01 0B02 0001'a' 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"property of PUBLISH", "82 09 0001 02 0101 0001'a' 00", MQTT_V5, MQTT_MALFORMED_PACKET},
};

static const struct refused refused_un[] = {
    {"flags", "A0 05 0001 0001'a'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"packet id 0", "A2 05 0000 0001'a'", MQTT_V311, MQTT_PROTOCOL_ERROR},
    {"packet id 0, 5.0", "A2 06 0000 00 0001'a'", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"no packet id", "A2 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"no filter", "A2 02 0001", MQTT_V311, MQTT_PROTOCOL_ERROR},
    {"no filter, 5.0", "A2 03 0001 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"filter cut", "A2 05 0001 0002'a'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"filter not UTF-8", "A2 05 0001 0001 80", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"subscription identifier", "A2 08 0001 02 0B01 0001'a'", MQTT_V5, MQTT_MALFORMED_PACKET},
};
/* clang-format on */

static void subscribe_that_breaks_a_rule_is_refused_with_its_reason_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct subscribe s;
        enum mqtt_reason reason = decode(refused[i].text, refused[i].version, &s);
        if (reason != refused[i].reason)
            fail_msg("%s: 0x%02x", refused[i].rule, reason);
    }
}

static void subscribe_of_version_31_may_have_dup(void **state)
{
    struct subscribe s;
    struct unsubscribe u;
    (void)state;
    assert_int_equal(decode("8A 06 0001 0001'a' 00", MQTT_V31, &s), MQTT_SUCCESS);
    assert_int_equal(decode_un("AA 05 0001 0001'a'", MQTT_V31, &u), MQTT_SUCCESS);
}

static void subscribe_is_written_for_each_version(void **state)
{
    struct subscribe_filter filters[] = {
        {bytes_of_str("a/+"), {.qos = 1, .no_local = true, .retain_handling = RETAIN_DO_NOT_SEND}},
        {bytes_of_str("#"), {.qos = 2, .retain_as_published = true}},
    };
    struct properties properties = {0};
    uint8_t out[64];
    (void)state;
    size_t size = subscribe_encode(7, MQTT_V311, NULL, filters, 2, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "82 0C 0007 0003'a/+' 01 0001'#' 02");
    size = subscribe_encode(7, MQTT_V5, NULL, filters, 2, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "82 0D 0007 00 0003'a/+' 25 0001'#' 0A");
    property_set(&properties, PROPERTY_SUBSCRIPTION_IDENTIFIER);
    properties.subscription_identifier = 5;
    size = subscribe_encode(7, MQTT_V5, &properties, filters, 1, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "82 0B 0007 02 0B05 0003'a/+' 25");
    out[0] = 0xAA;
    assert_int_equal(subscribe_encode(7, MQTT_V5, &properties, filters, 1, out, size - 1), size);
    assert_int_equal(out[0], 0xAA);
    assert_int_equal(subscribe_encode(7, MQTT_V5, &properties, filters, 1, out, size), size);
    assert_int_equal(out[0], 0x82);
}

/* ---- UNSUBSCRIBE -------------------------------------------------------------------------------
 */

static void unsubscribe_lists_filters(void **state)
{
    struct unsubscribe u;
    struct bytes filter;
    (void)state;
    assert_int_equal(decode_un("A2 0A 0003 0003'a/b' 0001'#'", MQTT_V311, &u), MQTT_SUCCESS);
    assert_int_equal(u.packet_id, 3);
    assert_int_equal(u.count, 2);
    struct bytes rest = u.filters;
    assert_true(unsubscribe_next(&rest, &filter));
    assert_bytes(filter, "'a/b'");
    assert_true(unsubscribe_next(&rest, &filter));
    assert_bytes(filter, "'#'");
    assert_false(unsubscribe_next(&rest, &filter));
    assert_int_equal(decode_un("A2 0D 0003 07 260001'k'0001'v' 0001'#'", MQTT_V5, &u),
                     MQTT_SUCCESS);
    assert_int_equal(u.count, 1);
}

static void unsubscribe_that_breaks_a_rule_is_refused_with_its_reason_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused_un) / sizeof(*refused_un); i++) {
        struct unsubscribe u;
        enum mqtt_reason reason = decode_un(refused_un[i].text, refused_un[i].version, &u);
        if (reason != refused_un[i].reason)
            fail_msg("%s: 0x%02x", refused_un[i].rule, reason);
    }
}

static void unsubscribe_is_written_for_each_version(void **state)
{
    const struct bytes filters[] = {bytes_of_str("a/+"), bytes_of_str("#")};
    uint8_t out[64];
    (void)state;
    size_t size = unsubscribe_encode(7, MQTT_V31, NULL, filters, 2, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "A2 0A 0007 0003'a/+' 0001'#'");
    size = unsubscribe_encode(7, MQTT_V5, NULL, filters, 2, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "A2 0B 0007 00 0003'a/+' 0001'#'");
    out[0] = 0xAA;
    assert_int_equal(unsubscribe_encode(7, MQTT_V5, NULL, filters, 2, out, size - 1), size);
    assert_int_equal(out[0], 0xAA);
    assert_int_equal(unsubscribe_encode(7, MQTT_V5, NULL, filters, 2, out, size), size);
    assert_int_equal(out[0], 0xA2);
}

/* ---- SUBACK and UNSUBACK -----------------------------------------------------------------------
 */

static void suback_has_a_reason_for_each_filter(void **state)
{
    struct suback s;
    (void)state;
    assert_int_equal(decode_suback("90 06 0001 00010280", MQTT_V311, &s), MQTT_SUCCESS);
    assert_int_equal(s.packet_id, 1);
    assert_bytes(s.reasons, "00010280");
    assert_int_equal(decode_suback("90 05 0001 00 0187", MQTT_V5, &s), MQTT_SUCCESS);
    assert_bytes(s.reasons, "0187");
    assert_int_equal(decode_suback("B0 05 0001 00 0011", MQTT_V5, &s), MQTT_SUCCESS);
    assert_int_equal(s.type, PACKET_UNSUBACK);
    assert_bytes(s.reasons, "0011");
    assert_int_equal(decode_suback("B0 02 0001", MQTT_V311, &s), MQTT_SUCCESS);
    assert_int_equal(s.reasons.len, 0);
}

static void suback_that_breaks_a_rule_is_refused(void **state)
{
    struct suback s;
    (void)state;
    assert_int_equal(decode_suback("92 03 0001 00", MQTT_V311, &s), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_suback("90 01 00", MQTT_V311, &s), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_suback("90 03 0000 00", MQTT_V311, &s), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_suback("90 02 0001", MQTT_V311, &s), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_suback("90 03 0001 03", MQTT_V311, &s), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_suback("90 03 0001 87", MQTT_V311, &s), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_suback("B0 03 0001 00", MQTT_V311, &s), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_suback("90 02 0001", MQTT_V5, &s), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_suback("B0 03 0001 00", MQTT_V5, &s), MQTT_PROTOCOL_ERROR);
}

static void suback_reason_is_one_of_its_packet(void **state)
{
    static const uint8_t of_suback[] = {0x00, 0x01, 0x02, 0x80, 0x83, 0x87,
                                        0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2};
    static const uint8_t of_unsuback[] = {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91};
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        struct suback s;
        uint8_t packet[] = {0x90, 4, 0, 1, 0, (uint8_t)code};
        struct frame frame = frame_of_bytes(exact_copy(packet, sizeof(packet)));
        bool good = memchr(of_suback, (int)code, sizeof(of_suback)) != NULL;
        assert_int_equal(suback_decode(&frame, MQTT_V5, &s),
                         good ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR);
        packet[0] = 0xB0;
        frame = frame_of_bytes(exact_copy(packet, sizeof(packet)));
        good = memchr(of_unsuback, (int)code, sizeof(of_unsuback)) != NULL;
        assert_int_equal(suback_decode(&frame, MQTT_V5, &s),
                         good ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR);
    }
}

static void suback_is_written_for_each_version(void **state)
{
    static const uint8_t reasons[] = {0x02, 0x87, 0x00};
    struct suback s = {.type = PACKET_SUBACK, .packet_id = 9, .reasons = bytes_of(reasons, 3)};
    uint8_t out[64];
    (void)state;
    size_t size = suback_encode(&s, MQTT_V311, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "90 05 0009 028000");
    size = suback_encode(&s, MQTT_V5, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "90 06 0009 00 028700");
    s.type = PACKET_UNSUBACK;
    size = suback_encode(&s, MQTT_V5, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "B0 06 0009 00 028700");
    size = suback_encode(&s, MQTT_V311, out, sizeof(out));
    assert_bytes(bytes_of(out, size), "B0 02 0009");
}

static void suback_leaves_out_user_properties_then_the_reason_string(void **state)
{
    struct suback s;
    uint8_t out[32];
    (void)state;
    assert_int_equal(decode_suback("90 11 0001 0D 1F0003'why' 260001'k'0001'v' 00", MQTT_V5, &s),
                     MQTT_SUCCESS);
    assert_int_equal(suback_encode(&s, MQTT_V5, out, 19), 19);
    assert_bytes(bytes_of(out, 19), "90 11 0001 0D 1F0003'why' 260001'k'0001'v' 00");
    assert_int_equal(suback_encode(&s, MQTT_V5, out, 18), 12);
    assert_bytes(bytes_of(out, 12), "90 0A 0001 06 1F0003'why' 00");
    assert_int_equal(suback_encode(&s, MQTT_V5, out, 11), 6);
    assert_bytes(bytes_of(out, 6), "90 04 0001 00 00");
    out[0] = 0xAA;
    assert_int_equal(suback_encode(&s, MQTT_V5, out, 5), 6);
    assert_int_equal(out[0], 0xAA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribe_lists_filters_with_their_qos),
        cmocka_unit_test(subscribe_of_version_5_has_options_and_an_identifier),
        cmocka_unit_test(subscribe_that_breaks_a_rule_is_refused_with_its_reason_code),
        cmocka_unit_test(subscribe_of_version_31_may_have_dup),
        cmocka_unit_test(subscribe_is_written_for_each_version),
        cmocka_unit_test(unsubscribe_lists_filters),
        cmocka_unit_test(unsubscribe_that_breaks_a_rule_is_refused_with_its_reason_code),
        cmocka_unit_test(unsubscribe_is_written_for_each_version),
        cmocka_unit_test(suback_has_a_reason_for_each_filter),
        cmocka_unit_test(suback_that_breaks_a_rule_is_refused),
        cmocka_unit_test(suback_reason_is_one_of_its_packet),
        cmocka_unit_test(suback_is_written_for_each_version),
        cmocka_unit_test(suback_leaves_out_user_properties_then_the_reason_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
