/* SPDX-License-Identifier: Apache-2.0 */
/* DISCONNECT, AUTH, PINGREQ and PINGRESP. */
#include "codec/codec_test.h"
#include "codec/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum mqtt_reason decode(const char *text, enum mqtt_version version,
                               struct disconnect *disconnect)
{
    struct frame frame = frame_of(text);
    return disconnect_decode(&frame, version, disconnect);
}

static enum mqtt_reason decode_auth(const char *text, struct auth *auth)
{
    struct frame frame = frame_of(text);
    return auth_decode(&frame, auth);
}

/* ---- PINGREQ, PINGRESP -------------------------------------------------------------------------
 */

static void ping_has_no_flags_and_no_body(void **state)
{
    struct frame frame = frame_of("C0 00");
    (void)state;
    assert_int_equal(empty_decode(&frame), MQTT_SUCCESS);
    frame = frame_of("C1 00");
    assert_int_equal(empty_decode(&frame), MQTT_MALFORMED_PACKET);
    frame = frame_of("D0 01 00");
    assert_int_equal(empty_decode(&frame), MQTT_MALFORMED_PACKET);
}

static void ping_is_two_bytes(void **state)
{
    uint8_t out[2];
    (void)state;
    assert_ptr_equal(empty_write(out, PACKET_PINGREQ), out + 2);
    assert_bytes(bytes_of(out, 2), "C000");
    assert_ptr_equal(empty_write(out, PACKET_PINGRESP), out + 2);
    assert_bytes(bytes_of(out, 2), "D000");
    assert_ptr_equal(empty_write(out, PACKET_DISCONNECT), out + 2);
    assert_bytes(bytes_of(out, 2), "E000");
}

/* ---- DISCONNECT --------------------------------------------------------------------------------
 */

static void disconnect_may_leave_out_properties_and_reason(void **state)
{
    struct disconnect d;
    (void)state;
    assert_int_equal(decode("E0 00", MQTT_V5, &d), MQTT_SUCCESS);
    assert_int_equal(d.reason, MQTT_NORMAL_DISCONNECTION);
    assert_int_equal(decode("E0 01 04", MQTT_V5, &d), MQTT_SUCCESS);
    assert_int_equal(d.reason, MQTT_DISCONNECT_WITH_WILL);
    assert_int_equal(decode("E0 02 8E 00", MQTT_V5, &d), MQTT_SUCCESS);
    assert_int_equal(d.reason, MQTT_SESSION_TAKEN_OVER);
    assert_int_equal(decode("E0 07 00 05 110000003C", MQTT_V5, &d), MQTT_SUCCESS);
    assert_int_equal(d.properties.session_expiry_s, 60);
    assert_int_equal(decode("E0 00", MQTT_V311, &d), MQTT_SUCCESS);
}

static void disconnect_that_breaks_a_rule_is_refused(void **state)
{
    struct disconnect d;
    (void)state;
    assert_int_equal(decode("E1 00", MQTT_V311, &d), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("E2 00", MQTT_V5, &d), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("E0 01 00", MQTT_V311, &d), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("E0 02 00 01", MQTT_V5, &d), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("E0 03 00 00 00", MQTT_V5, &d), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("E0 04 00 02 0101", MQTT_V5, &d), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("E0 0C 00 0A 1100000000 1100000000", MQTT_V5, &d), MQTT_PROTOCOL_ERROR);
}

static void disconnect_says_no_more_than_needed(void **state)
{
    struct disconnect d = {.reason = MQTT_NORMAL_DISCONNECTION};
    uint8_t out[32];
    (void)state;
    assert_int_equal(disconnect_encode(&d, MQTT_V5, out, sizeof(out)), 2);
    assert_bytes(bytes_of(out, 2), "E000");
    d.reason = MQTT_SERVER_SHUTTING_DOWN;
    assert_int_equal(disconnect_encode(&d, MQTT_V5, out, sizeof(out)), 3);
    assert_bytes(bytes_of(out, 3), "E0018B");
    assert_int_equal(disconnect_encode(&d, MQTT_V311, out, sizeof(out)), 2);
    assert_bytes(bytes_of(out, 2), "E000");
    assert_int_equal(disconnect_encode(&d, MQTT_V311, out, 1), 2);
}

