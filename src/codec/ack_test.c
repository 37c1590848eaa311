/* SPDX-License-Identifier: Apache-2.0 */
/* PUBACK, PUBREC, PUBREL and PUBCOMP. */
#include "codec/codec_test.h"
#include "codec/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum mqtt_reason decode(const char *text, enum mqtt_version version, struct ack *ack)
{
    struct frame frame = frame_of(text);
    return ack_decode(&frame, version, ack);
}

static void ack_of_version_3_is_a_packet_id(void **state)
{
    static const char *const packets[] = {"40 02 0102", "50 02 0102", "62 02 0102", "70 02 0102"};
    (void)state;
    for (uint8_t i = 0; i < 4; i++) {
        struct ack ack;
        assert_int_equal(decode(packets[i], MQTT_V311, &ack), MQTT_SUCCESS);
        assert_int_equal(ack.type, PACKET_PUBACK + i);
        assert_int_equal(ack.packet_id, 0x0102);
        assert_int_equal(ack.reason, 0);
    }
}

static void ack_of_version_5_may_leave_out_properties_and_reason(void **state)
{
    struct ack ack;
    (void)state;
    assert_int_equal(decode("40 02 0001", MQTT_V5, &ack), MQTT_SUCCESS);
    assert_int_equal(ack.reason, 0);
    assert_int_equal(decode("40 03 0001 10", MQTT_V5, &ack), MQTT_SUCCESS);
    assert_int_equal(ack.reason, MQTT_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(decode("62 04 0001 92 00", MQTT_V5, &ack), MQTT_SUCCESS);
    assert_int_equal(ack.reason, MQTT_PACKET_IDENTIFIER_NOT_FOUND);
    assert_int_equal(decode("50 0A 0001 87 06 1F0003'why'", MQTT_V5, &ack), MQTT_SUCCESS);
    assert_bytes(ack.properties.reason_string, "'why'");
}

struct refused {
    const char *rule, *text;
    enum mqtt_version version;
    enum mqtt_reason reason;
};

static const struct refused refused[] = {
    {"flags of PUBACK", "41 02 0001", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"flags of PUBREC", "52 02 0001", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"flags of PUBREL", "60 02 0001", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"DUP of PUBREL", "6A 02 0001", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"DUP of PUBREL, 5.0", "6A 02 0001", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"flags of PUBREL, 3.1", "68 02 0001", MQTT_V31, MQTT_MALFORMED_PACKET},
    {"flags of PUBCOMP", "78 02 0001", MQTT_V31, MQTT_MALFORMED_PACKET},
    {"no packet id", "40 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"half a packet id", "40 01 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"three bytes in 3.1.1", "40 03 0001 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"packet id 0", "40 02 0000", MQTT_V311, MQTT_PROTOCOL_ERROR},
    {"packet id 0, 5.0", "62 04 0000 00 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"property length too long", "40 04 0001 00 01", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"bytes left over", "40 05 0001 00 00 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"property of PUBLISH", "40 06 0001 00 02 0101", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"reason string twice", "40 0A 0001 00 06 1F0000 1F0000", MQTT_V5, MQTT_PROTOCOL_ERROR},
};

static void ack_that_breaks_a_rule_is_refused_with_its_reason_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct ack ack;
        enum mqtt_reason reason = decode(refused[i].text, refused[i].version, &ack);
        if (reason != refused[i].reason)
            fail_msg("%s: 0x%02x", refused[i].rule, reason);
    }
}

static void ack_pubrel_of_version_31_may_have_dup(void **state)
{
    struct ack ack;
    (void)state;
    assert_int_equal(decode("6A 02 0001", MQTT_V31, &ack), MQTT_SUCCESS);
}

