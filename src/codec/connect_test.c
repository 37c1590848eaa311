/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT and CONNACK. */
#include "codec/codec_test.h"
#include "codec/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- CONNECT: what is accepted -----------------------------------------------------------------
 */

static const char v311_plain[] = "10 11 0004'MQTT' 04 02 003C 0005'pump7'";
static const char v31_plain[] = "10 13 0006'MQIsdp' 03 02 003C 0005'pump7'";
static const char v5_plain[] = "10 12 0004'MQTT' 05 02 003C 00 0005'pump7'";

static const char v311_everything[] =
    "10 25 0004'MQTT' 04 F4 FFFF 0002'id' 0003'a/b' 0004'gone' 0004'user' 0004 00FF00FF";
static const char v5_everything[] =
    "10 46 0004'MQTT' 05 EE 000A 14 110000003C 210014 260001'k'0001'v' 1701 2200FF"
    "0002'id' 0B 1800000005 0101 030001't' 0003'a/b' 0004'gone' 0004'user' 0004'word'";

static enum mqtt_reason decode(const char *text, struct connect *connect)
{
    struct frame frame = frame_of(text);
    return connect_decode(&frame, connect);
}

static void connect_names_its_version_client_and_keep_alive(void **state)
{
    static const struct {
        const char *text;
        enum mqtt_version version;
    } cases[] = {{v31_plain, MQTT_V31}, {v311_plain, MQTT_V311}, {v5_plain, MQTT_V5}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct connect c;
        assert_int_equal(decode(cases[i].text, &c), MQTT_SUCCESS);
        assert_int_equal(c.version, cases[i].version);
        assert_true(c.clean_start);
        assert_int_equal(c.keep_alive_s, 60);
        assert_bytes(c.client_id, "'pump7'");
        assert_false(c.has_will || c.has_user_name || c.has_password);
    }
}

static void connect_payload_has_will_user_name_and_password_in_this_order(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode(v311_everything, &c), MQTT_SUCCESS);
    assert_false(c.clean_start);
    assert_true(c.has_will && c.will_retain && c.has_user_name && c.has_password);
    assert_int_equal(c.will_qos, 2);
    assert_bytes(c.will_topic, "'a/b'");
    assert_bytes(c.will_payload, "'gone'");
    assert_bytes(c.user_name, "'user'");
    assert_bytes(c.password, "00FF00FF");
}

static void connect_of_version_5_has_properties_and_will_properties(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode(v5_everything, &c), MQTT_SUCCESS);
    assert_int_equal(c.properties.session_expiry_s, 60);
    assert_int_equal(c.properties.receive_maximum, 20);
    assert_int_equal(c.will_properties.will_delay_s, 5);
    assert_int_equal(c.will_properties.payload_format, 1);
    assert_bytes(c.will_properties.content_type, "'t'");
    assert_bytes(c.will_payload, "'gone'");
    assert_bytes(c.password, "'word'");
}

static void connect_has_authentication_data_with_a_method(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode("10 15 0004'MQTT' 05 02 003C 08 150001'm' 160001'd' 0000", &c),
                     MQTT_SUCCESS);
    assert_bytes(c.properties.authentication_method, "'m'");
    assert_bytes(c.properties.authentication_data, "'d'");
}

static void connect_may_have_an_empty_client_id(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode("10 0C 0004'MQTT' 04 02 0000 0000", &c), MQTT_SUCCESS);
    assert_int_equal(c.client_id.len, 0);
}

static void connect_of_version_5_may_have_a_password_without_user_name(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode("10 11 0004'MQTT' 05 42 0000 00 0000 0002'pw'", &c), MQTT_SUCCESS);
    assert_true(c.has_password && !c.has_user_name);
    assert_bytes(c.password, "'pw'");
}

static void connect_of_version_31_may_leave_out_what_its_flags_promise(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode("10 0F 0006'MQIsdp' 03 C2 003C 0001'i'", &c), MQTT_SUCCESS);
    assert_false(c.has_user_name || c.has_password);
    assert_int_equal(decode("10 12 0006'MQIsdp' 03 C2 003C 0001'i' 0001'u'", &c), MQTT_SUCCESS);
    assert_true(c.has_user_name && !c.has_password);
    assert_bytes(c.user_name, "'u'");
    assert_int_equal(decode("10 0D 0004'MQTT' 04 C2 003C 0001'i'", &c), MQTT_MALFORMED_PACKET);
}

/* ---- CONNECT: what is not ----------------------------------------------------------------------
 */

