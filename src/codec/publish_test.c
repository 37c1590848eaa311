/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/codec_test.h"
#include "codec/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum mqtt_reason decode(const char *text, enum mqtt_version version, struct publish *publish)
{
    struct frame frame = frame_of(text);
    return publish_decode(&frame, version, publish);
}

/* ---- decode ------------------------------------------------------------------------------------
 */

static void publish_of_qos_0_has_no_packet_id(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("30 07 0003'a/b' 'hi'", MQTT_V311, &p), MQTT_SUCCESS);
    assert_bytes(p.topic, "'a/b'");
    assert_bytes(p.payload, "'hi'");
    assert_int_equal(p.packet_id, 0);
    assert_int_equal(p.qos, 0);
    assert_false(p.dup || p.retain);
}

static void publish_flags_are_dup_qos_and_retain(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("3B 06 0001't' 0102 'x'", MQTT_V31, &p), MQTT_SUCCESS);
    assert_true(p.dup && p.retain);
    assert_int_equal(p.qos, 1);
    assert_int_equal(p.packet_id, 0x0102);
    assert_int_equal(decode("34 05 0001't' FFFF", MQTT_V311, &p), MQTT_SUCCESS);
    assert_false(p.dup || p.retain);
    assert_int_equal(p.qos, 2);
    assert_int_equal(p.payload.len, 0);
}

static void publish_of_version_5_tells_what_the_broker_acts_on(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(
        decode("32 1C 0001't' 0007 13 0101 0200000E10 230005 260001'k'0001'v' 0B07 'pay'", MQTT_V5,
               &p),
        MQTT_SUCCESS);
    assert_true(p.has_expiry && p.has_topic_alias && p.payload_is_utf8);
    assert_int_equal(p.payload_format_present, 1);
    assert_int_equal(p.expiry_s, 3600);
    assert_int_equal(p.topic_alias, 5);
    assert_int_equal(p.subscription_identifiers, 1);
    assert_int_equal(p.properties.len, 19);
    assert_bytes(p.payload, "'pay'");
    assert_false(p.properties_forwardable);
}

static void publish_properties_are_forwardable_when_none_is_for_the_broker(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("30 04 0001't' 00", MQTT_V5, &p), MQTT_SUCCESS);
    assert_true(p.properties_forwardable);
    assert_int_equal(decode("30 0F 0001't' 0B 0100 030001'a' 080002'r/' ", MQTT_V5, &p),
                     MQTT_SUCCESS);
    assert_true(p.properties_forwardable);
    assert_false(p.payload_is_utf8);
    assert_int_equal(decode("30 07 0001't' 03 230001", MQTT_V5, &p), MQTT_SUCCESS);
    assert_false(p.properties_forwardable);
    assert_int_equal(decode("30 09 0001't' 05 0200000001", MQTT_V5, &p), MQTT_SUCCESS);
    assert_false(p.properties_forwardable);
    assert_int_equal(decode("30 06 0001't' 02 0B01", MQTT_V5, &p), MQTT_SUCCESS);
    assert_false(p.properties_forwardable);
}

static void publish_topic_may_be_empty_only_with_an_alias(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("30 06 0000 03 230001", MQTT_V5, &p), MQTT_SUCCESS);
    assert_int_equal(p.topic.len, 0);
    assert_int_equal(decode("30 03 0000 00", MQTT_V5, &p), MQTT_PROTOCOL_ERROR);
    assert_int_equal(decode("30 02 0000", MQTT_V311, &p), MQTT_PROTOCOL_ERROR);
}

struct refused {
    const char *rule, *text;
    enum mqtt_version version;
    enum mqtt_reason reason;
};