static void ack_reason_is_one_of_its_packet(void **state)
{
    static const uint8_t firsts[] = {0x40, 0x50, 0x62, 0x70};
    static const uint8_t of_publish[] = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
    static const uint8_t of_release[] = {0x00, 0x92};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned code = 0; code < 256; code++) {
            struct ack ack;
            uint8_t packet[] = {firsts[i], 3, 0, 1, (uint8_t)code};
            struct frame frame = frame_of_bytes(exact_copy(packet, sizeof(packet)));
            bool good = i < 2 ? memchr(of_publish, (int)code, sizeof(of_publish)) != NULL
                              : memchr(of_release, (int)code, sizeof(of_release)) != NULL;
            assert_int_equal(ack_decode(&frame, MQTT_V5, &ack),
                             good ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR);
        }
    }
}

static void ack_write_has_a_reason_only_when_it_says_something(void **state)
{
    uint8_t out[6];
    (void)state;
    assert_ptr_equal(ack_write(out, MQTT_V5, PACKET_PUBACK, 0x0102, 0), out + 4);
    assert_bytes(bytes_of(out, 4), "40 02 0102");
    assert_ptr_equal(ack_write(out, MQTT_V5, PACKET_PUBREL, 1, 0x92), out + 5);
    assert_bytes(bytes_of(out, 5), "62 03 0001 92");
    assert_ptr_equal(ack_write(out, MQTT_V311, PACKET_PUBREC, 1, 0x87), out + 4);
    assert_bytes(bytes_of(out, 4), "50 02 0001");
    assert_ptr_equal(ack_write(out, MQTT_V31, PACKET_PUBCOMP, 1, 0), out + 4);
    assert_bytes(bytes_of(out, 4), "70 02 0001");
}

static void ack_leaves_out_user_properties_then_the_reason_string(void **state)
{
    struct ack ack;
    uint8_t out[32];
    (void)state;
    assert_int_equal(decode("50 11 0001 87 0D 1F0003'why' 260001'k'0001'v'", MQTT_V5, &ack),
                     MQTT_SUCCESS);
    assert_int_equal(ack_encode(&ack, MQTT_V5, out, 19), 19);
    assert_bytes(bytes_of(out, 19), "50 11 0001 87 0D 1F0003'why' 260001'k'0001'v'");
    assert_int_equal(ack_encode(&ack, MQTT_V5, out, 18), 12);
    assert_bytes(bytes_of(out, 12), "50 0A 0001 87 06 1F0003'why'");
    assert_int_equal(ack_encode(&ack, MQTT_V5, out, 11), 5);
    assert_bytes(bytes_of(out, 5), "50 03 0001 87");
    out[0] = 0xAA;
    assert_int_equal(ack_encode(&ack, MQTT_V5, out, 4), 5);
    assert_int_equal(out[0], 0xAA);
    assert_int_equal(ack_encode(&ack, MQTT_V311, out, 4), 4);
    assert_bytes(bytes_of(out, 4), "50 02 0001");
}

static void ack_with_properties_has_its_reason_even_if_it_is_success(void **state)
{
    struct ack ack = {.type = PACKET_PUBACK, .packet_id = 1};
    uint8_t out[32];
    (void)state;
    property_set(&ack.properties, PROPERTY_REASON_STRING);
    ack.properties.reason_string = bytes_of_str("ok");
    assert_int_equal(ack_encode(&ack, MQTT_V5, out, sizeof(out)), 11);
    assert_bytes(bytes_of(out, 11), "40 09 0001 00 05 1F0002'ok'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ack_of_version_3_is_a_packet_id),
        cmocka_unit_test(ack_of_version_5_may_leave_out_properties_and_reason),
        cmocka_unit_test(ack_that_breaks_a_rule_is_refused_with_its_reason_code),
        cmocka_unit_test(ack_pubrel_of_version_31_may_have_dup),
        cmocka_unit_test(ack_reason_is_one_of_its_packet),
        cmocka_unit_test(ack_write_has_a_reason_only_when_it_says_something),
        cmocka_unit_test(ack_leaves_out_user_properties_then_the_reason_string),
        cmocka_unit_test(ack_with_properties_has_its_reason_even_if_it_is_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