struct refused {
    const char *rule, *text;
    enum mqtt_reason reason;
    int version; /* what the decoder knows of the client then */
};

/* clang-format off */
static const struct refused refused[] = {
    {"name", "10 0C 0004'HTTP' 04 02 003C 0000", MQTT_UNSUPPORTED_PROTOCOL_VERSION, 0},
    {"lower case name", "10 0C 0004'mqtt' 04 02 003C 0000", MQTT_UNSUPPORTED_PROTOCOL_VERSION, 0},
    {"level 3 of MQTT", "10 0C 0004'MQTT' 03 02 003C 0000", MQTT_UNSUPPORTED_PROTOCOL_VERSION, 3},
    {"level 6", "10 0C 0004'MQTT' 06 02 003C 0000", MQTT_UNSUPPORTED_PROTOCOL_VERSION, 6},
    {"level 0x84", "10 0C 0004'MQTT' 84 02 003C 0000", MQTT_UNSUPPORTED_PROTOCOL_VERSION, 0x84},
    {"level 4 of MQIsdp", "10 0E 0006'MQIsdp' 04 02 003C 0000",
     MQTT_UNSUPPORTED_PROTOCOL_VERSION, 4},
    {"nothing", "10 00", MQTT_MALFORMED_PACKET, 0},
    {"name cut off", "10 04 0004'MQ'", MQTT_MALFORMED_PACKET, 0},
    {"no level", "10 06 0004'MQTT'", MQTT_MALFORMED_PACKET, 0},
    {"header flags", "11 0C 0004'MQTT' 04 02 003C 0000", MQTT_MALFORMED_PACKET, 0},
    {"reserved flag", "10 0C 0004'MQTT' 04 03 003C 0000", MQTT_MALFORMED_PACKET, 4},
    {"reserved flag, 5.0", "10 0D 0004'MQTT' 05 03 003C 00 0000", MQTT_MALFORMED_PACKET, 5},
    {"will QoS 3", "10 12 0004'MQTT' 04 1E 003C 0000 0001't' 0001'm'", MQTT_MALFORMED_PACKET, 4},
    {"will QoS without will", "10 0C 0004'MQTT' 04 0A 003C 0000", MQTT_MALFORMED_PACKET, 4},
    {"will retain without will", "10 0C 0004'MQTT' 04 22 003C 0000", MQTT_MALFORMED_PACKET, 4},
    {"password without user name", "10 0F 0004'MQTT' 04 42 003C 0000 0001'p'",
     MQTT_MALFORMED_PACKET, 4},
    {"password without user name, 3.1", "10 11 0006'MQIsdp' 03 42 003C 0000 0001'p'",
     MQTT_MALFORMED_PACKET, 3},
    {"client id with U+0000", "10 0D 0004'MQTT' 04 02 003C 0001 00", MQTT_MALFORMED_PACKET, 4},
    {"client id not UTF-8", "10 0E 0004'MQTT' 04 02 003C 0002 C080", MQTT_MALFORMED_PACKET, 4},
    {"will topic not UTF-8", "10 12 0004'MQTT' 04 06 003C 0000 0001 FF 0001'm'",
     MQTT_MALFORMED_PACKET, 4},
    {"will topic with wildcard", "10 12 0004'MQTT' 04 06 003C 0000 0001'#' 0001'm'",
     MQTT_TOPIC_NAME_INVALID, 4},
    {"will topic empty", "10 11 0004'MQTT' 04 06 003C 0000 0000 0001'm'",
     MQTT_TOPIC_NAME_INVALID, 4},
    {"will topic cut off", "10 0E 0004'MQTT' 04 06 003C 0000 0004", MQTT_MALFORMED_PACKET, 4},
    {"will payload cut off", "10 12 0004'MQTT' 04 06 003C 0000 0001't' 0004'm'",
     MQTT_MALFORMED_PACKET, 4},
    {"client id not UTF-8 before a will",
     "10 15 0004'MQTT' 05 06 003C 00 0001 80 00 0001't' 0001'm'", MQTT_MALFORMED_PACKET, 5},
    {"no user name", "10 0C 0004'MQTT' 04 82 003C 0000", MQTT_MALFORMED_PACKET, 4},
    {"no user name, 5.0", "10 0D 0004'MQTT' 05 82 003C 00 0000", MQTT_MALFORMED_PACKET, 5},
    {"user name not UTF-8", "10 0F 0004'MQTT' 04 82 003C 0000 0001 80", MQTT_MALFORMED_PACKET, 4},
    {"bytes left over", "10 0D 0004'MQTT' 04 02 003C 0000 00", MQTT_MALFORMED_PACKET, 4},
    {"bytes left over, 3.1", "10 0F 0006'MQIsdp' 03 02 003C 0000 00", MQTT_MALFORMED_PACKET, 3},
    {"no property length", "10 0C 0004'MQTT' 05 02 003C 0000", MQTT_MALFORMED_PACKET, 5},
    {"property of another packet", "10 10 0004'MQTT' 05 02 003C 03 230001 0000",
     MQTT_MALFORMED_PACKET, 5},
    {"property given twice", "10 13 0004'MQTT' 05 02 003C 06 210001 210001 0000",
     MQTT_PROTOCOL_ERROR, 5},
    {"will delay among the properties", "10 12 0004'MQTT' 05 02 003C 05 1800000001 0000",
     MQTT_MALFORMED_PACKET, 5},
    {"session expiry among the will properties",
     "10 19 0004'MQTT' 05 06 003C 00 0000 05 1100000001 0001't' 0001'm'", MQTT_MALFORMED_PACKET, 5},
    {"authentication data without method", "10 11 0004'MQTT' 05 02 003C 04 160001 00 0000",
     MQTT_PROTOCOL_ERROR, 5},
};
/* clang-format on */