static void disconnect_leaves_out_user_properties_then_the_reason_string(void **state)
{
    struct disconnect d;
    uint8_t out[32];
    (void)state;
    assert_int_equal(decode("E0 0F 81 0D 1F0003'why' 260001'k'0001'v'", MQTT_V5, &d), MQTT_SUCCESS);
    assert_int_equal(disconnect_encode(&d, MQTT_V5, out, 17), 17);
    assert_bytes(bytes_of(out, 17), "E0 0F 81 0D 1F0003'why' 260001'k'0001'v'");
    assert_int_equal(disconnect_encode(&d, MQTT_V5, out, 16), 10);
    assert_bytes(bytes_of(out, 10), "E0 08 81 06 1F0003'why'");
    assert_int_equal(disconnect_encode(&d, MQTT_V5, out, 9), 3);
    assert_bytes(bytes_of(out, 3), "E0 01 81");
    out[0] = 0xAA;
    assert_int_equal(disconnect_encode(&d, MQTT_V5, out, 2), 3);
    assert_int_equal(out[0], 0xAA);
}

/* ---- AUTH --------------------------------------------------------------------------------------
 */

static void auth_has_a_method_and_perhaps_data(void **state)
{
    struct auth a;
    (void)state;
    assert_int_equal(decode_auth("F0 0A 18 08 150001'm' 160001 FF", &a), MQTT_SUCCESS);
    assert_int_equal(a.reason, MQTT_CONTINUE_AUTHENTICATION);
    assert_bytes(a.properties.authentication_method, "'m'");
    assert_bytes(a.properties.authentication_data, "FF");
}

static void auth_reason_is_one_of_three(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        struct auth a;
        uint8_t packet[] = {0xF0, 6, (uint8_t)code, 4, 0x15, 0, 1, 'm'};
        struct frame frame = frame_of_bytes(exact_copy(packet, sizeof(packet)));
        bool good = code == 0x00 || code == 0x18 || code == 0x19;
        assert_int_equal(auth_decode(&frame, &a), good ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR);
    }
}

static void auth_that_breaks_a_rule_is_refused(void **state)
{
    struct auth a;
    (void)state;
    assert_int_equal(decode_auth("F1 06 18 04 150001'm'", &a), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_auth("F0 00", &a), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("F0 01 18", &a), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("F0 02 18 00", &a), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("F0 06 18 04 160001 FF", &a), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("F0 0A 18 08 150001'm' 150001'm'", &a), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("F0 06 18 04 150001 00", &a), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_auth("F0 07 18 04 150001'm' 00", &a), MQTT_MALFORMED_PACKET);
}

static void auth_is_written_with_its_properties(void **state)
{
    struct auth a = {.reason = MQTT_REAUTHENTICATE};
    uint8_t out[32];
    (void)state;
    property_set(&a.properties, PROPERTY_AUTHENTICATION_METHOD);
    a.properties.authentication_method = bytes_of_str("m");
    assert_int_equal(auth_encode(&a, out, sizeof(out)), 8);
    assert_bytes(bytes_of(out, 8), "F0 06 19 04 150001'm'");
    a.reason = MQTT_SUCCESS;
    assert_int_equal(auth_encode(&a, out, sizeof(out)), 8);
    assert_bytes(bytes_of(out, 8), "F0 06 00 04 150001'm'");
    assert_int_equal(auth_encode(&a, out, 7), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ping_has_no_flags_and_no_body),
        cmocka_unit_test(ping_is_two_bytes),
        cmocka_unit_test(disconnect_may_leave_out_properties_and_reason),
        cmocka_unit_test(disconnect_that_breaks_a_rule_is_refused),
        cmocka_unit_test(disconnect_says_no_more_than_needed),
        cmocka_unit_test(disconnect_leaves_out_user_properties_then_the_reason_string),
        cmocka_unit_test(auth_has_a_method_and_perhaps_data),
        cmocka_unit_test(auth_reason_is_one_of_three),
        cmocka_unit_test(auth_that_breaks_a_rule_is_refused),
        cmocka_unit_test(auth_is_written_with_its_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
