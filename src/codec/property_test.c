/* SPDX-License-Identifier: Apache-2.0 */
/* Every property in every packet, against a second writing of table 2-4 of the standard. */
#include "codec/property.h"

#include "codec/codec_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { WILL = PROPERTIES_OF_WILL, PLACES = 16 };

struct expected {
    int id;
    const char *name;
    const char *wire;   /* a property with a legal value */
    const char *bad[3]; /* with values that are not */
    int bad_reason;
    int packets[16]; /* -1 at the end */
};

#define ANY_PACKET                                                                                 \
    {                                                                                              \
        WILL, PACKET_CONNECT, PACKET_CONNACK, PACKET_PUBLISH, PACKET_PUBACK, PACKET_PUBREC,        \
            PACKET_PUBREL, PACKET_PUBCOMP, PACKET_SUBSCRIBE, PACKET_SUBACK, PACKET_UNSUBSCRIBE,    \
            PACKET_UNSUBACK, PACKET_DISCONNECT, PACKET_AUTH, -1                                    \
    }
#define ANSWER_PACKETS                                                                             \
    {                                                                                              \
        PACKET_CONNACK, PACKET_PUBACK, PACKET_PUBREC, PACKET_PUBREL, PACKET_PUBCOMP,               \
            PACKET_SUBACK, PACKET_UNSUBACK, PACKET_DISCONNECT, PACKET_AUTH, -1                     \
    }
#define MALFORMED MQTT_MALFORMED_PACKET
#define ERROR MQTT_PROTOCOL_ERROR

/* clang-format off */
static const struct expected table[] = {
    {1, "payload_format_indicator", "01 01", {"01 02", "01 FF"}, ERROR, {PACKET_PUBLISH, WILL, -1}},
    {2, "message_expiry_interval", "02 00000E10", {0}, 0, {PACKET_PUBLISH, WILL, -1}},
    {3, "content_type", "03 0001 't'", {"03 0001 00", "03 0001 FF"}, MALFORMED,
     {PACKET_PUBLISH, WILL, -1}},
    {8, "response_topic", "08 0003 'a/b'", {"08 0003 'a/+'", "08 0001 '#'", "08 0000"}, ERROR,
     {PACKET_PUBLISH, WILL, -1}},
    {9, "correlation_data", "09 0002 00FF", {0}, 0, {PACKET_PUBLISH, WILL, -1}},
    {11, "subscription_identifier", "0B FFFFFF7F", {"0B 00"}, ERROR,
     {PACKET_PUBLISH, PACKET_SUBSCRIBE, -1}},
    {17, "session_expiry_interval", "11 FFFFFFFF", {0}, 0,
     {PACKET_CONNECT, PACKET_CONNACK, PACKET_DISCONNECT, -1}},
    {18, "assigned_client_identifier", "12 0002 'id'", {"12 0001 00", "12 0002 C080"}, MALFORMED,
     {PACKET_CONNACK, -1}},
    {19, "server_keep_alive", "13 0000", {0}, 0, {PACKET_CONNACK, -1}},
    {21, "authentication_method", "15 0001 'm'", {"15 0001 00", "15 0003 EDA080"}, MALFORMED,
     {PACKET_CONNECT, PACKET_CONNACK, PACKET_AUTH, -1}},
    {22, "authentication_data", "16 0001 00", {0}, 0,
     {PACKET_CONNECT, PACKET_CONNACK, PACKET_AUTH, -1}},
    {23, "request_problem_information", "17 00", {"17 02"}, ERROR, {PACKET_CONNECT, -1}},
    {24, "will_delay_interval", "18 00000001", {0}, 0, {WILL, -1}},
    {25, "request_response_information", "19 01", {"19 02"}, ERROR, {PACKET_CONNECT, -1}},
    {26, "response_information", "1A 0001 'r'", {"1A 0001 00"}, MALFORMED, {PACKET_CONNACK, -1}},
    {28, "server_reference", "1C 0001 's'", {"1C 0001 00"}, MALFORMED,
     {PACKET_CONNACK, PACKET_DISCONNECT, -1}},
    {31, "reason_string", "1F 0000", {"1F 0001 00"}, MALFORMED, ANSWER_PACKETS},
    {33, "receive_maximum", "21 0001", {"21 0000"}, ERROR, {PACKET_CONNECT, PACKET_CONNACK, -1}},
    {34, "topic_alias_maximum", "22 0000", {0}, 0, {PACKET_CONNECT, PACKET_CONNACK, -1}},
    {35, "topic_alias", "23 0001", {"23 0000"}, MQTT_TOPIC_ALIAS_INVALID, {PACKET_PUBLISH, -1}},
    {36, "maximum_qos", "24 01", {"24 02"}, ERROR, {PACKET_CONNACK, -1}},
    {37, "retain_available", "25 00", {"25 02"}, ERROR, {PACKET_CONNACK, -1}},
    {38, "user_property", "26 0001 'k' 0001 'v'", {"26 0001 00 0000", "26 0000 0001 80"}, MALFORMED,
     ANY_PACKET},
    {39, "maximum_packet_size", "27 00000001", {"27 00000000"}, ERROR,
     {PACKET_CONNECT, PACKET_CONNACK, -1}},
    {40, "wildcard_subscription_available", "28 01", {"28 02"}, ERROR, {PACKET_CONNACK, -1}},
    {41, "subscription_identifier_available", "29 01", {"29 02"}, ERROR, {PACKET_CONNACK, -1}},
    {42, "shared_subscription_available", "2A 00", {"2A 02"}, ERROR, {PACKET_CONNACK, -1}},
};
/* clang-format on */