static void connect_that_breaks_a_rule_is_refused_with_its_reason_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct connect c;
        enum mqtt_reason reason = decode(refused[i].text, &c);
        if (reason != refused[i].reason || (int)c.version != refused[i].version)
            fail_msg("%s: 0x%02x, version %d", refused[i].rule, reason, (int)c.version);
    }
}

static void connect_of_version_31_has_no_reserved_flag(void **state)
{
    struct connect c;
    (void)state;
    assert_int_equal(decode("10 0F 0006'MQIsdp' 03 03 003C 0001'i'", &c), MQTT_SUCCESS);
}

/* ---- CONNECT: encode ---------------------------------------------------------------------------
 */

static void connect_is_written_as_it_was_read(void **state)
{
    static const char *const packets[] = {v31_plain, v311_plain, v5_plain, v311_everything,
                                          v5_everything};
    (void)state;
    for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
        struct connect c, again;
        uint8_t out[128];
        assert_int_equal(decode(packets[i], &c), MQTT_SUCCESS);
        size_t size = connect_encode(&c, out, sizeof(out));
        assert_int_equal(size, packet_of(packets[i]).len);
        if (packets[i] != v5_everything) /* its properties are not in the order of ids */
            assert_bytes(bytes_of(out, size), packets[i]);
        struct frame frame = frame_of_bytes(exact_copy(out, size));
        assert_int_equal(connect_decode(&frame, &again), MQTT_SUCCESS);
        assert_int_equal(again.properties.present, c.properties.present);
        assert_int_equal(again.will_properties.present, c.will_properties.present);
    }
}

static void connect_is_not_written_when_there_is_no_room(void **state)
{
    struct connect c;
    uint8_t out[19] = {0xAA};
    (void)state;
    assert_int_equal(decode(v311_plain, &c), MQTT_SUCCESS);
    assert_int_equal(connect_encode(&c, out, 18), 19);
    assert_int_equal(out[0], 0xAA);
    assert_int_equal(connect_encode(&c, out, 19), 19);
    assert_int_equal(out[0], 0x10);
}

/* ---- CONNACK -----------------------------------------------------------------------------------
 */

static enum mqtt_reason decode_connack(const char *text, enum mqtt_version version,
                                       struct connack *connack)
{
    struct frame frame = frame_of(text);
    return connack_decode(&frame, version, connack);
}

static void connack_has_session_present_and_reason(void **state)
{
    struct connack c;
    (void)state;
    assert_int_equal(decode_connack("20 02 01 00", MQTT_V311, &c), MQTT_SUCCESS);
    assert_true(c.session_present);
    assert_int_equal(c.reason, 0);
    assert_int_equal(decode_connack("20 02 00 05", MQTT_V31, &c), MQTT_SUCCESS);
    assert_int_equal(c.reason, 5);
    assert_int_equal(decode_connack("20 06 00 87 03 13003C", MQTT_V5, &c), MQTT_SUCCESS);
    assert_int_equal(c.reason, MQTT_NOT_AUTHORIZED);
    assert_int_equal(c.properties.server_keep_alive_s, 60);
}