/* clang-format off */
static const struct refused refused[] = {
    {"QoS 3", "36 05 0001't' 0001", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"QoS 3, 5.0", "36 06 0001't' 0001 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"DUP with QoS 0", "38 03 0001't'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"DUP with QoS 0, 5.0", "38 04 0001't' 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"packet id 0", "32 05 0001't' 0000", MQTT_V311, MQTT_PROTOCOL_ERROR},
    {"packet id 0, 5.0", "34 06 0001't' 0000 00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"no packet id", "32 03 0001't'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"half a packet id", "32 04 0001't' 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"no topic", "30 01 00", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"topic longer than the packet", "30 03 0002't'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"topic with +", "30 05 0003'a/+'", MQTT_V311, MQTT_TOPIC_NAME_INVALID},
    {"topic with #", "30 04 0001'#' 00", MQTT_V5, MQTT_TOPIC_NAME_INVALID},
    {"topic with U+0000", "30 05 0003'a' 00 'b'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"topic not UTF-8", "30 04 0002 C080", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"topic with surrogate", "30 06 0003 EDA080 00", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"topic with U+0000 and +", "30 04 0002 00 '+'", MQTT_V311, MQTT_MALFORMED_PACKET},
    {"no property length", "30 03 0001't'", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"property length too long", "30 06 0001't' 03 0100", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"property length not shortest", "30 05 0001't' 8000", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"alias 0", "30 07 0001't' 03 230000", MQTT_V5, MQTT_TOPIC_ALIAS_INVALID},
    {"alias twice", "30 0A 0001't' 06 230001 230001", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"expiry twice", "30 0E 0001't' 0A 0200000001 0200000001", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"payload format 2", "30 06 0001't' 02 0102", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"response topic with wildcard", "30 08 0001't' 04 080001'+'", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"subscription identifier 0", "30 06 0001't' 02 0B00", MQTT_V5, MQTT_PROTOCOL_ERROR},
    {"property of CONNECT", "30 07 0001't' 03 210001", MQTT_V5, MQTT_MALFORMED_PACKET},
    {"user property not UTF-8", "30 0A 0001't' 06 260001 FF 0000", MQTT_V5, MQTT_MALFORMED_PACKET},
};
/* clang-format on */

static void publish_that_breaks_a_rule_is_refused_with_its_reason_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct publish p;
        enum mqtt_reason reason = decode(refused[i].text, refused[i].version, &p);
        if (reason != refused[i].reason)
            fail_msg("%s: 0x%02x", refused[i].rule, reason);
    }
}

static void publish_of_version_31_may_have_dup_with_qos_0(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("38 03 0001't'", MQTT_V31, &p), MQTT_SUCCESS);
    assert_false(p.dup);
}

static void publish_topic_is_any_utf8_with_slashes_and_spaces(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("30 03 0001'/'", MQTT_V311, &p), MQTT_SUCCESS);
    assert_int_equal(decode("30 0A 0007 EFBBBF ' /' E282AC", MQTT_V311, &p), MQTT_MALFORMED_PACKET);
    assert_int_equal(decode("30 0A 0008 EFBBBF ' /' E282AC", MQTT_V311, &p), MQTT_SUCCESS);
    assert_bytes(p.topic, "EFBBBF ' /' E282AC"); /* [MQTT-1.5.4-3] */
}

/* ---- the block of a decoded packet -------------------------------------------------------------
 */

static void publish_subscription_identifiers_are_found_by_number(void **state)
{
    struct publish p;
    (void)state;
    assert_int_equal(decode("30 0F 0001't' 0B 0B07 0100 0BFFFFFF7F 0B01", MQTT_V5, &p),
                     MQTT_SUCCESS);
    assert_int_equal(p.subscription_identifiers, 3);
    assert_int_equal(publish_subscription_identifier(p.properties, 0), 7);
    assert_int_equal(publish_subscription_identifier(p.properties, 1), VARINT_MAX);
    assert_int_equal(publish_subscription_identifier(p.properties, 2), 1);
    assert_int_equal(publish_subscription_identifier(p.properties, 3), 0);
}

static void publish_properties_strip_keeps_what_is_forwarded_in_its_order(void **state)
{
    struct publish p;
    uint8_t out[64];
    (void)state;
    assert_int_equal(
        decode("30 1C 0001't' 18 260001'b'0000 230001 260001'a'0000 0101 0200000001 0B01", MQTT_V5,
               &p),
        MQTT_SUCCESS);
    size_t size = publish_properties_strip(p.properties, out);
    assert_bytes(bytes_of(out, size), "260001'b'0000 260001'a'0000 0101");
}

/* ---- encode ------------------------------------------------------------------------------------
 */

static struct bytes encode(const struct publication *publication, const struct publish_form *form)
{
    uint8_t out[512];
    size_t size = publish_header_size(publication, form);
    assert_true(size + publication->payload.len <= sizeof(out));
    assert_ptr_equal(publish_header_encode(out, publication, form), out + size);
    memcpy(out + size, publication->payload.data, publication->payload.len);
    return exact_copy(out, size + publication->payload.len);
}

static const struct publication hello = {
    .topic = {(const uint8_t *)"a/b", 3},
    .payload = {(const uint8_t *)"hello", 5},
};

static void publish_header_has_what_its_version_and_qos_need(void **state)
{
    (void)state;
    assert_bytes(encode(&hello, &(struct publish_form){.version = MQTT_V311}),
                 "30 0A 0003'a/b' 'hello'");
    assert_bytes(encode(&hello, &(struct publish_form){.version = MQTT_V5}),
                 "30 0B 0003'a/b' 00 'hello'");
    assert_bytes(encode(&hello,
                        &(struct publish_form){
                            .version = MQTT_V31, .qos = 1, .dup = true, .packet_id = 0xABCD}),
                 "3A 0C 0003'a/b' ABCD 'hello'");
    assert_bytes(encode(&hello,
                        &(struct publish_form){
                            .version = MQTT_V5, .qos = 2, .retain = true, .packet_id = 1}),
                 "35 0D 0003'a/b' 0001 00 'hello'");
}