#define EACH(e)                                                                                    \
    const struct expected *e = table;                                                              \
    (e) < table + sizeof(table) / sizeof(*table);                                                  \
    (e)++

static const struct expected *expected_of(int id)
{
    for (EACH(e))
        if (e->id == id)
            return e;
    return NULL;
}

static bool allowed_in(const struct expected *e, int where)
{
    for (const int *p = e->packets; *p != -1; p++)
        if (*p == where)
            return true;
    return false;
}

static bool may_repeat(const struct expected *e, int where)
{
    return e->id == PROPERTY_USER_PROPERTY ||
           (e->id == PROPERTY_SUBSCRIPTION_IDENTIFIER && where == PACKET_PUBLISH);
}

/* A block: its length, then the properties one after the other. */
static struct bytes block_of(const char *first, const char *second)
{
    struct bytes a = packet_of(first), b = packet_of(second);
    uint8_t block[512];
    uint8_t *out = varint_write(block, (uint32_t)(a.len + b.len));
    memcpy(out, a.data, a.len);
    memcpy(out + a.len, b.data, b.len);
    return exact_copy(block, (size_t)(out - block) + a.len + b.len);
}

static int decode(struct bytes block, int where, struct properties *out)
{
    int reason = properties_decode(&block, where, out);
    if (reason == MQTT_SUCCESS)
        assert_int_equal(block.len, 0);
    return reason;
}

static void property_is_accepted_in_its_packets_and_malformed_in_others(void **state)
{
    (void)state;
    for (EACH(e)) {
        for (int where = 0; where < PLACES; where++) {
            struct properties p;
            int reason = decode(block_of(e->wire, ""), where, &p);
            if (reason != (allowed_in(e, where) ? MQTT_SUCCESS : MALFORMED))
                fail_msg("%s in packet %d: 0x%02x", e->name, where, (unsigned)reason);
            if (reason == MQTT_SUCCESS)
                assert_int_equal(p.present, (uint64_t)1 << e->id);
        }
    }
}

static void property_given_twice_is_a_protocol_error_unless_it_may_repeat(void **state)
{
    (void)state;
    for (EACH(e)) {
        for (int where = 0; where < PLACES; where++) {
            struct properties p;
            if (!allowed_in(e, where))
                continue;
            int reason = decode(block_of(e->wire, e->wire), where, &p);
            if (reason != (may_repeat(e, where) ? MQTT_SUCCESS : ERROR))
                fail_msg("%s twice in packet %d: 0x%02x", e->name, where, (unsigned)reason);
        }
    }
}

static void property_with_a_bad_value_has_the_reason_code_of_its_rule(void **state)
{
    (void)state;
    for (EACH(e)) {
        for (int i = 0; i < 3 && e->bad[i] != NULL; i++) {
            struct properties p;
            int reason = decode(block_of(e->bad[i], ""), e->packets[0], &p);
            if (reason != e->bad_reason)
                fail_msg("%s: 0x%02x", e->bad[i], (unsigned)reason);
        }
    }
}