static void connack_that_breaks_a_rule_is_refused(void **state)
{
    struct connack c;
    (void)state;
    assert_int_equal(decode_connack("21 02 00 00", MQTT_V311, &c), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_connack("20 02 02 00", MQTT_V311, &c), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_connack("20 01 00", MQTT_V311, &c), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_connack("20 03 00 00 00", MQTT_V311, &c), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_connack("20 02 00 06", MQTT_V311, &c), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_connack("20 02 01 05", MQTT_V311, &c), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_connack("20 02 00 00", MQTT_V5, &c), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_connack("20 04 00 00 00 00", MQTT_V5, &c), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode_connack("20 03 01 87 00", MQTT_V5, &c), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode_connack("20 05 00 00 02 0101", MQTT_V5, &c), MQTT_MALFORMED_PACKET);
}

static void connack_reason_is_one_of_table_3_1(void **state)
{
    static const uint8_t legal[] = {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86,
                                    0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
                                    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F};
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        struct connack c;
        uint8_t packet[] = {0x20, 3, 0, (uint8_t)code, 0};
        struct frame frame = frame_of_bytes(exact_copy(packet, sizeof(packet)));
        bool good = memchr(legal, (int)code, sizeof(legal)) != NULL;
        assert_int_equal(connack_decode(&frame, MQTT_V5, &c),
                         good ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR);
    }
}

static void connack_is_written_for_each_version(void **state)
{
    struct connack c = {.session_present = true};
    uint8_t out[32];
    (void)state;
    assert_int_equal(connack_encode(&c, MQTT_V311, out, sizeof(out)), 4);
    assert_bytes(bytes_of(out, 4), "20 02 01 00");
    assert_int_equal(connack_encode(&c, MQTT_V31, out, sizeof(out)), 4);
    assert_bytes(bytes_of(out, 4), "20 02 00 00"); /* 3.1 has no session present */
    property_set(&c.properties, PROPERTY_SERVER_KEEP_ALIVE);
    c.properties.server_keep_alive_s = 60;
    assert_int_equal(connack_encode(&c, MQTT_V5, out, sizeof(out)), 8);
    assert_bytes(bytes_of(out, 8), "20 06 01 00 03 13003C");
}

static void connack_leaves_out_user_properties_then_the_reason_string(void **state)
{
    struct connack c;
    uint8_t out[64];
    (void)state;
    assert_int_equal(
        decode_connack("20 14 00 87 11 13003C 1F0004'none' 260001'k'0001'v'", MQTT_V5, &c),
        MQTT_SUCCESS);
    assert_int_equal(connack_encode(&c, MQTT_V5, out, 22), 22);
    assert_int_equal(connack_encode(&c, MQTT_V5, out, 21), 15);
    assert_bytes(bytes_of(out, 15), "20 0D 00 87 0A 13003C 1F0004'none'");
    assert_int_equal(connack_encode(&c, MQTT_V5, out, 14), 8);
    assert_bytes(bytes_of(out, 8), "20 06 00 87 03 13003C");
    out[0] = 0xAA;
    assert_int_equal(connack_encode(&c, MQTT_V5, out, 7), 8);
    assert_int_equal(out[0], 0xAA);
    assert_int_equal(connack_encode(&c, MQTT_V311, out, 3), 4);
    assert_int_equal(out[0], 0xAA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_names_its_version_client_and_keep_alive),
        cmocka_unit_test(connect_payload_has_will_user_name_and_password_in_this_order),
        cmocka_unit_test(connect_of_version_5_has_properties_and_will_properties),
        cmocka_unit_test(connect_has_authentication_data_with_a_method),
        cmocka_unit_test(connect_may_have_an_empty_client_id),
        cmocka_unit_test(connect_of_version_5_may_have_a_password_without_user_name),
        cmocka_unit_test(connect_of_version_31_may_leave_out_what_its_flags_promise),
        cmocka_unit_test(connect_that_breaks_a_rule_is_refused_with_its_reason_code),
        cmocka_unit_test(connect_of_version_31_has_no_reserved_flag),
        cmocka_unit_test(connect_is_written_as_it_was_read),
        cmocka_unit_test(connect_is_not_written_when_there_is_no_room),
        cmocka_unit_test(connack_has_session_present_and_reason),
        cmocka_unit_test(connack_that_breaks_a_rule_is_refused),
        cmocka_unit_test(connack_reason_is_one_of_table_3_1),
        cmocka_unit_test(connack_is_written_for_each_version),
        cmocka_unit_test(connack_leaves_out_user_properties_then_the_reason_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