static void publish_header_of_version_5_has_the_receivers_properties_first(void **state)
{
    static const uint32_t identifiers[] = {1, 300};
    struct publication publication = hello;
    struct publish_form form = {
        .version = MQTT_V5,
        .topic_alias = 9,
        .expiry_left_s = 59,
        .subscription_identifiers = identifiers,
        .subscription_identifier_count = 2,
    };
    (void)state;
    publication.properties = bytes_of("\x01\x01", 2);
    publication.has_expiry = true;
    assert_bytes(encode(&publication, &form),
                 "30 1A 0003'a/b' 0F 020000003B 230009 0B01 0BAC02 0101 'hello'");
    form.topic_left_out = true;
    assert_bytes(encode(&publication, &form),
                 "30 17 0000 0F 020000003B 230009 0B01 0BAC02 0101 'hello'");
}

static void publish_header_of_version_3_has_no_properties(void **state)
{
    struct publication publication = hello;
    (void)state;
    publication.properties = bytes_of("\x01\x01", 2);
    publication.has_expiry = true;
    assert_bytes(encode(&publication, &(struct publish_form){.version = MQTT_V311}),
                 "30 0A 0003'a/b' 'hello'");
}

static void publish_header_size_counts_the_bytes_of_every_length(void **state)
{
    static const size_t payloads[] = {0,     100,     121,     122,       123,      16377,
                                      16378, 2097145, 2097146, 268435449, 268435450};
    (void)state;
    for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++) {
        struct publication publication = {.topic = hello.topic, .payload = {NULL, payloads[i]}};
        struct publish_form form = {.version = MQTT_V311};
        uint8_t out[16];
        size_t size = publish_header_size(&publication, &form);
        assert_int_equal(publish_header_encode(out, &publication, &form) - out, size);
        struct frame frame;
        frame_parse(bytes_of(out, size), SIZE_MAX, &frame);
        assert_int_equal(frame.size, size + payloads[i]);
    }
}

static void publish_survives_a_round_trip_in_every_form(void **state)
{
    static const enum mqtt_version versions[] = {MQTT_V31, MQTT_V311, MQTT_V5};
    (void)state;
    for (unsigned bits = 0; bits < 3 * 3 * 2 * 2; bits++) {
        struct publish_form form = {
            .version = versions[bits % 3],
            .qos = (uint8_t)(bits / 3 % 3),
            .retain = bits / 9 % 2,
            .dup = bits / 18 % 2 && bits / 3 % 3 > 0,
            .packet_id = bits / 3 % 3 > 0 ? 77 : 0,
        };
        struct frame frame = frame_of_bytes(encode(&hello, &form));
        struct publish p;
        assert_int_equal(publish_decode(&frame, form.version, &p), MQTT_SUCCESS);
        assert_true(bytes_equal(p.topic, hello.topic));
        assert_true(bytes_equal(p.payload, hello.payload));
        assert_int_equal(p.qos, form.qos);
        assert_int_equal(p.packet_id, form.packet_id);
        assert_true(p.dup == form.dup && p.retain == form.retain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_of_qos_0_has_no_packet_id),
        cmocka_unit_test(publish_flags_are_dup_qos_and_retain),
        cmocka_unit_test(publish_of_version_5_tells_what_the_broker_acts_on),
        cmocka_unit_test(publish_properties_are_forwardable_when_none_is_for_the_broker),
        cmocka_unit_test(publish_topic_may_be_empty_only_with_an_alias),
        cmocka_unit_test(publish_that_breaks_a_rule_is_refused_with_its_reason_code),
        cmocka_unit_test(publish_of_version_31_may_have_dup_with_qos_0),
        cmocka_unit_test(publish_topic_is_any_utf8_with_slashes_and_spaces),
        cmocka_unit_test(publish_subscription_identifiers_are_found_by_number),
        cmocka_unit_test(publish_properties_strip_keeps_what_is_forwarded_in_its_order),
        cmocka_unit_test(publish_header_has_what_its_version_and_qos_need),
        cmocka_unit_test(publish_header_of_version_5_has_the_receivers_properties_first),
        cmocka_unit_test(publish_header_of_version_3_has_no_properties),
        cmocka_unit_test(publish_header_size_counts_the_bytes_of_every_length),
        cmocka_unit_test(publish_survives_a_round_trip_in_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