static void property_response_topic_that_is_not_utf_8_is_malformed(void **state)
{
    struct properties p;
    (void)state;
    assert_int_equal(decode(block_of("08 0001 80", ""), PACKET_PUBLISH, &p), MALFORMED);
    assert_int_equal(decode(block_of("08 0003 61002F", ""), PACKET_PUBLISH, &p), MALFORMED);
}

static void property_with_an_unknown_id_is_malformed(void **state)
{
    (void)state;
    for (int id = 0; id < 256; id++) {
        struct properties p;
        char wire[32];
        if (expected_of(id) != NULL)
            continue;
        snprintf(wire, sizeof(wire), "%02X 0000000000", (unsigned)id);
        for (int where = 0; where < PLACES; where++)
            assert_int_equal(decode(block_of(wire, ""), where, &p), MALFORMED);
    }
    struct properties p;
    assert_int_equal(decode(block_of("8100 01", ""), PACKET_PUBLISH, &p), MALFORMED);
}

/* Cut at every byte: in the block, with the length adjusted, and in the packet, with the length
 * kept. */
static void property_block_cut_anywhere_is_malformed(void **state)
{
    (void)state;
    for (EACH(e)) {
        size_t whole;
        uint8_t *wire = unhex(e->wire, &whole);
        for (size_t len = 0; len < whole; len++) {
            struct properties p;
            uint8_t block[64] = {(uint8_t)len};
            memcpy(block + 1, wire, len);
            if (len > 0)
                assert_int_equal(decode(exact_copy(block, 1 + len), e->packets[0], &p), MALFORMED);
            block[0] = (uint8_t)whole;
            assert_int_equal(decode(exact_copy(block, 1 + len), e->packets[0], &p), MALFORMED);
        }
        free(wire);
    }
}

static void property_length_must_be_there_and_in_its_shortest_form(void **state)
{
    struct properties p;
    (void)state;
    assert_int_equal(decode(packet_of(""), PACKET_CONNECT, &p), MALFORMED);
    assert_int_equal(decode(packet_of("8000"), PACKET_CONNECT, &p), MALFORMED);
    assert_int_equal(decode(packet_of("80808080 01"), PACKET_CONNECT, &p), MALFORMED);
    assert_int_equal(decode(packet_of("00"), PACKET_CONNECT, &p), MQTT_SUCCESS);
    assert_int_equal(p.present, 0);
}

static void property_subscription_identifier_is_a_whole_variable_byte_integer(void **state)
{
    struct properties p;
    (void)state;
    assert_int_equal(decode(block_of("0B 8000", ""), PACKET_SUBSCRIBE, &p), MALFORMED);
    assert_int_equal(decode(block_of("0B 8080808001", ""), PACKET_SUBSCRIBE, &p), MALFORMED);
    assert_int_equal(decode(block_of("0B 808001", ""), PACKET_SUBSCRIBE, &p), MQTT_SUCCESS);
    assert_int_equal(p.subscription_identifier, 16384);
}

static void property_decode_leaves_what_follows_the_block(void **state)
{
    struct properties p;
    struct bytes in = packet_of("03 210064 'rest'");
    (void)state;
    assert_int_equal(properties_decode(&in, PACKET_CONNECT, &p), MQTT_SUCCESS);
    assert_bytes(in, "'rest'");
    assert_int_equal(p.receive_maximum, 100);
}

static const char connack_block[] = "43"
                                    "11 00000E10"
                                    "12 0002 'id'"
                                    "13 003C"
                                    "15 0001 'm'"
                                    "16 0001 00"
                                    "1A 0001 'r'"
                                    "1C 0001 's'"
                                    "1F 0001 'w'"
                                    "21 0014"
                                    "22 000A"
                                    "24 01"
                                    "25 00"
                                    "27 00010000"
                                    "28 01"
                                    "29 00"
                                    "2A 01"
                                    "26 0001 'k' 0001 'v'"
                                    "26 0001 'k' 0000";

static void property_values_are_found_in_their_fields(void **state)
{
    struct properties p;
    (void)state;
    assert_int_equal(decode(packet_of(connack_block), PACKET_CONNACK, &p), MQTT_SUCCESS);
    assert_int_equal(p.session_expiry_s, 3600);
    assert_bytes(p.assigned_client_id, "'id'");
    assert_int_equal(p.server_keep_alive_s, 60);
    assert_bytes(p.authentication_method, "'m'");
    assert_bytes(p.authentication_data, "00");
    assert_bytes(p.response_information, "'r'");
    assert_bytes(p.server_reference, "'s'");
    assert_bytes(p.reason_string, "'w'");
    assert_int_equal(p.receive_maximum, 20);
    assert_int_equal(p.topic_alias_maximum, 10);
    assert_int_equal(p.maximum_qos, 1);
    assert_int_equal(p.retain_available, 0);
    assert_int_equal(p.maximum_packet_size, 65536);
    assert_int_equal(p.wildcard_available, 1);
    assert_int_equal(p.subscription_identifier_available, 0);
    assert_int_equal(p.shared_available, 1);
}

static void property_block_is_encoded_by_ids_with_user_properties_last(void **state)
{
    struct properties p;
    uint8_t out[128];
    (void)state;
    assert_int_equal(decode(packet_of(connack_block), PACKET_CONNACK, &p), MQTT_SUCCESS);
    size_t size = (size_t)(properties_encode(out, &p) - out);
    assert_bytes(bytes_of(out, size), connack_block);
    assert_int_equal(properties_size(&p), size - 1);
}

static void property_of_every_kind_survives_a_round_trip(void **state)
{
    (void)state;
    for (EACH(e)) {
        struct properties p;
        uint8_t out[64];
        struct bytes block = block_of(e->wire, "");
        assert_int_equal(decode(block, e->packets[0], &p), MQTT_SUCCESS);
        size_t size = (size_t)(properties_encode(out, &p) - out);
        assert_int_equal(size, block.len);
        assert_memory_equal(out, block.data, size);
    }
}

static void properties_next_user_gives_them_in_order(void **state)
{
    struct properties p;
    struct bytes name, value;
    (void)state;
    struct bytes block = block_of("26 0001'a'0001'1' 21 0001", "26 0001'a'0000");
    assert_int_equal(decode(block, PACKET_CONNECT, &p), MQTT_SUCCESS);
    struct bytes rest = p.user;
    assert_int_equal(properties_user_size(rest), 13);
    assert_int_equal(properties_count(rest, PROPERTY_USER_PROPERTY), 2);
    assert_true(properties_next_user(&rest, &name, &value));
    assert_bytes(name, "'a'");
    assert_bytes(value, "'1'");
    assert_true(properties_next_user(&rest, &name, &value));
    assert_bytes(name, "'a'");
    assert_int_equal(value.len, 0);
    assert_false(properties_next_user(&rest, &name, &value));
}

static void properties_forward_leaves_out_what_is_meant_for_the_broker(void **state)
{
    uint8_t out[128];
    struct bytes block = packet_of("23 0001 01 01 02 00000001 26 0001'b'0000 0B 05 18 00000002"
                                   "03 0001't' 26 0001'a'0000 08 0001'r' 09 0000");
    (void)state;
    size_t size = properties_forward(block, out);
    assert_bytes(bytes_of(out, size),
                 "01 01 26 0001'b'0000 03 0001't' 26 0001'a'0000 08 0001'r' 09 0000");
    assert_int_equal(properties_forward(bytes_of(NULL, 0), out), 0);
}

static void property_find_knows_every_name(void **state)
{
    (void)state;
    for (EACH(e))
        assert_int_equal(property_find(e->name), e->id);
    assert_int_equal(property_find("nonsense"), 0);
    assert_int_equal(property_find(""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_is_accepted_in_its_packets_and_malformed_in_others),
        cmocka_unit_test(property_given_twice_is_a_protocol_error_unless_it_may_repeat),
        cmocka_unit_test(property_with_a_bad_value_has_the_reason_code_of_its_rule),
        cmocka_unit_test(property_response_topic_that_is_not_utf_8_is_malformed),
        cmocka_unit_test(property_with_an_unknown_id_is_malformed),
        cmocka_unit_test(property_block_cut_anywhere_is_malformed),
        cmocka_unit_test(property_length_must_be_there_and_in_its_shortest_form),
        cmocka_unit_test(property_subscription_identifier_is_a_whole_variable_byte_integer),
        cmocka_unit_test(property_decode_leaves_what_follows_the_block),
        cmocka_unit_test(property_values_are_found_in_their_fields),
        cmocka_unit_test(property_block_is_encoded_by_ids_with_user_properties_last),
        cmocka_unit_test(property_of_every_kind_survives_a_round_trip),
        cmocka_unit_test(properties_next_user_gives_them_in_order),
        cmocka_unit_test(properties_forward_leaves_out_what_is_meant_for_the_broker),
        cmocka_unit_test(property_find_knows_every_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
